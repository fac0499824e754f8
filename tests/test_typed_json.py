"""What is stored comes back as what it was, or is not stored at all."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from imbox_plugin.typed_json import dumps, loads

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
zones = st.one_of(
    st.none(),
    st.timezones(),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
singles = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    texts,
    st.binary(max_size=8),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
trees = st.recursive(
    singles,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(texts.filter(lambda key: not key.startswith("\0")), inner, max_size=4),
    ),
    max_leaves=12,
)


def alike(one, other):
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, datetime):
        return (one, one.fold, one.utcoffset(), str(one.tzinfo)) == (
            *(other, other.fold, other.utcoffset(), str(other.tzinfo)),
        )
    return one == other if isinstance(one, int) else repr(one) == repr(other)


@given(trees)
def test_what_is_stored_comes_back_with_its_types(tree):
    assert alike(loads(dumps(tree)), tree)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        -0.0,
        10**5000,
        Decimal("sNaN"),
        Decimal("1E+400"),
        Decimal("0.10"),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Stockholm")),
        datetime(2026, 1, 1, tzinfo=UTC),
        time(1, 2, tzinfo=UTC),
        date(1, 1, 1),
        UUID(int=7),
        (1, (2,), [3]),
        {"": {"$": "", "__class__": "x"}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values_come_back_as_they_are(value):
    assert alike(loads(dumps(value)), value)


def test_a_mapping_that_cannot_be_changed_comes_back_as_a_dict():
    assert loads(dumps(MappingProxyType({"a": 1}))) == {"a": 1}


class Tier(IntEnum):
    GOLD = 1


def deep():
    tree = []
    for _ in range(5000):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    "value",
    [
        Markup("<b>x</b>"),
        Tier.GOLD,
        {1: "x"},
        {"\0tuple": []},
        {1},
        object(),
        "\ud800",
        deep(),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "Own")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_not_come_back_as_it_is_cannot_be_stored(value):
    with pytest.raises(TypeError):
        dumps({"details": [value]})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"\\u0000none": 1}',
        b'{"\\u0000date": "yesterday"}',
        b'{"\\u0000decimal": "x"}',
        b'{"\\u0000datetime": [1]}',
        b'{"\\u0000datetime": ["2026-01-01T00:00:00", 0, "No/Where"]}',
        b'{"\\u0000datetime": ["2026-01-01T00:00:00", 0, "../../etc/passwd"]}',
        b'{"\\u0000tuple": 1}',
    ],
)
def test_what_was_not_stored_here_is_refused(content):
    with pytest.raises(ValueError):  # noqa: PT011 - it is that of several parsers
        loads(content)
