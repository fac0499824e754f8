"""The only door HTML leaves by: one policy for markup, whichever engine enforces it."""

from __future__ import annotations

import html
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import nh3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from imbox_plugin.model import Block, HtmlElement

#: elements that leave; any other tag goes and its text stays, but see `EMPTIED`
TAGS = frozenset(
    """
    a abbr address article aside b bdi blockquote br caption center cite code col colgroup dd del
    details dfn div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i ins kbd li main
    mark nav ol p pre q s samp section small span strong sub summary sup table tbody td tfoot th
    thead time tr u ul var wbr
    """.split(),  # noqa: SIM905 - so many words read better than so many literals
)
#: attributes that leave, by tag; besides, every link gets `REL`
ATTRIBUTES = {
    "a": frozenset({"href", "title"}),
    "abbr": frozenset({"title"}),
    "details": frozenset({"open"}),
    "ol": frozenset({"start"}),
    "td": frozenset({"colspan", "rowspan"}),
    "th": frozenset({"colspan", "rowspan", "scope"}),
    "time": frozenset({"datetime"}),
}
#: schemes a link may have; a relative link would point into ImBox, so it loses its `href`
SCHEMES = frozenset({"https", "mailto", "tel"})
REL = "noopener noreferrer"
#: elements that go with all they hold: it is code, or text that was not meant to be read here
EMPTIED = frozenset(
    """
    iframe math noembed noframes noscript object script style svg template textarea title xmp
    """.split(),  # noqa: SIM905
)
#: characters of markup that are read: for deep nesting, parsers need quadratic time
LONGEST = 32_768

#: all controls but tab and newline; a lone surrogate cannot be encoded at all
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# A parser repeats formatting elements that were left open in every paragraph after them. At most
# three of a kind are repeated if they are alike; with an attribute each, 20 kB of markup becomes
# 28 MB. This need not understand the markup: whatever it leaves, the engine parses and judges.
# Looking ahead spares most tags a comparison with every name.
_FORMATTING = re.compile(
    r"<(?=[b-u][a-z]*[\t\n /])"
    r"(b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\t\n /][^>]*>?",
    re.ASCII | re.IGNORECASE,
)
_LINK = re.compile(rf"[\t\n ]*(?:{'|'.join(sorted(SCHEMES))}):", re.ASCII | re.IGNORECASE)
# bleach never learns what was inside a stripped tag, so this takes content away before it. The
# foreign `svg` and `math` close themselves, which needs a parser: of them bleach leaves the text.
_EMPTIED = re.compile(
    rf"""
    <!-- (?: -?> | .*? (?: --!?> | \Z ) )
    | <({"|".join(sorted(EMPTIED - {"math", "svg"}))}) (?=[\t\n />])
      .*? (?: </\1 (?=[\t\n />]) [^>]*>? | \Z )
    """,
    re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE,
)

#: elements that stand within a line; any other begins and ends one
_INLINE = frozenset(
    """
    a abbr b bdi cite code del dfn em i ins kbd mark q s samp small span strong sub sup time u var
    wbr
    """.split(),  # noqa: SIM905
)
_TEXT_AND_TAG = re.compile(r"([^<]+)|<(/?)(\w+)>")


@dataclass(frozen=True, slots=True)
class Made:
    """One part that a card was made of."""

    #: where the settings lay it out, such as `panels.default.blocks[1].data[0]`
    path: str
    #: the part itself, as it may be on the card; None: nothing was left of it
    part: HtmlElement | Block | None
    #: markup before and after, of all that was sanitised for it
    changes: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Witness:
    """What one thread sanitises for a card, and what became of it."""

    made: list[Made] = field(default_factory=list)
    #: what no part is known for yet
    heard: list[tuple[str, str]] = field(default_factory=list)


_WITNESS: ContextVar[Witness | None] = ContextVar("witness", default=None)


class Sanitizer:
    """Markup as it may leave: nothing that acts, loads, is styled, or links into ImBox.

    Built once, used from many threads.

    Args:
        engine: `nh3`, or `bleach`, which is an optional extra.

    Raises:
        ValueError: there is no such engine, or it is not installed; the message says what to do.
    """

    def __init__(self, engine: str = "nh3") -> None:
        match engine:
            case "nh3":
                self._engine = _nh3()
            case "bleach":
                self._engine = _bleach()
            case _:
                raise ValueError(f'there is no sanitizer "{engine}"; use "nh3" or "bleach"')

    def clean(self, markup: str) -> str:
        """The markup within the policy; never raises.

        Markup over `LONGEST` characters is cut there and ends with an ellipsis.
        """
        cleaned = self._engine(_prepared(markup))
        witness = _WITNESS.get()
        if witness is not None:
            witness.heard.append((markup, cleaned))
        return cleaned


