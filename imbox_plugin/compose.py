"""Layout and findings become the Reply: within its limits, and never blank without a reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from jinja2 import Undefined

from imbox_plugin.fit import Fit
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer, text_lines
from imbox_plugin.layout import (
    AccordionLayout,
    BlockLayout,
    ElementLayout,
    Expression,
    HtmlLayout,
    ListLayout,
    TableLayout,
    Values,
    blank,
)
from imbox_plugin.model import (
    AccordionElement,
    Block,
    Contact,
    Element,
    Finding,
    HtmlElement,
    Link,
    ListElement,
    Lookup,
    Match,
    Reply,
    Row,
    TableElement,
    best_match,
)
from imbox_plugin.notices import Notices

_log = logging.getLogger(__name__)

_Leaf: TypeAlias = ListElement | TableElement | HtmlElement


class Composer:
    """Makes the replies of one panel. Built once at start, used from many threads.

    Args:
        blocks: the layout; a source that none of them shows gets a default block.
        formats: the locale.
        sanitizer: what an html element passes on its way out.
        fit: how much one card may hold.
        documented: restrict the reply to the shapes ImBox documents: an accordion becomes a block
            of its own, html becomes rows of text, and the contact link is a row as well.
    """

    def __init__(
        self,
        blocks: Sequence[BlockLayout],
        formats: Formats,
        sanitizer: Sanitizer,
        fit: Fit,
        *,
        documented: bool = False,
    ) -> None:
        self._blocks = tuple(blocks)
        self._formats = formats
        self._sanitizer = sanitizer
        self._fit = fit
        self._notices = Notices(formats)
        self._documented = documented

    def compose(self, lookup: Lookup, findings: Sequence[Finding], link: Link | None) -> Reply:
        """The card for one lookup; it says why where it shows less than it could."""
        matches = [finding.match for finding in findings if finding.match]
        leader = best_match(findings)
        reasons = list(self._notices.about(lookup, findings))
        blocks = list(self._person(lookup, matches, leader, reasons)) if leader else []
        if leader and not blocks and not reasons:
            reasons.append(self._notices.row("nothing_to_show"))
        if self._documented:
            blocks = list(self._documented_shapes(blocks, link))
        name = self._fit.text(leader.contact.name) if leader else ""
        return Reply(name or None, link, self._fit.blocks(reasons, blocks))

    def failure(self) -> Reply:
        """The card that stands in for one that could not be made."""
        return Reply(blocks=self._fit.blocks([self._notices.row("card_failed")], ()))

    def _person(
        self, lookup: Lookup, matches: Sequence[Match], leader: Match, reasons: list[Row]
    ) -> Iterator[Block]:
        """The blocks about the person found; where one fails, it is said in `reasons`."""
        by_source = {match.source: match for match in matches}
        contacts = {match.source: _details(match.contact) for match in matches}
        asked = _asked(lookup)
        for layout in self._blocks:
            match = by_source.get(layout.source) if layout.source else leader
            if match is None or lookup.view not in layout.views:
                continue
            values = {
                "contact": contacts[match.source],
                "contacts": contacts,
                "lookup": asked,
                "match": {"source": match.source, "key": match.key.value, "age": match.age},
            }
            yield from self._block(layout, values, match.source, reasons)
        shown = {layout.source for layout in self._blocks}
        if None not in shown:
            for match in matches:
                if match.source not in shown:
                    yield from self._default_block(match)

    def _block(
        self, layout: BlockLayout, values: Values, source: str, reasons: list[Row]
    ) -> Iterator[Block]:
        """The block, unless it is empty; a part that fails leaves the rest standing."""
        data: list[Element] = []
        name = source
        for element in (None, *layout.data):
            try:
                if element is None:
                    if not _wanted(layout.when, values):
                        return
                    name = self._fit.text(layout.name(values)) or source
                else:
                    data.extend(self._elements(element, values))
            except Exception as error:  # noqa: BLE001
                # A layout is the integrator's program over data nobody has seen before. The
                # message may hold data, so only its kind is logged.
                place = element.path if element else layout.path
                _log.error("%s cannot be shown: %s", place, type(error).__name__)
                reasons.append(self._notices.row("element_failed", block=name))
        if data:
            yield Block(name, layout.icon, tuple(data))

    def _elements(self, layout: ElementLayout, values: Values) -> Iterator[Element]:
        """What one element of the layout gives, which is nothing when it is not wanted."""
        if not _wanted(layout.when, values):
            return
        if isinstance(layout, AccordionLayout):
            yield from self._accordion(layout, values)
        else:
            yield from self._leaf(layout, values)

    def _leaf(
        self, layout: ListLayout | TableLayout | HtmlLayout, values: Values
    ) -> Iterator[_Leaf]:
        items = _items(layout.each, values)
        if not items:
            return
        if isinstance(layout, ListLayout):
            rows = [
                Row(self._fit.text(row.label(inner)), self._fit.text(row.text(inner)))
                for inner in items
                for row in layout.rows
                if _wanted(row.when, inner)
            ]
            if rows:
                yield self._fit.rows(rows)
        elif isinstance(layout, TableLayout):
            yield from self._table(layout, items, values)
        else:
            most = self._fit.most_sections()
            for inner in items[:most]:
                markup = self._fit.markup(layout.markup(inner))
                clean = markup if layout.trusted else self._sanitizer.clean(markup)
                if clean.strip():
                    yield HtmlElement(clean)
            yield from self._more_items(len(items) - most)

    def _table(
        self, layout: TableLayout, items: Sequence[Values], values: Values
    ) -> Iterator[TableElement]:
        columns = [column for column in layout.columns if _wanted(column.when, values)]
        if not columns:
            return
        most = self._fit.most_rows(len(columns))
        rows = [
            tuple(self._fit.text(column.text(inner)) for column in columns)
            for inner in items[:most]
        ]
        headers = [self._fit.text(column.header(values)) for column in columns]
        yield self._full_table(headers, rows, len(items) - most)

    def _full_table(
        self, headers: Sequence[str], rows: Sequence[tuple[str, ...]], left_out: int
    ) -> TableElement:
        more = [(self._fit.more(left_out), *[""] * (len(headers) - 1))] if left_out > 0 else []
        return TableElement(tuple(headers), (*rows, *more))

    def _accordion(self, layout: AccordionLayout, values: Values) -> Iterator[Element]:
        items = _items(layout.each, values)
        most = self._fit.most_sections()
        for inner in items[:most]:
            data = tuple(
                leaf
                for part in layout.data
                if _wanted(part.when, inner)
                for leaf in self._leaf(part, inner)
            )
            if data:
                yield AccordionElement(self._fit.text(layout.title(inner)), data)
        yield from self._more_items(len(items) - most)

    def _more_items(self, left_out: int) -> Iterator[ListElement]:
        if left_out > 0:
            yield ListElement((Row("…", self._fit.more(left_out)),))

    def _default_block(self, match: Match) -> Iterator[Block]:
        """What a source without a layout shows: its texts as a list, its records as tables."""
        contact, sentence = match.contact, self._formats.sentence
        identities = {
            sentence("label_name"): contact.name,
            sentence("label_external_id"): contact.external_id,
            sentence("label_email"): contact.emails,
            sentence("label_phone"): contact.phones,
        }
        tables = {name: value for name, value in contact.details.items() if _is_records(value)}
        plain = {
            _label(name): value for name, value in contact.details.items() if name not in tables
        }
        rows = [
            Row(self._fit.text(label), text)
            for label, value in (*identities.items(), *plain.items())
            if (text := self._fit.text(value))
        ]
        data: list[Element] = [self._fit.rows(rows)] if rows else []
        data.extend(self._record_table(records) for records in tables.values())
        if data:
            yield Block(match.source, "contact_page", tuple(data))

    def _record_table(self, records: Sequence[Mapping[str, Any]]) -> TableElement:
        columns = list(dict.fromkeys(name for record in records for name in record))
        most = self._fit.most_rows(len(columns))
        rows = [
            tuple(self._fit.text(record.get(column)) for column in columns)
            for record in records[:most]
        ]
        headers = [self._fit.text(_label(column)) for column in columns]
        return self._full_table(headers, rows, len(records) - most)

    def _documented_shapes(self, blocks: Iterable[Block], link: Link | None) -> Iterator[Block]:
        """The same card in documented shapes only."""
        for block in blocks:
            rest: list[Element] = []
            for element in block.data:
                if not isinstance(element, AccordionElement):
                    rest.extend(self._documented_element(element))
                    continue
                if rest:
                    yield Block(block.name, block.icon, tuple(rest))
                    rest = []
                inside = [part for leaf in element.data for part in self._documented_element(leaf)]
                if inside:
                    yield Block(element.title, block.icon, tuple(inside))
            if rest:
                yield Block(block.name, block.icon, tuple(rest))
        if link:
            row = Row(link.text, link.url)
            title = self._formats.sentence("label_contact_link")
            yield Block(title, "open_in_new", (ListElement((row,)),))

    def _documented_element(self, element: _Leaf) -> Iterator[ListElement | TableElement]:
        if isinstance(element, HtmlElement):
            rows = [Row("", self._fit.text(line)) for line in text_lines(element.html)]
            if rows:
                yield self._fit.rows(rows)
        else:
            yield element


def _wanted(when: Expression | None, values: Values) -> bool:
    return when is None or not blank(when(values))


def _items(each: Expression | None, values: Values) -> list[Values]:
    """The values for each item; without `each` just the values as they are.

    Raises:
        TypeError: `each` gives a text or a number, which has no items.
    """
    if each is None:
        return [values]
    found = each(values)
    if found is None or isinstance(found, Undefined):
        return []
    if isinstance(found, Mapping):
        found = [found] if found else []
    if isinstance(found, str | bytes):
        raise TypeError("a text has no items")
    return [{**values, "item": item, "index": at} for at, item in enumerate(found, start=1)]


def _details(contact: Contact) -> Mapping[str, Any]:
    """A contact as layouts read it: its details by name, and its identities."""
    return {
        **contact.details,
        "name": contact.name,
        "external_id": contact.external_id,
        "contact_id": contact.contact_id,
        "email": next(iter(contact.emails), None),
        "emails": contact.emails,
        "phone": next(iter(contact.phones), None),
        "phones": contact.phones,
    }


def _asked(lookup: Lookup) -> Mapping[str, Any]:
    """A lookup as layouts read it."""
    return {
        "view": lookup.view.value,
        "external_id": lookup.external_id,
        "contact_id": lookup.contact_id,
        "email": lookup.email,
        "phone": lookup.phone,
        "ticket_id": lookup.ticket_id,
        "channel_id": lookup.channel_id,
        "call_id": lookup.call_id,
        "extras": lookup.extras,
    }


def _is_records(value: object) -> bool:
    """Whether a detail is a list of records that share one table."""
    return (
        isinstance(value, list | tuple)
        and any(value)
        and all(isinstance(item, Mapping) for item in value)
    )


def _label(name: str) -> str:
    """`placed_on` as a person writes it."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
