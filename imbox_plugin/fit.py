"""How much one card may hold, and what is said where it held more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias, TypeVar

import orjson

from imbox_plugin.formats import Formats
from imbox_plugin.model import (
    AccordionElement,
    Block,
    Element,
    HtmlElement,
    Link,
    ListElement,
    Reply,
    Row,
    TableElement,
)
from imbox_plugin.settings import Limits

#: what no text on a card needs: control characters but tab and line feed, halves of characters
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

#: bytes of JSON around one text; around an element or a link the configurable names may be long
_AROUND_TEXT = 23
_AROUND_ELEMENT = 256

#: bytes of a share that is still worth having: a few rows, or a short text
_USEFUL = 1_024

_ELLIPSIS = "…"

_Part = TypeVar("_Part")
_Leaf: TypeAlias = ListElement | TableElement | HtmlElement


class TooLong(Exception):
    """A part is over its limit and cannot be shortened."""


class Fit:
    """Cuts texts, rows and blocks to the limits, visibly. Built once at start."""

    def __init__(self, limits: Limits, formats: Formats) -> None:
        self._limits = limits
        self._formats = formats
        self._cut = Row(formats.sentence("label_cut"), formats.sentence("cut"))
        self._cut_size = _size(self._notices([self._cut]))

    def text(self, value: Any) -> str:
        """Any value as a text that is safe to send and not too long."""
        text = value if type(value) is str else self._formats.text(value)
        if text.isprintable() and len(text) <= self._limits.characters:
            return text
        return _shortened(_fitting(text), self._limits.characters)

    def texts(self, texts: list[str]) -> list[str]:
        """Texts that are safe to send and not too long; looked at as one, as most often all are."""
        whole = "".join(texts)
        if len(whole) <= self._limits.characters and not _UNFIT.search(whole):
            return texts
        return [self.text(text) for text in texts]

    def markup(self, markup: str) -> str:
        """Markup on its way to the sanitizer, which closes what a cut leaves open."""
        markup = _fitting(markup)
        if len(markup) <= self._limits.html:
            return markup
        cut = markup[: self._limits.html - 1]
        for opens, closes, longest in (("<", ">", len(cut)), ("&", ";", 10)):
            at = cut.rfind(opens, max(0, len(cut) - longest))
            if at > cut.rfind(closes):
                cut = cut[:at]
        return cut + _ELLIPSIS

    def trusted(self, markup: str) -> str:
        """Markup that no sanitizer mends, so that a cut could leave a script or a style open.

        Raises:
            TooLong: it is over the limit.
        """
        markup = _fitting(markup)
        if len(markup) > self._limits.html:
            raise TooLong
        return markup

    def most_items(self) -> int:
        """How many rows a list may have, and how often an element may be repeated."""
        return self._limits.rows

    def most_rows(self, columns: int) -> int:
        """How many rows a table of so many columns may have: one at least."""
        return min(self._limits.rows, max(1, self._limits.cells // max(1, columns)))

    def most_columns(self) -> int:
        """How many columns a table may have."""
        return self._limits.cells

    def more(self, count: int) -> str:
        """What stands for `count` left-out items."""
        return self._formats.sentence("more", count=count)

    def rows(self, rows: Sequence[Row], left_out: int = 0) -> ListElement:
        """A list of as many rows as may be, and "+12 more".

        Args:
            rows: those at hand.
            left_out: how many more there are.
        """
        most = self.most_items()
        left_out += max(0, len(rows) - most)
        more = [Row(_ELLIPSIS, self.more(left_out))] if left_out > 0 else []
        return ListElement((*rows[:most], *more))

    def table(
        self, headers: Sequence[str], rows: Sequence[tuple[str, ...]], left_out: int
    ) -> TableElement:
        """A table of these rows, and "+12 more" for those that are left out."""
        more = [_padded(self.more(left_out), headers)] if left_out > 0 else []
        return TableElement(tuple(headers), (*rows, *more))

    def card(self, reply: Reply, notices: Iterable[Row], footer: Block | None = None) -> Reply:
        """The reply with its notices on top, and as much of it as a card may hold.

        Where it holds more bytes than may be, the largest parts are shortened first, so that a
        long table costs nobody the short list behind it.

        Args:
            reply: name, link and blocks.
            notices: why it shows less than it could.
            footer: a block for the end, which nothing before it crowds out.
        """
        room = self._limits.bytes - _AROUND_ELEMENT
        # at most an eighth of the room, as a character has at most four bytes
        name = _shortened(reply.contact_name or "", room // 32)
        link = reply.contact_link if _link_size(reply.contact_link) <= room // 4 else None
        last = [footer] if footer and _size(footer) <= room // 4 else []
        reasons = list(notices)
        said = _leading(reasons, room // 3 - self._cut_size, _row_size)
        room -= _texts_size([name]) + _link_size(link) + sum(map(_size, last))
        room -= self._cut_size + sum(map(_row_size, said))
        blocks = _share(reply.blocks[: self._limits.blocks], room, _size, self._shorter_block)
        whole = (blocks, link, said) == (reply.blocks, reply.contact_link, reasons)
        if not whole or (footer and not last):
            said.append(self._cut)
        top = [self._notices(said)] if said else []
        return Reply(name or None, link, (*top, *blocks, *last))

    def _notices(self, rows: Iterable[Row]) -> Block:
        name = self._formats.sentence("notice_title")
        return Block(name, "info", (ListElement(tuple(rows)),))

    def _shorter_block(self, block: Block, room: int) -> Block | None:
        """The block in so many bytes, or None when nothing of it fits."""
        if _size(block) <= room:
            return block
        room -= _size(Block(block.name, block.icon, ()))
        data = _share(block.data, room, _element_size, self._shorter)
        return Block(block.name, block.icon, data) if data else None

    def _shorter(self, element: Element, room: int) -> Element | None:
        """The element in so many bytes, or None when nothing of it fits."""
        if not isinstance(element, AccordionElement):
            return self._shorter_leaf(element, room)
        if _element_size(element) <= room:
            return element
        room -= _element_size(AccordionElement(element.title, ()))
        data = _share(element.data, room, _element_size, self._shorter_leaf)
        return AccordionElement(element.title, data) if data else None

    def _shorter_leaf(self, element: _Leaf, room: int) -> _Leaf | None:
        if _element_size(element) <= room:
            return element
        if isinstance(element, ListElement):
            end = Row(_ELLIPSIS, self._cut.text)
            rows = _leading(element.rows, room - _element_size(ListElement((end,))), _row_size)
            return ListElement((*rows, end)) if rows else None
        if isinstance(element, TableElement):
            last = _padded(self._cut.text, element.headers)
            room -= _element_size(TableElement(element.headers, (last,)))
            cells = _leading(element.rows, room, _texts_size)
            return TableElement(element.headers, (*cells, last)) if cells else None
        return None  # markup cannot be cut once it is sanitised


def _share(
    parts: Sequence[_Part],
    room: int,
    size: Callable[[_Part], int],
    shorter: Callable[[_Part, int], _Part | None],
) -> tuple[_Part, ...]:
    """The parts in so many bytes: the largest are shortened first, and of equals the last.

    Of so many parts that none would get a useful share, those at the end are left out.
    """
    sizes = [size(part) for part in parts]
    if sum(sizes) <= room:
        return tuple(parts)
    least = accumulate(min(bytes_, _USEFUL) for bytes_ in sizes)
    count = max(1, sum(used <= room for used in least))
    by_size = sorted(range(count), key=lambda at: (sizes[at], -at))
    kept: dict[int, _Part] = {}
    for waiting, at in zip(range(count, 0, -1), by_size, strict=True):
        part = shorter(parts[at], room // waiting)
        if part is not None:
            kept[at] = part
            room -= size(part)
    return tuple(kept[at] for at in sorted(kept))


def _leading(rows: Sequence[_Part], room: int, size: Callable[[_Part], int]) -> list[_Part]:
    """As many of the first rows as have room."""
    used = accumulate(map(size, rows))
    return [row for row, bytes_ in zip(rows, used, strict=True) if bytes_ <= room]


def _padded(text: str, headers: Sequence[str]) -> tuple[str, ...]:
    """A table row with a text in its first cell."""
    return (text, *[""] * (len(headers) - 1))


def _fitting(text: str) -> str:
    # what is unfit is not printable
    return text if text.isprintable() else _UNFIT.sub("", text)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS


def _size(block: Block) -> int:
    """Bytes of a block as JSON, never too few."""
    own = _AROUND_ELEMENT + _texts_size([block.name, block.icon])
    return own + sum(map(_element_size, block.data))


def _element_size(element: Element) -> int:
    if isinstance(element, HtmlElement):
        inside = _texts_size([element.html])
    elif isinstance(element, ListElement):
        inside = _texts_size([text for row in element.rows for text in (row.label, row.text)])
    elif isinstance(element, AccordionElement):
        inside = _texts_size([element.title]) + sum(map(_element_size, element.data))
    else:
        inside = _texts_size([*element.headers, *chain.from_iterable(element.rows)])
    return _AROUND_ELEMENT + inside


def _link_size(link: Link | None) -> int:
    return _AROUND_ELEMENT + _texts_size([link.text, link.url]) if link else 0


def _row_size(row: Row) -> int:
    return _texts_size([row.label, row.text])


def _texts_size(texts: Sequence[str]) -> int:
    return _AROUND_TEXT * len(texts) + len(orjson.dumps(texts))
