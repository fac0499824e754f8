"""Dates, numbers and the server's own sentences, by locale."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from importlib import resources
from typing import Any, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError, dates, numbers
from phonenumbers import PhoneNumber

from imbox_plugin.identity import parsed_phone

#: languages that have a catalogue of sentences
LOCALES: tuple[str, ...] = ("en", "sv")

_Style: TypeAlias = Literal["short", "medium", "long", "full"]
_STYLES: tuple[_Style, ...] = get_args(_Style)
_CONTAINERS = (Mapping, list, tuple)
_MOST_LEVELS = 4
#: days in memory, ten years of them
_MOST_DAYS = 4096
_MOST_DIGITS = 15

# `fromisoformat` alone would also read a time out of 13 digits that are milliseconds.
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
# `Decimal` alone would also read "1_000" and "NaN".
_NUMERIC = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
#: amounts that show how a locale groups, rounds and marks what is owed
_AMOUNTS = tuple(
    map(Decimal, ("0", "-0", "-1", "12.345", "999.995", "1234.5", "-12345.675", "-1234567.8915"))
)
# One number and nothing beside it: libphonenumber drops what it does not need, a note for example.
_PHONE = re.compile(r"(?:tel:)?[+\uff0b][\d\s().\-\u2010-\u2015]+")
# CLDR wants a space between the letters of a currency and a digit; babel does not add it.
_LETTER_BEFORE_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)")


class Formats:
    """How values from databases and JSON, and the server's own sentences, read in one locale.

    Built once at start and immutable, so that many threads may use it.

    Whatever the value, the formatting methods give a text: None and "" give "", and a value that a
    method cannot read is given as its plain `text`, so that an agent sees it raw rather than not at
    all. Texts are read as dates in ISO 8601 form only, and as numbers with a decimal point only;
    a number is never taken for a timestamp. Spaces inside numbers are no-break spaces.

    Args:
        locale: a language, or a language and a country ("sv", "sv_SE", "en-GB"). Any locale of
            babel formats dates and numbers; one whose language is not in `LOCALES` has English
            sentences.
        timezone: the IANA name of the time zone in which to show a time that says its own zone;
            None: it is shown as it is. A time without a zone is always shown as it is.

    Raises:
        ValueError: the locale or the time zone is not known.
    """

    __slots__ = ("_currencies", "_day", "_locale", "_money", "_sentences", "_timezone")

    def __init__(self, locale: str, timezone: str | None = None) -> None:
        self._locale = _known_locale(locale)
        self._timezone = None if timezone is None else _known_timezone(timezone)
        self._sentences = _catalogue(self._locale.language)
        self._currencies = numbers.list_currencies()
        self._money = lru_cache(len(self._currencies))(partial(_money, self._locale))
        # A day says nothing about anybody, and the same ones stand on many cards.
        self._day = lru_cache(_MOST_DAYS)(partial(dates.format_date, locale=self._locale))

    def date(self, value: Any, format: str = "medium") -> str:  # noqa: A002 - layouts write it
        """The day of a date, a datetime or an ISO text.

        Args:
            value: what to show; a time that says its zone is converted before its day is taken.
            format: "short", "medium", "long" or "full".

        Raises:
            ValueError: no such format.
        """
        style = _known_style(format, "date")
        moment = self._moment(value)
        if moment is None:
            return self.text(value)
        return self._day(_day(moment), style)

    def datetime(self, value: Any, format: str = "medium") -> str:  # noqa: A002 - layouts write it
        """The day and the time of a datetime or an ISO text; a mere date gives the day alone.

        Args:
            value: what to show.
            format: "short" or "medium" for hours and minutes, "long" or "full" for seconds too
                and, where the value says one, the zone.

        Raises:
            ValueError: no such format.
        """
        style = _known_style(format, "datetime")
        moment = self._moment(value)
        if moment is None:
            return self.text(value)
        day = self._day(_day(moment), style)
        if not isinstance(moment, dt.datetime):
            return day
        time_style: _Style = "short"
        if style in ("long", "full"):
            # babel would call a time without a zone UTC
            time_style = "medium" if moment.utcoffset() is None else style
        time = dates.format_time(moment, time_style, locale=self._locale)
        pattern = str(dates.get_datetime_format(style, locale=self._locale)).replace("'", "")
        return pattern.replace("{1}", day).replace("{0}", time)

    def number(self, value: Any, digits: int | None = None) -> str:
        """A number, or the text of one, with the locale's grouping and decimal sign.

        Args:
            value: what to show.
            digits: decimals to show, 0 to 15; None: those it has, three at most.

        Raises:
            ValueError: not such a number of digits.
        """
        pattern = self._locale.decimal_formats[None].pattern
        if digits is not None:
            if not isinstance(digits, int) or not 0 <= digits <= _MOST_DIGITS:
                raise ValueError(f"number: digits must be a whole number from 0 to {_MOST_DIGITS}.")
            whole = pattern.partition(".")[0]
            pattern = f"{whole}.{'0' * digits}" if digits else whole
        amount = _amount(value)
        if amount is None:
            return self.text(value)
        try:
            return numbers.format_decimal(amount, pattern, locale=self._locale)
        except ArithmeticError:  # more digits than babel can round
            return self.text(value)

    def currency(self, value: Any, code: str | None) -> str:
        """An amount of money, with the currency's own number of decimals.

        Args:
            value: what to show.
            code: the ISO 4217 code, such as "SEK"; blank: a plain number.

        Raises:
            ValueError: no such currency.
        """
        if not isinstance(code, str) or code not in self._currencies:
            code = self.text(code).strip().upper()
        if not code:
            return self.number(value)
        if code not in self._currencies:
            # Anything longer than a code may be a customer's data that a layout put here.
            culprit = f'"{code}"' if re.fullmatch("[A-Z]{3}", code) else "the code given"
            raise ValueError(f'currency: {culprit} is not an ISO 4217 code; write one like "SEK".')
        amount = _amount(value)
        if amount is None:
            return self.text(value)
        try:
            return self._money(code)(amount)
        except ArithmeticError:
            return self.text(value)

    def phone(self, value: Any) -> str:
        """An international phone number, spaced as in its country: "+46 70 174 06 05".

        A national or invalid number, or one with a note beside it, stays as it is.
        """
        text = self.text(value)
        if not _PHONE.fullmatch(text.strip()):
            return text
        try:
            code, national = parsed_phone(text)
            if national.startswith("0"):  # Italy keeps it
                number = phonenumbers.parse(text)
            else:
                number = PhoneNumber(country_code=code, national_number=int(national))
        except phonenumbers.NumberParseException:
            return text
        if not phonenumbers.is_valid_number(number):  # formatting may drop digits of such a one
            return text
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)

    def text(self, value: Any) -> str:
        """Any value as a text, with nothing guessed about it.

        A str stays the very object it is, dates or numbers in it included. A number is plain
        digits without grouping or exponent, as it may be an id; a date or datetime reads as by
        `date` or `datetime`; a bool is yes or no. Lists and mappings are joined, blanks left out,
        down to four levels. Bytes are pictures, hashes and the like: "".
        """
        return value if type(value) is str else self._text(value, _MOST_LEVELS)

    def sentence(self, key: str, /, **values: object) -> str:
        """One of the server's own sentences or labels.

        Args:
            key: its key in the catalogue.
            **values: what its placeholders stand for.

        Raises:
            KeyError: no such sentence, or a placeholder without a value.
        """
        return self._sentences[key].format(**values)

    def _moment(self, value: Any) -> dt.date | None:
        """The date or datetime that a value is, in the time zone to show; None: it is neither."""
        moment = _from_iso(value) if isinstance(value, str) else value
        if not isinstance(moment, dt.datetime):
            return moment if isinstance(moment, dt.date) else None
        if self._timezone is None or moment.utcoffset() is None:
            return moment
        try:
            return moment.astimezone(self._timezone)
        except OverflowError:  # the first or the last day there is
            return moment

    def _text(self, value: Any, levels: int) -> str:
        match value:
            case str():
                text = value
            case None | bytes() | bytearray() | memoryview():
                text = ""
            case bool():
                text = self.sentence("yes" if value else "no")
            case int() | float() | Decimal():
                text = _plain(value)
            case dt.date():
                text = self.datetime(value)
            case Mapping() | list() | tuple():
                text = self._joined(value, levels - 1) if levels else "…"
            case _:
                text = str(value)
        return text

    def _joined(self, container: Any, levels: int) -> str:
        keyed = isinstance(container, Mapping)
        members = list(container.values() if keyed else container)
        texts = [self._text(member, levels) for member in members]
        if keyed:
            keys = [self._text(key, 0) for key in container]
            texts = [text and f"{key}: {text}" for key, text in zip(keys, texts, strict=True)]
        nested = any(isinstance(member, _CONTAINERS) for member in members)
        return ("; " if nested else ", ").join(filter(None, texts))


def _known_locale(name: str) -> Locale:
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        cure = 'write a language or a language and a country, such as "sv" or "en_GB"'
        raise ValueError(f'The locale "{name}" is not known; {cure}.') from error


def _known_timezone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: "Europe" is a folder
        cure = 'write an IANA name such as "Europe/Stockholm"'
        raise ValueError(f'The time zone "{name}" is not known; {cure}.') from error


def _known_style(name: str, method: str) -> _Style:
    if name not in _STYLES:
        # The name itself stays out: a layout may have put a customer's data here.
        raise ValueError(f"{method}: the format must be one of {', '.join(_STYLES)}.")
    return name


def _catalogue(language: str) -> dict[str, str]:
    name = language if language in LOCALES else "en"
    file = resources.files("imbox_plugin").joinpath("locale", f"{name}.toml")
    return tomllib.loads(file.read_text("utf-8"))


def _from_iso(text: str) -> dt.date | None:
    text = text.strip()
    try:
        if len(text) == len("2026-11-03"):
            # of ten characters, only a week ("2026-W45-2") can be another date
            return dt.date.fromisoformat(text) if text[7] == "-" else None
        return dt.datetime.fromisoformat(text) if _ISO_TIME.fullmatch(text) else None
    except ValueError:  # "0000-00-00", a leap second
        return None


def _money(locale: Locale, code: str) -> Callable[[Decimal], str]:
    """What writes amounts of one currency; it raises ArithmeticError for one too long to round.

    Babel looks up the locale's signs and the currency for every amount. What it writes for zero
    shows what stands around a number, so the rest is decimals and grouping. That is used where it
    agrees with babel: not in the locales that group by two digits, for example.
    """
    symbol = numbers.get_currency_symbol(code, locale).replace("'", "''")
    standard: str = locale.currency_formats["standard"].pattern
    pattern = numbers.parse_pattern(standard.replace("¤", f"'{symbol}'"))

    def by_babel(amount: Decimal) -> str:
        shown: str = pattern.apply(amount, locale, currency=code)
        return _LETTER_BEFORE_DIGIT.sub("\N{NO-BREAK SPACE}", shown)

    zero = Decimal(0).quantize(Decimal(10) ** -numbers.get_currency_precision(code))
    point, comma = numbers.get_decimal_symbol(locale), numbers.get_group_symbol(locale)
    nothing = f"{zero:f}".replace(".", point)
    before, _, after = by_babel(zero).partition(nothing)
    before_less, _, after_less = by_babel(zero.copy_negate()).partition(nothing)

    def by_parts(amount: Decimal) -> str:
        whole, dot, decimals = f"{abs(amount).quantize(zero):,f}".partition(".")
        number = whole.replace(",", comma) + (dot and point + decimals)
        if amount.is_signed():
            return f"{before_less}{number}{after_less}"
        return f"{before}{number}{after}"

    agree = all(by_parts(amount) == by_babel(amount) for amount in _AMOUNTS)
    return by_parts if agree else by_babel


def _day(moment: dt.date) -> dt.date:
    return moment.date() if isinstance(moment, dt.datetime) else moment


def _amount(value: Any) -> Decimal | None:
    """The finite number that a value is or says; None: it is no number."""
    match value:
        case float():
            amount = Decimal(repr(value))
        case bool():
            return None
        case int() | Decimal():
            amount = Decimal(value)
        case str() if _NUMERIC.fullmatch(value.strip()):
            amount = Decimal(value.strip())
        case _:
            return None
    return amount if amount.is_finite() else None


def _plain(number: float | Decimal) -> str:
    """Digits without an exponent; a whole float loses its ".0", as it is most likely an id.

    A sum of floats is 11.88 and not 11.879999999999999: fifteen digits are all they are good for.
    """
    if isinstance(number, float):
        return f"{Decimal(f'{number:.15g}'):f}"
    exact = Decimal(number)  # unlike `str`, it takes an int of any length
    # A Decimal of a few bytes may stand for a million zeros.
    return f"{exact:f}" if abs(exact.adjusted()) <= 400 else str(exact)  # noqa: PLR2004
