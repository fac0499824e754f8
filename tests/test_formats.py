"""Dates, numbers and sentences, as agents read them."""

import datetime as dt
import functools
import string
import tomllib
from decimal import Decimal
from importlib import resources
from types import MappingProxyType

import phonenumbers
import pytest
from babel import numbers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import ChainableUndefined

from imbox_plugin.formats import LOCALES, Formats
from imbox_plugin.model import Key, View

EN = Formats("en")
SV = Formats("sv")
STOCKHOLM = Formats("sv", "Europe/Stockholm")
BOTH = pytest.mark.parametrize("formats", [EN, SV], ids=["en", "sv"])
STYLES = ("short", "medium", "long", "full")

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too: JSON may hold them
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | ANY_TEXT
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT | st.integers(), inner),
    max_leaves=20,
)
# Texts that come near to something a filter reads.
NEAR_DATES = st.from_regex(r"\A\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?.{0,8})?\Z")
NEAR_NUMBERS = st.from_regex(r"\A ?[+-]?\d*\.?\d*([eE][+-]?\d{1,9})?\Z")
NEAR_PHONES = st.from_regex(r"\A(tel:)?\+[\d ().\-]{1,30}\Z")


def catalogue(language):
    file = resources.files("imbox_plugin").joinpath("locale", f"{language}.toml")
    return tomllib.loads(file.read_text("utf-8"))


def placeholders(sentence):
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


# Locale and time zone


@pytest.mark.parametrize("name", ["sv", "sv_SE", "sv-SE", "sv_FI"])
def test_a_locale_is_written_with_or_without_a_country(name):
    formats = Formats(name)

    assert formats.sentence("or") == "eller"


def test_a_country_decides_how_dates_look():
    assert Formats("en_GB").date("2026-11-03") == "3 Nov 2026"
    assert Formats("en_US").date("2026-11-03") == "Nov 3, 2026"


@pytest.mark.parametrize("name", ["xx", "swedish", "", "en_XX", "../sv"])
def test_an_unknown_locale_is_refused_with_a_cure(name):
    with pytest.raises(ValueError, match=r'is not known; write a language .* "sv"'):
        Formats(name)


def test_a_locale_without_a_catalogue_formats_its_own_way_and_speaks_english():
    german = Formats("de")

    assert german.date("2026-11-03") == "03.11.2026"
    assert german.number("1234.5") == "1.234,5"
    assert german.sentence("or") == "or"


@pytest.mark.parametrize("name", ["Nowhere/Town", "Europe", "", "../etc/passwd", "x" * 5000])
def test_an_unknown_time_zone_is_refused_with_a_cure(name):
    with pytest.raises(ValueError, match="is not known; write an IANA name"):
        Formats("sv", name)


# date


@pytest.mark.parametrize(
    ("style", "english", "swedish"),
    [
        ("short", "11/3/26", "2026-11-03"),
        ("medium", "Nov 3, 2026", "3 nov. 2026"),
        ("long", "November 3, 2026", "3 november 2026"),
        ("full", "Tuesday, November 3, 2026", "tisdag 3 november 2026"),
    ],
)
def test_a_date_reads_as_the_locale_writes_it(style, english, swedish):
    day = dt.date(2026, 11, 3)

    assert EN.date(day, style) == english
    assert SV.date(day, style) == swedish


@pytest.mark.parametrize(
    "value",
    [
        dt.date(2026, 11, 3),
        dt.datetime(2026, 11, 3, 10, 15),  # noqa: DTZ001 - databases give such
        dt.datetime(2026, 11, 3, 10, 15, tzinfo=dt.UTC),
        "2026-11-03",
        " 2026-11-03\n",
        "2026-11-03T10:15:00Z",
        "2026-11-03T10:15:00.1234567Z",
        "2026-11-03 10:15:00",
        "2026-11-03 10:15:00.5+01",
    ],
)
def test_a_date_is_read_from_every_common_form(value):
    assert SV.date(value) == "3 nov. 2026"


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "03/11/2026",
        "20261103",
        "2026-11",
        "2026-02-30",
        "0000-00-00",
        "2026-11-03T25:00:00",
        "2026-11-03 and later",
        "1712111000123",
        "2026-11-03X10:15",
    ],
)
@BOTH
def test_a_text_that_is_no_iso_date_stays_as_it_is(formats, value):
    assert formats.date(value) == value
    assert formats.datetime(value) == value


