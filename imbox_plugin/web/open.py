"""What stands behind a contact link that leads through this server: `/open/<ticket>`.

A GET shows a page and mints nothing, since link scanners and previews follow GETs. The page's POST
has the address minted and leads there, or embeds the vendor's page.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from secrets import token_hex
from threading import Lock
from types import MappingProxyType
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

import orjson
from flask import Blueprint, Response, render_template, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.datastructures import Headers

from imbox_plugin.formats import Formats
from imbox_plugin.links import Reason
from imbox_plugin.minting import Mint, Minted, NotMinted
from imbox_plugin.model import Event
from imbox_plugin.panel import Panel, PanelLink
from imbox_plugin.seals import Unsealable
from imbox_plugin.tickets import PATH, Ticket, Tickets
from imbox_plugin.web.errors import Refusal

_log = logging.getLogger(__name__)

#: bytes of one event
MAX_EVENT = 65_536
#: characters of the id that our page gives an event
MAX_EVENT_ID = 100

# An office is one address, so this is for whoever tries tickets, not for agents.
_PER_CLIENT = RateLimitItemPerMinute(600, namespace="client")
_CLICKS = RateLimitItemPerMinute(10, namespace="clicks")
_EVENTS = RateLimitItemPerMinute(120, namespace="events")

#: what an agent is told where another try alone is of no use
_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        Reason.NO_CONTACT: "failed_no_contact",
        Reason.SEVERAL_CONTACTS: "failed_several_contacts",
    }
)
_UNLISTED = MappingProxyType({"X-Robots-Tag": "noindex, nofollow"})
_OWN = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
# Browsers hold the redirect after a form to `form-action` too, and whose host it will be is not
# known before the click.
_PAGE = f"{_OWN}form-action 'self' https:; frame-ancestors 'none'"
_EMBED = f"{_OWN}connect-src 'self'; form-action 'none'; frame-ancestors 'none'; frame-src "


class Inbox(Protocol):
    """Takes events, such as an event store."""

    def accept(self, event: Event) -> bool:
        """Keep an event for good before it returns; whether it is a new one."""


class _Shut(Exception):
    """A ticket that opens nothing."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _TooOften(Exception):
    """More requests than anybody needs."""


