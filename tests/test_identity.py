import unicodedata

import email_validator
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin.identity import (
    SEARCH_FORMS,
    _from_region,
    _plain_from_region,
    carries,
    normal_email,
    normal_form,
    normal_id,
    normal_phone,
    parsed_phone,
    search_forms,
)
from imbox_plugin.model import Contact, Key, Lookup, View

HOSTILE = [
    "",
    " ",
    "\0",
    "\ud800",
    "\udfff@example.com",
    "a@\ud800.se",
    "@",
    "@" * 600,
    "a" * 100_000,
    "1" * 100_000,
    "+" * 100_000,
    "+" + "9" * 300,
    "tel:",
    "+tel:46",
    "(((((",
    "\u202e\u202d",
    "\N{CUNEIFORM NUMERIC SIGN TWO ASH}" * 8,
    "\N{SUPERSCRIPT TWO}" * 8,
]

any_text = st.text(st.characters(), max_size=40)
any_region = st.none() | st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS))
digits = st.text("0123456789", min_size=1, max_size=17)
phone_like = st.text(
    "0123456789\N{ARABIC-INDIC DIGIT FOUR}+\N{FULLWIDTH PLUS SIGN} ()-./[]\u200e\xa0",
    max_size=24,
)
atoms = st.text("aZ09_+'-!#%\"\\ <", min_size=1, max_size=12) | st.sampled_from(
    ["a" * 63, "x" * 64]
)
labels = st.text("aZ09-_", min_size=1, max_size=8) | st.sampled_from(
    ["xn--exmple-cua", "ab--c", "a-b", "a" * 63, "a" * 64]
)
ends = st.sampled_from(
    ["se", "COM", "c0m", "1", "xn--p1ai", "-", "", *email_validator.SPECIAL_USE_DOMAIN_NAMES]
)
nearly_plain_email = st.builds(
    "{}@{}.{}".format,
    st.lists(atoms, min_size=1, max_size=3).map(".".join),
    st.lists(labels, min_size=1, max_size=3).map(".".join),
    ends,
)
email_like = st.emails() | st.builds("{}@{}.se".format, any_text, any_text)


def asked_by(key, value):
    return Lookup(View.TICKET, {key: value})


# E-mail


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("anna@example.com", "anna@example.com"),
        ("Anna.Berg@Example.COM", "anna.berg@example.com"),
        ("  anna@example.com\r\n", "anna@example.com"),
        ("\u00a0anna@example.com\u3000", "anna@example.com"),
        ("anna+shop@example.com", "anna+shop@example.com"),
        ("a.n.n.a@gmail.com", "a.n.n.a@gmail.com"),
        ("o'hara@example.com", "o'hara@example.com"),
        ("anna@exämple.se", "anna@xn--exmple-cua.se"),
        ("anna@EXÄMPLE.se", "anna@xn--exmple-cua.se"),
        ("anna@XN--EXMPLE-CUA.se", "anna@xn--exmple-cua.se"),
        ("anna@\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com", "anna@example.com"),
        ("a\N{COMBINING RING ABOVE}sa@example.com", "\u00e5sa@example.com"),
        ("\u00c5SA@Example.com", "\u00c5SA@example.com"),
    ],
)
def test_an_email_has_one_normal_form(text, normal):
    assert normal_email(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "anna",
        "anna@",
        "@example.com",
        "a@b@example.com",
        "anna@localhost",
        "anna@example.test",
        "anna@[127.0.0.1]",
        '"anna berg"@example.com',
        "<anna@example.com>",
        "Anna <anna@example.com>",
        "mailto:anna@example.com",
        "anna@example.com, bo@example.com",
        "anna@example.com\0",
        "anna@example.com\nBcc: bo@example.com",
        "anna\u200b@example.com",
        "anna\uff20example.com",
        "a" * 600 + "@example.com",
    ],
)
def test_what_is_not_one_address_is_no_email(text):
    assert normal_email(text) is None


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ("stra\N{LATIN SMALL LETTER SHARP S}e@example.com", "strasse@example.com"),
        ("\N{LATIN SMALL LETTER DOTLESS I}da@example.com", "ida@example.com"),
        ("\N{KELVIN SIGN}ate@example.com", "kate@example.com"),
        ("\N{CYRILLIC SMALL LETTER A}nna@example.com", "anna@example.com"),
        ("jos\u00e9@example.com", "jose@example.com"),
        ("anna+shop@example.com", "anna@example.com"),
    ],
)
def test_lookalike_mailboxes_stay_apart(mine, other):
    assert normal_email(mine) != normal_email(other)


