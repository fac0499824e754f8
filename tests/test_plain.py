"""Plain templates: read without a rendering, they give what Jinja gives."""

import re
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from imbox_plugin.formats import Formats
from imbox_plugin.html import Sanitizer
from imbox_plugin.layout import Templates

#: statements are Jinja's alone, so a text with one is rendered
BY_JINJA = "{% if false %}{% endif %}"

NAMES = st.sampled_from(["a", "b", "items", "keys", "pop", "__class__", "_x", "upper"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["<b>&'\"", Markup("<i>"), "2026-11-03", "+46701740605", str.upper])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=3).map(MappingProxyType)
    ),
    max_leaves=8,
)
VALUES = st.fixed_dictionaries(
    {}, optional={"contact": TREES, "item": TREES, "index": st.integers(), "match": TREES}
)
STEPS = NAMES.map(".{}".format) | st.sampled_from(
    ["['a']", "['items']", "[0]", "[-1]", "[:2]", "[1:]", "[::-1]", "['__class__']", "[contact.a]"]
)
FILTERS = st.sampled_from(
    (
        *("", "|date", "|date('short')", "|number", "|number(2)", "|currency('SEK')", "|phone"),
        *("|currency(contact.a)", "|date(format='long')", "|upper", "|default('x')"),
        "|datetime|phone",
    )
)


@st.composite
def expressions(draw):
    name = draw(st.sampled_from(["contact", "item", "index", "lookup", "range", "'x'"]))
    return name + "".join(draw(st.lists(STEPS, max_size=3))) + draw(FILTERS)


@pytest.fixture
def templates(tmp_path):
    return Templates(Formats("sv"), Sanitizer(), tmp_path)


def outcome(make, values):
    """What comes out, or the kind of what goes wrong."""
    try:
        found = make(values)
    except Exception as error:  # noqa: BLE001
        return type(error)
    return type(found), re.sub(" at 0x[0-9a-f]+", "", repr(found))


REPEATED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@REPEATED
@given(st.lists(expressions(), min_size=1, max_size=3), st.sampled_from(["", "x ", "<b>"]), VALUES)
@example(["contact.a", "item.b|date"], "", {"contact": {"a": "<b>"}})
@example(["contact.items", "contact['items']"], "", {"contact": {"a": "<b>"}})
def test_a_text_is_what_jinja_renders(templates, parts, between, values):
    source = between.join(f"{{{{ {part} }}}}" for part in parts)

    for compiler in (templates.text, templates.markup):
        plain, rendered = compiler(source), compiler(source + BY_JINJA)

        assert outcome(plain, values) == outcome(rendered, values)


@REPEATED
@given(expressions(), VALUES)
def test_a_value_is_what_jinja_evaluates(templates, expression, values):
    plain = templates.items(expression)
    evaluated = templates.items(f"({expression}) if true")

    assert outcome(plain, values) == outcome(evaluated, values)


@REPEATED
@given(TREES)
def test_sanitized_markup_is_what_jinja_renders(templates, value):
    plain = templates.markup("{{ contact | sanitize }}")
    rendered = templates.markup("{{ contact | sanitize }}" + BY_JINJA)

    assert outcome(plain, {"contact": value}) == outcome(rendered, {"contact": value})
    assert plain.clean
    assert not rendered.clean


@pytest.mark.parametrize(
    "source",
    [
        "<b>{{ contact | sanitize }}</b>",
        "{{ contact | sanitize }}{{ item | sanitize }}",
        "{{ contact | sanitize | upper }}",
        "{{ (contact | sanitize)[:9] }}",
        "{% filter sanitize %}{{ contact }}{% endfilter %}",
        "{{ contact }}",
        "x",
        "",
    ],
)
def test_only_what_the_sanitizer_gave_last_counts_as_clean(templates, source):
    assert not templates.markup(source).clean
