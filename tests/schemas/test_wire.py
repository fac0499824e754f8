import dataclasses

import pytest
from marshmallow import ValidationError

from schemas.request import LookupSchema
from schemas.wire import ELEMENTS, WireNames, WireSchema, uncertain_names


def reasons(**names):
    """What is wrong with such a table, by name."""
    with pytest.raises(ValidationError) as refused:
        WireSchema().load(names)
    return refused.value.messages_dict


def test_every_uncertain_name_says_how_it_is_known():
    evidence = uncertain_names()

    assert evidence.keys() == {item.name for item in dataclasses.fields(WireNames)} - {"elements"}
    for sentence in evidence.values():
        assert sentence.partition(":")[0] in {"inferred", "unknown"}


def test_every_name_can_be_overridden():
    assert WireSchema().fields.keys() == {item.name for item in dataclasses.fields(WireNames)}


def test_the_names_as_they_are_fit():
    names = dataclasses.asdict(WireNames())

    assert WireSchema().load(names) == names


@pytest.mark.parametrize("name", [*uncertain_names()])
@pytest.mark.parametrize("value", ["", "two words", "1st", "a.b", "å", "x" * 65])
def test_a_name_is_one_word_of_plain_letters(name, value):
    assert reasons(**{name: value}) == {name: ["not a name; use letters, digits, - and _"]}


def test_the_elements_are_all_or_those_documented():
    for choice in ELEMENTS:
        assert WireSchema().load({"elements": choice}) == {"elements": choice}
    assert reasons(elements="some") == {"elements": ["must be one of: all, documented"]}


@pytest.mark.parametrize(
    ("names", "culprit"),
    [
        ({"link_url": "text"}, "link_url"),
        ({"link_text": "url"}, "link_text"),
        ({"link_text": "same", "link_url": "same"}, "link_url"),
        ({"accordion_title": "data"}, "accordion_title"),
        ({"accordion_data": "type"}, "accordion_data"),
        ({"html_content": "type"}, "html_content"),
        ({"html_type": "accordion"}, "html_type"),
        ({"html_type": "table"}, "html_type"),
        ({"accordion_type": "list"}, "accordion_type"),
    ],
)
def test_names_beside_each_other_differ_and_the_one_given_is_to_blame(names, culprit):
    (name,) = reasons(**names)

    assert name == culprit


def test_names_may_be_swapped():
    swapped = {"link_text": "url", "link_url": "text"}

    assert WireSchema().load(swapped) == swapped


def test_the_email_parameter_takes_no_name_that_means_something_else():
    others = LookupSchema(WireNames()).parameters - {"email"}

    assert len(others) > 7
    for name in others:
        assert reasons(email=name).keys() == {"email"}