def test_no_character_outside_ascii_becomes_ascii_in_the_local_part():
    imposters = [
        char
        for char in map(chr, range(128, 0x110000))
        if unicodedata.normalize("NFC", char).isascii()
    ]

    assert imposters
    assert [normal_email(f"{char}ate@example.com") for char in imposters] == [None] * len(imposters)


@given(email_like | any_text)
def test_a_normal_email_is_its_own_normal_form(text):
    normal = normal_email(text)

    assert normal is None or normal_email(normal) == normal


@given(st.emails())
def test_capitals_make_no_other_email(text):
    assert normal_email(text.upper()) == normal_email(text)


@pytest.mark.parametrize("name", ["email_isemail_tests", "email_email_validator_tests"])
def test_an_email_is_refused_exactly_when_the_validator_refuses_it(corpus, name):
    # Here white space around an address is no error, and no other character passes for ASCII.
    rows = [
        row
        for row in corpus(name)
        if row["payload"] == row["payload"].strip() and "\N{GREEK VARIA}" not in row["payload"]
    ]

    wrong = [
        row["payload"]
        for row in rows
        if (normal_email(row["payload"]) is not None) != row["email_validator"]["valid"]
    ]

    assert rows
    assert wrong == []


def by_the_validator(text):
    try:
        address = email_validator.validate_email(text.strip(), check_deliverability=False)
    except email_validator.EmailNotValidError:
        return None
    return f"{address.local_part.lower()}@{address.ascii_domain}"


@given(nearly_plain_email | st.text(st.characters(max_codepoint=127), max_size=40))
def test_an_ascii_address_is_what_the_validator_says_in_lower_case(text):
    assert normal_email(text) == by_the_validator(text)


@pytest.mark.parametrize(
    "text",
    [
        f"a@{'b' * 63}.se",
        f"a@{'b' * 64}.se",
        f"{'a' * 64}@example.com",
        f"{'a' * 65}@example.com",
        f"{'a' * 200}@{'b' * 50}.se",
        f"{'a' * 201}@{'b' * 50}.se",
        "a@b--c.se",
        "a@ab--c.se",
        "a@abc--d.se",
        "a@xn--exmple-cua.se",
        "a@xn--a.se",
        "a@example.s-e",
        "a@example.1e",
        "a@example.e1",
        "a@-b.se",
        "a@b-.se",
        "a@b..se",
        "a@b.se.",
        "a..b@c.se",
        ".a@c.se",
        "a.@c.se",
        "a@c",
        "Postmaster@Example.SE",
    ],
)
def test_the_edges_of_an_ascii_address_are_where_the_validator_has_them(text):
    assert normal_email(text) == by_the_validator(text)


@pytest.mark.parametrize("name", email_validator.SPECIAL_USE_DOMAIN_NAMES)
def test_no_address_is_under_a_name_that_is_nobodys(name):
    assert normal_email(f"anna@example.{name.upper()}") is None


# Phone


