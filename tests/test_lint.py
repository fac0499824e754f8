"""What the linter says about a card and about settings, and where it is silent."""

import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin.html import Sanitizer, tell, witnessed
from imbox_plugin.icons import Icons
from imbox_plugin.lint import WIDTH_INSIDE, Linter, declared_hosts, pointer, width
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
from imbox_plugin.settings import LINT_RULES, Problem
from schemas.wire import WireNames, uncertain_names
from tests.cards import EXTERNAL_ID, composer, found
from tests.demo import ROOT

ICONS = Icons()
ALL_NAMES = frozenset(uncertain_names())


def linter(wire=None, **options):
    names = asdict(wire or WireNames())
    return Linter(names, **{"confirmed": ALL_NAMES, "icons": ICONS, **options})


def card(*elements, name="Customer", icon="contact_page", **reply):
    return Reply(blocks=(Block(name, icon, elements),), **reply)


def said(remarks):
    return [(remark.rule, remark.pointer) for remark in remarks]


TIDY = card(
    ListElement((Row("Tier", "Gold"), Row("City", "Ystad"))),
    TableElement(("Order", "Total"), (("1001", "129 kr"),)),
    HtmlElement('<p>See <a href="https://crm.example.com/1">the contract</a></p>'),
    AccordionElement("Order 1001", (ListElement((Row("Placed", "Monday"),)),)),
    contact_name="Anna Öst",
    contact_link=Link("Write on WhatsApp", "https://wa.me/46701740605"),
)


def test_a_tidy_card_has_no_remarks():
    assert linter(hosts=frozenset({"crm.example.com"})).card(TIDY) == ()


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        (card(ListElement((Row("a", "x"), Row(" ", "x")))), "/blocks/0/data/0/rows/1/label"),
        (card(TableElement(("A", ""), ())), "/blocks/0/data/0/headers/1/text"),
        (card(AccordionElement("", (ListElement((Row("a", "x"),)),))), "/blocks/0/data/0/name"),
        (card(name=" "), "/blocks/0/name"),
        (Reply(contact_link=Link("", "https://wa.me/1")), "/contactLink/text"),
    ],
)
def test_a_part_without_a_label_is_named(reply, place):
    assert said(linter().card(reply)) == [("empty-label", place)]


def test_what_stands_in_an_accordion_is_found_under_the_configured_names():
    wire = WireNames(accordion_title="head/line", accordion_data="inner")
    reply = card(AccordionElement(" ", (ListElement((Row("", "x"),)),)))

    assert said(linter(wire).card(reply)) == [
        ("empty-label", "/blocks/0/data/0/head~1line"),
        ("empty-label", "/blocks/0/data/0/inner/0/rows/0/label"),
    ]


def test_rows_that_stand_for_html_need_no_labels():
    text = card(ListElement((Row("", "a line"), Row("", "another"))))

    assert linter(WireNames(elements="documented")).card(text) == ()
    assert len(linter().card(text)) == 2


def test_a_text_without_a_place_to_break_is_too_long():
    reply = card(ListElement((Row("Key", "x" * 60),)))

    assert said(linter().card(reply)) == [("long-text", "/blocks/0/data/0/rows/0/text")]


def test_a_text_of_many_words_is_fine_until_it_is_a_page():
    fine, long = "some words " * 15, "some words " * 60
    reply = card(ListElement((Row("Note", fine), Row("Note", long))))

    assert said(linter().card(reply)) == [("long-text", "/blocks/0/data/0/rows/1/text")]


def test_a_title_of_more_than_two_lines_is_too_long():
    assert said(linter().card(card(name="word " * 30))) == [("long-text", "/blocks/0/name")]


def test_wide_characters_count_as_wide_and_combining_ones_not_at_all():
    assert width("漢") > width("W") > width("i")
    assert width("e\u0301") == width("e")


def test_an_icon_that_is_none_is_named_with_the_nearest_that_is_one():
    [remark] = linter().card(card(icon="contact_pagee"))

    assert (remark.rule, remark.pointer) == ("unknown-icon", "/blocks/0/icon")
    assert remark.cure == "did you mean 'contact_page'?"


def test_an_icon_like_no_other_is_sent_to_the_list():
    [remark] = linter().card(card(icon="qqqqqqqqqqqq"))

    assert remark.cure == "take one of fonts.google.com/icons"


