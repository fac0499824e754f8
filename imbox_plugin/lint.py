"""What works but deserves a look, on a card and in the settings: each with its place and a cure.

How ImBox draws a card is not documented, but that the panel is about 290 pixels wide. So widths are
estimated by the letters of a common typeface (Helvetica, 14 pixels), and say `about`.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeAlias
from unicodedata import category, east_asian_width
from urllib.parse import urlsplit

from imbox_plugin.html import Made
from imbox_plugin.icons import Icons
from imbox_plugin.model import (
    AccordionElement,
    Block,
    HtmlElement,
    ListElement,
    Reply,
    TableElement,
)
from imbox_plugin.settings import Problem

#: pixels that a card has inside its margins, and an accordion of it
WIDTH = 290 - 2 * 16
WIDTH_INSIDE = WIDTH - 2 * 13
_CELL_MARGIN = 16
_SIZE = 14
#: lines of one text that an agent still reads at a glance
_LINES = 8

# Adobe's metrics of Helvetica: thousandths of the size, from the space to the tilde.
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722,
    722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722,
    667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556,
    556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500,
    500, 334, 260, 334, 584,
)  # fmt: skip
# A no-break space is white space, too: amounts and numbers are written with it to stay on one line.
_BREAKS = re.compile(r"(?:[^\S\u00a0\u2007\u202f]|[-\u00ad\u200b/])+")
#: names of `[wire]`, by what they are used for
_UNDOCUMENTED = {
    "html": ("html_type", "html_content"),
    "accordion": ("accordion_type", "accordion_title", "accordion_data"),
    "link": ("link_text", "link_url"),
}
#: by the identity of an element, the markup before and after of all that was sanitised for it
_Changes: TypeAlias = Mapping[int, Sequence[tuple[str, str]]]

_HOST = re.compile(r"https?://([A-Za-z0-9.-]+)")
_PART = re.compile(r"\.?([^.\[\]\"]+|\"(?:[^\"\\]|\\.)*\")|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that works but deserves a look."""

    #: one of `settings.LINT_RULES`
    rule: str
    #: JSON pointer (RFC 6901), into the reply or into the settings
    pointer: str
    message: str
    cure: str
    #: lines of a difference, for `html-changed`
    detail: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}; {self.cure} [{self.rule}]"


