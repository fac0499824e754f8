"""What every data source has to do, as tests: for built-in sources and for those of others."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import chain
from threading import Barrier
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from marshmallow import Schema, fields

from imbox_plugin.identity import carries, normal_form
from imbox_plugin.model import Contact, Key, Lookup, View
from imbox_plugin.sources import DataSource, SourceError

#: identities that nobody has
STRANGERS = MappingProxyType(
    {
        Key.EXTERNAL_ID: "nobody-4711-of-imbox",
        Key.CONTACT_ID: "nobody-4712-of-imbox",
        Key.EMAIL: "nobody@strangers.example",
        Key.PHONE: "+447700900999",  # set aside for fiction, as `.example` is
    }
)

#: what some database, server, template or terminal has taken for more than a text
HOSTILE = MappingProxyType(
    {
        "sql": "'OR'1'='1",
        "sql comment": "'--",
        "sql statement": "'; DROP TABLE people; --",
        "double quote": '"',
        "backslash": "\\",
        "any text": "%",
        "any character": "_",
        "glob": "*",
        "regular expression": ".*",
        "slow regular expression": "(a+)+$" + "a" * 40,
        "ldap": "*)(objectClass=*",
        "json": '", "id": {"$ne": null}}',
        "template": "{{7*7}}{0}${id}",
        "percent format": "%(id)s%s",
        "shell": "`id`",
        "shell too": "$(id); id",
        "formula": "=1+1",
        "dot": ".",
        "dots": "..",
        "path": "../../../etc/passwd",
        "encoded path": "%2e%2e%2f%00",
        "query": "?a=b&c=d#e",
        "new header": "\r\nX-Injected: 1",
        "nul": "\0",
        "control": "\x1b[2J\x07\x7f",
        "lone surrogate": "\ud800",
        "noncharacter": "\uffff",
        "right to left": "\u202e",
        "zero width": "\u200b",
        "astral": "\U0001f600",
        "long": "a" * 512,
    }
)

#: Latin letters and digits, and others that look alike or that a collation calls equal
_ALIKE = str.maketrans("aceijopsxyABEHKMOPTX015", "асеіјорѕхуАВЕНКМОРТХ०१５")
_ACCENTED = str.maketrans("aceinosuyzACEINOSUYZ", "áčéíñóšúýžÁČÉÍÑÓŠÚÝŽ")

_THREADS = 32
#: seconds after which a thread has to let another one run, so that they meet often
_IMPATIENCE = 1e-6

#: a text shorter than this occurs in a sentence by chance
_LEAST_TEXT = 4
#: how a layout calls a contact's own values
_OWN_NAMES = frozenset({"name", "external_id", "contact_id", "email", "emails", "phone", "phones"})


class SourceContract:
    """The tests of a source: subclass it, and fill in who it knows.

        class TestLoyaltySource(SourceContract):
            known = {Key.EMAIL: "ada@example.com", Key.PHONE: "070-174 06 05"}
            name = "Ada Öst"

            @pytest.fixture
            def source(self, tmp_path):
                return LoyaltySource(LoyaltySource.Options().load({...}), SourceContext())

    Every test asks a source of its own. What a fixture yields, it may close.
    """

    #: of one person, an identity for each key of the source, written as one likes
    known: ClassVar[Mapping[Key, str]] = MappingProxyType({})
    #: the name of that person, as the source gives it
    name: ClassVar[str | None] = None
    #: and their external id; one of the two is enough
    external_id: ClassVar[str | None] = None

    @pytest.fixture
    def source(self) -> DataSource:
        """The source, with the person known and at least one other in it. Write this fixture."""
        raise NotImplementedError("write a fixture named source in your subclass of SourceContract")

    @pytest.fixture
    def broken(self) -> DataSource:
        """The source when it cannot answer: without its file, server or right to log in."""
        pytest.skip("no fixture named broken, so nothing shows that a failure is a SourceError")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test of the contract that asks by a key once for every key in `known`."""
        if metafunc.function.__module__ != __name__ or "key" not in metafunc.fixturenames:
            return
        keys = [Key(key) for key in self.known]
        if "hostile" in metafunc.fixturenames:
            cases = [(key, name) for key in keys for name in HOSTILE if _asked(key, HOSTILE[name])]
            metafunc.parametrize(("key", "hostile"), cases)
        else:
            metafunc.parametrize("key", keys)

    def test_it_says_by_which_keys_it_searches(self, source: DataSource) -> None:
        """One known identity for each of them, so that every key is tried."""
        assert isinstance(source, DataSource)
        assert set(source.keys) == {Key(key) for key in self.known}
        assert source.keys, "without a key it is never asked: set keys, and give known identities"
        assert self.name or self.external_id, "set name or external_id to those of the person known"

    def test_the_person_known_is_found(self, source: DataSource, key: Key) -> None:
        """With the identity asked for, since the directory drops whoever does not carry it."""
        lookup = self._known(source, key)

        found = source.find(lookup)
        carried = _carried(source, lookup, found)

        assert found, f"nobody is found by the {key} in `known`"
        assert carried, f"no contact found has the {key} asked for, so the directory drops them all"
        if self.name is not None:
            assert {contact.name for contact in carried} == {self.name}
        if self.external_id is not None:
            assert {contact.external_id for contact in carried} == {self.external_id}

    def test_contacts_are_made_of_the_right_types(self, source: DataSource, key: Key) -> None:
        """Texts, tuples of texts, and JSON-like details; one wrong type can fail the card."""
        found = self.ask(source, key)

        assert isinstance(found, Sequence), "find() returns a list or a tuple"
        faults = [fault for contact in found for fault in _faults(contact)]
        assert not faults, "\n".join(faults)

    def test_a_stranger_is_not_found(self, source: DataSource, key: Key) -> None:
        """And is no SourceError either: that would say that the source does not know."""
        lookup = _lookup(key, STRANGERS[key])

        assert _carried(source, lookup, source.find(lookup)) == []

    def test_a_hostile_value_finds_nobody(self, source: DataSource, key: Key, hostile: str) -> None:
        """A value is only ever compared; what cannot be asked is not known, or a SourceError."""
        values = _asked(key, HOSTILE[hostile], self._known(source, key).value)
        shown = {value: _carried_if_any(source, _lookup(key, value)) for value in values}

        assert {value: people for value, people in shown.items() if people} == {}

    def test_who_looks_alike_is_somebody_else(self, source: DataSource, key: Key) -> None:
        """The identities asked for are not put into the contact, they are the contact's own."""
        known = self._known(source, key).value
        others = [_lookup(key, value) for value in _near(source, key, known)]
        shown = {other.value: _carried_if_any(source, other) for other in others}

        assert [value for value, people in shown.items() if any(map(self._is_known, people))] == []

    def test_it_looks_at_the_identity_alone_if_it_says_so(
        self, source: DataSource, key: Key
    ) -> None:
        """What is kept of one question answers the same one from another view or ticket."""
        lookup = self._known(source, key)
        extras = MappingProxyType({"team": "a"})
        others = [
            replace(lookup, view=view, ticket_id="4711", extras=extras)
            for view in View
            if source.by_identity_alone
        ]

        known = list(source.find(lookup)) if others else []
        assert [list(source.find(other)) for other in others] == [known] * len(others)

    def test_32_threads_get_the_answers_of_one(self, source: DataSource) -> None:
        """Nothing about a question may be kept on the source, where the next one overwrites it."""
        keys = [Key(key) for key in self.known]
        lookups = [self._known(source, key) for key in keys]
        lookups += [_lookup(key, STRANGERS[key]) for key in keys]
        alone = [(lookup, _shown(source, lookup)) for lookup in lookups]
        together = Barrier(_THREADS)

        def wrong(turn: int) -> list[tuple[str, list[str]]]:
            # Each begins with another question, so that different ones are asked at once.
            questions = deque(alone)
            questions.rotate(turn)
            answers = []
            for lookup, right in questions:
                together.wait()
                answers.append((lookup.value, _shown_or_raised(source, lookup), right))
            return [(value, shown) for value, shown, right in answers if shown != right]

        interval = sys.getswitchinterval()
        sys.setswitchinterval(_IMPATIENCE)
        try:
            with ThreadPoolExecutor(_THREADS) as threads:
                wrongs = list(threads.map(wrong, range(_THREADS)))
        finally:
            sys.setswitchinterval(interval)

        assert list(chain(*wrongs)) == []

    def test_a_healthy_source_passes_its_check(self, source: DataSource) -> None:
        """`flask check` and the readiness of the server go by it."""
        source.check()

    def test_it_can_be_closed_twice(self, source: DataSource) -> None:
        """A server that stops closes what another part may have closed."""
        for key in self.known:
            self.ask(source, Key(key))

        source.close()
        source.close()

    def test_a_failure_is_a_source_error(self, broken: DataSource, key: Key) -> None:
        """Anything else, or an empty answer, would say that the person is not known."""
        lookup = self._known(broken, key)

        with pytest.raises(SourceError) as raised:
            broken.find(lookup)

        _assert_discreet(str(raised.value), broken, lookup.value)

    def test_a_broken_source_fails_its_check(self, broken: DataSource) -> None:
        """And can still be closed."""
        identities = [self._known(broken, Key(key)).value for key in self.known]

        with pytest.raises(SourceError) as raised:
            broken.check()
        broken.close()

        _assert_discreet(str(raised.value), broken, *identities)

    def ask(self, source: DataSource, key: Key) -> Sequence[Contact]:
        """Who is found by what `known` has for a key; for tests of your own beside these."""
        return source.find(self._known(source, key))

    def _is_known(self, contact: Contact) -> bool:
        if self.name is None:
            return contact.external_id == self.external_id
        return contact.name == self.name

    def _known(self, source: DataSource, key: Key) -> Lookup:
        value = normal_form(key, self.known[key], source.context.default_region)
        assert value, f"the {key} in `known` is none; a national number needs a default_region"
        return _lookup(key, value)


