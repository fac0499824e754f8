"""Cards: what a layout makes of what the sources know, and what is said where it shows less."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.model import Finding, Key, Link, Outcome, View
from tests.cards import EXTERNAL_ID, LONG_NAMES, composer, dumped, found, size

LINK = Link("Open in CRM", "https://crm.example.com/customers/K1")

EVERYTHING = """
[[blocks]]
name = "Customer"
icon = "contact_page"
[[blocks.data]]
type = "list"
rows = [
    { label = "Id", text = "{{ contact.external_id }}" },
    { label = "Tier", text = "{{ contact.tier }}", when = "{{ contact.tier }}" },
]
[[blocks.data]]
type = "table"
each = "contact.orders"
columns = [
    { header = "Order", text = "{{ item.id }}" },
    { header = "Total", text = "{{ item.total | currency('SEK') }}" },
]
[[blocks.data]]
type = "html"
html = "<p>{{ contact.note }}</p>"
when = "contact.note"
[[blocks]]
name = "Orders"
icon = "receipt_long"
[[blocks.data]]
type = "accordion"
each = "contact.orders"
title = "{{ index }}. {{ item.id }}"
[[blocks.data.data]]
type = "list"
rows = [{ label = "Placed", text = "{{ item.placed | date }}" }]
[[blocks.data.data]]
type = "table"
each = "item.lines"
columns = [{ header = "Product", text = "{{ item.product }}" }]
[[blocks.data.data]]
type = "html"
html = "<b>{{ item.id }}</b>"
"""

ORDERS = [
    {"id": "A1", "total": 99, "placed": "2026-11-03", "lines": [{"product": "Rake"}]},
    {"id": "A2", "total": "1200.5", "placed": "2026-10-30", "lines": []},
]


def layout(*elements, name="B", **more):
    """One block of these elements."""
    own = "\n".join(f"{key} = {value}" for key, value in more.items())
    data = "\n".join(f"[[blocks.data]]\n{element}" for element in elements)
    return f'[[blocks]]\nname = "{name}"\n{own}\n{data}\n'


def rows_of(text, label="L", **more):
    own = "\n".join(f"{key} = '''{value}'''" for key, value in more.items())
    return f"type = 'list'\n{own}\nrows = [{{ label = '{label}', text = '''{text}''' }}]"


def html_of(markup, **more):
    own = "\n".join(f"{key} = {value}" for key, value in more.items())
    return f"type = 'html'\n{own}\nhtml = '''{markup}'''"


def accordion_of(title, inner, **more):
    own = "\n".join(f"{key} = '''{value}'''" for key, value in more.items())
    return f"type = 'accordion'\ntitle = '''{title}'''\n{own}\n[[blocks.data.data]]\n{inner}"


@pytest.fixture
def card(tmp_path):
    """The card of a layout for a contact with these details."""

    def card(text, *, lookup=EXTERNAL_ID, link=None, findings=None, locale="en", **more):
        made_of = {"details", "name", "external_id", "emails", "phones"}
        person = {key: more.pop(key) for key in made_of & more.keys()}
        maker = composer(tmp_path, text, locale=locale, **more)
        reply = maker.compose(lookup, [found(**person)] if findings is None else findings, link)
        return dumped(reply)

    return card


def blocks(card):
    """Name and data of each block."""
    return [(block["name"], block["data"]) for block in card["blocks"]]


def shown(card):
    """The texts of a card's lists and tables, line by line, without the block names."""
    return [line for block in card["blocks"] for part in block["data"] for line in lines(part)]


def lines(part):
    if part["type"] == "list":
        return [f"{row['label']}: {row['text']}" for row in part["rows"]]
    if part["type"] == "table":
        table = [part["headers"], *part["rows"]]
        return [" | ".join(cell["text"] for cell in row) for row in table]
    return [part["html"]] if "html" in part else [part["name"], *map(str, part["data"])]


def said(sentence, label=None, locale="en", **values):
    """A line of the notices."""
    formats = Formats(locale)
    title = formats.sentence(f"label_{label or sentence}")
    return f"{title}: {formats.sentence(sentence, **values)}"


FAILED = said("element_failed", block="B")
NOTHING = said("nothing_to_show")
NOTICE = Formats("en").sentence("notice_title")


# What a layout makes