@dataclass(frozen=True, slots=True)
class Linter:
    """Looks at cards and settings. Built once.

    Args:
        names: what ImBox does not document is called, by the names of `[wire]`.
        hosts: where links may lead; `*.example.com` stands for all below.
        confirmed: names of `[wire]` that are in the settings, so somebody has found them right.
        ignore: rules that are not wanted.
        icons: the symbols there are.
    """

    names: Mapping[str, str]
    hosts: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    icons: Icons = field(default_factory=Icons)

    def card(self, reply: Reply, made: Sequence[Made] = ()) -> tuple[Remark, ...]:
        """What is to be said about a card, in its order.

        Args:
            reply: the card.
            made: what `html.witnessed` saw it made of.
        """
        return self._wanted(self._card(reply, made))

    def settings(
        self, tables: Mapping[str, Any], warnings: Iterable[Problem]
    ) -> tuple[Remark, ...]:
        """What is to be said about the settings, before any card is made.

        Args:
            tables: the settings as they were read.
            warnings: what was noted while they were.
        """
        return self._wanted(self._settings(tables, warnings))

    def _wanted(self, remarks: Iterable[Remark]) -> tuple[Remark, ...]:
        return tuple(remark for remark in remarks if remark.rule not in self.ignore)

    def _card(self, reply: Reply, made: Sequence[Made]) -> Iterator[Remark]:
        yield from self._unconfirmed(_used(reply))
        if reply.contact_name:
            yield from _line("/contactName", reply.contact_name, "the name", "shorten it")
        if reply.contact_link:
            # Where it leads is fixed by the settings already.
            place = f"/contactLink/{self._name('link_text')}"
            yield from _title(place, reply.contact_link.text, "the link")
        # By the object itself, as two elements may look the same on the card.
        changes = {id(one.part): one.changes for one in made if one.part}
        gone = [(_block_around(one, made, reply), one) for one in made if not one.part]
        for index, block in enumerate(reply.blocks):
            place = f"/blocks/{index}"
            yield from self._block(place, block, changes)
            yield from _gone(place, (one for at, one in gone if at == index))
        yield from _gone("/blocks", (one for at, one in gone if at is None))

    def _name(self, name: str) -> str:
        """An undocumented name as part of a pointer."""
        return _escaped(self.names[name])

    def _block(self, at: str, block: Block, changes: _Changes) -> Iterator[Remark]:
        yield from _title(f"{at}/name", block.name, "the block")
        yield from self._icon(f"{at}/icon", block.icon)
        for index, element in enumerate(block.data):
            place = f"{at}/data/{index}"
            if isinstance(element, AccordionElement):
                title = f"{place}/{_escaped(self.names['accordion_title'])}"
                yield from _title(title, element.title, "the accordion")
                for inner, leaf in enumerate(element.data):
                    data = f"{place}/{_escaped(self.names['accordion_data'])}/{inner}"
                    yield from self._leaf(data, leaf, changes, WIDTH_INSIDE)
            else:
                yield from self._leaf(place, element, changes, WIDTH)

    def _leaf(
        self,
        at: str,
        element: ListElement | TableElement | HtmlElement,
        changes: _Changes,
        room: int,
    ) -> Iterator[Remark]:
        if isinstance(element, ListElement):
            # In documented shapes, html stands as rows without labels.
            is_text = self.names["elements"] == "documented" and not any(
                row.label for row in element.rows
            )
            for index, row in enumerate(element.rows):
                place = f"{at}/rows/{index}"
                if not row.label.strip() and not is_text:
                    yield _empty(f"{place}/label", "the row", "give the row a label")
                yield from _line(f"{place}/label", row.label, "the label", "shorten it", room)
                yield from _paragraph(f"{place}/text", row.text, room)
        elif isinstance(element, TableElement):
            yield from _table(at, element, room)
        else:
            place = f"{at}/{_escaped(self.names['html_content'])}"
            for before, after in changes.get(id(element), ()):
                yield from _changed(place, before, after, "the markup")
            for address in _parsed(element.html).addresses:
                yield from self._host(place, address)

    def _icon(self, at: str, icon: str) -> Iterator[Remark]:
        if icon not in self.icons:
            message = f"{icon!r} is no Material Symbol, so the agent may see a blank or the word"
            near = difflib.get_close_matches(icon, self.icons.names, n=1)
            cure = f"did you mean {near[0]!r}?" if near else "take one of fonts.google.com/icons"
            yield Remark("unknown-icon", at, message, cure)

    def _host(self, at: str, address: str) -> Iterator[Remark]:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
        if parts.scheme in {"http", "https"} and not any(_within(host, own) for own in self.hosts):
            yield Remark(
                "foreign-host",
                at,
                f"links to {host}, which the settings do not name, so it came with the data",
                f'if it is meant, write hosts = ["{host}"] under [lint]',
            )

    def _unconfirmed(self, used: Iterable[tuple[str, str]]) -> Iterator[Remark]:
        """One remark for each kind of part with such names, at its first place."""
        first = dict(reversed([*used]))
        for kind, undocumented in _UNDOCUMENTED.items():
            names = [name for name in undocumented if name not in self.confirmed]
            if names and kind in first:
                yield Remark(
                    "undocumented-name",
                    first[kind],
                    f"what ImBox calls {_listed(names)} is not documented",
                    "find it out with the probe, and write it under [wire]",
                )

    def _settings(self, tables: Mapping[str, Any], warnings: Iterable[Problem]) -> Iterator[Remark]:
        for warning in warnings:
            message, _, cure = warning.message.partition("; ")
            yield Remark("settings", pointer(warning.path), message, cure)
        used: list[tuple[str, str]] = []
        for at, panel in _panels(tables):
            used += [("link", f"{at}/links/{index}") for index, _ in _tables(panel.get("links"))]
            for index, block in _tables(panel.get("blocks")):
                place = f"{at}/blocks/{index}"
                icon = block.get("icon")
                if isinstance(icon, str):
                    yield from self._icon(f"{place}/icon", icon)
                for inner, element in _elements(place, block):
                    used.append((str(element.get("type")), inner))
                    yield from _layout(inner, element)
                    for within, leaf in _elements(inner, element):
                        used.append((str(leaf.get("type")), within))
                        yield from _layout(within, leaf, WIDTH_INSIDE)
        if self.names["elements"] == "documented":
            used = [(kind, place) for kind, place in used if kind == "link"]
        yield from self._unconfirmed(used)