def _lookup(key: Key, value: str) -> Lookup:
    return Lookup(View.CONTACT, MappingProxyType({key: value}))


def _carried(source: DataSource, lookup: Lookup, found: Sequence[Contact]) -> list[Contact]:
    """The contacts that the directory would not drop."""
    region = source.context.default_region
    return [contact for contact in found if carries(contact, lookup, region)]


def _carried_if_any(source: DataSource, lookup: Lookup) -> list[Contact]:
    """Who is left; nobody when the source cannot say."""
    try:
        return _carried(source, lookup, source.find(lookup))
    except SourceError as error:
        message = str(error)
    _assert_discreet(message, source, lookup.value)
    return []


def _shown(source: DataSource, lookup: Lookup) -> list[str]:
    """Who would be shown."""
    carried = _carried(source, lookup, source.find(lookup))
    return sorted({f"{contact.external_id} {contact.name}" for contact in carried})


def _shown_or_raised(source: DataSource, lookup: Lookup) -> list[str]:
    """Who would be shown, or what went wrong, so that other threads need not wait for this one."""
    try:
        return _shown(source, lookup)
    except Exception as error:  # noqa: BLE001 - whatever the source raises fails the test
        return [f"{type(error).__name__}: {error}"]


def _asked(key: Key, hostile: str, known: str = "a@example.com") -> list[str]:
    """A hostile text, and the identity known with it, as far as a lookup can have them.

    An id may be any text; of an e-mail address the directory has made the normal form, if it has
    one, and a phone number is digits.
    """
    texts = [hostile, f"{known}{hostile}"]
    if key is Key.EMAIL:
        local, _, domain = known.rpartition("@")
        texts = [f"{hostile}@{domain}", f"{local}{hostile}@{domain}"]
    forms = (normal_form(key, text, None) for text in texts)
    return [form for form in forms if form and form != known]


