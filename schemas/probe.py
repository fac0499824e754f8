"""Replies that find out, on a live account, what ImBox calls the parts no document names.

An administrator sets up a plugin of its own with the fixed parameter `candidate`, opens any contact
and looks: what is drawn as it should be has the right name. What ImBox does with an element that it
does not understand is unknown; it may blank the whole plugin. So a reply tries one candidate only,
below a list in the documented shape that says which. A candidate ending in `.all` has the same
under every name at once, which is quicker where ImBox ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from schemas.wire import candidates

#: the fixed parameter that says what to try
CANDIDATE = "candidate"
#: where a link of the probe leads; reserved for examples
_PAGE = "https://example.com/"
# What is drawn at all has the right type, too.
_HTML = 'html_type = "html"'
_ACCORDION = 'accordion_type = "accordion"'
#: what stands in place of a candidate after the last
_END = "nothing: that was the last"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Names to try together."""

    #: the value of the parameter `candidate`
    name: str
    #: what an agent sees when they are right
    sign: str
    #: the lines for `[wire]`, or how to find them
    wire: str
    #: the element that is tried
    element: Mapping[str, Any] | None = None
    #: the contactLink that is tried
    link: Mapping[str, Any] | None = None


def all_candidates() -> tuple[Candidate, ...]:
    """Every candidate, in the order to try them."""
    return (*_html(), *_accordion(), *_link())


def probe_reply(wanted: str, received: Iterable[str]) -> dict[str, Any]:
    """The reply to one probing request; without a candidate it is the instructions.

    Args:
        wanted: the parameter `candidate`.
        received: names of the parameters that ImBox sent; values are not shown.
    """
    offered = {candidate.name: candidate for candidate in all_candidates()}
    names = list(offered)
    sent = sorted({*received} - {CANDIDATE})
    rows = [("ImBox sent", ", ".join(sent) or "no parameters")]
    chosen = offered.get(wanted)
    if chosen is None:
        if wanted:
            rows.append(("No such candidate", "take one of those below"))
        rows.append(("What to do", f"set the fixed parameter candidate to {names[0]}, then look"))
        rows += [("Candidate", name) for name in names]
        return _reply(rows)
    at = names.index(wanted) + 1
    left = names[at:]
    others = (name for name in left if _kind(name) != _kind(wanted))
    rows += [
        ("Candidate", f"{chosen.name}, {at} of {len(names)}"),
        ("It is right if", chosen.sign),
        ("Then write under [wire]", chosen.wire),
        ("And then try", next(others, _END)),
        ("If not, try", next(iter(left), _END)),
    ]
    return _reply(rows, chosen.element, chosen.link)


def _kind(name: str) -> str:
    """What a candidate is of: html, accordion or link."""
    return name.partition(".")[0]


def _reply(
    rows: Iterable[tuple[str, str]],
    element: Mapping[str, Any] | None = None,
    link: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    blocks = [{"name": "ImBox probe", "icon": "info", "data": [_list(rows)]}]
    if element:
        blocks.append({"name": "The candidate", "icon": "science", "data": [element]})
    return {"contactName": None, "contactLink": link, "blocks": blocks}


def _html() -> Iterator[Candidate]:
    def markup(name: str) -> str:
        return f"<b>bold words</b>, from {name}"

    names = candidates("html_content")
    yield Candidate(
        name="html.all",
        sign='the block "The candidate" shows bold words, and says where from',
        wire=f'{_HTML}\nhtml_content = "the name it says"',
        element={"type": "html", **{name: markup(name) for name in names}},
    )
    for name in names:
        yield Candidate(
            name=f"html.{name}",
            sign='the block "The candidate" shows bold words',
            wire=f'{_HTML}\nhtml_content = "{name}"',
            element={"type": "html", name: markup(name)},
        )


def _accordion() -> Iterator[Candidate]:
    def inside(name: str) -> list[Any]:
        return [_list([("opened", f"from {name}")])]

    titles, data = candidates("accordion_title"), candidates("accordion_data")
    yield Candidate(
        name="accordion.all",
        sign='"The candidate" has a title that says where from, and opens to say the same',
        wire=f'{_ACCORDION}\naccordion_title = "the name it says"\n'
        'accordion_data = "the name inside"',
        element={
            "type": "accordion",
            **{name: inside(name) for name in data},
            **{title: f"A title from {title}" for title in titles},
        },
    )
    for title, name in product(titles, data):
        yield Candidate(
            name=f"accordion.{title}.{name}",
            sign='"The candidate" has a title, and opens',
            wire=f'{_ACCORDION}\naccordion_title = "{title}"\naccordion_data = "{name}"',
            element={"type": "accordion", title: f"A title from {title}", name: inside(name)},
        )


def _link() -> Iterator[Candidate]:
    def page(name: str) -> str:
        return f"{_PAGE}?from={name}"

    texts, urls = candidates("link_text"), candidates("link_url")
    yield Candidate(
        name="link.all",
        sign="there is a link that says where from, and the page's address says the same",
        wire='link_text = "the name it says"\nlink_url = "the name in the address"',
        link={**{text: f"from {text}" for text in texts}, **{url: page(url) for url in urls}},
    )
    for text, url in product(texts, urls):
        yield Candidate(
            name=f"link.{text}.{url}",
            sign=f"there is a link with a text, and it opens {_PAGE}",
            wire=f'link_text = "{text}"\nlink_url = "{url}"',
            link={text: f"from {text}", url: page(url)},
        )


def _list(rows: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {"type": "list", "rows": [{"label": label, "text": text} for label, text in rows]}