def test_a_number_is_not_taken_for_a_timestamp():
    assert SV.date(1762164900) == "1762164900"
    assert SV.datetime(1762164900.5) == "1762164900.5"


def test_the_day_is_taken_after_the_time_zone():
    late = "2026-11-03T23:30:00Z"

    assert SV.date(late) == "3 nov. 2026"
    assert STOCKHOLM.date(late) == "4 nov. 2026"


@pytest.mark.parametrize("style", ["lng", "", "yyyy", None, "Medium"])
@pytest.mark.parametrize("value", [None, "2026-11-03"])
def test_an_unknown_format_is_the_integrators_mistake(style, value):
    cure = "must be one of short, medium, long, full"
    with pytest.raises(ValueError, match=f"^date: the format {cure}"):
        SV.date(value, style)

    with pytest.raises(ValueError, match=f"^datetime: the format {cure}"):
        SV.datetime(value, style)


# datetime


@pytest.mark.parametrize(
    ("style", "english", "swedish"),
    [
        ("short", "11/3/26, 10:15\u202fAM", "2026-11-03 10:15"),
        ("medium", "Nov 3, 2026, 10:15\u202fAM", "3 nov. 2026 10:15"),
        ("long", "November 3, 2026, 10:15:07\u202fAM UTC", "3 november 2026 10:15:07 UTC"),
        (
            "full",
            "Tuesday, November 3, 2026, 10:15:07\u202fAM Coordinated Universal Time",
            "tisdag 3 november 2026 10:15:07 koordinerad universell tid",
        ),
    ],
)
def test_a_datetime_reads_as_the_locale_writes_it(style, english, swedish):
    assert EN.datetime("2026-11-03T10:15:07Z", style) == english
    assert SV.datetime("2026-11-03T10:15:07Z", style) == swedish


@pytest.mark.parametrize("style", STYLES)
@BOTH
def test_a_time_without_a_zone_is_not_called_utc(formats, style):
    shown = formats.datetime("2026-11-03 10:15:07", style)

    assert "10:15" in shown
    assert not any(zone in shown for zone in ("UTC", "Universal", "universell"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-11-03T10:15:00Z", "3 nov. 2026 11:15"),
        ("2026-07-03T10:15:00Z", "3 juli 2026 12:15"),
        ("2026-11-03T23:30:00+00:00", "4 nov. 2026 00:30"),
        ("2026-11-03T10:15:00-05:00", "3 nov. 2026 16:15"),
        ("2026-11-03T10:15:00", "3 nov. 2026 10:15"),
        (dt.datetime(2026, 11, 3, 10, 15, tzinfo=dt.UTC), "3 nov. 2026 11:15"),
    ],
)
def test_a_time_that_says_its_zone_is_shown_in_the_configured_one(value, shown):
    assert STOCKHOLM.datetime(value) == shown


def test_without_a_configured_zone_a_time_is_shown_as_it_is():
    assert SV.datetime("2026-11-03T10:15:00-05:00") == "3 nov. 2026 10:15"


def test_the_long_form_names_the_zone_it_was_converted_to():
    assert STOCKHOLM.datetime("2026-07-03T10:15:00Z", "long") == "3 juli 2026 12:15:00 CEST"


@pytest.mark.parametrize("value", [dt.date(2026, 11, 3), "2026-11-03"])
def test_a_mere_date_has_no_time(value):
    assert STOCKHOLM.datetime(value) == "3 nov. 2026"