def _layout(at: str, element: Mapping[str, Any], room: int = WIDTH) -> Iterator[Remark]:
    """What is empty in a layout whoever the person is; what is a template may turn out so."""
    for index, row in _tables(element.get("rows")):
        if row.get("label") == "":
            yield _empty(f"{at}/rows/{index}/label", "the row", "give the row a label")
    headers = [(index, column.get("header")) for index, column in _tables(element.get("columns"))]
    for index, header in headers:
        if header == "":
            place = f"{at}/columns/{index}/header"
            yield _empty(place, "the column", "give the column a header")
    texts = [text for _, text in headers if isinstance(text, str) and "{" not in text]
    yield from _wide(f"{at}/columns", [(_longest_word(text),) for text in texts], room)
    if element.get("title") == "":
        yield _empty(f"{at}/title", "the accordion", "give it a title")


def declared_hosts(tables: Any, folder: Path) -> frozenset[str]:
    """Every host of a web address that is written in the settings or in a template they name.

    Args:
        tables: the settings as they were read, once they are known to be in order.
        folder: where the files of the templates are.
    """
    if isinstance(tables, str):
        return frozenset(host.lower() for host in _HOST.findall(tables))
    inside: list[Any] = list(tables) if isinstance(tables, list) else []
    if isinstance(tables, Mapping):
        inside = list(tables.values())
        if isinstance(tables.get("template"), str):
            inside.append((folder / tables["template"]).read_text("utf-8"))
    return frozenset[str]().union(*(declared_hosts(part, folder) for part in inside))


def pointer(path: str) -> str:
    """`panels.default.blocks[1].icon` as the JSON pointer `/panels/default/blocks/1/icon`."""
    found = (name.strip('"') or index for name, index in _PART.findall(path))
    return "".join(f"/{_escaped(part)}" for part in found)


def width(text: str) -> float:
    """About how many pixels a text takes on one line."""
    return sum(map(_width, text)) * _SIZE / 1000


def _width(character: str) -> int:
    at = ord(character) - 32
    if 0 <= at < len(_WIDTHS):
        return _WIDTHS[at]
    if category(character) in {"Mn", "Me", "Cf", "Cc"}:
        return 0
    if category(character) == "Zs":
        return _WIDTHS[0]
    return 1000 if east_asian_width(character) in {"W", "F"} else 600


def _longest_word(text: str) -> float:
    """Pixels of what cannot be broken into two lines."""
    return max(map(width, _BREAKS.split(text)), default=0.0)


def _line(at: str, text: str, what: str, cure: str, room: int = WIDTH) -> Iterator[Remark]:
    """A text that is read as one line, or two."""
    if _longest_word(text) > room or width(text) > 2 * room:
        message = f"{what} is about {width(text):.0f} pixels long, and {_room(room)}"
        yield Remark("long-text", at, message, cure)


def _paragraph(at: str, text: str, room: int) -> Iterator[Remark]:
    lines = sum(max(1.0, width(line) / room) for line in text.splitlines())
    if _longest_word(text) > room:
        message = f"holds a word that is wider than the {room} pixels there are"
        yield Remark("long-text", at, message, "make it a link in html, or cut it with | truncate")
    elif lines > _LINES:
        message = f"takes about {lines:.0f} lines"
        yield Remark(
            "long-text", at, message, "put it into an accordion, or cut it with | truncate"
        )


def _title(at: str, text: str, what: str) -> Iterator[Remark]:
    if not text.strip():
        yield _empty(at, what, "give it a text")
    yield from _line(at, text, f"the title of {what}", "shorten it")


