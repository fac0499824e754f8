"""Sources with one fault each, and the contract asked of them.

pytest does not collect this file by itself: `test_contract.py` runs it, and knows which test has
to find which fault.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from imbox_plugin.identity import carries
from imbox_plugin.sources import (
    Contact,
    DataSource,
    Key,
    Lookup,
    Schema,
    SourceContext,
    SourceError,
    fields,
)
from imbox_plugin.testing import SourceContract

ADA = Contact(
    name="Ada",
    external_id="K1001",
    emails=("Ada@example.com",),
    phones=("070-174 06 05",),
    details={"points": 12, "visits": [{"shop": "Lund"}]},
)
BO = Contact(name="Bo", external_id="K1002", emails=("bo@example.com",))


class Faultless(DataSource):
    """What every source here would be without its fault."""

    keys = frozenset({Key.EXTERNAL_ID, Key.EMAIL, Key.PHONE})

    class Options(Schema):
        works = fields.Boolean(load_default=True)
        token = fields.String(metadata={"secret": True})
        address = fields.String(metadata={"secret": lambda text: "@" in text})
        tokens = fields.List(fields.String(metadata={"secret": True}))
        client = fields.Nested({"token": fields.String(metadata={"secret": True})})

    def find(self, lookup: Lookup) -> list[Contact]:
        self.check()
        return [person for person in (ADA, BO) if carries(person, lookup, "SE")]

    def check(self) -> None:
        if not self.options["works"]:
            raise SourceError("the club does not answer; see that it is open")


class Coarse(Faultless):
    """No fault: the directory drops who was not asked for."""

    def find(self, _):
        self.check()
        return [ADA, BO]


class Echo(Faultless):
    """Says of whoever it has found that they carry what was asked for."""

    def find(self, lookup):
        self.check()
        changes = {
            Key.EXTERNAL_ID: {"external_id": lookup.value},
            Key.EMAIL: {"emails": (lookup.value,)},
            Key.PHONE: {"phones": (lookup.value,)},
        }
        return [replace(ADA, **changes[lookup.key])]


class Prefix(Echo):
    """The same, of a search for the beginning or the end."""

    def find(self, lookup):
        value = lookup.value.casefold()
        alike = value[:4] in {"k100", "ada@", "adax"} or value[-7:] == "1740605"
        return super().find(lookup) if alike else Faultless.find(self, lookup)


class Anonymous(Faultless):
    """Leaves the identities out."""

    def find(self, lookup):
        return [Contact(name=person.name) for person in super().find(lookup)]


class LooksAround(Faultless):
    """Says that it looks at the identity alone, and does not."""

    by_identity_alone = True

    def find(self, lookup):
        found = super().find(lookup)
        return [replace(person, details={"ticket": lookup.ticket_id}) for person in found]


class Remembers(Faultless):
    """Keeps the question where the next thread overwrites it."""

    def find(self, lookup):
        self.check()
        self.lookup = lookup
        time.sleep(0.002)  # as long as a database takes
        return super().find(self.lookup)


class Crashes(Faultless):
    """Looks a stranger up as if everyone were known."""

    def find(self, lookup):
        self.check()
        known = {"K1001": ADA, "ada@example.com": ADA, "+46701740605": ADA}
        return [known[lookup.value]]


class OnlyText(Faultless):
    """Breaks on a value that its database driver cannot send."""

    def find(self, lookup):
        lookup.value.encode()
        return super().find(lookup)


class NoJson(Faultless):
    """Hands on what the driver gave it."""

    def find(self, lookup):
        details = {"tags": {"a"}, "visits": [{"by": object()}], 7: "seven", "email": "x"}
        return [
            replace(person, emails=list(person.emails), details=details)
            for person in super().find(lookup)
        ]


class Lazy(Faultless):
    def find(self, lookup):
        yield from super().find(lookup)


class Unwell(Faultless):
    def check(self):
        raise SourceError("not yet open; come back later")

    def find(self, lookup):
        super().check()
        return [person for person in (ADA, BO) if carries(person, lookup, "SE")]


class ClosesOnce(Faultless):
    def close(self):
        del self.options


class NoKeys(Faultless):
    keys = frozenset()


class MoreKeys(Faultless):
    keys = frozenset(Key)


class Silent(Faultless):
    """Calls everybody unknown while it cannot answer."""

    def find(self, lookup):
        return [p for p in (ADA, BO) if self.options["works"] and carries(p, lookup, "SE")]


class Untranslated(Faultless):
    def check(self):
        if not self.options["works"]:
            raise OSError("no route to host")


class Careless(Faultless):
    """Never looks whether it works."""

    def find(self, lookup):
        super().check()
        return super().find(lookup)

    def check(self):
        pass


class TellsIdentity(Faultless):
    def find(self, lookup):
        try:
            return super().find(lookup)
        except SourceError as error:
            raise SourceError(f"no answer about {lookup.value.lstrip('+')}: {error}") from None


class TellsSecret(Faultless):
    def check(self):
        if not self.options["works"]:
            raise SourceError(f"refused with {self.told()}; correct it")

    def told(self):
        return self.options["token"]


class TellsSecretInList(TellsSecret):
    def told(self):
        return self.options["tokens"][0]


class TellsSecretInTable(TellsSecret):
    def told(self):
        return self.options["client"]["token"]


class TellsSecretByValue(TellsSecret):
    def told(self):
        return self.options["address"]


OPTIONS = {
    "token": "canary-1",
    "address": "canary-2@host",
    "tokens": ["canary-3"],
    "client": {"token": "canary-4"},
}


def build(kind, **options):
    return kind(kind.Options().load({**OPTIONS, **options}), SourceContext(default_region="SE"))


def asked_of(kind, **filled_in):
    class Asked(SourceContract):
        known = {
            Key.EXTERNAL_ID: "K1001",
            Key.EMAIL: "ada@EXAMPLE.com",
            Key.PHONE: "0701740605",
        }
        name = "Ada"
        external_id = "K1001"

        @pytest.fixture
        def source(self):
            return build(kind)

        @pytest.fixture
        def broken(self):
            return build(kind, works=False)

    for name, value in filled_in.items():
        setattr(Asked, name, value)
    return Asked


def _all(kind):
    return [kind, *(below for direct in kind.__subclasses__() for below in _all(direct))]


for _kind in _all(Faultless):
    globals()[f"Test{_kind.__name__}"] = asked_of(_kind)

TestOtherName = asked_of(Faultless, name="Bo")
TestOtherId = asked_of(Faultless, external_id="K1002")
TestNobodyNamed = asked_of(Faultless, name=None, external_id=None)
TestNobodyKnown = asked_of(Faultless, known={})
TestPlainKeys = asked_of(
    Faultless, known={"external_id": "K1001", "email": "ada@example.com", "phone": "0701740605"}
)
TestMisspelt = asked_of(
    Faultless, known={"external_id": "K1001", "email": "ada.example.com", "phone": "0701740605"}
)


class TestNothing(SourceContract):
    known = {Key.EMAIL: "ada@example.com"}
    name = "Ada"


class TestNoBroken(SourceContract):
    known = {
        Key.EXTERNAL_ID: "K1001",
        Key.EMAIL: "ada@example.com",
        Key.PHONE: "0701740605",
    }
    name = "Ada"

    @pytest.fixture
    def source(self):
        return build(Faultless)