@pytest.mark.parametrize(
    ("moment", "zone", "year"),
    [
        (dt.datetime.max.replace(tzinfo=dt.UTC), "Pacific/Auckland", "9999"),
        (dt.datetime.min.replace(tzinfo=dt.UTC), "America/New_York", "1"),
    ],
)
def test_a_time_beyond_the_calendar_is_shown_unconverted(moment, zone, year):
    formats = Formats("sv", zone)

    assert formats.date(moment).endswith(f" {year}")
    assert formats.datetime(moment, "full")


# number


@pytest.mark.parametrize(
    ("value", "english", "swedish"),
    [
        (0, "0", "0"),
        (1234567, "1,234,567", "1\xa0234\xa0567"),
        (1234.5, "1,234.5", "1\xa0234,5"),
        (Decimal("1234.50"), "1,234.5", "1\xa0234,5"),
        ("1234.50", "1,234.5", "1\xa0234,5"),
        (" 12 ", "12", "12"),
        ("+7", "7", "7"),
        (".5", "0.5", "0,5"),
        ("1.2E+3", "1,200", "1\xa0200"),
        ("-1234.5", "-1,234.5", "-1\xa0234,5"),
        (0.12345, "0.123", "0,123"),
    ],
)
def test_a_number_is_grouped_as_the_locale_does(value, english, swedish):
    assert EN.number(value) == english
    assert SV.number(value) == swedish


@pytest.mark.parametrize(
    ("digits", "shown"),
    [(0, "1\xa0234"), (1, "1\xa0234,5"), (2, "1\xa0234,50"), (4, "1\xa0234,5000")],
)
def test_the_number_of_decimals_can_be_set(digits, shown):
    assert SV.number("1234.5", digits) == shown


def test_setting_the_decimals_keeps_the_grouping_of_the_locale():
    assert Formats("en_IN").number(1234567, 2) == "12,34,567.00"


@pytest.mark.parametrize("digits", [-1, 16, "2", 2.0])
@pytest.mark.parametrize("value", [None, 5])
def test_an_impossible_number_of_decimals_is_the_integrators_mistake(digits, value):
    with pytest.raises(ValueError, match=r"^number: digits must be a whole number from 0 to 15"):
        SV.number(value, digits)


@pytest.mark.parametrize(
    "value",
    ["twelve", "1,234.50", "1 234,50", "1_000", "١٢", "0x10", "NaN", "Infinity", "-", ".", "12 kr"],
)
@BOTH
def test_a_text_that_is_no_plain_number_stays_as_it_is(formats, value):
    assert formats.number(value) == value
    assert formats.currency(value, "SEK") == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("Infinity"), "Infinity"),
    ],
)
def test_what_is_not_finite_is_plain_text(value, shown):
    assert SV.number(value) == shown
    assert SV.currency(value, "SEK") == shown
    assert SV.text(value) == shown


@pytest.mark.parametrize("value", [10**40, Decimal(10) ** 40])
def test_a_number_with_too_many_digits_to_round_is_plain_digits(value):
    assert SV.number(value) == f"1{'0' * 40}"
    assert SV.currency(value, "SEK") == f"1{'0' * 40}"


def test_a_bool_is_no_number():
    assert SV.number(value=True) == "ja"
    assert SV.currency(value=False, code="SEK") == "nej"


# currency


@pytest.mark.parametrize(
    ("value", "code", "english", "swedish"),
    [
        (1234.5, "SEK", "SEK\xa01,234.50", "1\xa0234,50\xa0kr"),
        ("1234.50", "EUR", "€1,234.50", "1\xa0234,50\xa0€"),
        (Decimal("-1234.5"), "SEK", "-SEK\xa01,234.50", "-1\xa0234,50\xa0kr"),
        (-3, "EUR", "-€3.00", "-3,00\xa0€"),
        (1234, "JPY", "¥1,234", "1\xa0234\xa0JPY"),
        (0, "CHF", "CHF\xa00.00", "0,00\xa0CHF"),
        (5, " sek ", "SEK\xa05.00", "5,00\xa0kr"),
    ],
)
def test_an_amount_reads_as_the_locale_writes_it(value, code, english, swedish):
    assert EN.currency(value, code) == english
    assert SV.currency(value, code) == swedish


