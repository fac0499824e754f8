"""ChatApp Dialog: its addresses as PHP would build them, and its tokens, which leave no trace."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from imbox_plugin.links import LinkContext, LinkError, Reason
from imbox_plugin.links.chatapp import ChatApp, http_build_query
from imbox_plugin.model import Contact, Key, Lookup, View
from imbox_plugin.seals import Seal
from tests.demo import ROOT
from tests.links.minting import Hours, everything_told, once
from tests.loopback import serving
from tests.vendor import playing

RECORDED = json.loads((ROOT / "tests/recordings/php_http_build_query.json").read_text("utf-8"))
SECRET = "a-secret-key-of-this-test"
LOGIN = {"email": "owner@example.com", "password": "canary-password", "app_id": "app_14545_1"}
CALL = Lookup(View.CALL, {Key.PHONE: "+46701740605"})
ANNA = Contact(phones=("+46701740605", "+46701740606"), details={"telegram": "anna_ost"})
#: what no log, no error and no file may tell
CANARIES = ("canary", "owner@example.com", "46701740605", "app_14545_1", "access_token")
#: seconds since 1970; the recorded tokens end in 2100
END = 4102444800


def link(**options):
    return ChatApp(ChatApp.Options().load(options), LinkContext())


def minting(url, state, now=None, clock=None, *, time_limit=5, **options):
    table = {
        "license_id": 30310,
        "messenger": "grWhatsApp",
        "login": LOGIN,
        "base_url": url,
        **options,
    }
    context = LinkContext(state=state, seal=Seal([SECRET], "links"), time_limit=time_limit)
    return ChatApp(
        ChatApp.Options().load(table),
        context,
        now=now or Hours(1_800_000_000),
        clock=clock or Hours(),
    )


def mint(builder):
    return builder.mint(builder.order(CALL, ANNA))


def token(builder):
    return dict(parse_qsl(urlsplit(mint(builder).url).query))["api[access_token]"]


def refusal(builder):
    with pytest.raises(LinkError) as refused:
        mint(builder)
    return refused.value


@pytest.fixture
def chatapp():
    with playing("chatapp") as server:
        yield server


def paths(chatapp):
    return [asked.path for asked in chatapp.asked]


def kept(state):
    (file,) = [file for file in state.iterdir() if not file.suffix]
    return file


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", RECORDED["vectors"], ids=range(len(RECORDED["vectors"])))
def test_a_query_is_the_one_that_php_makes_byte_for_byte(vector):
    assert http_build_query(vector["fields"]) == vector["query"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(texts.filter(bool), texts), st.lists(texts))
def test_whatever_the_values_are_each_stays_in_its_place(api, phones):
    query = http_build_query({"api": api, "crm": {"phones": phones}})
    expected = [(f"api[{name}]", text) for name, text in api.items()]
    expected += [(f"crm[phones][{at}]", text) for at, text in enumerate(phones)]

    assert parse_qsl(query, keep_blank_values=True) == expected


def test_the_documented_address_by_phone():
    url = link(license_id=30310, messenger="grWhatsApp").url(
        Lookup(View.CALL, {Key.PHONE: "+79999999999"}), None
    )

    assert url == (
        "https://dialogs.pro/?api%5Blicense_id%5D=30310&api%5Bmessenger_type%5D=grWhatsApp"
        "&crm%5Bphones%5D%5B0%5D=79999999999"
    )


def test_the_documented_address_by_chat_id():
    builder = link(license_id=30310, phones=False, dialog_ids=["{phone_digits}@c.us"])
    url = builder.url(Lookup(View.CALL, {Key.PHONE: "+79999999999"}), None)

    assert url == (
        "https://dialogs.pro/?api%5Blicense_id%5D=30310"
        "&crm%5BdialogIds%5D%5B0%5D=79999999999%40c.us"
    )


def test_all_numbers_of_the_person_and_all_ids_of_chats_are_given():
    builder = link(dialog_ids=["{phone_digits}@c.us", "@{contact.telegram}", "{contact.none}"])
    query = parse_qsl(urlsplit(builder.url(CALL, ANNA)).query)

    assert query == [
        ("crm[phones][0]", "46701740605"),
        ("crm[phones][1]", "46701740606"),
        ("crm[dialogIds][0]", "46701740605@c.us"),
        ("crm[dialogIds][1]", "46701740606@c.us"),
        ("crm[dialogIds][2]", "@anna_ost"),
    ]


def test_a_chat_that_a_detail_names_needs_no_number():
    contact = Contact(details={"telegram": "anna_ost"})
    builder = link(dialog_ids=["{phone_digits}@c.us", "@{contact.telegram}"])

    assert builder.url(Lookup(View.CHAT), contact) == (
        "https://dialogs.pro/?crm%5BdialogIds%5D%5B0%5D=%40anna_ost"
    )


@pytest.mark.parametrize("telegram", ["anna_ost", "@anna_ost", " @anna_ost "])
def test_an_account_is_the_same_with_its_at_or_without(telegram):
    contact = Contact(details={"telegram": telegram})
    builder = link(dialog_ids=["@{contact.telegram}", "@{contact.telegram}"])

    assert builder.url(Lookup(View.CHAT), contact) == (
        "https://dialogs.pro/?crm%5BdialogIds%5D%5B0%5D=%40anna_ost"
    )


def test_a_link_stays_short_however_much_is_known():
    contact = Contact(
        phones=tuple(f"+467017406{at:02}" for at in range(5, 30)),
        details={"telegram": "x" * 200},
    )
    builder = link(dialog_ids=["{phone_digits}@c.us", "@{contact.telegram}"])
    names = [name for name, _ in parse_qsl(urlsplit(builder.url(CALL, contact)).query)]

    assert len(names) == 10


def test_one_employee_can_be_named_by_the_id_in_another_system():
    builder = link(crm_domain="crm.example.com", employee_ext_code="7 & 8")

    assert builder.url(CALL, None) == (
        "https://dialogs.pro/?api%5Bcrm_domain%5D=crm.example.com"
        "&api%5Bemployee_ext_code%5D=7%20%26%208&crm%5Bphones%5D%5B0%5D=46701740605"
    )


@pytest.mark.parametrize("person", [(Lookup(View.CHAT), None), (CALL, ANNA)])
@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, ""),
        (
            {"license_id": 30310, "messenger": "grWhatsApp"},
            "?api%5Blicense_id%5D=30310&api%5Bmessenger_type%5D=grWhatsApp",
        ),
    ],
)
def test_all_chats_are_opened_for_whomever_where_the_settings_say_so(person, options, query):
    assert link(phones=False, **options).url(*person) == f"https://dialogs.pro/{query}"


def test_all_chats_are_opened_with_a_token_too(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path, phones=False)
    order = builder.order(Lookup(View.CHAT), None)

    assert order == {"phones": [], "dialog_ids": []}
    assert builder.mint(order).url == (
        "https://dialogs.pro/?api%5Baccess_token%5D=%242y%2410%24canary%2Faccess1"
        "&api%5Blicense_id%5D=30310&api%5Bmessenger_type%5D=grWhatsApp"
    )


def test_a_person_whose_chat_is_not_known_is_not_shown_all_chats():
    builder = link(phones=False, dialog_ids=["@{contact.telegram}"])

    assert builder.url(CALL, Contact(phones=("+46701740605",))) is None


def test_there_is_no_link_to_nobody():
    builder = link(dialog_ids=["@{contact.telegram}"])

    assert builder.url(Lookup(View.CHAT), Contact(name="Anna")) is None
    assert link().url(Lookup(View.CHAT), None) is None


def test_without_a_login_there_is_nothing_to_mint():
    builder = link()

    assert builder.order(CALL, ANNA) is None
    with pytest.raises(LinkError, match="open the contact anew"):
        builder.mint({"phones": ["46701740605"], "dialog_ids": []})


@pytest.mark.parametrize(
    ("options", "place", "says"),
    [
        ({"license_id": "30310"}, "license_id", "Not a valid integer"),
        ({"messenger": "a b"}, "messenger", "write it as grWhatsApp"),
        ({"messenger": "grWhatsApp\n"}, "messenger", "write it as grWhatsApp"),
        ({"dialog_ids": ["{phone}"]}, "dialog_ids", "no placeholder is called 'phone'"),
        ({"dialog_ids": ["x@c.us"]}, "dialog_ids", "must have one placeholder"),
        ({"dialog_ids": ["{phone_digits"]}, "dialog_ids", "placeholders are like {phone_digits}"),
        ({"crm_domain": "crm.example.com"}, "employee_ext_code", "no use without the other"),
        ({"employee_ext_code": "7"}, "crm_domain", "no use without the other"),
        ({"crm_domain": "a/b", "employee_ext_code": "7"}, "crm_domain", "not a host"),
        ({"dialog": "http://dialogs.pro"}, "dialog", "not an address"),
        ({"dialog": "https://dialogs.pro/x"}, "dialog", "not an address"),
        ({"dialog": "https://a@dialogs.pro"}, "dialog", "not an address"),
        ({"dialog": "https://dialogs.pro; script-src"}, "dialog", "not an address"),
        (
            {"base_url": "http://api.chatapp.example"},
            "base_url",
            "write it as https://api.chatapp.online",
        ),
        ({"login": {"email": "a"}}, "login", "password"),
    ],
)
def test_a_mistake_stops_the_start_with_its_cure(options, place, says):
    with pytest.raises(ValidationError) as refused:
        ChatApp.Options().load(options)

    assert says in str(refused.value.messages_dict[place])


def test_a_login_without_secret_keys_stops_the_start():
    with pytest.raises(ValueError, match="add secret_keys at the top level"):
        link(login=LOGIN)


# --- the click ------------------------------------------------------------------------------------


def test_nobody_is_asked_until_the_click(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)

    assert builder.order(CALL, ANNA) == {
        "phones": ["46701740605", "46701740606"],
        "dialog_ids": [],
    }
    assert "access_token" not in builder.url(CALL, ANNA)
    assert chatapp.asked == []


def test_the_first_click_logs_in_and_the_address_holds_the_token(chatapp, tmp_path):
    assert mint(minting(chatapp.url, tmp_path)).url == (
        "https://dialogs.pro/?api%5Baccess_token%5D=%242y%2410%24canary%2Faccess1"
        "&api%5Blicense_id%5D=30310&api%5Bmessenger_type%5D=grWhatsApp"
        "&crm%5Bphones%5D%5B0%5D=46701740605&crm%5Bphones%5D%5B1%5D=46701740606"
    )
    assert paths(chatapp) == ["/v1/tokens"]


def test_the_frame_is_the_documented_one(chatapp, tmp_path):
    frame = mint(minting(chatapp.url, tmp_path)).frame

    assert frame.sandbox == (
        "allow-forms allow-modals allow-orientation-lock allow-pointer-lock allow-popups "
        "allow-popups-to-escape-sandbox allow-presentation allow-same-origin allow-scripts "
        "allow-top-navigation allow-top-navigation-by-user-activation"
    )
    assert frame.allow == (
        "camera https://dialogs.pro/; microphone https://dialogs.pro/; "
        "clipboard-read https://dialogs.pro/; clipboard-write https://dialogs.pro/"
    )
    assert frame.events == frozenset()


def test_what_the_frame_allows_follows_the_host(chatapp, tmp_path):
    destination = mint(minting(chatapp.url, tmp_path, dialog="https://new.dialogs.pro"))

    assert destination.url.startswith("https://new.dialogs.pro/?api")
    assert destination.frame.allow.count("https://new.dialogs.pro/") == 4
    assert destination.frame.allow.count("https://") == 4


def test_a_token_is_used_again_as_long_as_it_is_good(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)

    assert token(builder) == token(builder)
    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens/check"]
    assert chatapp.asked[1].headers["Authorization"] == "$2y$10$canary/access1"


def test_a_restarted_server_goes_on_with_the_token_that_was_kept(chatapp, tmp_path):
    mint(minting(chatapp.url, tmp_path))
    mint(minting(chatapp.url, tmp_path))

    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens/check"]


@pytest.mark.parametrize("situation", ["not_let_in", "invalid_in_success"])
def test_a_token_that_the_api_refuses_is_renewed(chatapp, tmp_path, situation):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.append(situation)

    assert token(builder) == "$2y$10$canary/access2"
    assert paths(chatapp)[1:] == ["/v1/tokens/check", "/v1/tokens/refresh"]


def test_a_token_is_renewed_also_when_the_refusal_has_no_code(chatapp, tmp_path):
    chatapp.recordings["no_code"] = {"request": {}, "reply": {"status": 401, "json": None}}
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.append("no_code")

    assert token(builder) == "$2y$10$canary/access2"


def test_a_token_near_its_end_is_renewed_without_asking_whether_it_is_good(chatapp, tmp_path):
    now = Hours(END - 119)
    builder = minting(chatapp.url, tmp_path, now)
    mint(builder)

    assert token(builder) == "$2y$10$canary/access2"
    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens/refresh"]


def test_a_pair_that_is_over_as_a_whole_is_got_by_a_login(chatapp, tmp_path):
    now = Hours(END)
    builder = minting(chatapp.url, tmp_path, now)
    mint(builder)
    now.now = END + 15 * 86400

    assert token(builder) == "$2y$10$canary/access1"
    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens"]


def test_a_refresh_token_that_is_refused_leads_to_a_login(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.extend(["not_let_in", "not_let_in"])

    assert token(builder) == "$2y$10$canary/access1"
    assert paths(chatapp)[2:] == ["/v1/tokens/refresh", "/v1/tokens"]


def test_a_refused_refresh_token_is_not_shown_again(chatapp, tmp_path):
    hours = Hours()
    builder = minting(chatapp.url, tmp_path, clock=hours)
    mint(builder)
    chatapp.next.extend(["not_let_in"] * 3)
    refusal(builder)
    hours.now = 301
    mint(builder)

    assert paths(chatapp)[1:] == [
        "/v1/tokens/check",
        "/v1/tokens/refresh",
        "/v1/tokens",
        "/v1/tokens",
    ]


@pytest.mark.parametrize("situation", ["out_of_order", "not_recorded", "too_often"])
def test_an_api_that_cannot_say_whether_a_token_is_good_leaves_it_at_its_end(
    chatapp, tmp_path, situation
):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.append(situation)

    assert token(builder) == "$2y$10$canary/access1"
    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens/check"]


# --- when there is no token -----------------------------------------------------------------------


REFUSED = ("ApiInvalidTokenError", "correct email, password and app_id")
FAILURES = {
    "not_let_in": REFUSED,
    "invalid_in_success": REFUSED,
    "too_often": ("429", "is asked too often (429)"),
    "out_of_order": ("502", "in trouble (502); see its status page"),
}


@pytest.mark.parametrize("situation", FAILURES)
def test_a_login_that_fails_says_why_and_nothing_else(chatapp, tmp_path, caplog, situation):
    caplog.set_level(logging.DEBUG)
    chatapp.always = situation
    error = refusal(minting(chatapp.url, tmp_path))
    code, says = FAILURES[situation]

    assert says in str(error)
    assert error.code == code
    assert not [canary for canary in CANARIES if canary in everything_told(error, caplog)]


@pytest.mark.parametrize("situation", ["not_let_in", "invalid_in_success", "too_often"])
def test_whoever_was_not_let_in_does_not_knock_again_for_a_while(chatapp, tmp_path, situation):
    hours = Hours()
    builder = minting(chatapp.url, tmp_path, clock=hours)
    chatapp.always = situation
    refusal(builder)
    error = refusal(builder)

    assert "ChatApp is left alone after failures" in str(error)
    assert len(chatapp.asked) == 1
    hours.now = 301
    chatapp.always = None
    assert token(builder) == "$2y$10$canary/access1"


def test_trouble_at_a_renewal_does_not_end_in_a_login(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.extend(["not_let_in", "out_of_order"])
    refusal(builder)
    chatapp.next.append("not_let_in")

    assert token(builder) == "$2y$10$canary/access2"
    assert paths(chatapp).count("/v1/tokens") == 1


def test_too_many_renewals_do_not_end_in_a_login(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.extend(["not_let_in", "too_often"])

    assert refusal(builder).code == "429"
    assert paths(chatapp).count("/v1/tokens") == 1


GOOD = {
    "accessToken": "a",
    "accessTokenEndTime": END,
    "refreshToken": "r",
    "refreshTokenEndTime": END,
}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"success": True},
        {"data": []},
        {"data": {}},
        *({"data": {name: text for name, text in GOOD.items() if name != lacks}} for lacks in GOOD),
        {"data": {**GOOD, "accessToken": "a\r\nb"}},
        {"data": {**GOOD, "accessToken": ""}},
        {"data": {**GOOD, "refreshToken": 7}},
        {"data": {**GOOD, "refreshToken": "x" * 2001}},
        {"data": {**GOOD, "accessTokenEndTime": "soon"}},
        {"data": {**GOOD, "accessTokenEndTime": None}},
    ],
)
def test_what_is_no_pair_of_tokens_is_not_kept(tmp_path, document):
    with serving(once(body=json.dumps(document).encode())) as server:
        error = refusal(minting(server.url, tmp_path))

    assert "no pair of tokens where its document says" in str(error)
    assert error.code is Reason.NO_CREDENTIAL
    assert not [file for file in tmp_path.iterdir() if not file.suffix]


def test_a_vendor_that_hangs_costs_the_click_its_time_and_no_more(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    over = threading.Event()

    def hang(wire):
        wire.request()
        over.wait(30)

    with serving(hang) as server:
        error = refusal(minting(server.url, tmp_path, time_limit=0.3))
        over.set()

    assert "click again" in str(error)
    assert not [canary for canary in CANARIES if canary in everything_told(error, caplog)]


def test_another_process_that_does_not_end_costs_no_more_either(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    holder = minting(chatapp.url, tmp_path, time_limit=0.3)
    chatapp.next.append("not_let_in")
    with builder._account._kept.locked(until=0):  # noqa: SLF001 - as another process would
        error = refusal(holder)

    assert "click again" in str(error)
    assert error.code is Reason.BUSY


# --- one renewal ----------------------------------------------------------------------------------


class TinyChatApp:
    """An API whose first pair is refused, and which counts and holds renewals."""

    def __init__(self, checks=0):
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._checks_before = checks
        self.asked = []

    def __call__(self, wire):
        request = (wire.request() or b"").decode()
        path = request.split(" ")[1]
        with self._lock:
            self.asked.append(path)
            if self.asked.count("/v1/tokens/check") >= self._checks_before:
                self._enough.set()
        if path == "/v1/tokens/refresh":
            assert self._enough.wait(30)
        is_refused = path == "/v1/tokens/check" and "Authorization: first" in request
        at = "first" if path == "/v1/tokens" else "second"
        pair = {**GOOD, "accessToken": at, "refreshToken": f"{at}-refresh"}
        document = (
            {"success": False, "error": {"code": "ApiInvalidTokenError", "message": "x"}}
            if is_refused
            else {"success": True, "data": pair}
        )
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        wire.send(head.encode() + body)


def test_twenty_clicks_at_once_renew_once(tmp_path):
    api = TinyChatApp()
    with serving(api) as server:
        builder = minting(server.url, tmp_path)
        mint(builder)
        start = threading.Barrier(20)

        def click():
            start.wait()
            return token(builder)

        with ThreadPoolExecutor(20) as threads:
            clicks = [threads.submit(click) for _ in range(20)]
            tokens = {click.result() for click in clicks}

    assert tokens == {"second"}
    assert api.asked.count("/v1/tokens/refresh") == 1
    assert api.asked.count("/v1/tokens") == 1


CLICK = """
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from tests.links.test_chatapp import minting, token