def test_a_card_has_all_four_elements(card):
    details = {"tier": "gold", "orders": ORDERS, "note": "Likes <roses>"}

    made = card(EVERYTHING, name="Anna", external_id="K1", details=details, link=LINK)

    assert made == {
        "contactName": "Anna",
        "contactLink": {"text": LINK.text, "url": LINK.url},
        "blocks": [
            {
                "name": "Customer",
                "icon": "contact_page",
                "data": [
                    {
                        "type": "list",
                        "rows": [{"label": "Id", "text": "K1"}, {"label": "Tier", "text": "gold"}],
                    },
                    {
                        "type": "table",
                        "headers": [{"text": "Order"}, {"text": "Total"}],
                        "rows": [
                            [{"text": "A1"}, {"text": "SEK\xa099.00"}],
                            [{"text": "A2"}, {"text": "SEK\xa01,200.50"}],
                        ],
                    },
                    {"type": "html", "html": "<p>Likes &lt;roses&gt;</p>"},
                ],
            },
            {
                "name": "Orders",
                "icon": "receipt_long",
                "data": [
                    {
                        "type": "accordion",
                        "name": "1. A1",
                        "data": [
                            {"type": "list", "rows": [{"label": "Placed", "text": "Nov 3, 2026"}]},
                            {
                                "type": "table",
                                "headers": [{"text": "Product"}],
                                "rows": [[{"text": "Rake"}]],
                            },
                            {"type": "html", "html": "<b>A1</b>"},
                        ],
                    },
                    {
                        "type": "accordion",
                        "name": "2. A2",
                        "data": [
                            {"type": "list", "rows": [{"label": "Placed", "text": "Oct 30, 2026"}]},
                            {"type": "html", "html": "<b>A2</b>"},
                        ],
                    },
                ],
            },
        ],
    }


def test_what_is_blank_is_left_out_and_so_is_an_empty_block(card):
    made = card(EVERYTHING, external_id="K1", details={"tier": "", "orders": [], "note": None})

    assert blocks(made) == [
        ("Customer", [{"type": "list", "rows": [{"label": "Id", "text": "K1"}]}])
    ]


@pytest.mark.parametrize(
    "element",
    [
        rows_of("x", when="contact.no"),
        "type = 'list'\nrows = [{ label = 'a', text = 'x', when = 'contact.no' }]",
        "type = 'table'\ncolumns = [{ header = 'a', text = 'x', when = 'contact.no' }]",
        html_of("x", when="'contact.no'"),
        html_of("{{ contact.no }} \n"),
        accordion_of("x", rows_of("x"), when="contact.no"),
        accordion_of("x", rows_of("x", when="contact.no")),
    ],
)
def test_an_element_without_anything_wanted_is_left_out(card, element):
    made = card(layout(element, rows_of("stays")))

    assert shown(made) == ["L: stays"]


def test_a_block_appears_in_its_views_only(card):
    text = layout(rows_of("x"), name="Call", views='["call"]') + layout(rows_of("y"), name="All")

    by_view = {
        view: [name for name, _ in blocks(card(text, lookup=replace(EXTERNAL_ID, view=view)))]
        for view in View
    }

    assert by_view == {
        View.CALL: ["Call", "All"],
        View.CHAT: ["All"],
        View.TICKET: ["All"],
        View.CONTACT: ["All"],
    }


def test_a_column_may_be_left_out(card):
    table = """type = "table"
    each = "contact.orders"
    columns = [
        { header = "Order", text = "{{ item }}" },
        { header = "Cost", text = "{{ item }}", when = "contact.vip" },
    ]"""

    assert shown(card(layout(table), details={"orders": [1]})) == ["Order", "1"]
    assert shown(card(layout(table), details={"orders": [1], "vip": 1})) == [
        "Order | Cost",
        "1 | 1",
    ]


def test_a_table_without_each_has_one_row(card):
    table = 'type = "table"\ncolumns = [{ header = "Tier", text = "{{ contact.tier }}" }]'

    assert shown(card(layout(table), details={"tier": "gold"})) == ["Tier", "gold"]