@pytest.mark.parametrize("code", [None, "", "  "])
def test_an_amount_without_a_currency_is_a_plain_number(code):
    assert SV.currency("1234.5", code) == "1\xa0234,5"


@pytest.mark.parametrize("value", [None, "1234.5"])
def test_an_unknown_currency_is_the_integrators_mistake(value):
    with pytest.raises(ValueError, match=r'^currency: "ABC" is not an ISO 4217 code'):
        SV.currency(value, "ABC")


def test_data_put_in_place_of_a_currency_does_not_reach_the_message():
    with pytest.raises(ValueError, match=r"^currency: the code given is not an ISO 4217") as caught:
        SV.currency(5, "ada@example.com")

    assert "ada" not in str(caught.value).lower()


# phone


@pytest.mark.parametrize(
    "value",
    [
        "+46701740605",
        " +46 70-174 06 05 ",
        "+46 (0)70 174 06 05",
        "+46\xa070\xa0174\u201106\u201105",
        "\uff0b46701740605",
        "tel:+46-70-174-06-05",
    ],
)
@BOTH
def test_an_international_phone_number_is_spaced(formats, value):
    assert formats.phone(value) == "+46 70 174 06 05"


@pytest.mark.parametrize(
    "value",
    [
        "070-174 06 05",
        "46701740605",
        "+46",
        "+999 12345",
        "+46 123",
        "+4600701740605",
        "unknown",
        "+46701740605 (after five)",
        "+46701740605, +46701740606",
        "+46701740605 ext. 12",
        "+1 800 FLOWERS",
        "+" + "1" * 300,
    ],
)
def test_what_is_not_one_international_phone_number_stays_as_it_is(value):
    assert SV.phone(value) == value


def test_phone_numbers_of_the_whole_world_are_spaced(corpus):
    rows = corpus("phone_example_numbers_all_regions")

    wrong = [row for row in rows if SV.phone(row["expected"]) != row["international"]]

    assert rows
    assert wrong == []


@st.composite
def changed_numbers(draw):
    """An example number of some country, and what a slip of the finger makes of it."""
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    number = phonenumbers.example_number(region)
    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    at = draw(st.integers(0, len(digits)))
    more = draw(st.text("0123456789", max_size=3))
    return f"+{digits[:at]}{more}{digits[at + draw(st.integers(0, 3)) :]}"


@given(changed_numbers())
def test_a_phone_number_reads_as_libphonenumber_spaces_it(text):
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = phonenumbers.PhoneNumber()
    spaced = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)

    assert SV.phone(text) == (spaced if phonenumbers.is_valid_number(number) else text)


# text


@pytest.mark.parametrize(
    ("value", "english", "swedish"),
    [
        (None, "", ""),
        ("", "", ""),
        (True, "yes", "ja"),
        (False, "no", "nej"),
        (dt.date(2026, 11, 3), "Nov 3, 2026", "3 nov. 2026"),
        (dt.datetime(2026, 11, 3, 10, 15), "Nov 3, 2026, 10:15\u202fAM", "3 nov. 2026 10:15"),  # noqa: DTZ001
        (1234567, "1234567", "1234567"),
        (-5, "-5", "-5"),
        (1001.0, "1001", "1001"),
        (0.00001, "0.00001", "0.00001"),
        (1e21, "1" + "0" * 21, "1" + "0" * 21),
        (1.98 * 6, "11.88", "11.88"),
        (Decimal("12.50"), "12.50", "12.50"),
        (Decimal("1E+3"), "1000", "1000"),
        (Decimal("1E-9"), "0.000000001", "0.000000001"),
        ("1234567", "1234567", "1234567"),
        ("2026-11-03", "2026-11-03", "2026-11-03"),
        (b"\x89PNG", "", ""),
        (bytearray(b"a"), "", ""),
        (memoryview(b"a"), "", ""),
        (dt.time(10, 15), "10:15:00", "10:15:00"),
        (["a", None, 2, True], "a, 2, yes", "a, 2, ja"),
        (("a", ""), "a", "a"),
        ([], "", ""),
        ({"street": "Storgatan 1", "floor": None, "lift": False}, "street: Storgatan 1, lift: no",
         "street: Storgatan 1, lift: nej"),
        (MappingProxyType({1: "a"}), "1: a", "1: a"),
        ([{"id": 1, "n": 2}, {"id": 3}], "id: 1, n: 2; id: 3", "id: 1, n: 2; id: 3"),
        ({"tags": ["a", "b"], "x": 1}, "tags: a, b; x: 1", "tags: a, b; x: 1"),
    ],
)  # fmt: skip
def test_any_value_has_a_text(value, english, swedish):
    assert EN.text(value) == english
    assert SV.text(value) == swedish