def _empty(at: str, what: str, cure: str) -> Remark:
    return Remark("empty-label", at, f"{what} says nothing about what it shows", cure)


def _table(at: str, table: TableElement, room: int) -> Iterator[Remark]:
    for index, header in enumerate(table.headers):
        if not header.strip():
            place = f"{at}/headers/{index}/text"
            yield _empty(place, "the column", "give the column a header")
    columns = list(zip(table.headers, *table.rows, strict=True))
    yield from _wide(at, [[_longest_word(text) for text in column] for column in columns], room)


def _wide(at: str, columns: Sequence[Iterable[float]], room: int) -> Iterator[Remark]:
    """Columns by the widths of the words in them."""
    needed = sum(max(words, default=0.0) + _CELL_MARGIN for words in columns)
    if needed > room:
        yield Remark(
            "wide-table",
            at,
            f"needs about {needed:.0f} pixels, and {_room(room)}",
            "show fewer columns, or an accordion with a list for each row",
        )


def _room(room: int) -> str:
    return f"the {'panel' if room == WIDTH else 'accordion'} has {room}"


def _block_around(gone: Made, made: Iterable[Made], reply: Reply) -> int | None:
    """Where the block is that an element would have been in; None: that is not on the card, too."""
    for one in made:
        if isinstance(one.part, Block) and gone.path.startswith(f"{one.path}."):
            # A block that was shortened or taken apart is another object.
            alike = [(block.name, block.icon) for block in reply.blocks]
            exact = [at for at, block in enumerate(reply.blocks) if block is one.part]
            wanted = (one.part.name, one.part.icon)
            return next(iter(exact), alike.index(wanted) if wanted in alike else None)
    return None


def _gone(at: str, ones: Iterable[Made]) -> Iterator[Remark]:
    """What nothing was left of, so that it has no place of its own on the card."""
    for one in ones:
        for before, after in one.changes:
            yield from _changed(at, before, after, f"{one.path}, which is not on the card")


def _changed(at: str, given: str, cleaned: str, what: str) -> Iterator[Remark]:
    before, after = _parsed(given).found, _parsed(cleaned).found
    if Counter(before) - Counter(after):
        lines = difflib.unified_diff(before, after, lineterm="", n=1)
        yield Remark(
            "html-changed",
            at,
            f"sanitising took something out of {what}",
            "leave it out, or set trusted = true where the template's own markup needs it",
            tuple(lines)[2:],
        )


class _Parts(HTMLParser):
    """The tags and texts of markup, in one form however they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Sanitising adds `rel` itself.
        own = sorted((name, value or "") for name, value in attrs if name != "rel")
        self.found.append(f"<{' '.join([tag, *(f'{name}={value!r}' for name, value in own)])}>")
        self.addresses.extend(value for name, value in own if name == "href")

    def handle_data(self, data: str) -> None:
        if text := " ".join(data.split()):
            self.found.append(text)


def _parsed(markup: str) -> _Parts:
    parser = _Parts()
    parser.feed(markup)
    parser.close()
    return parser


def _used(reply: Reply) -> Iterator[tuple[str, str]]:
    """Every kind of part on a card, with its place."""
    if reply.contact_link:
        yield "link", "/contactLink"
    for at, block in enumerate(reply.blocks):
        for index, element in enumerate(block.data):
            place = f"/blocks/{at}/data/{index}"
            yield element.kind, place
            if isinstance(element, AccordionElement):
                yield from ((leaf.kind, place) for leaf in element.data)


def _panels(tables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    panels = tables.get("panels")
    for name, panel in panels.items() if isinstance(panels, Mapping) else ():
        if isinstance(panel, Mapping):
            yield f"/panels/{_escaped(name)}", panel


def _elements(at: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The elements in a block, or in an accordion."""
    for index, element in _tables(table.get("data")):
        yield f"{at}/data/{index}", element


def _tables(given: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables of a list, with their places."""
    for at, item in enumerate(given if isinstance(given, list) else ()):
        if isinstance(item, Mapping):
            yield at, item


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _within(host: str, own: str) -> bool:
    own = own.lower()
    return host.endswith(own[1:]) if own.startswith("*.") else host == own


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