def test_a_template_reads_contact_match_and_lookup(card):
    text = (
        "{{ contact.name }} {{ contact.email }} {{ contact.emails | length }} {{ contact.phone }}"
    )
    text += " {{ contact.contact_id }}{{ match.source }} {{ match.key }} {{ match.age }}"
    text += " {{ lookup.view }} {{ lookup.external_id }} {{ lookup.extras.shop }}"

    made = card(
        layout(rows_of(text)),
        findings=[found(age=2.0, name="Anna", emails=("a@x.se", "b@x.se"), phones=("070",))],
        lookup=replace(EXTERNAL_ID, extras={"shop": "north"}),
    )

    assert shown(made) == ["L: Anna a@x.se 2 070 crm external_id 2 ticket K1 north"]


def test_an_identity_comes_before_a_detail_of_its_name(card):
    made = card(
        layout(rows_of("{{ contact.name }}{{ contact.email }}")),
        name="Anna",
        details={"name": "detail", "email": "detail"},
    )

    assert shown(made) == ["L: Anna"]


# Each


@pytest.mark.parametrize(
    ("each", "orders", "texts"),
    [
        ("contact.orders", [1, 2], ["1", "2"]),
        ("{{ contact.orders }}", (1, 2), ["1", "2"]),
        ("contact.orders", ["a"], ["a"]),
        ("contact.orders", [None, 0, ""], ["", "0", ""]),
        ("contact.orders | sort(reverse=true)", [1, 2], ["2", "1"]),
        ("contact.orders | select('odd')", [1, 2, 3], ["1", "3"]),
        ("contact.orders[:1]", [1, 2], ["1"]),
        ("contact.orders", {"id": 7}, ["id: 7"]),
        ("contact.orders.values()", {"id": 7, "x": 8}, ["7", "8"]),
    ],
)
def test_each_gives_one_row_for_every_item(card, each, orders, texts):
    made = card(layout(rows_of("{{ item }}", "{{ index }}", each=each)), details={"orders": orders})

    assert shown(made) == [f"{at}: {text}" for at, text in enumerate(texts, start=1)]


@pytest.mark.parametrize(
    ("each", "orders"),
    [
        *(("contact.orders", orders) for orders in (None, "", " ", [], (), {}, False)),
        ("contact.orders | selectattr('open')", [{"open": False}]),
        ("contact.orders.values()", {}),
        ("contact.nope.deep", []),
    ],
)
def test_an_empty_each_leaves_every_kind_of_element_out(card, each, orders):
    made = card(
        layout(
            rows_of("x", each=each),
            f'type = "table"\neach = "{each}"\ncolumns = [{{ header = "a", text = "b" }}]',
            html_of("x", each=f'"{each}"'),
            accordion_of("x", rows_of("x"), each=each),
            rows_of("stays"),
        ),
        details={"orders": orders},
    )

    assert shown(made) == ["L: stays"]


@pytest.mark.parametrize("orders", ["A1, A2", 7, 0, True, b"A1"])
def test_an_each_that_has_no_items_is_said_to_fail(card, orders):
    made = card(
        layout(rows_of("{{ item }}", each="contact.orders"), rows_of("stays")),
        details={"orders": orders},
    )

    assert shown(made) == [FAILED, "L: stays"]


# The default layout


def test_a_source_without_blocks_shows_texts_as_a_list_and_records_as_tables(card):
    details = {
        "tier": "gold",
        "placed_on": "",
        "tags": ["a", "b"],
        "address": {"city": "Umeå"},
        "orders": [{"id": 1, "total": 5}, {"id": 2, "paid_on": None}],
        "returns": [],
    }

    made = card("", name="Anna", external_id="K1", emails=("a@x.se", "b@x.se"), details=details)

    assert blocks(made)[0][0] == "crm"
    assert shown(made) == [
        "Name: Anna",
        "Customer id: K1",
        "E-mail: a@x.se, b@x.se",
        "Tier: gold",
        "Tags: a, b",
        "Address: city: Umeå",
        "Id | Total | Paid on",
        "1 | 5 | ",
        "2 |  | ",
    ]


def test_the_default_layout_speaks_the_language_of_the_settings(card):
    made = card("", name="Anna", phones=("+46701740605",), details={"aktiv": True}, locale="sv")

    assert shown(made) == ["Namn: Anna", "Telefon: +46701740605", "Aktiv: ja"]