@pytest.mark.parametrize(
    "text",
    [
        "+46701740605",
        "+46 70-174 06 05",
        "+46 (0)70 174 06 05",
        "+46(0)701740605",
        "+460701740605",
        "0046 70 174 06 05",
        "0046(0)701740605",
        "070-174 06 05",
        "070/174.06.05",
        "[070] 174 06 05",
        "(070) 1740605",
        "070\t1740605",
        "701740605",
        "46701740605",
        " 46701740605",
        "tel:+46-70-174-06-05",
        "TEL: 070-1740605",
        "+46\N{NO-BREAK SPACE}70\N{NO-BREAK SPACE}1740605",
        "+46 70\N{EN DASH}174 06 05",
        "+46 70\N{MINUS SIGN}174 06 05",
        "\N{LEFT-TO-RIGHT OVERRIDE}+46701740605\N{POP DIRECTIONAL FORMATTING}",
        "\N{LEFT-TO-RIGHT MARK}tel:+46701740605",
        "\N{FULLWIDTH PLUS SIGN}46701740605",
        "+٤٦٧٠١٧٤٠٦٠٥",
        "\uff10\uff17\uff10\uff0d\uff11\uff17\uff14\uff10\uff16\uff10\uff15",
    ],
)
def test_every_spelling_of_a_swedish_number_is_one_number(text):
    assert normal_phone(text, "SE") == "+46701740605"


def by_the_library(dialled):
    try:
        number = phonenumbers.parse(dialled)
    except phonenumbers.NumberParseException:
        return None
    return number.country_code, phonenumbers.national_significant_number(number)


def parsed(dialled):
    try:
        return parsed_phone(dialled)
    except phonenumbers.NumberParseException:
        return None


def examples(region):
    """Valid numbers of a region, of every type, as national digits."""
    types = phonenumbers.PhoneNumberType.values()
    found = [phonenumbers.example_number_for_type(region, kind) for kind in types]
    return {phonenumbers.national_significant_number(number) for number in found if number}


def spellings_of(region):
    """Numbers of a region right, nearly right and wrong, with whatever may be dialled before."""
    code = str(phonenumbers.country_code_for_region(region))
    befores = ("", "0", "00", "1", "8", "9", "06", "011", code, f"0{code}", f"00{code}", code * 2)
    for national in examples(region):
        for before in befores:
            for digits in (national, national[:-1], national + "7", national[1:]):
                yield before + digits


@given(
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)) | st.integers(0, 999),
    st.text("0123456789", max_size=17),
)
def test_plain_digits_after_a_plus_are_read_as_the_library_reads_them(code, national):
    assert parsed(f"+{code}{national}") == by_the_library(f"+{code}{national}")


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_numbers_of_a_region_are_read_as_the_library_reads_them(region):
    code = phonenumbers.country_code_for_region(region)
    texts = list(spellings_of(region))

    strange = [
        text for text in texts if parsed(f"+{code}{text}") != by_the_library(f"+{code}{text}")
    ]
    wrong = [
        text
        for text in texts
        if _plain_from_region(text, region) not in {None, _from_region(text, region)}
    ]

    assert (strange, wrong) == ([], [])


@given(digits, any_region)
def test_national_digits_are_read_as_the_library_reads_them(text, region):
    assert _plain_from_region(text, region) in {None, _from_region(text, region)}


def test_most_national_numbers_need_no_doubt():
    assert _plain_from_region("0701740605", "SE") == "+46701740605"
    assert _plain_from_region("22000000", "NO") == "+4722000000"
    assert _plain_from_region("4032623443", "US") == "+14032623443"


@given(phone_like | st.text("07+ ()-./aAx", max_size=16), any_region)
def test_a_mark_that_is_not_shown_makes_no_other_number(text, region):
    # It takes the long way through a text, character by character.
    assert normal_phone(f"\u200e{text}", region) == normal_phone(text, region)


@pytest.mark.parametrize("last", range(605, 700))
def test_the_fictional_swedish_mobiles_are_numbers(last):
    assert normal_phone(f"070-1740{last}", "SE") == f"+46701740{last}"


