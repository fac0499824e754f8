"""Links by template: the settings fix where they go, values only say to whom."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import LinkContext
from imbox_plugin.links.placeholders import PLACEHOLDERS
from imbox_plugin.links.url import UrlTemplate
from imbox_plugin.model import Contact, Key, Lookup, View

ANNA = Contact(
    name="Anna Öst", external_id="K 1/2", emails=("anna@example.com",), phones=("+46701740606",)
)
ASKED = Lookup(
    View.CALL,
    {
        Key.EXTERNAL_ID: "claimed",
        Key.CONTACT_ID: "77",
        Key.EMAIL: "a+b@example.com",
        Key.PHONE: "+46701740605",
    },
    ticket_id="T&9",
)
NOTHING = Lookup(View.CALL)
FIXED = "https://crm.example.com/customers/"


def link(template):
    return UrlTemplate(UrlTemplate.Options().load({"url": template}), LinkContext())


def refusal(template):
    with pytest.raises(ValidationError) as refused:
        link(template)
    return " ".join(refused.value.messages_dict["url"])


@pytest.mark.parametrize(
    ("placeholder", "filled"),
    [
        ("external_id", "K%201%2F2"),
        ("contact_id", "77"),
        ("email", "a%2Bb%40example.com"),
        ("phone", "%2B46701740605"),
        ("phone_digits", "46701740605"),
        ("name", "Anna%20%C3%96st"),
        ("ticket_id", "T%269"),
    ],
)
def test_every_placeholder_is_filled_with_its_encoded_value(placeholder, filled):
    url = link(f"{FIXED}x?q={{{placeholder}}}").url(ASKED, ANNA)

    assert url == f"{FIXED}x?q={filled}"


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_there_is_no_link_without_a_value_for_its_placeholder(placeholder):
    template = link(f"{FIXED}{{{placeholder}}}")

    assert template.url(NOTHING, None) is None
    assert template.url(NOTHING, Contact(name="", external_id="")) is None


def test_one_missing_value_of_several_is_enough_for_no_link():
    assert link(f"{FIXED}{{contact_id}}?name={{name}}").url(ASKED, None) is None


def test_an_external_id_that_only_the_request_has_is_a_claim_and_makes_no_link():
    assert link(f"{FIXED}{{external_id}}").url(ASKED, None) is None


def test_an_unknown_caller_gets_a_link_by_what_imbox_sent():
    url = link(f"{FIXED}?phone={{phone}}&email={{email}}").url(ASKED, None)

    assert url == f"{FIXED}?phone=%2B46701740605&email=a%2Bb%40example.com"


def test_what_imbox_did_not_send_comes_from_the_contact():
    url = link(f"{FIXED}?phone={{phone_digits}}&email={{email}}").url(NOTHING, ANNA)

    assert url == f"{FIXED}?phone=46701740606&email=anna%40example.com"


def test_a_placeholder_may_stand_several_times_and_anywhere_after_the_host():
    url = link("https://crm.example.com/{name}/{name}.html?n={name}#/{name}").url(
        NOTHING, Contact(name="ö")
    )

    assert url == "https://crm.example.com/%C3%B6/%C3%B6.html?n=%C3%B6#/%C3%B6"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{external_id}", "."),
        ("{external_id}", ".."),
        ("{external_id}/orders", ".."),
        (".{external_id}", "."),
        ("{external_id}{external_id}", "."),
        ("%2e{external_id}", "."),
        ("%2E{external_id}?x", "."),
        ("{external_id}#top", ".."),
        ("#/customers/{external_id}", ".."),
        ("#/customers/{external_id}/orders", ".."),
        ("?page=/customers/{external_id}", ".."),
    ],
)
def test_a_value_that_would_climb_out_of_its_folder_makes_no_link(template, value):
    assert link(FIXED + template).url(NOTHING, Contact(external_id=value)) is None


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("...", "..."),
        ("..;", "..%3B"),
        ("../x", "..%2Fx"),
        ("%2e%2e", "%252e%252e"),
        ("\\..\\", "%5C..%5C"),
        ("\ud800", "%3F"),
        ("a\r\nb\0", "a%0D%0Ab%00"),
    ],
)
def test_a_value_that_only_looks_like_a_way_out_is_one_encoded_segment(value, filled):
    url = link(f"{FIXED}{{external_id}}").url(NOTHING, Contact(external_id=value))

    assert url == FIXED + filled


def test_dots_are_a_value_like_any_other_where_there_are_no_folders():
    url = link(f"{FIXED}?id={{external_id}}").url(NOTHING, Contact(external_id=".."))

    assert url == f"{FIXED}?id=.."


# Whatever the values are

hostile = st.text(st.characters(), max_size=8) | st.text("./\\%2eE@:?#&\ud800 \n", max_size=8)


@given(hostile, hostile, hostile)
@example("..", "", "")
@example("%2e%2e", "/../", "..")
@example("@evil.example", "//evil.example", "\udfff")
def test_host_and_folder_stay_and_each_value_stays_in_its_place(external_id, name, email):
    template = link(f"{FIXED}{{external_id}}/{{name}}?email={{email}}")
    contact = Contact(external_id=external_id, name=name, emails=(email,))
    url = template.url(NOTHING, contact)

    if not all((external_id, name, email)) or not {".", ".."}.isdisjoint({external_id, name}):
        assert url is None
        return
    place = re.fullmatch(re.escape(FIXED) + r"([^/?#]+)/([^/?#]+)\?email=([^/?#&]+)", url)
    values = [value.encode(errors="replace").decode() for value in (external_id, name, email)]
    assert list(map(unquote, place.groups())) == values
    assert re.fullmatch("[!-~]+", url)
    assert not re.search(r"[\\<>\"']", url)


def test_hostile_ids_make_one_segment_or_no_link(corpus):
    template = link(f"{FIXED}{{external_id}}/orders")
    for line in [*corpus("identity_hostile_values"), *corpus("url_redirect_ssrf")]:
        url = template.url(NOTHING, Contact(external_id=line["payload"]))
        if line["payload"] in {"", ".", ".."}:
            assert url is None
        else:
            assert re.fullmatch(re.escape(FIXED) + r"[A-Za-z0-9_.~%-]+/orders", url)


# The template itself


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("http://crm.example.com/{email}", "not an https address"),
        ("javascript:alert({email})", "not an https address"),
        ("crm.example.com/{email}", "not an https address"),
        ("//crm.example.com/{email}", "not an https address"),
        ("https:crm.example.com/{email}", "not an https address"),
        ("https:///{email}", "not an https address"),
        ("https://:443/{email}", "not an https address"),
        ("https://crm.example.com:x/{email}", "not an https address"),
        ("https://crm.example.com:99999/{email}", "not an https address"),
        ("https://[::1/{email}", "not an https address"),
        ("https://{external_id}/", "host must be fixed"),
        ("https://{external_id}.example.com/", "host must be fixed"),
        ("https://crm.example.com{external_id}/", "host must be fixed"),
        ("https://crm.example.com:{external_id}/", "not an https address"),
        ("https://me:secret@crm.example.com/{email}", "without a user"),
        ("https://{name}@crm.example.com/", "without a user"),
        ("https://crm.example.com\\.evil.example/{email}", "without backslashes"),
        ("https://crm.example.com/customers\\{email}", "without backslashes"),
        ("https://crm.example.com/kund er/{email}", "plain ASCII"),
        (" https://crm.example.com/{email}", "plain ASCII"),
        ("https://crm.exämple.com/{email}", "plain ASCII"),
        ("https://crm.example.com/{email", "brace without its partner"),
        ("https://crm.example.com/email}/{email}", "brace without its partner"),
        ("https://crm.example.com/{{email}}", "brace without its partner"),
        ("https://crm.example.com/", "no placeholder; use one of external_id"),
        ("https://crm.example.com/{mail}", "no placeholder is called 'mail'; did you mean email?"),
        ("https://crm.example.com/{contact.email}", "is no detail; write {email}"),
        ("https://crm.example.com/{}", "no placeholder is called ''"),
        ("https://crm.example.com/{email!r}", "no placeholder is called"),
        ("https://crm.example.com/{email.__class__}", "no placeholder is called"),
    ],
)
def test_a_template_with_a_mistake_is_refused_with_its_cure(template, says):
    assert says in refusal(template)


@pytest.mark.parametrize(
    "template",
    [
        "https://crm.example.com/{email}",
        "HTTPS://CRM.example.com:8443/{email}",
        "https://crm.example.com?q={email}",
        "https://crm.example.com/#!/search/{email}/",
        "https://[2001:db8::1]/{email}",
    ],
)
def test_a_template_with_a_fixed_host_is_accepted(template):
    url = link(template).url(ASKED, None)

    assert url == template.replace("{email}", "a%2Bb%40example.com")


def test_a_template_out_of_a_hostile_text_is_refused_or_keeps_its_own_host(corpus):
    refused = 0
    for line in corpus("url_redirect_ssrf"):
        try:
            template = link(line["payload"] + "{name}")
        except ValidationError:
            refused += 1
            continue
        url = template.url(NOTHING, Contact(name="@evil.example/.."))
        host = urlsplit(line["payload"]).netloc

        assert url is None or (urlsplit(url).scheme, urlsplit(url).netloc) == ("https", host)
    assert refused > 40
