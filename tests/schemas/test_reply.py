import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema

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
from schemas.reply import reply_schema
from schemas.wire import WireNames

#: names that nothing else has
OTHER_NAMES = WireNames(
    html_type="markup",
    html_content="content",
    accordion_type="section",
    accordion_title="heading",
    accordion_data="children",
    link_text="label_of_link",
    link_url="href",
)

CONTACT = ListElement(
    (
        Row("Customer Id", "CUST12345"),
        Row("Name", "John Doe"),
        Row("Title", "Senior Account Manager"),
        Row("Customer since", "2024-01-01"),
    )
)
ORDERS = TableElement(
    ("Order Id", "Value", "Date"),
    (("1", "100", "2024-01-01"), ("2", "200", "2024-02-02"), ("3", "300", "2024-03-03")),
)

# The values of docs.imbox.io, plugins/client-integration/example-responses.
LIST = """
{"type": "list", "rows": [
    {"label": "Customer Id", "text": "CUST12345"},
    {"label": "Name", "text": "John Doe"},
    {"label": "Title", "text": "Senior Account Manager"},
    {"label": "Customer since", "text": "2024-01-01"}
]}
"""
TABLE = """
{"type": "table",
 "headers": [{"text": "Order Id"}, {"text": "Value"}, {"text": "Date"}],
 "rows": [
    [{"text": "1"}, {"text": "100"}, {"text": "2024-01-01"}],
    [{"text": "2"}, {"text": "200"}, {"text": "2024-02-02"}],
    [{"text": "3"}, {"text": "300"}, {"text": "2024-03-03"}]
]}
"""


def documented(name, icon, *data):
    block = f'{{"name": "{name}", "icon": "{icon}", "data": [{", ".join(data)}]}}'
    return f'{{"contactName": null, "contactLink": null, "blocks": [{block}]}}'


def dump(*data, wire=OTHER_NAMES):
    """The elements of a block, as they leave."""
    (block,) = reply_schema(wire).dump(Reply(blocks=(Block("B", "info", data),)))["blocks"]
    return block["data"]


@pytest.mark.parametrize(
    ("block", "example"),
    [
        (
            Block("Contact information", "contact_page", (CONTACT,)),
            documented("Contact information", "contact_page", LIST),
        ),
        (
            Block("Customer orders", "receipt_long", (ORDERS,)),
            documented("Customer orders", "receipt_long", TABLE),
        ),
        (
            Block("Contact information", "contact_page", (CONTACT, ORDERS)),
            documented("Contact information", "contact_page", LIST, TABLE),
        ),
    ],
    ids=["list", "table", "mixed"],
)
@pytest.mark.parametrize("wire", [WireNames(), OTHER_NAMES], ids=["usual names", "other names"])
def test_a_documented_example_is_given_key_for_key(block, example, wire):
    dumped = reply_schema(wire).dump(Reply(blocks=(block,)))

    assert json.dumps(dumped) == json.dumps(json.loads(example))


def test_an_empty_reply_has_every_documented_key():
    empty = {"contactName": None, "contactLink": None, "blocks": []}

    assert reply_schema(WireNames()).dump(Reply()) == empty


def test_a_name_and_a_link_leave_under_their_names():
    dumped = reply_schema(OTHER_NAMES).dump(Reply("Ada", Link("CRM", "https://crm.example.com/1")))

    assert dumped["contactName"] == "Ada"
    assert dumped["contactLink"] == {"label_of_link": "CRM", "href": "https://crm.example.com/1"}


def test_html_leaves_under_its_names():
    assert dump(HtmlElement("<b>x</b>")) == [{"type": "markup", "content": "<b>x</b>"}]


def test_an_accordion_leaves_under_its_names_with_every_element_in_it():
    accordion = AccordionElement("Order 7", (CONTACT, ORDERS, HtmlElement("x")))
    inside = dump(CONTACT, ORDERS, HtmlElement("x"))

    assert dump(accordion) == [{"type": "section", "heading": "Order 7", "children": inside}]