@pytest.mark.parametrize(
    ("spellings", "normal"),
    [
        (["+453 3331 9991", "+45 33 33 19 99 1", "+45333319991"], "+45333319991"),
        (["+56 (0)2 635 4444", "+56026354444", "+56 2 635 4444"], "+5626354444"),
        (["+91 0124 39883988", "+91 (0)124-39883988", "+91 12439883988"], "+9112439883988"),
        (["+1 (403) 262-3443", "+1.403.262.3443", "+14032623443"], "+14032623443"),
        (["+39 06 698 12345", "+39 (06) 69812345"], "+390669812345"),
        (["+44 (0)20 7946 0000", "+44 20 7946 0000"], "+442079460000"),
        (["+800 1234 5678"], "+80012345678"),
    ],
)
def test_a_number_written_internationally_is_compared_as_it_is(spellings, normal):
    assert {normal_phone(text) for text in spellings} == {normal}


def test_a_zero_that_may_belong_to_the_number_stays_even_outside_the_known_ranges():
    assert normal_phone("+39 0347 1234567") == "+3903471234567"
    assert normal_phone("+39 347 1234567") == "+393471234567"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("00 46 70 174 06 05", None),
        ("00 46 70 174 06 05", "SE"),
        ("00 46 70 174 06 05", "US"),
        ("011 46 70 174 06 05", "US"),
        ("0011 46 70 174 06 05", "AU"),
        ("810 46 70 174 06 05", "RU"),
    ],
)
def test_a_number_dialled_abroad_is_international(text, region):
    assert normal_phone(text, region) == "+46701740605"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("070-1740605", None),
        ("46701740605", None),
        ("070-1740605", "XX"),
        ("070-1740605", ""),
        ("070-1740605", "US"),
        ("070-17406", "SE"),
        ("112", "SE"),
        ("12 34 56", "SE"),
        ("0946701740605", "SE"),
    ],
)
def test_a_number_written_nationally_must_be_valid_in_its_region(text, region):
    assert normal_phone(text, region) is None


def test_a_number_dialled_abroad_need_not_be_in_the_known_ranges():
    assert normal_phone("011 453 3331 9991", "US") == normal_phone("+453 3331 9991")


def test_the_same_national_number_is_another_one_in_another_region():
    numbers = [normal_phone("22 00 00 00", region) for region in ("NO", "SE")]

    assert numbers == ["+4722000000", "+4622000000"]


@pytest.mark.parametrize(
    "text",
    [
        "+468123456XX",
        "+46 8 123 456 **",
        "+46701740605 x12",
        "+46701740605;ext=12",
        "070-174 06 05 ankn 12",
        "070-174 06 05 (mobil)",
        "070-1740605, 070-1740606",
        "+46701740605 / +46701740606",
        "070-1740605 #12",
        "%2B46701740605",
        "46701740605+",
        "++46701740605",
        "1-800-FLOWERS",
        "tel:tel:+46701740605",
        "tel:070-1740605;phone-context=+46",
        "+46 70 174 06 0\N{SUPERSCRIPT FIVE}",
    ],
)
def test_masks_extensions_and_second_numbers_make_a_phone_unusable(text):
    assert normal_phone(text, "SE") is None


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0000000000", "SE"),
        ("+0000000000", None),
        ("99 99 99 99", "DK"),
        ("+45 99 99 99 99", None),
        ("+46 111 111 111", None),
        ("+11111111111", None),
    ],
)
def test_one_digit_repeated_is_a_placeholder(text, region):
    assert normal_phone(text, region) is None


@pytest.mark.parametrize("text", ["+46 701", "+46 70174", "+46 1234567890123456", "+999 12345678"])
def test_a_fragment_or_too_many_digits_is_no_number(text):
    assert normal_phone(text, "SE") is None


def test_a_number_lost_in_an_endless_text_is_no_number():
    assert normal_phone("+46701740605" + " ()" * 1000) is None


def test_a_short_number_counts_where_the_country_has_no_longer_ones():
    assert normal_phone("+683 4002") == "+6834002"


