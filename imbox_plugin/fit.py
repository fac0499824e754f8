"""How much one card may hold, and what is said where it held more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from imbox_plugin.formats import Formats
from imbox_plugin.model import AccordionElement, Block, Element, HtmlElement, ListElement, Row
from imbox_plugin.settings import Limits

#: what no text on a card needs: control characters but tab and line feed, halves of characters
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

#: bytes of JSON around one text; around an element the configurable names may be long
_AROUND_TEXT = 24
_AROUND_ELEMENT = 256

_ELLIPSIS = "…"


class Fit:
    """Cuts texts, rows and blocks to the limits, visibly. Built once at start."""

    def __init__(self, limits: Limits, formats: Formats) -> None:
        self._limits = limits
        self._formats = formats

    def text(self, value: Any) -> str:
        """Any value as a text that is safe to send and not too long."""
        text = _UNFIT.sub("", self._formats.text(value))
        most = self._limits.characters
        return text if len(text) <= most else text[: most - 1] + _ELLIPSIS

    def markup(self, markup: str) -> str:
        """Markup before it is sanitised, which closes what the cut left open."""
        return _UNFIT.sub("", markup)[: self._limits.html]

    def rows(self, rows: Sequence[Row]) -> ListElement:
        """A list of as many rows as may be, and "+12 more"."""
        most = self._limits.rows
        if len(rows) <= most:
            return ListElement(tuple(rows))
        return ListElement((*rows[:most], Row(_ELLIPSIS, self.more(len(rows) - most))))

    def most_rows(self, columns: int) -> int:
        """How many rows a table of so many columns may have."""
        return min(self._limits.rows, max(1, self._limits.cells // max(1, columns)))

    def most_sections(self) -> int:
        """How many sections or repetitions one accordion or html element of a layout may give."""
        return self._limits.rows

    def more(self, count: int) -> str:
        """What stands for `count` left-out items."""
        return self._formats.sentence("more", count=count)

    def blocks(self, notices: Sequence[Row], blocks: Iterable[Block]) -> tuple[Block, ...]:
        """The notices, then as many blocks and elements as the card may hold."""
        cut = Row(self._formats.sentence("label_cut"), self._formats.sentence("cut"))
        room = self._limits.bytes - _size(self._notice_block([*notices, cut]))
        kept: list[Block] = []
        complete = True
        for block in blocks:
            whole, room = _within(block, room)
            complete = whole == block and len(kept) < self._limits.blocks
            if whole.data and len(kept) < self._limits.blocks:
                kept.append(whole)
            if not complete:
                break
        shown = list(notices) if complete else [*notices, cut]
        return (self._notice_block(shown), *kept) if shown else tuple(kept)

    def _notice_block(self, rows: Iterable[Row]) -> Block:
        name = self._formats.sentence("notice_title")
        return Block(name, "info", (ListElement(tuple(rows)),))


def _within(block: Block, room: int) -> tuple[Block, int]:
    """The block with the first of its elements that have room, and the room that is left."""
    room -= _size(Block(block.name, block.icon, ()))
    kept: list[Element] = []
    for element in block.data:
        size = _element_size(element)
        if size > room:
            break
        room -= size
        kept.append(element)
    return Block(block.name, block.icon, tuple(kept)), room


def _size(block: Block) -> int:
    """Bytes of a block as JSON, never too few."""
    own = _AROUND_ELEMENT + _text_size(block.name) + _text_size(block.icon)
    return own + sum(map(_element_size, block.data))


def _element_size(element: Element) -> int:
    if isinstance(element, HtmlElement):
        texts: Iterable[str] = [element.html]
    elif isinstance(element, ListElement):
        texts = (text for row in element.rows for text in (row.label, row.text))
    elif isinstance(element, AccordionElement):
        inside = sum(map(_element_size, element.data))
        return _AROUND_ELEMENT + _text_size(element.title) + inside
    else:
        texts = (text for row in (element.headers, *element.rows) for text in row)
    return _AROUND_ELEMENT + sum(map(_text_size, texts))


def _text_size(text: str) -> int:
    return _AROUND_TEXT + len(json.dumps(text, ensure_ascii=False).encode())