def test_a_table_wider_than_the_panel_is_measured():
    headers = ("Reference", "Description", "Department", "Quantity")
    [remark] = linter().card(card(TableElement(headers, (("1", "2", "3", "4"),))))

    assert (remark.rule, remark.pointer) == ("wide-table", "/blocks/0/data/0")


def test_a_table_is_as_wide_as_its_longest_words():
    fits = TableElement(("Order", "Total"), (("1001", "many words of one cell wrap"),))
    word = TableElement(("Order", "Total"), (("1001", "a" * 36),))

    assert said(linter().card(card(fits, word))) == [("wide-table", "/blocks/0/data/1")]


@pytest.mark.parametrize("space", ["\u00a0", "\u202f"])
def test_an_amount_stays_on_one_line(space):
    amount = f"1{space}476,00{space}kr"
    columns = ("Order", "Status", "Total", "Paid")
    table = TableElement(columns, (("261031-1", "Delivered", amount, amount),))
    apart = TableElement(columns, (("261031-1", "Delivered", "1 476,00 kr", "1 476,00 kr"),))

    assert said(linter().card(card(apart, table))) == [("wide-table", "/blocks/0/data/1")]


def test_a_space_is_as_wide_where_it_does_not_break():
    assert width("1\u00a0476") == width("1 476")


def test_an_accordion_has_less_room_than_the_panel():
    table = TableElement(("Order", "Total"), (("2610311", "a" * 19),))
    reply = card(table, AccordionElement("Order 2610311", (table,)))
    [remark] = linter().card(reply)

    assert (remark.rule, remark.pointer) == ("wide-table", "/blocks/0/data/1/data/0")
    assert f"the accordion has {WIDTH_INSIDE}" in remark.message


def test_a_link_to_a_host_that_came_with_the_data_is_named():
    html = HtmlElement(
        '<a href="https://evil.example/x">pay</a><a href="mailto:a@example.com">m</a>'
    )
    [remark] = linter(hosts=frozenset({"crm.example.com"})).card(card(html))

    assert (remark.rule, remark.pointer) == ("foreign-host", "/blocks/0/data/0/html")
    assert 'hosts = ["evil.example"]' in remark.cure


@pytest.mark.parametrize("own", ["crm.example.com", "*.example.com", "CRM.Example.com"])
def test_a_declared_host_is_fine(own):
    html = HtmlElement('<a href="https://crm.example.com/x">record</a>')

    assert linter(hosts=frozenset({own})).card(card(html)) == ()


@pytest.mark.parametrize("own", ["example.com", "*.crm.example.com", "*.ample.com"])
def test_a_host_that_only_looks_alike_is_not(own):
    html = HtmlElement('<a href="https://crm.example.com/x">record</a>')

    assert len(linter(hosts=frozenset({own})).card(card(html))) == 1


def made(markup, path="panels.default.blocks[0].data[0]"):
    """An html element as the composer makes it."""
    element = HtmlElement(Sanitizer().clean(markup))
    tell(path, element)
    return element


def cleaned(markup):
    with witnessed() as witness:
        element = made(markup)
    return linter().card(card(element), witness.made)


def test_markup_that_lost_something_shows_the_difference():
    [remark] = cleaned('<p onclick="x()">Hello</p><script>alert(1)</script>')

    assert (remark.rule, remark.pointer) == ("html-changed", "/blocks/0/data/0/html")
    assert "-<p onclick='x()'>" in remark.detail
    assert "+<p>" in remark.detail
    assert "-<script>" in remark.detail


@pytest.mark.parametrize(
    "markup",
    [
        "<p>a<p>b",
        "<table><tr><td>1</table>",
        "&aring; &amp; <br/>",
        '<a HREF="mailto:a@example.com" rel="x">m</a>',
        "<!-- a remark -->text",
    ],
)
def test_markup_that_was_only_written_in_another_way_is_fine(markup):
    assert cleaned(markup) == ()


def test_a_change_is_told_at_the_element_that_holds_it():
    with witnessed() as witness:
        bad, good = made("<p style='x'>one</p>"), made("<p>two</p>")

    assert said(linter().card(card(good, bad), witness.made)) == [
        ("html-changed", "/blocks/0/data/1/html")
    ]


def test_of_two_elements_that_look_alike_the_one_that_was_changed_is_told():
    with witnessed() as witness:
        good, bad = made("<p>one</p>"), made("<p style='x'>one</p>")

    assert good == bad
    assert said(linter().card(card(good, bad), witness.made)) == [
        ("html-changed", "/blocks/0/data/1/html")
    ]