def test_details_whose_labels_are_alike_are_all_shown(card):
    made = card("", details={"placed_on": 1, "placed on": 2, 3: 4, "": 5})

    assert shown(made) == ["Placed on: 1", "Placed on: 2", "3: 4", ": 5"]


def test_a_layout_for_one_source_leaves_the_other_its_default(tmp_path):
    text = layout(rows_of("{{ contact.tier }}"), source='"crm"', views='["chat"]')
    maker = composer(tmp_path, text, sources=("crm", "shop"))

    made = maker.compose(
        EXTERNAL_ID, [found("crm", name="Anna"), found("shop", details={"tier": "gold"})], None
    )

    assert [(name, len(data)) for name, data in blocks(dumped(made))] == [("shop", 1)]


def test_a_layout_may_show_what_another_source_knows(tmp_path):
    text = layout(rows_of("{{ contact.name }} {{ contacts.shop.tier }}"), source='"crm"')
    maker = composer(tmp_path, text, sources=("crm", "shop"))
    shop = found("shop", details={"tier": "gold"})

    assert "L: Anna gold" in shown(
        dumped(maker.compose(EXTERNAL_ID, [found("crm", name="Anna"), shop], None))
    )


def test_a_block_of_no_source_is_about_the_best_match(tmp_path):
    maker = composer(tmp_path, layout(rows_of("{{ match.source }}")), sources=("crm", "shop"))
    by_phone, by_id = found("crm", Key.PHONE, name="Bo"), found("shop", name="Anna")

    made = dumped(maker.compose(EXTERNAL_ID, [by_phone, by_id], None))

    assert made["contactName"] == "Anna"
    assert shown(made) == ["L: shop"]


# Never blank without a reason


def not_found(outcome, source="crm", **more):
    return Finding(source, outcome, asked=(Key.EXTERNAL_ID,), **more)


@pytest.mark.parametrize(("locale", "key"), [("en", "customer id"), ("sv", "kund-id")])
def test_a_card_about_nobody_says_why(card, locale, key):
    leaking = "password for anna@example.com rejected"
    for finding, reason in (
        (not_found(Outcome.UNKNOWN), said("no_match", None, locale, keys=key)),
        (
            not_found(Outcome.AMBIGUOUS, count=3),
            said("ambiguous", None, locale, key=key, count=3),
        ),
        (
            not_found(Outcome.FAILED, reason=leaking),
            said("source_failed", "failed", locale, source="crm"),
        ),
    ):
        made = card(EVERYTHING, findings=[finding], link=LINK, locale=locale)

        assert made["contactName"] is None
        assert made["contactLink"]["url"] == LINK.url
        assert [name for name, _ in blocks(made)] == [Formats(locale).sentence("notice_title")]
        assert shown(made) == [reason]


def test_a_source_that_fails_leaves_what_the_others_know(card):
    made = card(
        layout(rows_of("{{ contact.name }}")),
        findings=[not_found(Outcome.FAILED, "shop"), found(name="Anna")],
    )

    assert [line.partition(":")[0] for line in shown(made)] == ["No answer", "L"]


@pytest.mark.parametrize(
    ("text", "details"),
    [
        (layout(rows_of("x", when="contact.tier")), {"tier": ""}),
        (layout(rows_of("x"), when='"{{ contact.tier }}"'), {}),
        (layout(rows_of("x"), views='["chat"]'), {}),
        (layout(html_of("<script>alert(1)</script>")), {}),
        ("", {}),
    ],
)
def test_a_known_customer_with_nothing_to_show_is_said_to_be_known(card, text, details):
    assert shown(card(text, details=details)) == [NOTHING]


def test_nothing_to_show_is_said_beside_other_reasons(card):
    made = card(
        layout(rows_of("x"), views='["chat"]'), findings=[not_found(Outcome.FAILED), found("shop")]
    )

    assert shown(made)[1:] == [NOTHING]


def test_the_card_that_stands_in_for_a_failed_one_has_a_reason(tmp_path):
    made = dumped(composer(tmp_path).failure())

    assert shown(made) == [said("card_failed")]


@pytest.mark.parametrize("name", [None, "", " \n", "\x00"])
def test_a_contact_without_a_name_has_none_on_the_card(card, name):
    assert card("", name=name, external_id="K1")["contactName"] is None


# Parts that fail


FAILING = "{{ 1 // contact.zero }}"


