"""Layout and findings become the Reply: within its limits, and never blank without a reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from imbox_plugin.fit import Fit
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer, tell, text_lines
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

_NO_LINKS: Mapping[str, Link] = MappingProxyType({})


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

    def compose(
        self,
        lookup: Lookup,
        findings: Sequence[Finding],
        link: Link | None,
        links: Mapping[str, Link] = _NO_LINKS,
    ) -> Reply:
        """The card for one lookup; it says why where it shows less than it could.

        Args:
            lookup: what ImBox asked.
            findings: what the sources answered.
            link: the contact link.
            links: every link that applies, by name, for layouts to show.
        """
        matches = [finding.match for finding in findings if finding.match]
        leader = best_match(findings)
        reasons = list(self._notices.about(lookup, findings))
        failed: list[str] = []
        blocks = list(self._person(lookup, matches, leader, links, failed)) if leader else []
        reasons += [self._notices.row("element_failed", block=name) for name in failed]
        footer = None
        if self._documented:
            blocks = list(self._documented_shapes(blocks))
            footer = self._link_block(link) if link else None
        if leader and not blocks:
            reasons.append(self._notices.row("nothing_to_show"))
        name = self._fit.text(leader.contact.name).strip() if leader else ""
        reply = Reply(name, link, tuple(blocks))
        return self._fit.card(reply, dict.fromkeys(reasons), footer)

    def failure(self) -> Reply:
        """The card that stands in for one that could not be made."""
        return self._fit.card(Reply(), [self._notices.row("card_failed")])

    def _person(
        self,
        lookup: Lookup,
        matches: Sequence[Match],
        leader: Match,
        links: Mapping[str, Link],
        failed: list[str],
    ) -> Iterator[Block]:
        """The blocks about the person found; the names of those that failed go to `failed`."""
        by_source = {match.source: match for match in matches}
        common = {**common_values(lookup, matches), "links": links}
        for layout in self._blocks:
            match = by_source.get(layout.source) if layout.source else leader
            if match is None or lookup.view not in layout.views:
                continue
            values = values_about(match, common)
            yield from self._block(layout, values, match.source, failed)
        shown = {name for layout in self._blocks for name in (layout.source, *layout.others)}
        if None not in shown:
            for match in matches:
                if match.source not in shown:
                    yield from self._default_block(match, failed)

    def _block(
        self, layout: BlockLayout, values: Values, source: str, failed: list[str]
    ) -> Iterator[Block]:
        """The block, unless it is empty; a part that fails leaves the rest standing."""
        wanted, name = False, source
        with _Apart(layout.path, source, failed):
            wanted = _wanted(layout.when, values)
        if not wanted:
            return
        with _Apart(layout.path, source, failed):
            name = self._fit.text(layout.name(values)).strip() or source
        data: list[Element] = []
        for element in layout.data:
            with _Apart(element.path, name, failed):
                data.extend(self._elements(element, values))
        if data:
            block = Block(name, layout.icon, tuple(data))
            tell(layout.path, block)
            yield block

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
            yield from self._list(layout, items)
        elif isinstance(layout, TableLayout):
            yield from self._table(layout, items, values)
        else:
            yield from self._html(layout, items)

    def _list(self, layout: ListLayout, items: Sequence[Values]) -> Iterator[ListElement]:
        wanted = [
            (row, inner) for inner in items for row in layout.rows if _wanted(row.when, inner)
        ]
        most = self._fit.most_items()
        labels = self._fit.texts([row.label(inner) for row, inner in wanted[:most]])
        texts = self._fit.texts([row.text(inner) for row, inner in wanted[:most]])
        if wanted:
            yield self._fit.rows(list(map(Row, labels, texts)), len(wanted) - most)

    def _table(
        self, layout: TableLayout, items: Sequence[Values], values: Values
    ) -> Iterator[TableElement]:
        columns = [column for column in layout.columns if _wanted(column.when, values)]
        if not columns:
            return
        most = self._fit.most_rows(len(columns))
        fit, cells = self._fit.texts, [column.text for column in columns]
        rows = [tuple(fit([cell(inner) for cell in cells])) for inner in items[:most]]
        headers = fit([column.header(values) for column in columns])
        yield self._fit.table(headers, rows, len(items) - most)

    def _html(
        self, layout: HtmlLayout, items: Sequence[Values]
    ) -> Iterator[HtmlElement | ListElement]:
        most = self._fit.most_items()
        for inner in items[:most]:
            element = None
            try:
                clean = self._markup(layout, inner)
                element = HtmlElement(clean) if clean.strip() else None
            finally:
                tell(layout.path, element)
            if element:
                yield element
        yield from self._more_items(len(items) - most)

    def _markup(self, layout: HtmlLayout, values: Values) -> str:
        """Markup that may leave."""
        markup = layout.markup(values)
        if layout.trusted:
            return self._fit.trusted(markup)
        clean = self._fit.markup(markup)
        if clean != markup or not layout.markup.clean:
            clean = self._sanitizer.clean(clean)
        return clean

    def _accordion(self, layout: AccordionLayout, values: Values) -> Iterator[Element]:
        items = _items(layout.each, values)
        most = self._fit.most_items()
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

    def _default_block(self, match: Match, failed: list[str]) -> Iterator[Block]:
        """What a source without a layout shows: its texts as a list, its records as tables."""
        data: list[Element] = []
        with _Apart(f"the default block of {match.source}", match.source, failed):
            data.extend(self._default_elements(match.contact))
        if data:
            yield Block(match.source, "contact_page", tuple(data))

    def _default_elements(self, contact: Contact) -> Iterator[Element]:
        identities = (
            (self._formats.sentence("label_name"), contact.name),
            (self._formats.sentence("label_external_id"), contact.external_id),
            (self._formats.sentence("label_email"), contact.emails),
            (self._formats.sentence("label_phone"), contact.phones),
        )
        details = [(_label(name), value) for name, value in contact.details.items()]
        plain = [(label, value) for label, value in details if not _is_records(value)]
        rows = [
            Row(self._fit.text(label), text)
            for label, value in (*identities, *plain)
            if (text := self._fit.text(value))
        ]
        if rows:
            yield self._fit.rows(rows)
        yield from (self._record_table(value) for _, value in details if _is_records(value))

    def _record_table(self, records: Sequence[Mapping[str, Any]]) -> TableElement:
        names = list(dict.fromkeys(name for record in records for name in record))
        columns = names[: self._fit.most_columns()]
        most = self._fit.most_rows(len(columns))
        headers = [self._fit.text(_label(column)) for column in columns]
        rows = [
            tuple(self._fit.text(record.get(column)) for column in columns)
            for record in records[:most]
        ]
        if len(names) > len(columns):
            headers.append(self._fit.more(len(names) - len(columns)))
            rows = [(*row, "") for row in rows]
        return self._fit.table(headers, rows, len(records) - most)

    def _documented_shapes(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks in documented shapes only."""
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
                    yield Block(element.title or block.name, block.icon, tuple(inside))
            if rest:
                yield Block(block.name, block.icon, tuple(rest))

    def _link_block(self, link: Link) -> Block:
        """The contact link as a row."""
        title = self._formats.sentence("label_contact_link")
        return Block(title, "open_in_new", (ListElement((Row(link.text, link.url),)),))

    def _documented_element(self, element: _Leaf) -> Iterator[ListElement | TableElement]:
        if isinstance(element, HtmlElement):
            rows = [Row("", self._fit.text(line)) for line in text_lines(element.html)]
            if rows:
                yield self._fit.rows(rows)
        else:
            yield element


