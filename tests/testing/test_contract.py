"""The contract finds the fault of each faulty source, and nothing wrong with the others."""

import re
import subprocess
import sys
from collections import defaultdict
from xml.etree import ElementTree as ET

import pytest

from tests.demo import ROOT

#: few of the many hostile values, so that this does not take long
CHOSEN = "not hostile or surrogate or id-sql or email-sql"

KEYS = "it_says_by_which_keys_it_searches"
KNOWN = "the_person_known_is_found"
TYPES = "contacts_are_made_of_the_right_types"
STRANGER = "a_stranger_is_not_found"
HOSTILE = "a_hostile_value_finds_nobody"
ALIKE = "who_looks_alike_is_somebody_else"
ALONE = "it_looks_at_the_identity_alone_if_it_says_so"
THREADS = "32_threads_get_the_answers_of_one"
CHECK = "a_healthy_source_passes_its_check"
CLOSE = "it_can_be_closed_twice"
FAILURE = "a_failure_is_a_source_error"
BROKEN = "a_broken_source_fails_its_check"

FAULTS = {
    "Faultless": set(),
    "Coarse": set(),
    "PlainKeys": set(),
    "NoBroken": set(),
    "Echo": {STRANGER, HOSTILE, ALIKE},
    "Prefix": {HOSTILE, ALIKE},
    "Anonymous": {KNOWN},
    "LooksAround": {ALONE},
    "Remembers": {THREADS},
    "Crashes": {STRANGER, HOSTILE, ALIKE, THREADS},
    "OnlyText": {HOSTILE},
    "NoJson": {TYPES},
    "Lazy": {TYPES, FAILURE},
    "Unwell": {CHECK},
    "ClosesOnce": {CLOSE, BROKEN},
    "NoKeys": {KEYS},
    "MoreKeys": {KEYS},
    "Silent": {FAILURE},
    "Untranslated": {FAILURE, BROKEN},
    "Careless": {BROKEN},
    "TellsIdentity": {FAILURE},
    "TellsSecret": {FAILURE, BROKEN},
    "TellsSecretInList": {FAILURE, BROKEN},
    "TellsSecretInTable": {FAILURE, BROKEN},
    "TellsSecretByValue": {FAILURE, BROKEN},
    "OtherName": {KNOWN},
    "OtherId": {KNOWN},
    "NobodyNamed": {KEYS},
    "NobodyKnown": {KEYS},
    "Misspelt": {KNOWN, TYPES, HOSTILE, ALIKE, ALONE, THREADS, CLOSE, FAILURE, BROKEN},
    "Nothing": {KEYS, KNOWN, TYPES, STRANGER, HOSTILE, ALIKE, ALONE, THREADS, CHECK, CLOSE},
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What pytest says of the faulty sources: an entry of its report for each test."""
    file = tmp_path_factory.mktemp("report") / "report.xml"
    # hypothesis takes a second to say nothing
    arguments = ["-p", "no:hypothesispytest", "--tb=short", f"--junitxml={file}", "-k", CHOSEN]
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "tests/testing/faulty_sources.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    entries = defaultdict(list)
    for entry in ET.parse(file).iter("testcase"):  # noqa: S314 - written a moment ago
        entries[entry.get("classname").rpartition(".Test")[2]].append(entry)
    return entries


def outcomes(entries, *kinds):
    found = [entry for entry in entries if any(entry.find(kind) is not None for kind in kinds)]
    return {re.match(r"test_(\w+)", entry.get("name"))[1] for entry in found}


def said(report, source, test):
    return "\n".join(
        entry.find("failure").text
        for entry in report[source]
        if entry.get("name").startswith(f"test_{test}") and entry.find("failure") is not None
    )


def test_every_faulty_source_is_asked(report):
    assert report.keys() == FAULTS.keys()


@pytest.mark.parametrize("source", FAULTS)
def test_a_fault_fails_the_tests_that_are_about_it_and_no_others(report, source):
    assert outcomes(report[source], "failure", "error") == FAULTS[source]


def test_only_what_a_source_without_a_broken_one_cannot_show_is_skipped(report):
    assert outcomes(report["NoBroken"], "skipped") == {FAILURE, BROKEN}
    assert outcomes(report["Faultless"], "skipped") == set()


@pytest.mark.parametrize(
    ("source", "test", "message"),
    [
        ("OtherName", KNOWN, "assert {'Ada'} == {'Bo'}"),
        ("Anonymous", KNOWN, "no contact found has the external_id asked for"),
        ("Crashes", STRANGER, "KeyError"),
        ("NoJson", TYPES, "emails is a list, not a tuple"),
        ("NoJson", TYPES, "details.tags is a set, which is nothing like JSON"),
        ("NoJson", TYPES, "details.visits[0].by is a object, which is nothing like JSON"),
        ("NoJson", TYPES, "details has a int for a name, not a str"),
        ("NoJson", TYPES, "details.email is hidden by the contact's own email"),
        ("TellsIdentity", FAILURE, "the SourceError repeats an identity"),
        ("TellsSecretInTable", BROKEN, "an option marked secret"),
        ("NobodyKnown", KEYS, "<Key.EMAIL: 'email'>"),
        ("Misspelt", KNOWN, "the email in `known` is none"),
    ],
)
def test_a_failure_shows_both_sides_or_says_what_to_do(report, source, test, message):
    assert message in said(report, source, test)


def test_a_contract_without_a_source_says_what_to_write(report):
    errors = {error.get("message") for entry in report["Nothing"] for error in entry.iter("error")}

    assert len(errors) == 1
    assert "write a fixture named source in your subclass of SourceContract" in errors.pop()


def test_a_server_does_not_import_pytest():
    code = "import sys, imbox_plugin.cli, imbox_plugin.testing; print('pytest' in sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