@pytest.mark.parametrize(
    "element",
    [
        rows_of(FAILING),
        rows_of("x", when=FAILING),
        rows_of("x", each="contact.zero.upper() // 2"),
        f"type = 'table'\ncolumns = [{{ header = '{FAILING}', text = 'x' }}]",
        html_of(FAILING),
        accordion_of(FAILING, rows_of("x")),
        accordion_of("x", rows_of(FAILING)),
        rows_of("{{ contact.rate | currency(contact.unit) }}"),
    ],
)
def test_a_part_that_fails_leaves_the_rest_and_is_said(card, element):
    made = card(
        layout(rows_of("before"), element, rows_of("after")),
        details={"zero": 0, "rate": 1, "unit": "crowns"},
    )

    assert shown(made) == [FAILED, "L: before", "L: after"]


def test_sections_before_the_one_that_fails_stay(card):
    sections = accordion_of("{{ 6 // item }}", rows_of("x"), each="contact.numbers")

    made = card(layout(sections), details={"numbers": [1, 2, 0, 3]})

    assert [part.get("name") for part in blocks(made)[1][1]] == ["6", "3"]
    assert shown(made)[0] == FAILED


def test_a_block_whose_condition_fails_is_not_shown(card):
    made = card(
        layout(rows_of("secret"), when=f'"{FAILING}"') + layout(rows_of("open")),
        details={"zero": 0},
    )

    assert shown(made) == [said("element_failed", block="crm"), "L: open"]


def test_a_block_whose_name_fails_or_is_blank_has_the_name_of_its_source(card):
    made = card(
        layout(rows_of("a"), name=FAILING) + layout(rows_of("b"), name="{{ contact.nothing }} "),
        details={"zero": 0},
    )

    assert [name for name, _ in blocks(made)] == [NOTICE, "crm", "crm"]


def test_failures_of_one_block_are_said_once(card):
    made = card(layout(*[rows_of(FAILING)] * 3, rows_of("x")), details={"zero": 0})

    assert shown(made) == [FAILED, "L: x"]


class Broken:
    def __str__(self):
        raise OSError("the row of anna@example.com is gone")


def test_a_default_block_that_fails_leaves_the_others(tmp_path):
    maker = composer(tmp_path, sources=("crm", "shop"))

    made = dumped(
        maker.compose(
            EXTERNAL_ID, [found(details={"x": Broken()}), found("shop", name="Anna")], None
        )
    )

    assert shown(made) == [said("element_failed", block="crm"), "Name: Anna"]


def test_a_failure_is_logged_by_its_place_and_kind_without_anything_of_a_person(card, caplog):
    caplog.set_level(logging.DEBUG)
    person = {"name": "Anna Canary", "external_id": "canary-1", "emails": ("canary@example.com",)}
    text = layout(
        rows_of("{{ contact.note + 1 }}"),
        rows_of("{{ contact.note | currency(contact.note) }}"),
        rows_of("x", each="contact.note"),
        html_of("{{ contact.secret.canary.fails() }}"),
        name="{{ contact.note // 2 }}",
        when='"{{ contact.note }}"',
    )

    card(text, **person, details={"note": "canary in the note", "secret": {"canary": 1}})

    assert "canary" not in caplog.text.lower()
    assert [record.getMessage() for record in caplog.records] == [
        "blocks[0] cannot be shown: TypeError",
        "blocks[0].data[0] cannot be shown: TypeError",
        "blocks[0].data[1] cannot be shown: FilterArgumentError",
        "blocks[0].data[2] cannot be shown: TypeError",
        "blocks[0].data[3] cannot be shown: UndefinedError",
    ]


# Limits


@pytest.mark.parametrize(("locale", "more"), [("en", "+12 more"), ("sv", "+12 till")])
def test_what_a_card_does_not_hold_is_counted(card, locale, more):
    details = {"n": list(range(15))}
    table = 'type = "table"\neach = "contact.n"\ncolumns = [{ header = "N", text = "{{ item }}" }]'

    made = card(
        layout(
            rows_of("{{ item }}", each="contact.n"),
            table,
            html_of("<b>{{ item }}</b>", each='"contact.n"'),
            accordion_of("{{ item }}", rows_of("x"), each="contact.n"),
        ),
        details=details,
        locale=locale,
        rows=3,
    )

    ((_, data),) = blocks(made)
    assert [len(part["rows"]) for part in data[:2]] == [4, 4]
    assert data[0]["rows"][3] == {"label": "…", "text": more}
    assert data[1]["rows"][3] == [{"text": more}]
    assert [part.get("html") for part in data[2:5]] == ["<b>0</b>", "<b>1</b>", "<b>2</b>"]
    assert data[5]["rows"] == [{"label": "…", "text": more}]
    assert [part.get("name") for part in data[6:9]] == ["0", "1", "2"]
    assert data[9]["rows"] == [{"label": "…", "text": more}]