def test_a_text_stays_the_object_it_is_so_that_safe_markup_stays_safe():
    class Markup(str):
        __slots__ = ()

    safe = Markup("<b>")

    assert SV.text(safe) is safe


def test_an_integer_longer_than_python_likes_is_still_digits():
    assert SV.text(10**5000) == f"1{'0' * 5000}"


def test_a_small_decimal_does_not_grow_into_a_huge_text():
    assert SV.text(Decimal("1E+999999")) == "1E+999999"
    assert SV.number(Decimal("1E+999999")) == "1E+999999"


def test_a_deep_tree_is_cut():
    deep = []
    for _ in range(100_000):
        deep = [deep]

    assert SV.text(deep) == "…"


def test_a_list_that_holds_itself_is_cut():
    endless = ["a"]
    endless.append(endless)

    assert SV.text(endless) == "a; a; a; a; …"


# Whatever comes


@pytest.mark.parametrize("value", [None, ""])
@BOTH
def test_nothing_is_shown_as_nothing(formats, value):
    shown = [
        formats.text(value),
        formats.date(value),
        formats.datetime(value),
        formats.number(value),
        formats.currency(value, "SEK"),
        formats.phone(value),
    ]

    assert shown == [""] * 6


@BOTH
def test_what_a_layout_does_not_find_is_shown_as_nothing(formats):
    missing = ChainableUndefined(name="contact").tier

    assert formats.text(missing) == ""
    assert formats.date(missing) == ""
    assert formats.number(missing) == ""
    assert formats.currency(5, missing) == "5"


@given(VALUES | NEAR_DATES | NEAR_NUMBERS | NEAR_PHONES, st.sampled_from([EN, SV, STOCKHOLM]))
@example(10**5000, SV)
@example(Decimal("1E-999999"), SV)
@example("9" * 5000, SV)
@example("1e999", SV)
@example("\ud800", SV)
def test_no_value_is_too_odd_to_show(value, formats):
    shown = [
        formats.text(value),
        formats.number(value),
        formats.number(value, 2),
        formats.currency(value, "SEK"),
        formats.phone(value),
        *(formats.date(value, style) for style in STYLES),
        *(formats.datetime(value, style) for style in STYLES),
    ]

    assert all(isinstance(text, str) for text in shown)


@given(ANY_TEXT)
def test_a_text_that_no_filter_reads_is_never_lost(value):
    letters = f"x{value}x"

    assert {
        SV.text(letters),
        SV.date(letters),
        SV.datetime(letters),
        SV.number(letters),
        SV.currency(letters, "SEK"),
        SV.phone(letters),
    } == {letters}


@given(NEAR_PHONES)
def test_a_spaced_phone_number_is_the_same_number(value):
    shown = SV.phone(value)

    if shown != value:
        assert phonenumbers.parse(shown) == phonenumbers.parse(value)


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_an_amount_can_be_read_back(value):
    shown = SV.currency(value, "SEK").removesuffix("\xa0kr")

    assert Decimal(shown.replace("\xa0", "").replace(",", ".")) == value


# Sentences


def test_a_sentence_takes_its_values():
    values = {"count": 3, "key": SV.sentence("key_email")}

    assert SV.sentence("ambiguous", **values) == (
        "3 olika kunder har samma e-postadress, så ingen av dem visas."
    )


def test_a_value_is_not_itself_a_template():
    shown = EN.sentence("no_match", keys="{yes} {0.__class__}")

    assert shown == "No customer found by {yes} {0.__class__}."


