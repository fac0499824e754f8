"""Normal forms of e-mail addresses, phone numbers and ids: what makes two identities equal.

Made once for a lookup before any source sees it, and once for what a source returns. A text in
doubt has no normal form: finding nobody is a nuisance, finding somebody else is a leak.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from phonenumbers import CountryCodeSource, NumberParseException, PhoneMetadata, PhoneNumber

from imbox_plugin.model import Contact, Key, Lookup

_LONGEST_TEXT = 512
# Most addresses and numbers are plain. What the libraries would say of those is known without
# them, and they take ten times as long; the tests hold every short cut against its library.
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+'-]+(?:\.[A-Za-z0-9_+'-]+)*@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+([A-Za-z]+)"
)
#: so short that no part of an address can be too long
_SHORT_EMAIL = 64
_RESERVED_ENDS = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
_PLAIN_PHONE = re.compile(r"\+?[0-9][0-9 ().\[\]/-]*")
_PLAIN_MARKS = str.maketrans("", "", " ().[]/-")
_PLAIN_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
#: NFC makes plain ASCII of these: `\u212aate@example.com` must not pass for Kate's mailbox
_SINGLETONS = frozenset("\N{KELVIN SIGN}\N{GREEK VARIA}\N{GREEK QUESTION MARK}")
_PHONE_MARKS = frozenset("().[]/\N{MINUS SIGN}")
_DIALLED = re.compile(r"\+?[0-9]+")
#: E.164's own limit
_MOST_DIGITS = 15
#: below this a number is a fragment, unless it is one of an island's few
_USUAL_DIGITS = 8


def normal_email(text: str) -> str | None:
    """The address as it is compared, or None when the text is no deliverable kind of address.

    An ASCII local part and the domain are in lower case, the domain in its ASCII (IDNA) form. A
    plus tag and dots stay: whether they matter is known to the mail server alone.
    """
    text = text.strip()
    plain = _PLAIN_EMAIL.fullmatch(text) if len(text) <= _SHORT_EMAIL else None
    if plain and plain[1].lower() not in _RESERVED_ENDS:
        return text.lower()
    if len(text) > _LONGEST_TEXT or not _SINGLETONS.isdisjoint(text.rpartition("@")[0]):
        return None
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None
    local = address.local_part
    return f"{local.lower() if local.isascii() else local}@{address.ascii_domain}"


def normal_phone(text: str, region: str | None = None) -> str | None:
    """The number as E.164 (`+46701740605`), or None when it is no number of one person's phone.

    A number written internationally is compared as it is, even outside the known number ranges; one
    written nationally must be valid in its region. Letters, masks and extensions make a text
    unusable, because libphonenumber reads `+468123456XX` as the valid number of somebody else.

    Args:
        text: the number in any usual spelling, also as a `tel:` URI without parameters.
        region: ISO country code in upper case for numbers written nationally; None: such a number
            has no normal form.
    """
    dialled = _dialled(text)
    if dialled is not None and not dialled.startswith("+"):
        dialled = _plain_from_region(dialled, region) or _from_region(dialled, region)
    if dialled is None:
        return None
    number = _read(dialled)
    if number is None:
        return None
    code, national = number
    e164 = f"+{code}{national}"
    if e164 != dialled and _read(e164) != number:
        # A second trunk prefix, say: read again it would be yet another number.
        return None
    if len(set(national)) == 1:
        # A placeholder such as 99999999, shared by everyone whose number was not asked for.
        return None
    digits = len(e164) - 1
    if digits > _MOST_DIGITS or (digits < _USUAL_DIGITS and not _is_valid(e164)):
        return None
    return e164


def normal_id(text: str) -> str | None:
    """The id without surrounding white space, or None when it is blank; compared as exact text."""
    return text.strip() or None


def normal_form(key: Key, text: str, region: str | None) -> str | None:
    """The normal form of an identity, or None when it has none; `region` as in `normal_phone`."""
    match key:
        case Key.EMAIL:
            return normal_email(text)
        case Key.PHONE:
            return normal_phone(text, region)
        case Key.EXTERNAL_ID | Key.CONTACT_ID:
            return normal_id(text)


def carries(contact: Contact, lookup: Lookup, region: str | None) -> bool:
    """Whether the contact really has the identity that `lookup.key` and `lookup.value` ask for.

    A database may find too much: its collation calls different texts equal, or its statement
    searches coarsely.

    Args:
        contact: what the source returned, identities as the source has them.
        lookup: the question, identities in normal form.
        region: the source's default region, for the contact's own phone numbers.
    """
    key = lookup.key
    value = lookup.identities[key]
    texts: Sequence[str | None]
    match key:
        case Key.EXTERNAL_ID:
            texts = (contact.external_id,)
        case Key.CONTACT_ID:
            texts = (contact.contact_id,)
        case Key.EMAIL:
            texts = contact.emails
        case Key.PHONE:
            texts = contact.phones
    return any(text is not None and normal_form(key, text, region) == value for text in texts)


def _email_local(email: str) -> str:
    return email.rpartition("@")[0]


def _email_domain(email: str) -> str:
    return email.rpartition("@")[2]


def _phone_digits(phone: str) -> str:
    return phone.removeprefix("+")


def _phone_national(phone: str) -> str:
    return parsed_phone(phone)[1]


def _phone_tail(phone: str) -> str:
    return _phone_digits(phone)[-7:]


_MAKE_FORM: Mapping[Key, Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        Key.EXTERNAL_ID: MappingProxyType({"external_id": str}),
        Key.CONTACT_ID: MappingProxyType({"contact_id": str}),
        Key.EMAIL: MappingProxyType(
            {"email": str, "email_local": _email_local, "email_domain": _email_domain}
        ),
        Key.PHONE: MappingProxyType(
            {
                "phone": str,
                "phone_digits": _phone_digits,
                "phone_national": _phone_national,
                "phone_tail": _phone_tail,
            }
        ),
    }
)

#: the names that each key brings to a source's statement or URL, see `search_forms`
SEARCH_FORMS: Mapping[Key, tuple[str, ...]] = MappingProxyType(
    {key: tuple(forms) for key, forms in _MAKE_FORM.items()}
)


def search_forms(lookup: Lookup) -> dict[str, str]:
    """The texts that a source's statement or URL may use, by name, for every identity at hand.

    `phone` is E.164, `phone_digits` the same without its plus, `phone_national` the digits after
    the country code and `phone_tail` the last seven digits, for databases that hold numbers as
    people typed them.
    """
    return {
        name: make(value)
        for key, value in lookup.identities.items()
        for name, make in _MAKE_FORM[key].items()
    }


def _dialled(text: str) -> str | None:
    """A plus, if there is one, and ASCII digits; None when the text has anything but a number."""
    if len(text) > _LONGEST_TEXT:
        return None
    if _PLAIN_PHONE.fullmatch(text):
        return text.translate(_PLAIN_MARKS)
    # Numbers copied from an address book are wrapped in bidirectional marks.
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf").strip()
    if shown[:4].lower() == "tel:":
        shown = shown[4:]
    dialled = ""
    for char in shown:
        if char.isdecimal():
            dialled += str(unicodedata.decimal(char))
        elif char in "+\N{FULLWIDTH PLUS SIGN}":
            dialled += "+"
        elif not (char in _PHONE_MARKS or char.isspace() or unicodedata.category(char) == "Pd"):
            return None
    return dialled if _DIALLED.fullmatch(dialled) else None


def _from_region(digits: str, region: str | None) -> str | None:
    """The number with a plus, read as somebody in the region dials it."""
    try:
        number = phonenumbers.parse(digits, region, keep_raw_input=True)
    except NumberParseException:
        number = None
    if number is not None and (
        number.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD
        or phonenumbers.is_valid_number(number)
    ):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"+{digits[2:]}" if digits.startswith("00") else None


def _plain_from_region(digits: str, region: str | None) -> str | None:
    """The same where no doubt is left: a single reading fits the region's plan, and it is valid."""
    if region not in phonenumbers.SUPPORTED_REGIONS:
        return None
    plan = PhoneMetadata.metadata_for_region(region)
    desc = plan and plan.general_desc
    if not plan or not desc or plan.national_prefix_transform_rule:
        return None
    if digits.startswith(str(plan.country_code)) or _begins(digits, plan.international_prefix):
        return None
    prefix = _begins(digits, plan.national_prefix_for_parsing)
    national = digits[prefix.end() :] if prefix else digits
    if national.startswith("0") or len(national) not in desc.possible_length:
        return None
    if not re.fullmatch(desc.national_number_pattern or "", national):
        return None
    number = PhoneNumber(plan.country_code, int(national))
    return f"+{plan.country_code}{national}" if phonenumbers.is_valid_number(number) else None