def _near(source: DataSource, key: Key, known: str) -> Iterator[str]:
    """Identities, in normal form, that a coarse search finds by the row of this one."""
    region = source.context.default_region
    for text in _nearly(key, known):
        form = normal_form(key, text, region)
        if form and form != known:
            yield form


def _nearly(key: Key, known: str) -> Iterator[str]:
    match key:
        case Key.EMAIL:
            local, _, domain = known.rpartition("@")
            yield f"{local}@x{domain}"
            yield f"{local}@{domain}.example"
            for other in (f"x{local}", f"{local}x", f"{local}+x", f"_{local[1:]}", local[:-1]):
                yield f"{other}@{domain}"
            yield f"{local.translate(_ALIKE)}@{domain}"
            yield f"{local.translate(_ACCENTED)}@{domain}"
        case Key.PHONE:
            last = (int(known[-1]) + 1) % 10
            yield from (known[:-1], f"{known}0", f"{known[:-1]}{last}")
            # Ends alike, in another country.
            yield from (f"+1{known[3:]}", f"+49{known[3:]}", f"+358{known[3:]}")
        case Key.EXTERNAL_ID | Key.CONTACT_ID:
            yield from (
                known[:-1],
                f"{known}0",
                f"0{known}",
                f"{known}.0",
                f"{known} x",
                f"x{known}",
            )
            yield from (known.swapcase(), known.translate(_ALIKE), known.translate(_ACCENTED))