def test_an_unknown_sentence_is_a_bug():
    with pytest.raises(KeyError, match="no_such_sentence"):
        EN.sentence("no_such_sentence")


def test_a_sentence_without_its_value_is_a_bug():
    with pytest.raises(KeyError, match="count"):
        EN.sentence("more")


def test_there_is_a_catalogue_for_every_language_and_no_other():
    files = resources.files("imbox_plugin").joinpath("locale").iterdir()

    assert {file.name for file in files} == {f"{language}.toml" for language in LOCALES}


@pytest.mark.parametrize("language", LOCALES)
def test_every_catalogue_has_the_same_sentences_with_the_same_placeholders(language):
    here, english = catalogue(language), catalogue("en")

    assert {key: placeholders(sentence) for key, sentence in here.items()} == {
        key: placeholders(sentence) for key, sentence in english.items()
    }


@pytest.mark.parametrize("language", LOCALES)
def test_every_sentence_has_words(language):
    blank = [
        key for key, sentence in catalogue(language).items() if sentence.strip() in ("", "TODO")
    ]

    assert blank == []


@pytest.mark.parametrize("language", LOCALES)
def test_every_identity_and_every_view_has_a_name(language):
    named = {f"key_{key}" for key in Key} | {f"view_{view}" for view in View}

    assert named <= catalogue(language).keys()


@pytest.mark.parametrize(
    "sentence",
    [
        "no_match",
        "no_identity",
        "unusable",
        "ambiguous",
        "contradicts",
        "other_email",
        "nothing_to_show",
        "element_failed",
        "card_failed",
        "cut",
    ],
)
@pytest.mark.parametrize("language", LOCALES)
def test_a_sentence_that_stands_in_a_row_has_a_label(language, sentence):
    assert {sentence, f"label_{sentence}"} <= catalogue(language).keys()


@pytest.mark.parametrize("locale", ["sv", "en", "de_CH", "fr", "ar", "fa", "ja"])
def test_money_reads_as_babel_writes_it_in_every_currency(locale):
    formats = Formats(locale)
    amount = Decimal("-1234567.895")

    shown = {code: formats.currency(amount, code) for code in numbers.list_currencies()}

    assert {code: squeezed(text) for code, text in shown.items()} == {
        code: squeezed(numbers.format_currency(amount, code, locale=locale)) for code in shown
    }


#: group and round in every way there is
LOCALE_NAMES = (
    *("sv", "en", "en_IN", "en_ZA", "de_AT", "de_CH", "fr_CH", "es", "pl", "pt_PT", "nb", "bn"),
    *("ta", "hi", "dz", "ar", "fa", "he", "ja", "lt", "tok"),
)
formats_of = functools.cache(Formats)
AMOUNTS = (
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.decimals(-(10**9), 10**9, places=3)
    | st.integers(-(10**30), 10**30).map(Decimal)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: Decimal(repr(number)))
)


@settings(deadline=None)  # each locale is read from its file once
@given(
    st.sampled_from(LOCALE_NAMES),
    st.sampled_from(["SEK", "EUR", "JPY", "KWD", "CHF", "XXX", "INR"]),
    AMOUNTS,
)
@example("sv", "SEK", Decimal("-0.00"))
@example("sv", "SEK", Decimal("-0.004"))
@example("sv", "SEK", Decimal("0.125"))
@example("en", "JPY", Decimal("999999.5"))
@example("en", "USD", Decimal("1E+25"))
@example("en", "USD", Decimal("1234567890123456789012345678.905"))
def test_an_amount_reads_as_babel_writes_it(locale, code, amount):
    formats = formats_of(locale)
    try:
        written = numbers.format_currency(amount, code, locale=locale)
    except ArithmeticError:
        written = formats.text(amount)

    assert squeezed(formats.currency(amount, code)) == squeezed(written)


def squeezed(text):
    """A text without the space that Formats puts between a currency's letters and the digits."""
    return text.replace("\N{NO-BREAK SPACE}", "")
