"""The limits of a card: what is cut, how it shows, and that no card is too large."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin.fit import Fit, TooLong
from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer, text_lines
from imbox_plugin.model import (
    AccordionElement,
    Block,
    HtmlElement,
    Link,
    ListElement,
    Reply,
    Row,
    TableElement,
)
from imbox_plugin.settings import Limits
from tests.cards import LONG_NAMES, dumped, size

EN = Formats("en")
NOTICE = EN.sentence("notice_title")
SHORTENED = Row(EN.sentence("label_cut"), EN.sentence("cut"))


def fit(formats=EN, **limits):
    return Fit(Limits(**limits), formats)


def rows(count, text="x"):
    return tuple(Row(str(at), text) for at in range(count))


def block(*data, name="B"):
    return Block(name, "info", data)


def names(reply):
    return [block.name for block in reply.blocks]


# Texts


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1234567", "1234567"),
        ("12345678", "123456…"),
        ("åäöåäöåäö", "åäöåäö…"),
        (12345678, "123456…"),
        (["a", "b", "c"], "a, b, c"),
        (None, ""),
        (float("nan"), "NaN"),
    ],
)
def test_a_text_of_too_many_characters_ends_with_an_ellipsis(value, shown):
    assert fit(characters=7).text(value) == shown


def test_a_text_may_be_one_character():
    assert fit(characters=1).text("abc") == "…"


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["\xa0", "\x00", "\ud800", "\n"]))))
def test_texts_looked_at_together_are_as_each_by_itself(texts):
    together = fit(characters=20)

    assert together.texts(texts) == [together.text(text) for text in texts]


def test_what_cannot_be_shown_or_sent_is_taken_out_of_a_text():
    text = fit().text("a\x00b\x1b\x7f\x85\ud800\udfffc\td\n\r\u200d😀")

    assert text == "abc\td\n\u200d😀"


# Markup


def test_markup_within_the_limit_stays_as_it_is():
    markup = "<p>a &amp; b</p>"

    assert fit(html=len(markup)).markup(markup) == markup
    assert fit(html=len(markup)).trusted(markup) == markup


@pytest.mark.parametrize(
    ("markup", "cut"),
    [
        ("<p>abcdefghijkl</p>", "<p>abcdef…"),
        ("<p>abc<a href='https://x.example'>", "<p>abc…"),
        ("<p>a&amp;bcdefgh</p>", "<p>a&amp;…"),
        ("<p>abcd&#39;cdef</p>", "<p>abcd…"),
        ("<b>1 > 0 and so on", "<b>1 > 0 …"),
    ],
)
def test_markup_is_cut_outside_of_tags_and_character_references(markup, cut):
    assert fit(html=10).markup(markup) == cut


def test_wherever_markup_is_cut_no_piece_of_a_tag_shows_as_text():
    markup = '<p title="no">t&amp;<a href="https://x.example/?no&amp;no">t</a>&#39;&lt;</p>' * 2
    clean = Sanitizer().clean

    for most in range(1, len(markup)):
        text = "".join(text_lines(clean(fit(html=most).markup(markup))))

        assert set(text) <= set("t&'< …")
        assert text.endswith("…")


def test_trusted_markup_is_never_cut():
    with pytest.raises(TooLong):
        fit(html=20).trusted("<style>p { color: red }</style><p>a</p>")


# Rows


@pytest.mark.parametrize(("locale", "more"), [("en", "+12 more"), ("sv", "+12 till")])
def test_a_list_of_too_many_rows_says_how_many_more(locale, more):
    element = fit(Formats(locale), rows=3).rows(rows(15))

    assert element.rows == (*rows(3), Row("…", more))


def test_a_list_of_as_many_rows_as_may_be_says_nothing_more():
    assert fit(rows=3).rows(rows(3)).rows == rows(3)
    assert fit(rows=3).rows(rows(3), left_out=-7).rows == rows(3)


def test_rows_that_were_never_made_are_counted_too():
    assert fit(rows=3).rows(rows(5), left_out=10).rows[-1].text == "+12 more"


def test_the_rest_of_a_table_is_counted_in_its_first_column():
    element = fit().table(("A", "B"), (("1", "2"),), 12)

    assert element.rows == (("1", "2"), ("+12 more", ""))


@pytest.mark.parametrize(
    ("columns", "most"), [(1, 5), (2, 5), (3, 4), (6, 2), (7, 1), (100, 1), (0, 5)]
)
def test_a_table_has_as_many_rows_as_its_cells_allow(columns, most):
    assert fit(rows=5, cells=12).most_rows(columns) == most


# The whole card


def card(reply, notices=(), footer=None, **limits):
    return fit(**limits).card(reply, notices, footer)


def test_a_card_within_the_limits_goes_out_as_it_is():
    reply = Reply("Anna", Link("CRM", "https://crm.example.com/1"), (block(ListElement(rows(3))),))

    assert card(reply) == reply


def test_notices_come_first():
    reply = card(Reply(blocks=(block(ListElement(rows(1))),)), [Row("No answer", "crm is down")])

    assert names(reply) == [NOTICE, "B"]
    assert reply.blocks[0].data == (ListElement((Row("No answer", "crm is down"),)),)


def test_too_many_blocks_are_cut_with_a_notice():
    blocks = tuple(block(ListElement(rows(1)), name=str(at)) for at in range(5))

    reply = card(Reply(blocks=blocks), blocks=3)

    assert names(reply) == [NOTICE, "0", "1", "2"]
    assert reply.blocks[0].data[0].rows == (SHORTENED,)


@pytest.mark.parametrize("order", [1, -1])
def test_a_large_table_costs_nobody_the_short_lists_around_it(order):
    table = TableElement(("A", "B"), tuple((str(at), "x" * 100) for at in range(200)))
    lists = [ListElement((Row("Tier", str(at)),)) for at in range(3)]

    reply = card(
        Reply(blocks=(block(*[table, *lists][::order]), block(lists[0], name="C"))[::order]),
        bytes=12_000,
    )

    assert names(reply) == [NOTICE, *["B", "C"][::order]]
    (shown, *others) = reply.blocks[names(reply).index("B")].data[::order]
    assert others == lists
    assert shown.rows[:-1] == table.rows[: len(shown.rows) - 1]
    assert shown.rows[-1] == (SHORTENED.text, "")
    assert len(shown.rows) > 40


def test_a_large_list_is_shortened_visibly():
    reply = card(Reply(blocks=(block(ListElement(rows(100, "x" * 200))),)), bytes=8_000)

    (shown,) = reply.blocks[1].data
    assert shown.rows[0] == Row("0", "x" * 200)
    assert shown.rows[-1] == Row("…", SHORTENED.text)
    assert len(shown.rows) > 15


def test_a_large_section_keeps_its_first_rows():
    section = AccordionElement(
        "Order 1", (ListElement(rows(1)), TableElement(("A",), (("x" * 100,),) * 100))
    )

    reply = card(Reply(blocks=(block(section),)), bytes=8_000)

    (shown,) = reply.blocks[1].data
    assert shown.title == "Order 1"
    assert shown.data[0] == section.data[0]
    assert shown.data[1].rows[-1] == (SHORTENED.text,)


def test_of_equally_large_elements_the_first_stay():
    sections = [HtmlElement(f"<p>{at}</p>" + "x" * 1_500) for at in range(10)]

    reply = card(Reply(blocks=(block(*sections),)), bytes=8_000)

    kept = reply.blocks[1].data
    assert kept == tuple(sections[: len(kept)])
    assert len(kept) >= 3


def test_many_elements_that_cannot_all_stay_leave_the_first_ones():
    blocks = tuple(block(ListElement(rows(1, "x" * 300)), name=str(at)) for at in range(20))

    reply = card(Reply(blocks=blocks), bytes=5_000)

    assert names(reply) == [NOTICE, *map(str, range(len(reply.blocks) - 1))]
    assert len(reply.blocks) > 3


def test_markup_over_the_room_is_left_out_whole_with_a_notice():
    reply = card(Reply(blocks=(block(HtmlElement("x" * 9_000)),)), bytes=5_000)

    assert names(reply) == [NOTICE]
    assert reply.blocks[0].data[0].rows == (SHORTENED,)


def test_nothing_crowds_out_the_footer():
    footer = block(ListElement((Row("CRM", "https://crm.example.com/1"),)), name="Link")
    blocks = tuple(block(ListElement(rows(50, "x" * 100))) for _ in range(30))

    reply = card(Reply(blocks=blocks), footer=footer, bytes=5_000, blocks=3)

    assert reply.blocks[-1] == footer


def test_a_link_that_would_take_up_the_card_is_left_out_with_a_notice():
    link = Link("CRM", "https://crm.example.com/" + "x" * 5_000)

    reply = card(Reply("Anna", link, (block(ListElement(rows(1))),)), bytes=5_000)

    assert reply.contact_link is None
    assert names(reply) == [NOTICE, "B"]


def test_of_too_many_notices_the_first_stay_and_the_cut_is_said():
    notices = [Row("No answer", f"source {at} is not answering right now") for at in range(99)]

    (reply_block,) = card(Reply(), notices, bytes=5_000).blocks

    shown = reply_block.data[0].rows
    assert shown[:-1] == tuple(notices[: len(shown) - 1])
    assert shown[-1] == SHORTENED
    assert len(shown) > 3


TEXTS = st.text(max_size=40) | st.integers(0, 3_000).map(lambda count: '"é😀\n'[count % 4] * count)
LISTS = st.lists(st.builds(Row, TEXTS, TEXTS), max_size=8).map(tuple).map(ListElement)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.builds(
        TableElement,
        st.tuples(*[TEXTS] * width),
        st.lists(st.tuples(*[TEXTS] * width), max_size=8).map(tuple),
    )
)
LEAVES = LISTS | TABLES | st.builds(HtmlElement, TEXTS)
ELEMENTS = LEAVES | st.builds(
    AccordionElement, TEXTS, st.lists(LEAVES, min_size=1, max_size=4).map(tuple)
)
BLOCKS = st.builds(
    Block, TEXTS, st.just("info"), st.lists(ELEMENTS, min_size=1, max_size=5).map(tuple)
)
REPLIES = st.builds(
    Reply,
    st.none() | TEXTS,
    st.none() | st.builds(Link, TEXTS, TEXTS),
    st.lists(BLOCKS, max_size=5).map(tuple),
)


@settings(max_examples=60)
@given(
    REPLIES,
    st.lists(st.builds(Row, TEXTS, TEXTS), max_size=5),
    st.none() | BLOCKS,
    st.integers(4_096, 30_000),
)
def test_no_card_is_larger_than_the_limit_whatever_the_names_on_the_wire(
    reply, notices, footer, most
):
    shown = card(reply, notices, footer, bytes=most)

    assert size(shown, LONG_NAMES) <= most
    assert all(block.data for block in shown.blocks)
    wanted = [*reply.blocks, *([footer] if footer else [])]
    kept = [block for block in shown.blocks if block.name != NOTICE]
    if kept != wanted or reply.contact_link != shown.contact_link:
        assert SHORTENED in shown.blocks[0].data[0].rows


@pytest.mark.parametrize(
    "blocks",
    [
        (block(ListElement(rows(900, ""))),),
        (block(TableElement(("",), (("",),) * 900)),),
        (block(*[HtmlElement("x")] * 300),),
        (block(*[AccordionElement("", (HtmlElement("x"),))] * 300),),
        (block(*[ListElement((Row("", ""),))] * 300),),
        (block(HtmlElement("x")),) * 300,
        (block(ListElement(rows(50, "x" * 400)), name="😀" * 1_000),),
    ],
    ids=["rows", "cells", "html", "sections", "lists", "blocks", "name"],
)
def test_parts_of_every_kind_keep_to_the_limit(blocks):
    shown = card(Reply(blocks=blocks), bytes=20_000, blocks=500)

    assert 3_000 < size(shown, LONG_NAMES) <= 20_000


@pytest.mark.parametrize("most", [4_096, 20_000])
@pytest.mark.parametrize("part", [0.05, 0.2, 0.7])
def test_name_link_notices_and_footer_keep_to_the_limit_together(most, part):
    link = Link("CRM", "https://crm.example.com/" + "x" * int(most * part))
    footer = block(ListElement((Row(link.text, link.url),)), name="Link")
    filling = (block(ListElement(rows(50, "x" * 400))),)
    notices = [Row("a", "b" * 50)] * 99

    shown = card(Reply("😀" * most, link, filling), notices, footer, bytes=most)

    assert size(shown, LONG_NAMES) <= most
    assert shown.blocks[0].data[0].rows[-1] == SHORTENED


def test_a_footer_too_large_for_the_card_is_left_out_with_a_notice():
    footer = block(ListElement(rows(50, "x" * 100)), name="Link")

    assert names(card(Reply(blocks=(block(HtmlElement("x")),)), footer=footer, bytes=5_000)) == [
        NOTICE,
        "B",
    ]


@settings(max_examples=25)
@given(REPLIES)
def test_a_card_that_is_small_enough_is_never_cut(reply):
    shown = card(reply, bytes=10_000_000)

    assert shown == replace(reply, contact_name=reply.contact_name or None)


def test_the_smallest_card_allowed_has_room_for_a_notice_in_every_language():
    for locale in ("en", "sv"):
        formats = Formats(locale)
        notice = Row(formats.sentence("label_failed"), formats.sentence("card_failed"))

        reply = fit(formats, bytes=4_096).card(Reply(), [notice])

        assert json.dumps(dumped(reply), ensure_ascii=False).count(notice.text) == 1
