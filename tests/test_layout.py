"""The layout in the settings: what is read, what is refused at start, what templates can reach."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType

import pytest

from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.layout import (
    AccordionLayout,
    HtmlLayout,
    LayoutReader,
    ListLayout,
    TableLayout,
    Templates,
    blank,
)
from imbox_plugin.model import View
from tests.cards import EXTERNAL_ID as TICKET
from tests.cards import composer, dumped, found, layout_file, read_layout

EVERYTHING = """
[[blocks]]
name = "Customer {{ contact.external_id }}"
icon = "contact_page"
source = "crm"
views = ["chat", "ticket"]
when = "{{ contact.tier }}"
[[blocks.data]]
type = "list"
when = "contact.tier"
rows = [{ label = "Tier", text = "{{ contact.tier }}", when = "{{ contact.tier }}" }]
[[blocks.data]]
type = "table"
each = "contact.orders"
columns = [{ header = "Order", text = "{{ item.id }}", when = "true" }]
[[blocks.data]]
type = "html"
template = "note.html"
trusted = true
[[blocks.data]]
type = "accordion"
each = "contact.orders"
title = "Order {{ item.id }}"
[[blocks.data.data]]
type = "html"
html = "<p>{{ item.note }}</p>"
"""


def element(body, data=""):
    return f'[[blocks]]\nname = "B"\n[[blocks.data]]\n{body}\n{data}'


def list_of(text, **more):
    settings = "\n".join(f"{name} = '''{value}'''" for name, value in more.items())
    return element(
        f"""type = "list"\n{settings}\nrows = [{{ label = "L", text = '''{text}''' }}]"""
    )


def html_of(markup):
    return element(f"type = \"html\"\nhtml = '''{markup}'''")


@pytest.fixture
def templates(tmp_path):
    return Templates(Formats("en"), Sanitizer(), tmp_path)


# What is read


def test_a_layout_of_all_four_elements_is_read(tmp_path):
    (tmp_path / "note.html").write_text("<b>{{ contact.note }}</b>")

    (block,), mistakes = read_layout(tmp_path, EVERYTHING)

    assert mistakes == []
    assert (block.icon, block.source) == ("contact_page", "crm")
    assert block.views == {View.CHAT, View.TICKET}
    assert [(type(part), part.path) for part in block.data] == [
        (ListLayout, "blocks[0].data[0]"),
        (TableLayout, "blocks[0].data[1]"),
        (HtmlLayout, "blocks[0].data[2]"),
        (AccordionLayout, "blocks[0].data[3]"),
    ]
    assert [part.path for part in block.data[3].data] == ["blocks[0].data[3].data[0]"]


def test_what_is_left_out_of_a_block_means_everybody_everywhere(tmp_path):
    (block,), _ = read_layout(tmp_path, list_of("x"))

    assert (block.source, block.when, block.icon) == (None, None, "info")
    assert block.views == set(View)


# What is refused at start


@pytest.mark.parametrize(
    ("layout", "mistake"),
    [
        ('[[blocks]]\nname = "B"', "blocks[0].data: missing; add it"),
        ('[[blocks]]\nname = "B"\ndata = []', "blocks[0].data: no elements; give one at least"),
        (element("rows = []"), "blocks[0].data[0].type: missing; add it"),
        (
            element('type = "tabel"'),
            (
                "blocks[0].data[0].type: no element is called 'tabel'; did you mean table? "
                "there are: accordion, html, list, table"
            ),
        ),
        (
            element('type = "list"\nrows = []'),
            "blocks[0].data[0].rows: no rows; give one at least",
        ),
        (
            element('type = "list"\nrows = [{ label = "a", text = "b" }, { label = "a" }]'),
            "blocks[0].data[0].rows[1].text: missing; add it",
        ),
        (
            element('type = "list"\nrows = [{ label = "a", text = 7 }]'),
            'blocks[0].data[0].rows[0].text: must be a text; write it in quotes, "..."',
        ),
        (
            element('type = "table"\ncolumns = [{ header = "a", text = "b", whem = 3 }]'),
            (
                "blocks[0].data[0].columns[0].whem: no setting is called 'whem'; "
                "did you mean when? there are: header, text, when"
            ),
        ),
        (
            element('type = "html"'),
            "blocks[0].data[0]: give either html or template",
        ),
        (
            element('type = "html"\ntemplate = "b.html"'),
            (
                "blocks[0].data[0].template: there is no template b.html in the folder of the "
                "settings; write it there"
            ),
        ),
        (
            element('type = "accordion"\ntitle = "t"', '[[blocks.data.data]]\ntype = "accordion"'),
            (
                "blocks[0].data[0].data[0].type: an accordion holds no other; "
                "use one of: list, table, html"
            ),
        ),
        (
            '[[blocks]]\nname = "B"\nicon = "Contact Page"\ndata = [{ type = "html", html = "a" }]',
            "blocks[0].icon: not a Material Symbols name; they are like contact_page",
        ),
        (
            '[[blocks]]\nname = "B"\nviews = ["chatt"]\ndata = [{ type = "html", html = "a" }]',
            "blocks[0].views[0]: must be one of: chat, ticket, call, contact",
        ),
        (
            '[[blocks]]\nname = "B"\nviews = []\ndata = [{ type = "html", html = "a" }]',
            "blocks[0].views: no views; leave it out to mean all",
        ),
    ],
)
def test_a_mistake_in_a_layout_is_named_with_its_place_and_a_cure(tmp_path, layout, mistake):
    _, mistakes = read_layout(tmp_path, layout)

    assert mistakes == [mistake]


def test_markup_is_given_once(tmp_path):
    (tmp_path / "b.html").write_text("b")

    _, mistakes = read_layout(tmp_path, element('type = "html"\nhtml = "a"\ntemplate = "b.html"'))

    assert mistakes == ["blocks[0].data[0]: give either html or template"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{{ contact.a", "not a template: unexpected end of template"),
        ("{{ contact.a | datum }}", "not a template: No filter named 'datum'."),
        ("{{ contact.a | date('shrt') }}", "date: the format must be one of short, medium"),
        ("{{ contact.a | currency('KRONOR') }}", "currency: the code given is not an ISO 4217"),
        ("{{ contact.a | currency }}", "currency() missing 1 required positional argument: 'code'"),
        ("{{ tier }}", "no value is called 'tier'; "),
        ("{{ contcat.tier }}", "no value is called 'contcat'; did you mean contact?"),
        ("{% include 'a.html' %}", "a text includes no files; use an html element"),
        ("{{ contact.a | sanitize }}", "not a template: No filter named 'sanitize'."),
    ],
)
def test_a_text_that_cannot_work_is_refused(tmp_path, text, mistake):
    _, mistakes = read_layout(tmp_path, list_of(text))

    assert len(mistakes) == 1
    assert mistakes[0].startswith(f"blocks[0].data[0].rows[0].text: {mistake}")


@pytest.mark.parametrize(
    "text",
    [
        "{% set first, last = contact.name.split(',') %}{{ first }}",
        "{% if contact.a %}{% set b = 1 %}{% endif %}{{ b }}",
        "{{ contact.total // contact.count }}",
        "{% for a in contact.b %}{{ loop.index }}{% endfor %}",
        "{{ range(3) | join }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(contact.a) }}",
        "{{ contact.a.b.c[0].d }}",
    ],
)
def test_a_text_that_only_lacks_its_values_is_not_refused(tmp_path, text):
    _, mistakes = read_layout(tmp_path, list_of(text))

    assert mistakes == []


@pytest.mark.parametrize(
    "each", ["{{ contact.a }}, {{ contact.b }}", "{% if contact.a %}1{% endif %}", "a: {{ item }}"]
)
def test_an_each_that_is_a_text_is_refused(tmp_path, each):
    _, mistakes = read_layout(tmp_path, list_of("x", each=each))

    assert mistakes == [
        "blocks[0].data[0].each: a text has no items; write one value, such as contact.orders"
    ]


def test_all_mistakes_of_a_layout_are_reported_at_once(tmp_path):
    layout = """
    [[blocks]]
    source = "crn"
    icon = "!"
    [[blocks.data]]
    type = "list"
    each = "orders"
    rows = [{ label = "{{", text = "x" }]
    [[blocks.data]]
    type = "nope"
    [[blocks]]
    name = "B"
    data = [{ type = "html", html = "a", trusted = "x" }]
    """

    _, mistakes = read_layout(tmp_path, layout)

    assert sorted(mistake.split(":")[0] for mistake in mistakes) == [
        "blocks[0].data[0].each",
        "blocks[0].data[0].rows[0].label",
        "blocks[0].data[1].type",
        "blocks[0].icon",
        "blocks[0].name",
        "blocks[0].source",
        "blocks[1].data[0].trusted",
    ]


# Texts


@pytest.mark.parametrize(
    ("text", "en", "sv"),
    [
        ("{{ contact.day | date }}", "Nov 3, 2026", "3 nov. 2026"),
        ("{{ contact.day | date('short') }}", "11/3/26", "2026-11-03"),
        ("{{ contact.moment | datetime }}", "Nov 3, 2026, 2:05\u202fPM", "3 nov. 2026 14:05"),
        ("{{ contact.amount | number }}", "1,234.5", "1\xa0234,5"),
        ("{{ contact.amount | number(2) }}", "1,234.50", "1\xa0234,50"),
        ("{{ contact.amount | currency('SEK') }}", "SEK\xa01,234.50", "1\xa0234,50\xa0kr"),
        ("{{ contact.phone | phone }}", "+46 70 174 06 05", "+46 70 174 06 05"),
        ("{{ contact.active }}", "yes", "ja"),
        ("{{ contact.tags }}", "a, b", "a, b"),
        ("{{ contact.nothing }}{{ contact.missing.deep[3] }}", "", ""),
    ],
)
def test_texts_are_formatted_by_locale(tmp_path, text, en, sv):
    contact = {
        "day": "2026-11-03",
        "moment": "2026-11-03T14:05:00",
        "amount": 1234.5,
        "phone": "+46701740605",
        "active": True,
        "tags": ["a", "b"],
        "nothing": None,
    }

    for locale, shown in (("en", en), ("sv", sv)):
        assert (
            Templates(Formats(locale), Sanitizer(), tmp_path).text(text)({"contact": contact})
            == shown
        )


@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "__class__", "_private", "a b"])
def test_a_detail_may_have_any_name(templates, name):
    contact = {name: "mine"}

    assert templates.text(f"{{{{ contact['{name}'] }}}}")({"contact": contact}) == "mine"
    if name.isidentifier():
        assert templates.text(f"{{{{ contact.{name} }}}}")({"contact": contact}) == "mine"


@pytest.mark.parametrize("contact", [{}, MappingProxyType({})])
@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "pop"])
def test_a_missing_detail_named_like_a_method_is_blank(templates, contact, name):
    values = {"contact": contact}

    assert templates.text(f"{{{{ contact.{name} | phone }}}}")(values) == ""
    assert templates.text(f"{{% if contact.{name} %}}x{{% endif %}}")(values) == ""
    assert blank(templates.condition(f"contact.{name}")(values))
    assert blank(templates.items(f"contact['{name}']")(values))


def test_a_method_of_a_text_is_blank_as_well(templates):
    assert templates.text("{{ contact.name.title }}")({"contact": {"name": "Anna"}}) == ""


def test_a_method_can_still_be_called(templates):
    text = "{% for name, value in contact.address.items() %}{{ name }}={{ value }};{% endfor %}"

    values = {"contact": {"address": {"city": "Umeå", "zip": 90325}}}

    assert templates.text(text)(values) == "city=Umeå;zip=90325;"


def test_a_template_may_be_rendered_from_many_threads(templates):
    text = templates.text("{% set twice = contact.n * 2 %}{{ contact.n }}:{{ twice }}")

    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(lambda n: text({"contact": {"n": n}}), range(200)))

    assert shown == [f"{n}:{2 * n}" for n in range(200)]


# Conditions and items


@pytest.mark.parametrize(
    ("value", "says_no"),
    [
        (None, True),
        (False, True),
        ("", True),
        (" \n\t", True),
        ([], True),
        ((), True),
        ({}, True),
        ({}.items(), True),
        (0, False),
        (0.0, False),
        ("0", False),
        ("false", False),
        ([None], False),
        (True, False),
    ],
)
def test_only_what_an_agent_would_call_nothing_is_blank(value, says_no):
    assert blank(value) is says_no


@pytest.mark.parametrize(
    "condition",
    [
        "contact.tier",
        "{{ contact.tier }}",
        "{{- contact.tier -}}",
        " {{ contact.tier }}\n",
        "{{ contact.nothing }}{{ contact.tier }}",
        "{% if contact.tier %}yes{% endif %}",
        "{{ contact.orders | selectattr('open') }}",
        "contact.zero",
    ],
)
def test_a_condition_holds_by_value_or_by_text(templates, condition):
    known = {"tier": "gold", "orders": [{"open": True}], "zero": 0}

    assert not blank(templates.condition(condition)({"contact": known}))
    assert blank(templates.condition(condition)({"contact": {"orders": []}}))


def test_items_of_a_filter_can_be_read_more_than_once(templates):
    found = templates.items("contact.orders | selectattr('open')")(
        {"contact": {"orders": [{"open": 1}, {"open": 0}]}}
    )

    assert list(found) == list(found) == [{"open": 1}]


# The sandbox


@pytest.mark.parametrize(
    "attack",
    [
        "contact.__class__",
        "contact['__class__']",
        "contact | attr('__class__')",
        "contact.__class__.__mro__[1].__subclasses__()",
        "contact.orders.__class__.__base__",
        "[contact] | map(attribute='__class__') | list",
        "'{0.__class__.__init__.__globals__}'.format(contact)",
        "'{0.__class__}'.format_map({'0': contact})",
        "contact.name.format.__globals__",
        "contact.items.__self__",
        "contact.get.__func__",
        "contact.items._undefined_obj",
        "lookup.__init__.__globals__",
        "range.__self__",
        "cycler.__init__.__globals__.os",
        "namespace.__init__.__globals__['os']",
    ],
)
def test_a_template_cannot_reach_behind_a_value(templates, attack):
    values = {"contact": {"orders": [1], "name": "Anna"}, "lookup": {}}
    for compiled in (templates.text(f"{{{{ {attack} }}}}"), templates.items(attack)):
        try:
            shown = str(compiled(values))
        except Exception:  # noqa: BLE001, S112 - a refusal is as good as a blank
            continue

        for inside in ("class", "globals", "dict", "module", "method", "object at"):
            assert inside not in shown


@pytest.mark.parametrize(
    "attack",
    [
        "contact.update({'name': 'Eve'})",
        "contact['update']({'name': 'Eve'})",
        "(contact | attr('update'))({'name': 'Eve'})",
        "contact.pop('name')",
        "contact.clear()",
        "contact.setdefault('vip', 1)",
        "contact.orders.append(4)",
        "contact.orders['append'](4)",
        "contact.orders.insert(0, 4)",
        "contact.orders.sort(reverse=true)",
        "contact.orders.reverse()",
        "contact.orders.clear()",
        "contact.orders.__setitem__(0, 9)",
        "contact.orders.__iadd__([9])",
        "[contact.orders] | map('attr', 'clear') | map('string') | list",
        "contact.address.popitem()",
        "contact.address.__delitem__('city')",
    ],
)
def test_a_template_cannot_change_a_contact_that_threads_share(templates, attack):
    contact = {"name": "Anna", "orders": [1, 2, 3], "address": {"city": "Umeå"}}
    before = copy.deepcopy(contact)
    for compiled in (templates.text(f"{{{{ {attack} }}}}"), templates.items(attack)):
        with suppress(Exception):
            compiled({"contact": contact})

    assert contact == before


def test_setting_a_value_in_a_template_changes_no_detail(templates):
    contact = {"orders": [1, 2]}

    templates.text("{% set contact = {} %}{% set orders = contact.orders %}")({"contact": contact})

    assert contact == {"orders": [1, 2]}


# Files


@pytest.mark.parametrize(
    "name", ["../secret.html", "sub/../../secret.html", "{folder}/secret.html", "..\\\\secret.html"]
)
def test_a_template_lies_in_the_folder_of_the_settings(tmp_path, name):
    (tmp_path / "secret.html").write_text("the secret")
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)

    layout = element(f'type = "html"\ntemplate = "{name.format(folder=tmp_path)}"')
    _, mistakes = read_layout(inner, layout)

    assert len(mistakes) == 1
    assert "in the folder of the settings" in mistakes[0]


@pytest.mark.parametrize(
    ("files", "mistake"),
    [
        ({"note.html": b"\xff\xfe"}, "the template is not UTF-8 text; save it as UTF-8"),
        ({"note.html": b"a\n{{ contact."}, "not a template: note.html, line 2: "),
        ({"note.html": b"{% include 'part.html' %}"}, "there is no template part.html "),
        (
            {"note.html": b"{% include 'part.html' %}", "part.html": b"{% if %}"},
            "not a template: part.html, line 1: ",
        ),
        ({"note.html": b"{% include '../x.html' %}"}, "there is no template ../x.html "),
        (
            {"note.html": b"{% include contact.template %}"},
            "a value names the file to include; write it in quotes",
        ),
        (
            {"note.html": b"{% include 'part.html' %}", "part.html": b"{{ contact.a | safe }}"},
            "values stay escaped; one that is HTML passes through | sanitize",
        ),
        ({"note.html": b"{{ tier }}"}, "no value is called 'tier'; "),
    ],
)
def test_a_template_file_that_cannot_work_is_refused(tmp_path, files, mistake):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    _, mistakes = read_layout(tmp_path, element('type = "html"\ntemplate = "note.html"'))

    assert len(mistakes) == 1
    assert mistakes[0].startswith(f"blocks[0].data[0].template: {mistake}")


def test_a_template_that_includes_itself_does_not_stop_the_start(tmp_path):
    (tmp_path / "tree.html").write_text(
        "{{ item.name }}{% for item in item.parts %}{% include 'tree.html' %}{% endfor %}"
    )
    layout = element('type = "html"\ntemplate = "tree.html"\neach = "contact.tree"')
    tree = {"name": "a", "parts": [{"name": "b", "parts": [{"name": "c"}]}]}

    reply = composer(tmp_path, layout).compose(TICKET, [found(details={"tree": tree})], None)

    assert dumped(reply)["blocks"][0]["data"] == [{"type": "html", "html": "abc"}]


# Compiled once, at start


@pytest.fixture
def included(tmp_path):
    """A layout with everything there is to compile, and its files."""
    (tmp_path / "base.html").write_text("<div>{% block body %}{% endblock %}</div>")
    (tmp_path / "parts.html").write_text("{% macro b(x) %}<b>{{ x }}</b>{% endmacro %}")
    (tmp_path / "rare.html").write_text("<i>rare</i>")
    (tmp_path / "note.html").write_text(
        "{% extends 'base.html' %}{% block body %}{% from 'parts.html' import b %}"
        "{{ b(contact.tier) }}"
        "{% if contact.rare %}{% include 'rare.html' %}{% endif %}{% endblock %}"
    )
    inline = html_of('{% if contact.rare %}{% include "rare.html" %}{% endif %}')
    return composer(tmp_path, EVERYTHING + inline)


PERSON = found(
    external_id="K1",
    details={"tier": "gold", "rare": True, "orders": [{"id": 1, "note": "n"}]},
)


def test_nothing_is_compiled_while_a_card_is_made(included):
    called = set()

    def note(frame, event, _):
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        included.compose(TICKET, [PERSON], None)
    finally:
        sys.setprofile(None)
    files = {file.replace("\\", "/").rpartition("jinja2/")[2] for file, _ in called}

    assert "runtime.py" in files  # the templates did run
    assert files.isdisjoint({"compiler.py", "lexer.py", "parser.py", "loaders.py"})


def test_a_template_that_changes_on_disk_shows_after_the_next_start(tmp_path, included):
    before = included.compose(TICKET, [PERSON], None)
    for file in tmp_path.glob("*.html"):
        file.unlink()

    assert included.compose(TICKET, [PERSON], None) == before
    assert "<div><b>gold</b><i>rare</i></div>" in str(dumped(before))


# Markup


def markup(templates, source, **contact):
    return templates.markup(source)({"contact": contact})


def test_values_in_markup_are_escaped(templates):
    hostile = "<b>&'\""

    for source in (
        "<p>{{ contact.x }}</p>",
        "<p>{{ contact.x | phone }}</p>",
        "<p>{{ contact.list }}</p>",
        "<p>{{ [contact.x] | join }}</p>",
        "{% set p %}<p>{{ contact.x }}</p>{% endset %}{{ p }}",
        "{% macro m(x) %}<p>{{ x }}</p>{% endmacro %}{{ m(contact.x) }}",
        "<p>{{ contact.x | replace('<', '<') }}</p>",
        "<p>{{ (contact.x | e).unescape() }}</p>",
    ):
        shown = markup(templates, source, x=hostile, list=[hostile])

        assert shown == "<p>&lt;b&gt;&amp;&#39;&#34;</p>"


def test_a_value_that_is_html_passes_sanitized(templates):
    source = "<div style='color:red'>{{ contact.note | sanitize }}</div>"

    shown = markup(templates, source, note="<b onclick='x()'>hi</b><script>bad()</script>")

    assert shown == "<div style='color:red'><b>hi</b></div>"


@pytest.mark.parametrize(
    ("value", "clean"),
    [(None, ""), (7, "7"), (["<b>a</b>", "<u onclick='x'>b</u>"], "<b>a</b>, <u>b</u>")],
)
def test_anything_can_be_sanitised(templates, value, clean):
    assert markup(templates, "{{ contact.x | sanitize }}", x=value) == clean


@pytest.mark.parametrize(
    "source",
    [
        "{{ contact.x | safe }}",
        "{% filter safe %}{{ contact.x }}{% endfilter %}",
        "{% autoescape false %}{{ contact.x }}{% endautoescape %}",
    ],
)
def test_markup_that_would_leave_values_unescaped_is_refused(tmp_path, source):
    _, mistakes = read_layout(tmp_path, html_of(source))

    assert mistakes == [
        "blocks[0].data[0].html: values stay escaped; one that is HTML passes through | sanitize"
    ]


def test_markup_in_the_settings_is_checked_like_a_text(tmp_path):
    for source, mistake in (("{{ tier }}", "no value is called 'tier'"), ("{{", "not a template")):
        _, mistakes = read_layout(tmp_path, html_of(source))

        assert len(mistakes) == 1
        assert mistakes[0].startswith(f"blocks[0].data[0].html: {mistake}")


def test_safe_is_not_found_by_its_name_either(templates):
    compiled = templates.markup("{{ contact.x | map('safe') | join }}")

    with pytest.raises(Exception, match="No filter named 'safe'"):
        compiled({"contact": {"x": ["<script>"]}})


def test_a_source_that_a_text_mentions_and_there_is_not_is_warned_about(tmp_path):
    file = layout_file(
        tmp_path,
        '[[blocks]]\nname = "{{ contacts.shp.name }}"\n'
        'data = [{ type = "list", rows = [{ label = "a", text = "b" }] }]',
    )
    templates = Templates(Formats("en"), Sanitizer(), tmp_path)

    LayoutReader(file, templates).blocks(file.tables["blocks"], "blocks", ["crm", "shop"])

    (warning,) = file.warnings
    assert str(warning) == (
        "blocks[0]: contacts.shp: no source is called 'shp'; did you mean shop? "
        "there are: crm, shop"
    )