def test_rows_that_are_not_wanted_are_not_counted(card):
    odd = "type = 'list'\neach = 'contact.n'\n"
    odd += "rows = [{ label = 'N', text = '{{ item }}', when = 'item is odd' }]"

    made = card(layout(odd), details={"n": list(range(10))}, rows=3)

    assert shown(made) == ["N: 1", "N: 3", "N: 5", "…: +2 more"]


def test_cells_limit_a_wide_table_to_fewer_rows(card):
    table = 'type = "table"\neach = "contact.n"\ncolumns = [{ header = "N", text = "{{ item }}" }, '
    table += '{ header = "M", text = "x" }]'

    made = card(layout(table), details={"n": list(range(15))}, cells=7)

    assert shown(made) == ["N | M", "0 | x", "1 | x", "2 | x", "+12 more | "]


def test_the_default_layout_keeps_to_the_limits(card):
    record = {f"c{at}": at for at in range(10)}

    made = card("", details={"a": 1, "b": 2, "orders": [record] * 9}, rows=1, cells=4)

    assert shown(made) == [
        "A: 1",
        "…: +1 more",
        "C0 | C1 | C2 | C3 | +6 more",
        "0 | 1 | 2 | 3 | ",
        "+8 more |  |  |  | ",
    ]


def test_nothing_is_made_of_items_that_are_not_shown(card):
    details = {"n": [1, 2, 0]}  # a third row would divide by zero
    table = (
        'type = "table"\neach = "contact.n"\ncolumns = [{ header = "N", text = "{{ 2 // item }}" }]'
    )

    made = card(
        layout(
            rows_of("{{ 2 // item }}", each="contact.n"),
            table,
            html_of("{{ 2 // item }}", each='"contact.n"'),
            accordion_of("{{ 2 // item }}", rows_of("x"), each="contact.n"),
        ),
        details=details,
        rows=2,
    )

    assert FAILED not in shown(made)


def test_every_text_of_a_card_keeps_to_its_characters(card):
    long = "x" * 99
    made = card(
        layout(
            rows_of(long, long),
            f"type = 'table'\ncolumns = [{{ header = '{long}', text = '{long}' }}]",
            accordion_of(long, rows_of("x")),
            name=long,
        ),
        name=long,
        characters=9,
    )

    cut = "xxxxxxxx…"
    ((name, data),) = blocks(made)
    assert made["contactName"] == name == cut
    assert data[0]["rows"] == [{"label": cut, "text": cut}]
    assert data[1]["headers"] == data[1]["rows"][0] == [{"text": cut}]
    assert data[2]["name"] == cut


# HTML


def test_an_html_element_is_sanitised(card):
    made = card(
        layout(html_of('<p style="x" onclick="x()">{{ contact.note }}</p><script>x()</script>')),
        details={"note": "<img src=x onerror=alert(1)>"},
    )

    assert shown(made) == ["<p>&lt;img src=x onerror=alert(1)&gt;</p>"]


def test_a_trusted_template_keeps_its_own_markup_and_escapes_values(card):
    markup = '<style>p { color: red }</style><p hx-get="https://x.example">{{ contact.note }}</p>'

    made = card(
        layout(html_of(markup, trusted="true")), details={"note": "<script>alert(1)</script>"}
    )

    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert shown(made) == [markup.replace("{{ contact.note }}", escaped)]


def test_cut_markup_is_closed_again(card):
    made = card(
        layout(html_of("<ul>{% for n in contact.n %}<li><b>{{ n }}</b></li>{% endfor %}</ul>")),
        details={"n": list(range(99))},
        html=40,
    )

    assert shown(made) == ["<ul><li><b>0</b></li><li><b>1</b></li>…</ul>"]