class _Away(Response):
    """Leads to an address as the vendor wrote it; `Minted` has seen that it can be a header."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """The headers, without what Werkzeug makes of braces and brackets in an address."""
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self.headers["Location"]
        return headers


class Opener:
    """Opens the links of all panels. Built once at start, used from many threads.

    Args:
        panels: by name.
        tickets: reads the addresses; None: no link leads through this server.
        base_url: the server's own public address, which its pages are posted from.
        formats: the locale of the pages.
        inbox: takes what vendors' windows tell.
    """

    def __init__(
        self,
        panels: Mapping[str, Panel],
        tickets: Tickets | None,
        base_url: str | None,
        formats: Formats,
        inbox: Inbox | None,
    ) -> None:
        # Without secret keys nothing was ever sealed: a key that nobody has opens nothing.
        self._tickets = tickets or Tickets([token_hex()], "")
        self._panels = panels
        self._formats, self._inbox = formats, inbox
        parts = urlsplit(base_url or "")
        self._origin = f"{parts.scheme}://{parts.netloc}".lower()
        self._mints = {
            (panel.name, link.name): Mint(link.builder)
            for panel in panels.values()
            for link in panel.links.values()
            if link.builder.mints
        }
        self._lock = Lock()
        self._limiter: FixedWindowRateLimiter | None = None

    def blueprint(self) -> Blueprint:
        """`/open/<ticket>` with its files and events."""
        routes = Blueprint(
            "open",
            __name__,
            template_folder="templates",
            static_folder="static",
            static_url_path=f"{PATH}static",
        )
        address = f"{PATH}<sealed>"
        options: dict[str, Any] = {"provide_automatic_options": False, "merge_slashes": False}
        routes.add_url_rule(address, "page", self.page, methods=["GET"], **options)
        routes.add_url_rule(address, "go", self.go, methods=["POST"], **options)
        routes.add_url_rule(f"{address}/events", "event", self.event, methods=["POST"], **options)
        routes.register_error_handler(_Shut, self._shut)
        routes.register_error_handler(_TooOften, self._too_often)
        return routes

    def page(self, sealed: str) -> Response:
        """The page that an agent's click on the card opens."""
        self._count(_PER_CLIENT, request.remote_addr)
        _, panel, link = self._read(sealed)
        return self._show("open.html", panel=panel, link=link, at_once=True)

    def go(self, sealed: str) -> Response:
        """Where the page leads: to the vendor, or to the vendor's page inside of ours."""
        self._count(_PER_CLIENT, request.remote_addr)
        ticket, panel, link = self._read(sealed)
        if not self._is_from_here():
            # Another site sent the agent's browser here; the agent's own click is another matter.
            return self._show("open.html", HTTPStatus.FORBIDDEN, panel=panel, link=link)
        self._count(_CLICKS, self._tickets.name(sealed))
        try:
            minted = self._mints[panel.name, link.name].mint(ticket.order)
        except NotMinted as error:
            _log.error("%s gave no address: %s", link.path, error.code)
            return self._show(
                "failed.html",
                HTTPStatus.BAD_GATEWAY,
                panel=panel,
                link=link,
                fallback=ticket.fallback,
                advice=_ADVICE.get(error.code, "failed_advice"),
            )
        if minted.frame and link.embed:
            return self._embedded(minted, panel, link)
        headers = {"Location": minted.url, **_UNLISTED}
        return _Away(status=HTTPStatus.SEE_OTHER, headers=headers)

    def event(self, sealed: str) -> Response:
        """What the vendor's page told ours: kept before it is answered."""
        try:
            self._count(_PER_CLIENT, request.remote_addr)
            _, panel, link = self._read(sealed)
            self._count(_EVENTS, self._tickets.name(sealed))
        except _Shut as shut:
            raise Refusal(shut.status, "The ticket opens nothing.") from None
        except _TooOften:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many events.") from None
        if not self._is_from_here():
            raise Refusal(HTTPStatus.FORBIDDEN, "Only the server's own pages tell of events.")
        type_, data, id_ = _told()
        action = link.events.get(type_)
        if action is None or action.action != "deliver" or self._inbox is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "No event of this type is taken.")
        key = self._key(sealed, f"{panel.name} {link.name}", type_, data, id_)
        try:
            self._inbox.accept(Event(panel.name, link.name, type_, data, key))
        except Exception as error:  # noqa: BLE001
            # What it says may quote the event.
            _log.error("%s told of an event that was not kept: %s", link.path, type(error).__name__)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Not kept; send it again.") from None
        return Response(status=HTTPStatus.ACCEPTED)

    def _read(self, sealed: str) -> tuple[Ticket, Panel, PanelLink]:
        """The ticket, and the panel and the link that it is of."""
        try:
            ticket = self._tickets.read(sealed)
            panel = self._panels[ticket.panel]
            link = panel.links[ticket.link]
        except (Unsealable, KeyError):
            raise _Shut(HTTPStatus.NOT_FOUND) from None
        if not link.builder.mints:
            raise _Shut(HTTPStatus.NOT_FOUND)
        if ticket.age > link.expires:
            raise _Shut(HTTPStatus.GONE)
        return ticket, panel, link

    def _is_from_here(self) -> bool:
        """Whether the agent, and not another site, had the browser send this.

        Browsers say it by `Sec-Fetch-Site`. An old one has only `Origin`, and "null" in it where
        the referrer policy keeps addresses back, as ours does: such a one is not let in.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site in {"same-origin", "none"}
        return request.headers.get("Origin", "").lower() == self._origin

    def _count(self, limit: RateLimitItemPerMinute, whose: str | None) -> None:
        with self._lock:
            # It starts a thread, and a server that is going to fork must have none at work.
            self._limiter = self._limiter or FixedWindowRateLimiter(MemoryStorage())
        if not self._limiter.hit(limit, whose or ""):
            raise _TooOften

    def _key(
        self, sealed: str, link: str, type_: str, data: Mapping[str, Any], id_: str | None
    ) -> str:
        """Equal for a message that several windows tell of, and for what our page sends again.

        A message has the vendor's id. All else has one of our page, since the same may well
        happen twice on one card. A page of before it gave ids gives none; of such a one, the same
        data on the same card is the same event.
        """
        message = data.get("messageId")
        if isinstance(message, str) and message:
            return self._tickets.name(link, type_, "message", message)
        given = () if id_ is None else (id_,)
        return self._tickets.name(link, type_, "event", sealed, _canonical(data), *given)

    def _embedded(self, minted: Minted, panel: Panel, link: PanelLink) -> Response:
        events = {
            type_: {"action": event.action, "url": event.url}
            for type_, event in link.events.items()
            if minted.frame and type_ in minted.frame.events
        }
        return self._show(
            "embed.html",
            policy=_EMBED + minted.origin,
            panel=panel,
            link=link,
            url=minted.url,
            frame=minted.frame,
            events=events,
        )

    def _shut(self, shut: _Shut) -> Response:
        return self._show("shut.html", shut.status, expired=shut.status is HTTPStatus.GONE)

    def _too_often(self, _: _TooOften) -> Response:
        response = self._show("too_often.html", HTTPStatus.TOO_MANY_REQUESTS)
        response.headers["Retry-After"] = "60"
        return response

    def _show(
        self, template: str, status: HTTPStatus = HTTPStatus.OK, policy: str = _PAGE, **values: Any
    ) -> Response:
        markup = render_template(template, say=self._formats.sentence, **values)
        headers = {"Content-Security-Policy": policy, **_UNLISTED}
        return Response(markup, status, headers, mimetype="text/html")


def _told() -> tuple[str, Mapping[str, Any], str | None]:
    """The type and the data of the event that was sent, and the id that our page gave it."""
    if request.mimetype != "application/json":
        _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "An event is JSON.")
    body = request.stream.read(MAX_EVENT + 1)
    if len(body) > MAX_EVENT:
        _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The event is too large.")
    try:
        told = orjson.loads(body)
    except ValueError:
        _refuse(HTTPStatus.BAD_REQUEST, "The event is no JSON.")
    type_ = told.get("type") if isinstance(told, dict) else None
    data = told.get("data") if isinstance(told, dict) else None
    id_ = told.get("id") if isinstance(told, dict) else None
    if not isinstance(type_, str) or not isinstance(data, dict):
        _refuse(HTTPStatus.BAD_REQUEST, "An event is an object with type and data.")
    if id_ is not None and not (isinstance(id_, str) and 0 < len(id_) <= MAX_EVENT_ID):
        _refuse(
            HTTPStatus.BAD_REQUEST, f"An event's id is text, {MAX_EVENT_ID} characters at most."
        )
    return type_, data, id_


def _canonical(data: Mapping[str, Any]) -> str:
    """The same text for the same data."""
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()


def _refuse(status: HTTPStatus, detail: str) -> NoReturn:
    raise Refusal(status, detail) from None
