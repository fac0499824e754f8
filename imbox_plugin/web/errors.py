"""Refusals: RFC 9457 problem details that name the field and the reason, and no value."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

_log = logging.getLogger(__name__)

#: nothing is for a browser, a cache or a frame, but what brings headers of its own: a page
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refusal(Exception):
    """A request that is answered with a problem.

    Args:
        status: the HTTP status.
        detail: one sentence for whoever sent the request.
        errors: field -> reasons, for a request whose parameters are wrong.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, errors: Mapping[str, list[str]] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or {}


def install(app: Flask) -> None:
    """Answer every refusal and failure of the app with a problem."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _failed)
    app.after_request(_with_headers)


def response(refusal: Refusal) -> Response:
    """A refusal as it is answered by what stands before the app."""
    return _with_headers(_refused(refusal))


def json_response(document: Any, mimetype: str = "application/json") -> Response:
    """A document as UTF-8 JSON, its keys in their order."""
    return Response(orjson.dumps(document), headers=json_headers(mimetype))


def json_headers(mimetype: str = "application/json") -> list[tuple[str, str]]:
    """The headers of a JSON document but for its length; a list is taken over as it is."""
    return [("Content-Type", mimetype), *HEADERS.items()]


def _refused(refusal: Refusal) -> Response:
    response = _problem(refusal.status, refusal.detail, refusal.errors)
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="imbox-plugin", charset="UTF-8"'
    if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    response = _problem(status, status.description or status.phrase, {})
    # Allow, on a 405.
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _failed(error: Exception) -> Response:
    # The message and the values of the frames may hold an identity; where it happened does not.
    places = traceback.extract_tb(error.__traceback__)
    trail = " < ".join(f"{place.filename}:{place.lineno}" for place in reversed(places))
    _log.error("a request failed: %s at %s", type(error).__name__, trail)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says where.", {})


def _problem(status: HTTPStatus, detail: str, errors: Mapping[str, list[str]]) -> Response:
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    if errors:
        document["errors"] = list(_reasons(errors))
    response = json_response(document, "application/problem+json")
    response.status_code = status
    return response


def _reasons(errors: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    for field, reasons in errors.items():
        for reason in reasons:
            yield {"field": field, "reason": reason}


def _with_headers(response: Response) -> Response:
    # Who has this one has them all: it takes a while to look for each.
    if "Referrer-Policy" not in response.headers:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response