def test_a_sanitized_value_alone_leaves_as_the_sanitizer_gave_it(card):
    note = "<pre>\n\n<b onclick='x()'>hi</b></pre><script>x()</script><a href='/in'>y</a>"

    made = card(layout(html_of("{{ contact.note | sanitize }}")), details={"note": note})

    assert shown(made) == [Sanitizer().clean(note)]


def test_a_sanitized_value_alone_that_is_cut_is_closed_again(card):
    note = "<ul>" + "<li><b>1</b></li>" * 9 + "</ul>"

    made = card(layout(html_of("{{ contact.note | sanitize }}")), details={"note": note}, html=30)

    assert shown(made) == ["<ul><li><b>1</b></li><li><b>1…</b></li></ul>"]


def test_markup_around_a_sanitized_value_is_sanitized(card):
    made = card(
        layout(html_of("<p style='x'>{{ contact.note | sanitize }}</p><script>x()</script>")),
        details={"note": "<b onclick='x()'>hi</b>"},
    )

    assert shown(made) == ["<p><b>hi</b></p>"]


def test_trusted_markup_over_the_limit_is_left_out_and_said(card):
    text = layout(html_of("<style>{{ contact.css }}</style>", trusted="true"), rows_of("stays"))

    made = card(text, details={"css": "x" * 99}, html=50)

    assert shown(made) == [FAILED, "L: stays"]


# Documented shapes only


def test_the_documented_shapes_are_lists_tables_and_blocks(card):
    text = layout(
        html_of("<p>one</p><table><tr><td>a</td><td>b</td></tr></table>"),
        accordion_of("{{ item }}", html_of("<p>{{ item }}</p>"), each="contact.orders"),
        rows_of("after"),
        name="Orders",
    )

    made = card(text, details={"orders": ["A1", ""]}, link=LINK, documented=True)

    def row(label, value):
        return {"type": "list", "rows": [{"label": label, "text": value}]}

    assert made["contactLink"] == {"text": LINK.text, "url": LINK.url}
    assert blocks(made) == [
        (
            "Orders",
            [
                {
                    "type": "list",
                    "rows": [{"label": "", "text": "one"}, {"label": "", "text": "a | b"}],
                }
            ],
        ),
        ("A1", [row("", "A1")]),
        ("Orders", [row("L", "after")]),
        ("Link", [row("Open in CRM", LINK.url)]),
    ]


def test_a_section_without_a_title_keeps_the_name_of_its_block(card):
    made = card(layout(accordion_of("{{ contact.x }}", rows_of("y"))), documented=True)

    assert blocks(made)[0][0] == "B"


def test_markup_without_a_text_is_nothing_to_show_in_documented_shapes(card):
    made = card(layout(html_of("<hr>")), link=LINK, documented=True)

    assert shown(made) == [NOTHING, f"Open in CRM: {LINK.url}"]


def test_many_sections_do_not_crowd_out_the_row_of_the_link(card):
    made = card(
        layout(accordion_of("{{ item }}", rows_of("x"), each="contact.n")),
        details={"n": list(range(40))},
        link=LINK,
        documented=True,
        blocks=5,
    )

    names = [name for name, _ in blocks(made)]
    assert names == [NOTICE, "0", "1", "2", "3", "4", "Link"]


# Whatever a source says


HOSTILE = layout(
    rows_of("{{ contact.a }}{{ contact['__class__'] }}", "{{ contact.items }}"),
    rows_of("{{ item.a }}{{ item }}", "{{ item.keys | date }}", each="contact.a"),
    """type = "table"
    each = "contact.items"
    columns = [
        { header = "{{ contact.b }}", text = "{{ item.a | currency('SEK') }}" },
        { header = "N", text = "{{ item.b | number }}{{ item | phone }}", when = "contact.a" },
    ]""",
    html_of("<p title='{{ contact.a }}'>{{ contact.b | sanitize }}{{ contact }}</p>"),
    html_of("<script>{{ item.a }}</script><i>{{ item }}</i>", each='"contact.b"', trusted="true"),
    accordion_of("{{ item.a | datetime }}", rows_of("{{ item }}", each="item.b"), each="contact.a"),
    name="{{ contact.a }}",
    when='"{{ contact.a }}{{ contact.b }}x"',
) + layout(rows_of("{{ contact.values }}"), name="{{ contact.keys }}", when='"contact.items"')