def test_a_number_that_reads_differently_the_second_time_is_no_number():
    # libphonenumber takes away one trunk prefix at each reading.
    assert normal_phone("+1 1 1 403 262 3443") is None
    assert normal_phone("+1 1 403 262 3443") == "+14032623443"


@given(phone_like | any_text, any_region, any_region)
def test_a_normal_phone_is_its_own_normal_form_everywhere(text, region, elsewhere):
    normal = normal_phone(text, region)

    assert normal is None or normal_phone(normal, elsewhere) == normal


@given(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)), digits, any_region)
def test_a_number_with_a_plus_is_the_same_everywhere(code, national, region):
    text = f"+{code}{national}"

    assert normal_phone(text, region) == normal_phone(text)


@given(
    st.sampled_from(["+", "+46", "+56", "+91", "+39", "+1", "00", "0", ""]),
    st.lists(st.tuples(st.sampled_from("0123456789"), st.sampled_from(" -./()[]\u200e\xa0"))),
    any_region,
)
def test_punctuation_makes_no_other_number(start, spelled, region):
    plain = start + "".join(digit for digit, _ in spelled)
    written = start + "".join(digit + mark for digit, mark in spelled)

    assert normal_phone(written, region) == normal_phone(plain, region)


@given(
    st.sampled_from(["+46701740605", "070-174 06 05", "tel:+46701740605"]),
    st.characters(categories=["L"]),
    st.integers(min_value=0, max_value=20),
)
def test_whatever_contains_a_letter_is_no_phone(number, letter, at):
    assert normal_phone(number[:at] + letter + number[at:], "SE") is None


def test_swedish_spellings_lead_to_the_number_that_was_meant_or_to_none(corpus):
    rows = corpus("phone_swedish_variants")

    wrong = []
    for row in rows:
        usable = row["agrees_with_intended"] and not row["extension"]
        if normal_phone(row["payload"], "SE") != (row["intended"] if usable else None):
            wrong.append((row["kind"], row["variant"]))

    assert wrong == []


@pytest.mark.parametrize(
    ("spelling", "abroad"),
    [
        ("payload", False),
        ("international", True),
        ("rfc3966", True),
        ("oos_from_SE", True),
        ("expected", True),
    ],
)
def test_example_numbers_of_all_regions_come_back(corpus, spelling, abroad):
    rows = corpus("phone_example_numbers_all_regions")

    wrong = [
        (row["region"], row["type"])
        for row in rows
        if normal_phone(row[spelling], "SE" if abroad else row["region"]) != row["expected"]
    ]

    assert wrong == []


# Ids and the four keys together


@pytest.mark.parametrize(
    ("text", "normal"),
    [(" 42 ", "42"), ("0042", "0042"), ("Ab", "Ab"), ("1 2", "1 2"), ("", None), (" \t", None)],
)
def test_an_id_is_exact_text_without_white_space_around_it(text, normal):
    assert normal_id(text) == normal


@given(any_text)
def test_a_normal_id_is_its_own_normal_form(text):
    normal = normal_id(text)

    assert normal is None or normal_id(normal) == normal


@pytest.mark.parametrize(
    ("key", "text", "normal"),
    [
        (Key.EXTERNAL_ID, " A-1 ", "A-1"),
        (Key.CONTACT_ID, " 77 ", "77"),
        (Key.EMAIL, "Anna@Example.com", "anna@example.com"),
        (Key.PHONE, "070-1740605", "+46701740605"),
    ],
)
def test_each_key_has_its_normal_form(key, text, normal):
    assert normal_form(key, text, "SE") == normal


@pytest.mark.parametrize("key", list(Key))
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_text_never_raises(key, text):
    normal = normal_form(key, text, "SE")

    assert normal is None or key in {Key.EXTERNAL_ID, Key.CONTACT_ID}


