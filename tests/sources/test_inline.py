"""People written in the settings file itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbox_plugin.app import create_app
from imbox_plugin.identity import normal_form
from imbox_plugin.model import Contact, Key, Lookup, View
from imbox_plugin.settings import SettingsError
from imbox_plugin.sources import SourceContext
from imbox_plugin.sources.inline import InlineSource

ANNA = {
    "name": "Anna",
    "external_id": "K1",
    "contact_id": "77",
    "email": "Anna@Example.com",
    "phone": "070-174 06 05",
    "emails": ["anna@work.example.com"],
    "phones": ["+46 8 123 456"],
    "details": {"city": "Lund", "orders": [{"id": 7}]},
}


def source(*people, region="SE"):
    options = InlineSource.Options().load({"people": list(people)})
    return InlineSource(options, SourceContext(default_region=region))


def find(people, key, value):
    return people.find(Lookup(View.TICKET, {key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Key.EXTERNAL_ID, "K1"),
        (Key.CONTACT_ID, "77"),
        (Key.EMAIL, "anna@example.com"),
        (Key.EMAIL, "anna@work.example.com"),
        (Key.PHONE, "+46701740605"),
        (Key.PHONE, "+468123456"),
    ],
)
def test_a_person_is_found_by_each_identity_however_it_is_written(key, value):
    assert [contact.name for contact in find(source(ANNA), key, value)] == ["Anna"]


def test_a_person_has_all_identities_the_single_one_first_and_the_details():
    (contact,) = find(source(ANNA), Key.EXTERNAL_ID, "K1")

    assert contact == Contact(
        name="Anna",
        external_id="K1",
        contact_id="77",
        emails=("Anna@Example.com", "anna@work.example.com"),
        phones=("070-174 06 05", "+46 8 123 456"),
        details={"city": "Lund", "orders": [{"id": 7}]},
    )


def test_whoever_has_the_same_identity_is_found_too():
    people = source({"name": "Anna", "phone": "0701740605"}, {"name": "Bo"}, ANNA)

    assert len(find(people, Key.PHONE, "+46701740605")) == 2


def test_blank_identities_are_nobodys():
    (contact,) = find(
        source({"external_id": "K1", "email": "", "phones": [""]}), Key.EXTERNAL_ID, "K1"
    )

    assert (contact.emails, contact.phones) == ((), ())


def test_a_national_number_is_no_identity_without_a_region():
    assert find(source(ANNA, region=None), Key.PHONE, "+46701740605") == []


@settings(deadline=None)
@given(st.sampled_from(Key), st.text(st.characters(), max_size=20))
def test_a_stranger_is_never_found(key, text):
    form = normal_form(key, text, "SE")
    own = {normal_form(key, ANNA[key], "SE")} | {"anna@work.example.com", "+468123456"}
    if form and form not in own:
        assert find(source(ANNA), key, form) == []


@pytest.mark.parametrize(
    ("people", "says"),
    [
        ("", "sources[0].people: missing; add it"),
        ('people = "Anna"', "sources[0].people: must be a list"),
        ("people = [{ external_id = 1 }]", "sources[0].people[0].external_id: must be a text"),
        ('people = [{ emails = "a@b.se" }]', "sources[0].people[0].emails: must be a list"),
        ("people = [{}, { phones = [1] }]", "sources[0].people[1].phones[0]: must be a text"),
        ('people = [{ mail = "a@b.se" }]', "people[0].mail: no setting is called 'mail'; did you"),
        ('people = [{ city = "Lund" }]', "people[0].city: no setting is called 'city'; there are"),
    ],
)
def test_a_mistake_in_the_table_is_found_at_start_with_its_place(tmp_path, people, says):
    file = tmp_path / "imbox.toml"
    file.write_text(
        f"""
        [[sources]]
        name = "crm"
        type = "inline"
        default_region = "SE"
        {people}
        [panels.default]
        keys = [{{ id = "t", secret = {{ env = "KEY" }} }}]
        """
    )
    with pytest.raises(SettingsError) as stopped:
        create_app(file, {"KEY": "0123456789abcdef0123456789abcdef"})

    assert says in str(stopped.value)
    assert len(stopped.value.problems) == 1
