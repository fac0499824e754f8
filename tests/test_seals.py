"""What is sealed by a secret key can be read and made by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbox_plugin.seals import Seal, Unsealable

OLD, NEW = "an old secret key of 32 letters.", "a new secret key of 32 letters.."


@given(st.binary(max_size=300))
def test_what_was_sealed_comes_back(content):
    seal = Seal([NEW], "tests")

    assert seal.unseal(seal.seal(content)) == content


def test_the_sealed_text_is_safe_in_an_address_and_tells_nothing():
    sealed = Seal([NEW], "tests").seal(b"anna@example.com")

    assert sealed.replace("-", "").replace("_", "").rstrip("=").isalnum()
    assert "anna" not in sealed


def test_two_sealings_of_the_same_differ():
    seal = Seal([NEW], "tests")

    assert seal.seal(b"x") != seal.seal(b"x")


def test_a_key_that_is_no_longer_the_newest_still_opens():
    sealed = Seal([OLD], "tests").seal(b"x")

    assert Seal([NEW, OLD], "tests").unseal(sealed) == b"x"


def test_a_retired_key_opens_nothing():
    sealed = Seal([OLD], "tests").seal(b"x")

    with pytest.raises(Unsealable):
        Seal([NEW], "tests").unseal(sealed)


def test_the_newest_key_seals():
    sealed = Seal([NEW, OLD], "tests").seal(b"x")

    assert Seal([NEW], "tests").unseal(sealed) == b"x"


def test_what_is_sealed_for_one_purpose_opens_for_no_other():
    sealed = Seal([NEW], "tests").seal(b"x")

    with pytest.raises(Unsealable):
        Seal([NEW], "other tests").unseal(sealed)


def test_what_is_too_old_stays_shut():
    sealed = Seal([NEW], "tests").seal(b"x")

    with pytest.raises(Unsealable):
        Seal([NEW], "tests").unseal(sealed, max_age=-1)


@given(st.text(max_size=200))
def test_any_other_text_stays_shut(text):
    with pytest.raises(Unsealable):
        Seal([NEW], "tests").unseal(text)


def test_the_reason_tells_neither_content_nor_key():
    sealed = Seal([OLD], "tests").seal(b"anna@example.com")
    with pytest.raises(Unsealable) as refused:
        Seal([NEW], "tests").unseal(sealed)

    assert str(refused.value) == "not sealed by an active secret key, or too long ago"
    assert refused.value.__cause__ is None


def test_a_name_is_the_same_each_time_and_another_for_each_text_key_and_purpose():
    name = Seal([NEW, OLD], "tests").name("anna@example.com")

    assert name == Seal([NEW], "tests").name("anna@example.com")
    others = [
        Seal([NEW], "tests").name("bo@example.com"),
        Seal([OLD], "tests").name("anna@example.com"),
        Seal([NEW], "other tests").name("anna@example.com"),
    ]
    assert len({name, *others}) == 4


def test_odd_bytes_of_a_key_and_a_text_are_taken_as_they_are():
    seal = Seal(["\udcff" * 16], "tests")

    assert seal.name("\ud800") != seal.name("\ud801")
    assert seal.unseal(seal.seal(b"x")) == b"x"


def test_without_a_secret_key_nothing_is_sealed():
    with pytest.raises(ValueError, match="secret_keys is empty; add one"):
        Seal([], "tests")