print(token(minting(sys.argv[1], Path(sys.argv[2]), time_limit=30)))
"""


def test_two_processes_at_once_renew_once(tmp_path):
    api = TinyChatApp(checks=2)
    with serving(api) as server:
        mint(minting(server.url, tmp_path))
        command = [sys.executable, "-c", CLICK, server.url, str(tmp_path)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)  # noqa: S603
            for _ in range(2)
        ]
        tokens = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert tokens == ["second", "second"]
    assert api.asked.count("/v1/tokens/refresh") == 1
    assert api.asked.count("/v1/tokens") == 1


# --- what is kept ---------------------------------------------------------------------------------


def test_what_is_kept_is_sealed_and_for_its_owner_alone(chatapp, tmp_path):
    state = tmp_path / "deep" / "state"
    mint(minting(chatapp.url, state))
    texts = [file.read_bytes().decode() + file.name for file in state.iterdir()]

    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}
    assert len(texts) == 2
    assert not [canary for canary in CANARIES for text in texts if canary in text]


@pytest.mark.parametrize("content", [b"", b"gAAAAA", b"\xff\xfe", b"{}"])
def test_what_cannot_be_read_is_replaced_by_a_login(chatapp, tmp_path, content):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    kept(tmp_path).write_bytes(content)

    assert token(builder) == "$2y$10$canary/access1"
    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens"]


def test_what_another_part_has_sealed_is_not_taken_for_tokens(chatapp, tmp_path):
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    kept(tmp_path).write_text(Seal([SECRET], "links").seal(b'{"other": {}}'), "ascii")
    mint(builder)

    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens"]


@pytest.mark.parametrize("setting", LOGIN)
def test_each_account_and_each_password_has_tokens_of_its_own(chatapp, tmp_path, setting):
    mint(minting(chatapp.url, tmp_path))
    chatapp.next.append("token")
    mint(minting(chatapp.url, tmp_path, login={**LOGIN, setting: "another"}))

    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens"]


def test_two_links_of_one_account_share_its_tokens(chatapp, tmp_path):
    mint(minting(chatapp.url, tmp_path))
    mint(minting(chatapp.url, tmp_path, messenger="telegram"))

    assert paths(chatapp) == ["/v1/tokens", "/v1/tokens/check"]


def test_a_folder_that_cannot_be_written_is_named_before_a_login_is_wasted(chatapp, tmp_path):
    tmp_path.joinpath("file").touch()
    error = refusal(minting(chatapp.url, tmp_path / "file" / "state"))

    assert "the folder of state cannot be written (Not a directory)" in str(error)
    assert error.code is Reason.NO_STATE
    assert chatapp.asked == []


def test_no_half_written_file_is_left_when_there_is_no_room(chatapp, tmp_path, monkeypatch):
    def full(_number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = refusal(minting(chatapp.url, tmp_path))

    assert "cannot be written (No space left on device)" in str(error)
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]


def test_nothing_of_a_click_is_logged_or_shown(chatapp, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    builder = minting(chatapp.url, tmp_path)
    mint(builder)
    chatapp.next.append("not_let_in")
    destination = mint(builder)
    shown = caplog.text + repr(destination) + repr(builder._account._kept.read())  # noqa: SLF001

    assert not [canary for canary in CANARIES if canary in shown]