def _begins(digits: str, prefix: str | None) -> re.Match[str] | None:
    return re.match(prefix, digits) if prefix else None


def parsed_phone(text: str) -> tuple[int | None, str]:
    """The country code and national digits of a number with a plus, as libphonenumber reads them.

    It reads plain digits as they are, unless they begin like a prefix that is dialled only within
    the country.

    Raises:
        NumberParseException: it is no number.
    """
    if _PLAIN_E164.fullmatch(text):
        for end in (2, 3, 4):
            code, national = int(text[1:end]), text[end:]
            if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
                region = phonenumbers.region_code_for_country_code(code)
                plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
                if not plan or _begins(national, plan.national_prefix_for_parsing):
                    break
                return code, national
    number = phonenumbers.parse(text)
    return number.country_code, phonenumbers.national_significant_number(number)


def _read(dialled: str) -> tuple[int, str] | None:
    """The country code and national digits of a number with a plus, without trunk zeros.

    libphonenumber drops the zero of `+46 (0)70` but keeps that of `+56 (0)2`, because Chile has no
    trunk prefix today. Zeros stay only where the country's numbers may begin with one, as Italy's.
    """
    try:
        code, national = parsed_phone(dialled)
    except NumberParseException:
        return None
    if code is None:
        return None
    if national.startswith("0"):
        region = phonenumbers.region_code_for_country_code(code)
        plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        pattern = plan and plan.general_desc and plan.general_desc.national_number_pattern
        if not (pattern and re.fullmatch(pattern, national)):
            national = national.lstrip("0")
    return code, national


def _is_valid(e164: str) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(e164))