@pytest.mark.parametrize(
    ("blocks", "place"),
    [
        (("Customer", "Notes"), "/blocks/1"),
        (("Notes", "Customer", "Notes"), "/blocks/2"),
        (("Customer",), "/blocks"),
    ],
)
def test_markup_that_nothing_was_left_of_is_told_at_its_block(blocks, place):
    row = ListElement((Row("City", "Ystad"),))
    reply = Reply(blocks=tuple(Block(name, "notes", (row,)) for name in blocks))
    with witnessed() as witness:
        Sanitizer().clean("<form><input name='q'></form>")
        tell("panels.default.blocks[1].data[0]", None)
        if blocks[-1] == "Notes":
            tell("panels.default.blocks[1]", reply.blocks[-1])
    [remark] = linter().card(reply, witness.made)

    assert (remark.rule, remark.pointer) == ("html-changed", place)
    assert "panels.default.blocks[1].data[0], which is not on the card" in remark.message
    assert "-<form>" in remark.detail


LAYOUT = """
[[blocks]]
name = "Customer"
data = [{ type = "list", rows = [{ label = "City", text = "Ystad" }] }]
[[blocks]]
name = "Notes"
data = [
    { type = "html", html = "{{ contact.note | sanitize }}" },
    { type = "html", html = "<p>one</p>" },
    { type = "html", html = "<form><input name='q'></form>" },
    { type = "html", html = "<p>{{ contact.note | sanitize }}two</p>" },
    { type = "html", html = "{{ contact.note | sanitize }}{{ 1 // contact.zero }}" },
    { type = "html", html = "<p>three</p>" },
    { type = "accordion", title = "More", data = [
        { type = "html", html = "<p style='color: red'>one</p>" },
    ] },
]
[[blocks]]
name = "Gone"
data = [{ type = "html", html = "<svg></svg>" }]
"""


def looked_at(tmp_path, layout, **limits):
    """What is said about sanitising, of a card that was made by a layout."""
    contact = found(details={"note": "<script>alert(1)</script>", "zero": 0})
    with witnessed() as witness:
        reply = composer(tmp_path, layout, **limits).compose(EXTERNAL_ID, [contact], None)
    return [
        (remark.pointer, remark.detail[-1])
        for remark in linter().card(reply, witness.made)
        if remark.rule == "html-changed"
    ]


def test_each_change_is_told_once_where_it_was_made(tmp_path):
    assert looked_at(tmp_path, LAYOUT) == [
        ("/blocks/2/data/1/html", "-alert(1)"),
        ("/blocks/2/data/3/data/0/html", " one"),
        ("/blocks/2", "-alert(1)"),
        ("/blocks/2", "-<input name='q'>"),
        ("/blocks/2", "-alert(1)"),
        ("/blocks", "-<svg>"),
    ]


def test_of_a_card_in_documented_shapes_what_was_removed_whole_is_told(tmp_path):
    told = looked_at(tmp_path, LAYOUT, documented=True)

    assert ("/blocks/2", "-<input name='q'>") in told


def test_nothing_is_witnessed_outside():
    with witnessed() as witness:
        pass
    made("<script>x</script>")

    assert (witness.made, witness.heard) == ([], [])


def test_names_that_nobody_confirmed_are_told_once_where_they_are_first_used():
    element = HtmlElement("<p>x</p>")
    inside = AccordionElement("Title", (element,))
    remarks = linter(confirmed=frozenset({"html_type"})).card(card(inside, element))

    assert said(remarks) == [
        ("undocumented-name", "/blocks/0/data/0"),
        ("undocumented-name", "/blocks/0/data/0"),
    ]
    assert "html_content" in remarks[0].message
    assert "html_type" not in remarks[0].message


def test_names_are_listed_as_in_a_sentence():
    told = [remark.message for remark in linter(confirmed=frozenset()).card(TIDY)]

    assert told[0] == "what ImBox calls html_type and html_content is not documented"
    assert "accordion_type, accordion_title and accordion_data" in told[1]


def test_every_undocumented_name_of_a_reply_is_told():
    told = " ".join(remark.message for remark in linter(confirmed=frozenset()).card(TIDY))

    # The e-mail parameter is of the question, not of the reply.
    assert all(name in told for name in ALL_NAMES - {"email"})