def _faults(contact: object) -> Iterator[str]:
    """What is wrong with the types of a contact."""
    if not isinstance(contact, Contact):
        yield f"{_a(contact)} is no Contact"
        return
    for name in ("name", "external_id", "contact_id"):
        if not isinstance(getattr(contact, name), str | None):
            yield f"{name} is {_a(getattr(contact, name))}, not a str"
    for name in ("emails", "phones"):
        texts = getattr(contact, name)
        if not isinstance(texts, tuple):
            yield f"{name} is {_a(texts)}, not a tuple"
        else:
            yield from (f"{name} holds {_a(text)}" for text in texts if not isinstance(text, str))
    if not isinstance(contact.details, Mapping):
        yield f"details is {_a(contact.details)}, not a dict"
        return
    hidden = _OWN_NAMES.intersection(contact.details)
    yield from (f"details.{name} is hidden by the contact's own {name}" for name in sorted(hidden))
    yield from _unlike_json(contact.details, "details")


def _unlike_json(value: object, place: str) -> Iterator[str]:
    match value:
        case None | str() | int() | float() | Decimal() | date():
            pass
        case Mapping():
            for name, inner in value.items():
                if isinstance(name, str):
                    yield from _unlike_json(inner, f"{place}.{name}")
                else:
                    yield f"{place} has {_a(name)} for a name, not a str"
        case list() | tuple():
            for at, inner in enumerate(value):
                yield from _unlike_json(inner, f"{place}[{at}]")
        case _:
            yield f"{place} is {_a(value)}, which is nothing like JSON"


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _assert_discreet(message: str, source: DataSource, *identities: str) -> None:
    """A message for the operator repeats nothing that is not for the log."""
    told = {
        "an identity": chain(identities, (text.lstrip("+") for text in identities)),
        "an option marked secret": _secrets(source.Options(), source.options),
    }
    for what, texts in told.items():
        repeated = any(len(text) >= _LEAST_TEXT and text in message for text in texts)
        assert not repeated, f"the message of the SourceError repeats {what}"


def _secrets(schema: Schema, options: Any) -> Iterator[str]:
    if isinstance(options, Mapping):
        for name, field in schema.fields.items():
            yield from _secret_texts(field, options.get(field.attribute or name))


def _secret_texts(field: fields.Field[Any], value: Any) -> Iterator[str]:
    if isinstance(field, fields.List) and isinstance(value, Sequence):
        for item in value:
            yield from _secret_texts(field.inner, item)
    elif isinstance(field, fields.Nested):
        yield from _secrets(field.schema, value)
    elif isinstance(value, str):
        secret = field.metadata.get("secret")
        if secret(value) if callable(secret) else secret:
            yield value