class _Apart:
    """What fails inside leaves the card standing, and the block's name is added to `failed`.

    A generator would say the same in less, and take three times as long, a dozen times a card.
    """

    __slots__ = ("_block", "_failed", "_place")

    def __init__(self, place: str, block: str, failed: list[str]) -> None:
        self._place = place
        self._block = block
        self._failed = failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        # A layout is the integrator's program over data nobody has seen before. The message may
        # hold data, so only its kind is logged.
        _log.error("%s cannot be shown: %s", self._place, kind.__name__)
        self._failed.append(self._block)
        return True


def common_values(lookup: Lookup, matches: Iterable[Match]) -> Values:
    """What layouts and conditions read whomever they are about."""
    contacts = {match.source: _details(match.contact) for match in matches}
    return {"contacts": contacts, "lookup": _asked(lookup)}


def values_about(match: Match, common: Values) -> Values:
    """What layouts and conditions read about one match."""
    return {
        **common,
        "contact": common["contacts"][match.source],
        "match": {
            "source": match.source,
            "key": match.key.value,
            "age": match.age,
            "via": match.via,
        },
    }


def _wanted(when: Expression | None, values: Values) -> bool:
    return when is None or not blank(when(values))


def _items(each: Expression | None, values: Values) -> list[Values]:
    """The values for each item; without `each` just the values as they are.

    A mapping is one item, as one record often stands where there could be several.

    Raises:
        TypeError: `each` gives a text or a number, which has no items.
    """
    if each is None:
        return [values]
    found = each(values)
    if blank(found):
        return []
    if isinstance(found, Mapping):
        found = [found]
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


def _label(name: object) -> str:
    """`placed_on` as a person writes it."""
    words = str(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]