def test_a_rule_that_is_not_wanted_is_silent():
    reply = card(ListElement((Row("", "x"),)), icon="no_such_icon")

    assert said(linter(ignore=frozenset({"empty-label"})).card(reply)) == [
        ("unknown-icon", "/blocks/0/icon")
    ]


@given(st.text(max_size=40), st.text(max_size=400), st.text(max_size=200))
def test_no_card_is_too_odd_for_the_linter(label, text, markup):
    with witnessed() as witness:
        html = made(markup)
    table = TableElement((label,), ((text,),))
    reply = card(ListElement((Row(label, text),)), table, html, name=label, icon=label)

    assert {remark.rule for remark in linter().card(reply, witness.made)} <= set(LINT_RULES)


def block(**own):
    return {"panels": {"default": {"blocks": [{"name": "Customer", **own}]}}}


def test_settings_are_looked_at_before_any_card_is_made():
    tables = block(
        icon="no_such_icon",
        data=[
            {"type": "list", "rows": [{"label": "", "text": "{{ contact.tier }}"}]},
            {"type": "table", "columns": [{"header": "", "text": "x"}]},
            {"type": "accordion", "title": "", "data": [{"type": "list", "rows": [{"label": ""}]}]},
        ],
    )
    at = "/panels/default/blocks/0"

    assert said(linter().settings(tables, [])) == [
        ("unknown-icon", f"{at}/icon"),
        ("empty-label", f"{at}/data/0/rows/0/label"),
        ("empty-label", f"{at}/data/1/columns/0/header"),
        ("empty-label", f"{at}/data/2/title"),
        ("empty-label", f"{at}/data/2/data/0/rows/0/label"),
    ]


def test_headers_alone_may_be_too_wide():
    words = ("Reference", "Description", "Department", "Quantity")
    columns = [{"header": word, "text": "x"} for word in words]
    remarks = linter().settings(block(data=[{"type": "table", "columns": columns}]), [])

    assert said(remarks) == [("wide-table", "/panels/default/blocks/0/data/0/columns")]


def test_undocumented_names_are_known_from_the_settings_unless_they_are_never_sent():
    tables = block(data=[{"type": "html", "html": "x"}])
    doubt = [("undocumented-name", "/panels/default/blocks/0/data/0")]

    assert said(linter(confirmed=frozenset()).settings(tables, [])) == doubt
    documented = linter(WireNames(elements="documented"), confirmed=frozenset())
    assert documented.settings(tables, []) == ()


def test_a_warning_of_the_settings_is_a_remark_with_a_cure():
    warning = Problem("panels.default.keys[0].secret", "a secret in the file; write it elsewhere")
    [remark] = linter().settings({}, [warning])

    assert remark.pointer == "/panels/default/keys/0/secret"
    assert str(remark) == (
        "/panels/default/keys/0/secret: a secret in the file; write it elsewhere [settings]"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("locale", "/locale"),
        ("panels.default.blocks[1].data[0].rows", "/panels/default/blocks/1/data/0/rows"),
        ('panels."a.b".keys', "/panels/a.b/keys"),
        ('panels."a/b~c"', "/panels/a~1b~0c"),
    ],
)
def test_a_path_in_the_settings_becomes_a_json_pointer(path, expected):
    assert pointer(path) == expected


def test_hosts_are_declared_by_every_address_in_the_settings_and_their_templates(tmp_path):
    tmp_path.joinpath("note.html").write_text('<a href="https://help.example.com">?</a>', "utf-8")
    markup = {"html": '<a href="https://wiki.example.com/x">w</a>'}
    tables = {
        "sources": [{"base_url": "https://API.example.com:8443/v1"}],
        "panels": {"default": {"blocks": [markup, {"template": "note.html"}]}},
        "deadline": 2.5,
    }

    assert declared_hosts(tables, tmp_path) == {
        "api.example.com",
        "wiki.example.com",
        "help.example.com",
    }


def test_every_symbol_can_be_drawn():
    assert {"contact_page", "receipt_long", "10k"} <= ICONS.names
    assert all(ICONS.path(name) for name in ICONS.names)
    assert ICONS.path("no_such_icon") is None


def test_every_rule_is_documented_and_no_other():
    page = (ROOT / "docs" / "linter.md").read_text("utf-8")

    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == list(LINT_RULES)