@contextmanager
def witnessed() -> Iterator[Witness]:
    """What is sanitised by this thread inside the `with`, by the part that it was for."""
    witness = Witness()
    token = _WITNESS.set(witness)
    try:
        yield witness
    finally:
        _WITNESS.reset(token)


def tell(path: str, part: HtmlElement | Block | None) -> None:
    """Tell the witness, if there is one, what became of all that was sanitised since the last call.

    Args:
        path: where the settings lay the part out.
        part: the very object that goes onto the card; None: nothing was left to show.
    """
    witness = _WITNESS.get()
    if witness is not None:
        witness.made.append(Made(path, part, tuple(witness.heard)))
        witness.heard.clear()


def text_lines(markup: str) -> tuple[str, ...]:
    """The text a reader would see in the markup, for a place that takes no markup; never raises.

    One entry per line of a page too wide to wrap, without the blank ones. A table row is one line,
    its cells joined by ` | `, unless a cell has several lines itself. Cut like `Sanitizer.clean`.
    """
    lines: list[str] = []
    pieces: list[str] = []  # of the text since the last line began; only newlines end a line
    rows: list[list[int]] = []  # of each open table row, where in `lines` its cells begin
    preformatted = 0
    # the engine's output is balanced, escaped, and without attributes here
    bare = _nh3(attributes={}, rel=None)(_prepared(markup))
    for text, closing, name in _TEXT_AND_TAG.findall(bare):
        if text:
            pieces.append(text if preformatted else text.replace("\n", " "))
            continue
        if name in _INLINE:
            continue
        lines += _lines(pieces)
        pieces.clear()
        match name, closing:
            case "pre", _:
                preformatted += -1 if closing else 1
            case "tr", "":
                rows.append([])
            case "tr", _:
                _join_cells(lines, rows.pop())
            case (("td" | "th"), "") if rows:
                rows[-1].append(len(lines))
    return (*lines, *_lines(pieces))


def _lines(pieces: list[str]) -> list[str]:
    """The lines of escaped text, without blank ones."""
    text = _UNWRITABLE.sub("", html.unescape("".join(pieces)))
    return [line for raw in text.split("\n") if (line := " ".join(raw.split()))]


def _join_cells(lines: list[str], starts: list[int]) -> None:
    """Make one line of the lines from the first start on, if no cell has several."""
    if starts and all(end - start <= 1 for start, end in pairwise((*starts, len(lines)))):
        lines[starts[0] :] = filter(None, [" | ".join(lines[starts[0] :])])


def _prepared(markup: str) -> str:
    """Markup that an engine can take in, and in reasonable time."""
    if not markup.isprintable():
        markup = _UNWRITABLE.sub("", markup.replace("\r\n", "\n").replace("\r", "\n"))
    if len(markup) > LONGEST:
        markup = markup[:LONGEST]
        tag = markup.rfind("<")
        markup = (markup[:tag] if tag > markup.rfind(">") else markup) + "…"
    return _FORMATTING.sub(r"<\1>", markup)


def _nh3(
    attributes: Mapping[str, frozenset[str]] = ATTRIBUTES,
    rel: str | None = REL,
) -> Callable[[str], str]:
    """The policy as told to nh3, by tables alone: its attribute callback fails open."""
    return nh3.Cleaner(
        tags=TAGS,
        clean_content_tags=EMPTIED,
        # unless told so, nh3 keeps `lang` and `title` on every tag
        attributes={"*": frozenset(), **attributes},
        link_rel=rel,
        url_schemes=SCHEMES,
        url_relative="deny",
    ).clean


def _bleach() -> Callable[[str], str]:
    """The policy as told to bleach, with what it does not cover added before and behind it."""
    try:
        from bleach.sanitizer import Cleaner  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ValueError(
            "the sanitizer bleach is not installed: pip install 'imbox-plugin[bleach]'",
        ) from error

    attributes = {tag: sorted(names) for tag, names in ATTRIBUTES.items()}
    filters: list[Any] = [_checked_links]

    def clean(markup: str) -> str:
        # a Cleaner keeps state while it works, so threads cannot share one
        cleaner = Cleaner(TAGS, attributes, SCHEMES, strip=True, filters=filters)
        return cleaner.clean(_EMPTIED.sub("", markup))

    return clean


def _checked_links(source: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A filter behind bleach, which itself lets `javascript:1`, `cid:` and relative links pass.

    A value is seen as it was written, character references and all, and is returned so; hence
    the scheme must be written in plain letters.
    """
    for token in source:
        if token["type"] in {"StartTag", "EmptyTag"} and token["name"] == "a":
            attributes = token["data"]
            if not _LINK.match(attributes.get((None, "href"), "")):
                attributes.pop((None, "href"), None)
            attributes[None, "rel"] = REL
        yield token