def test_the_usual_names_are_those_of_the_wire():
    (accordion,) = dump(AccordionElement("Order 7", (HtmlElement("x"),)), wire=WireNames())

    assert accordion == {
        "type": "accordion",
        "name": "Order 7",
        "data": [{"type": "html", "html": "x"}],
    }


def test_an_accordion_holds_no_accordion():
    with pytest.raises(KeyError):
        dump(AccordionElement("outer", (AccordionElement("inner", (CONTACT,)),)))


def texts(value, key=""):
    """Every value in a document, except the types."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in texts(inner, name)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [] if key == "type" else [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (10**20, "100000000000000000000"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 1, 1), "2024-01-01"),
        ("", ""),
        (None, ""),
    ],
)
def test_every_value_leaves_as_a_text(value, text):
    table = TableElement((value,), ((value,),))
    accordion = AccordionElement(value, (HtmlElement(value),))
    block = Block(value, value, (ListElement((Row(value, value),)), table, accordion))
    dumped = reply_schema(WireNames()).dump(Reply("Ada", Link(value, value), (block,)))

    assert texts(dumped) == ["Ada", *[text] * 10]


def shape(value):
    """A document with every text replaced by its type, and equal members of a list by one."""
    if isinstance(value, dict):
        return {key: inner if key == "type" else shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shapes = [shape(inner) for inner in value]
        return [one for at, one in enumerate(shapes) if one not in shapes[:at]]
    return type(value).__name__


TEXT = st.text(max_size=8)
LISTS = st.lists(st.builds(Row, TEXT, TEXT), min_size=1, max_size=3).map(tuple).map(ListElement)
TABLES = st.integers(1, 3).flatmap(
    lambda width: st.builds(
        TableElement,
        st.tuples(*[TEXT] * width),
        st.lists(st.tuples(*[TEXT] * width), min_size=1, max_size=3).map(tuple),
    )
)
LEAVES = LISTS | TABLES | st.builds(HtmlElement, TEXT)
ELEMENTS = LEAVES | st.builds(
    AccordionElement, TEXT, st.lists(LEAVES, min_size=1, max_size=3).map(tuple)
)
BLOCKS = st.builds(Block, TEXT, TEXT, st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple))
REPLIES = st.builds(
    Reply,
    st.none() | TEXT,
    st.none() | st.builds(Link, TEXT, TEXT),
    st.lists(BLOCKS, max_size=3).map(tuple),
)

LEAF_SHAPES = [
    {"type": "list", "rows": [{"label": "str", "text": "str"}]},
    {"type": "table", "headers": [{"text": "str"}], "rows": [[{"text": "str"}]]},
    {"type": "html", "html": "str"},
]


@given(REPLIES, st.sampled_from([WireNames(), OTHER_NAMES]))
def test_a_reply_is_dumped_as_marshmallow_would(reply, wire):
    schema = reply_schema(wire)

    assert json.dumps(schema.dump(reply)) == json.dumps(Schema.dump(schema, reply))
    assert schema.dump([reply], many=True) == [schema.dump(reply)]


@given(REPLIES)
def test_no_reply_has_another_shape(reply):
    dumped = json.loads(json.dumps(reply_schema(WireNames()).dump(reply)))

    assert dumped.keys() == {"contactName", "contactLink", "blocks"}
    assert shape(dumped["contactName"]) in ("str", "NoneType")
    assert shape(dumped["contactLink"]) in ({"text": "str", "url": "str"}, "NoneType")
    for block in dumped["blocks"]:
        assert block.keys() == {"name", "icon", "data"}
        assert shape([block["name"], block["icon"]]) == ["str"]
        for element in block["data"]:
            if element["type"] == "accordion":
                assert shape(element["name"]) == "str"
                assert element.keys() == {"type", "name", "data"}
            leaves = element["data"] if element["type"] == "accordion" else [element]
            assert all(shape(leaf) in LEAF_SHAPES for leaf in leaves)
