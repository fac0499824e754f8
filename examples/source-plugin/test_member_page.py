from member_page import MemberPage

from imbox_plugin.links import LinkContext
from imbox_plugin.model import Contact, Key, Lookup, View

LINK = MemberPage(MemberPage.Options().load({"shop": "lund"}), LinkContext())
CALL = Lookup(View.CALL, {Key.PHONE: "+46701740605"})


def test_a_member_has_a_page():
    ada = Contact(external_id="M1001", details={"points": 1250})

    assert LINK.url(CALL, ada) == "https://club.example.com/lund/member?number=M1001"


def test_whoever_is_no_member_can_join_by_the_number_they_call_from():
    form = "https://club.example.com/lund/join?phone=%2B46701740605"

    assert LINK.url(CALL, None) == form
    assert LINK.url(CALL, Contact(external_id="of another source")) == form


def test_without_a_number_there_is_no_link():
    assert LINK.url(Lookup(View.CHAT), None) is None