KEYS = st.sampled_from(["a", "b", "items", "keys", "values", "__class__", "", "a\x00b\ud800"])
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    [
        "x" * 5_000,
        "<b>" * 300,
        "</script><script>",
        '"\\' * 500,
        "😀" * 900,
        "{{ 7 * 7 }}",
        "\ud800\x00\x1b",
        "2026-11-03T10:00:00+02:00",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS | TEXTS, inner, max_size=4),
    max_leaves=12,
)


def nested(depth):
    value = "deep"
    for _ in range(depth):
        value = {"a": [value], "b": value}
    return value


HUGE = st.sampled_from(
    [list(range(1_000)), [{"a": "x" * 99, "b": 1}] * 500, "y" * 100_000, nested(200)]
)
DETAILS = st.dictionaries(KEYS | TEXTS, VALUES | HUGE, max_size=5)


def only_texts(value):
    """Whether a reply is made of tables, lists and texts only."""
    if isinstance(value, dict):
        return all(map(only_texts, value.values()))
    return all(map(only_texts, value)) if isinstance(value, list) else type(value) is str


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """Composers with tight and with usual limits, in all shapes."""
    folder = tmp_path_factory.mktemp("layout")
    tight = {"rows": 3, "cells": 6, "characters": 30, "html": 200, "blocks": 4, "bytes": 4_096}
    usual = {"bytes": 200_000}
    return [
        (composer(folder, text, documented=documented, **limits), limits["bytes"])
        for text, documented, limits in (
            (HOSTILE, False, tight),
            (HOSTILE, True, tight),
            (HOSTILE, False, {"characters": 10_000, "bytes": 20_000}),
            (HOSTILE, True, usual),
            ("", False, usual),
            ("", True, tight),
        )
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DETAILS, TEXTS, st.none() | st.just(LINK))
def test_any_details_make_a_valid_card_within_its_limits(makers, details, name, link):
    for maker, most in makers:
        reply = maker.compose(EXTERNAL_ID, [found(name=name, details=details)], link)
        made = dumped(reply)

        assert size(reply, LONG_NAMES) <= most
        assert only_texts([made["contactName"] or "", made["blocks"]])
        assert made["blocks"]
        assert all(block["data"] for block in made["blocks"])
        for table in [part for block in made["blocks"] for part in block["data"]]:
            if table["type"] == "table":
                assert {len(row) for row in table["rows"]} == {len(table["headers"])}


def test_a_composer_may_be_used_from_many_threads(tmp_path):
    maker = composer(tmp_path, EVERYTHING)

    def name_and_id(at):
        made = dumped(
            maker.compose(EXTERNAL_ID, [found(name=f"N{at}", external_id=f"K{at}")], None)
        )
        return made["contactName"], made["blocks"][0]["data"][0]["rows"][0]["text"]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(name_and_id, range(100)))

    assert made == [(f"N{at}", f"K{at}") for at in range(100)]


def test_a_block_may_show_contacts_of_several_sources_which_then_have_no_block_of_their_own(
    tmp_path,
):
    layout = """
    [[blocks]]
    name = "{{ contacts.crm.name }}"
    source = "crm"
    [[blocks.data]]
    type = "list"
    rows = [{ label = "Bought", text = "{{ contacts.shop.orders[0].id }}" }]
    """
    cards = composer(tmp_path, layout, ("crm", "shop"))

    reply = cards.compose(
        EXTERNAL_ID,
        [found("crm", name="Anna"), found("shop", details={"orders": [{"id": "A1"}]})],
        None,
    )

    (block,) = reply.blocks
    assert block.name == "Anna"
    assert [row.text for row in block.data[0].rows] == ["A1"]


def test_a_layout_can_say_how_the_person_was_found(tmp_path):
    layout = """
    [[blocks]]
    name = "Customer"
    [[blocks.data]]
    type = "list"
    rows = [{ label = "Found", text = "{{ match.key }} in {{ match.source }}" }]
    """

    reply = composer(tmp_path, layout).compose(EXTERNAL_ID, [found(name="Anna")], None)

    assert reply.blocks[0].data[0].rows[0].text == "external_id in crm"