@pytest.mark.parametrize("key", list(Key))
def test_hostile_identities_never_raise(corpus, key):
    texts = [row["payload"] for row in corpus("identity_hostile_values")]
    normal_forms = [normal_form(key, text, "SE") for text in texts]

    assert all(normal is None or normal.strip() == normal != "" for normal in normal_forms)


# Verification of what a source returns

ANNA = Contact(
    external_id=" A-1 ",
    contact_id="77",
    emails=("not an address", "Anna@Example.com"),
    phones=("070-174 06 05", "08-12 34 56 78 ankn 3"),
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "A-1"),
        (Key.CONTACT_ID, "77"),
        (Key.EMAIL, "anna@example.com"),
        (Key.PHONE, "+46701740605"),
    ],
)
def test_a_contact_carries_its_own_identities(key, value):
    assert carries(ANNA, asked_by(key, value), "SE")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "a-1"),
        (Key.EXTERNAL_ID, "77"),
        (Key.CONTACT_ID, "077"),
        (Key.EMAIL, "ann@example.com"),
        (Key.EMAIL, "not an address"),
        (Key.PHONE, "+4701740605"),
        (Key.PHONE, "+46812345678"),
    ],
)
def test_a_contact_does_not_carry_what_only_looks_alike(key, value):
    assert not carries(ANNA, asked_by(key, value), "SE")


@pytest.mark.parametrize("key", list(Key))
def test_a_contact_without_identities_carries_none(key):
    assert not carries(Contact(), asked_by(key, "1"), "SE")


def test_a_contact_must_carry_the_strongest_identity_that_was_asked_for():
    lookup = Lookup(View.TICKET, {Key.EXTERNAL_ID: "B-2", Key.EMAIL: "anna@example.com"})

    assert not carries(ANNA, lookup, "SE")


def test_a_national_number_of_a_contact_is_read_in_the_region_of_its_source():
    lookup = asked_by(Key.PHONE, "+46701740605")

    assert [carries(ANNA, lookup, region) for region in ("SE", "NO", None)] == [True, False, False]


# What a statement or URL may use


def test_search_forms_are_the_texts_of_every_identity_at_hand():
    lookup = Lookup(
        View.CALL,
        {
            Key.EXTERNAL_ID: "A-1",
            Key.CONTACT_ID: "77",
            Key.EMAIL: "anna+shop@xn--exmple-cua.se",
            Key.PHONE: "+46701740605",
        },
    )

    assert search_forms(lookup) == {
        "external_id": "A-1",
        "contact_id": "77",
        "email": "anna+shop@xn--exmple-cua.se",
        "email_local": "anna+shop",
        "email_domain": "xn--exmple-cua.se",
        "phone": "+46701740605",
        "phone_digits": "46701740605",
        "phone_national": "701740605",
        "phone_tail": "1740605",
    }


def test_the_national_digits_keep_a_zero_that_belongs_to_the_number():
    assert search_forms(asked_by(Key.PHONE, "+390669812345"))["phone_national"] == "0669812345"


def test_a_lookup_without_identities_has_no_search_forms():
    assert search_forms(Lookup(View.CHAT)) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "A-1"),
        (Key.CONTACT_ID, "77"),
        (Key.EMAIL, "anna@example.com"),
        (Key.PHONE, "+46701740605"),
    ],
)
def test_each_key_brings_the_names_it_announces(key, value):
    assert tuple(search_forms(asked_by(key, value))) == SEARCH_FORMS[key]


def test_every_key_announces_its_names():
    assert set(SEARCH_FORMS) == set(Key)


def test_the_announced_names_cannot_be_changed():
    with pytest.raises(TypeError):
        SEARCH_FORMS[Key.EMAIL] = ()


@given(phone_like)
def test_every_normal_phone_has_its_search_forms(text):
    number = normal_phone(text, "SE")
    forms = search_forms(asked_by(Key.PHONE, number)) if number else {}

    assert all(number.endswith(forms[name]) for name in forms)
