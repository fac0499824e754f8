"""Recordings: a stored request of ImBox, with the reply it must get."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from marshmallow import Schema, ValidationError, fields, validate
from werkzeug.test import Client

from imbox_plugin.recorder import PLACEHOLDER, Kept

#: headers a recording may hold; any other may be a secret of somebody's
ALLOWED_HEADERS = frozenset({"Accept", "Content-Type", "User-Agent"})

#: how the key is sent: none of it is ever in the file
KEYS = ("basic", "bearer", "query", "wrong", "none")

#: seconds to wait for a running server
_PATIENCE = 30

_WRONG = "a-key-that-opens-nothing"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class _NoRedirect(HTTPRedirectHandler):
    """Makes a redirect an answer like any other: followed, the key would go to another server."""

    def redirect_request(self, *_: Any) -> None:
        """Ask nobody else."""


class RecordingError(Exception):
    """A file that is no recording, or a server that gave no answer; says which and the cure."""


class _RequestSchema(Schema):
    method = fields.String(
        load_default="GET", validate=validate.OneOf(["GET", "POST", "HEAD", "PUT"])
    )
    path = fields.String(load_default="/imbox", validate=validate.Regexp(r"/imbox[\w/-]*\Z"))
    query = fields.Dict(fields.String(), fields.Raw(), load_default=dict)
    headers = fields.Dict(
        fields.String(validate=validate.OneOf(ALLOWED_HEADERS)), fields.String(), load_default=dict
    )
    body = fields.String(load_default=None, allow_none=True)
    key = fields.String(load_default="basic", validate=validate.OneOf(KEYS))


class _ReplySchema(Schema):
    status = fields.Integer(required=True, strict=True)
    json = fields.Raw(required=True, allow_none=True)


class _RecordingSchema(Schema):
    about = fields.String(required=True, validate=validate.Length(min=10))
    origin = fields.String(required=True, validate=validate.Length(min=10))
    settings = fields.String(load_default=None)
    request = fields.Nested(_RequestSchema, required=True)
    reply = fields.Nested(_ReplySchema, required=True)


@dataclass(frozen=True, slots=True)
class Recording:
    """One request and its reply, as `<view>__<situation>.json` has them."""

    file: Path
    #: what it shows, in a sentence
    about: str
    #: captured where and when, or written from which document
    origin: str
    #: the settings it was made with; None: the reader's own
    settings: Path | None
    method: str
    path: str
    #: a text, or a list of them for a parameter that repeats
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: str | None
    #: one of KEYS
    key: str
    status: int
    #: the body of the reply; None: an empty one
    document: Any

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Every parameter of the query, with all its texts."""
        return {
            name: list(map(str, value)) if isinstance(value, list) else [str(value)]
            for name, value in self.query.items()
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server answered: the status, and the JSON of the body if it has one."""

    status: int
    document: Any


def read_recording(file: Path) -> Recording:
    """The recording in a file.

    Raises:
        RecordingError: it is not one.
    """
    try:
        loaded = _RecordingSchema().load(json.loads(file.read_text("utf-8")))
    except OSError as error:
        raise RecordingError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise RecordingError(f"{file} is no recording: it is not JSON") from None
    except ValidationError as error:
        raise RecordingError(f"{file} is no recording: {error.messages}") from None
    request, reply = loaded["request"], loaded["reply"]
    settings = loaded["settings"]
    return Recording(
        file=file,
        about=loaded["about"],
        origin=loaded["origin"],
        settings=file.parent / settings if settings else None,
        method=request["method"],
        path=request["path"],
        query=request["query"],
        headers=request["headers"],
        body=request["body"],
        key=request["key"],
        status=reply["status"],
        document=reply["json"],
    )


def recordings_in(path: Path) -> tuple[Path, ...]:
    """The files of recordings: the file itself, or those of a folder in the order of their names.

    Raises:
        RecordingError: there are none.
    """
    files = tuple(sorted(path.glob("*.json"))) if path.is_dir() else (path,)
    if not files:
        raise RecordingError(f"{path} holds no recording; name another folder")
    return files


def as_recording(kept: Kept, about: str) -> dict[str, Any]:
    """A request of the recorder's as a recording that has no reply yet."""
    query = {
        name: values[0] if len(values) == 1 else list(values) for name, values in kept.query.items()
    }
    request: dict[str, Any] = {"method": kept.method, "path": kept.path, "query": query}
    if kept.headers:
        request["headers"] = dict(kept.headers)
    if kept.body:
        request["body"] = json.dumps(dict.fromkeys(kept.body, PLACEHOLDER))
    if kept.key in KEYS:
        request["key"] = kept.key
    return {
        "about": about,
        "origin": f"Captured from ImBox on {kept.at[:10]}; identities are examples.",
        "request": request,
        "reply": {"status": kept.status, "json": None},
    }


def accept(recording: Recording, answered: Answered) -> None:
    """Take what was answered for the reply that it must get from now on.

    Raises:
        RecordingError: the file cannot be written.
    """
    document = json.loads(recording.file.read_text("utf-8"))
    document["reply"] = {"status": answered.status, "json": answered.document}
    write(recording.file, document)


def write(file: Path, document: Mapping[str, Any]) -> None:
    """Write a recording as people read it.

    Raises:
        RecordingError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise RecordingError(f"{file} cannot be written: {error.strerror}") from None


def replay(
    recording: Recording, app: Any, secret: str, own: Mapping[str, str] = _NO_HEADERS
) -> Answered:
    """Send the request to a WSGI application in this process.

    Args:
        recording: the request.
        app: the application.
        secret: a key of the panel; empty where the recording needs none.
        own: the header that tells the server's recorder that this is not ImBox.
    """
    query, headers = _with_key(recording, secret)
    response = Client(app).open(
        recording.path,
        method=recording.method,
        query_string=query,
        headers={**headers, **own},
        data=(recording.body or "").encode(),
    )
    return Answered(response.status_code, _parsed(response.get_data()))


def replay_at(
    recording: Recording, url: str, secret: str, own: Mapping[str, str] = _NO_HEADERS
) -> Answered:
    """Send the request to a running server; a redirect is its answer, and is not followed.

    Args:
        recording: the request.
        url: the server's address.
        secret: a key of the panel; empty where the recording needs none.
        own: the header that tells the server's recorder that this is not ImBox.

    Raises:
        RecordingError: nobody answers at that address.
    """
    if not url.startswith(("http://", "https://")):
        raise RecordingError("the address must begin with http:// or https://")
    query, headers = _with_key(recording, secret)
    request = Request(  # noqa: S310 - the scheme is checked above
        f"{url.rstrip('/')}{recording.path}?{query}",
        data=recording.body.encode() if recording.body else None,
        headers={**headers, **own},
        method=recording.method,
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=_PATIENCE) as response:
            return Answered(response.status, _parsed(response.read()))
    except HTTPError as error:
        return Answered(error.code, _parsed(error.read()))
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise RecordingError(f"no answer from the server: {reason}") from None


def difference(recording: Recording, answered: Answered) -> str:
    """What differs from the recorded reply, line by line; empty when nothing does."""
    recorded = _readable(recording.status, recording.document)
    now = _readable(answered.status, answered.document)
    return "\n".join(difflib.unified_diff(recorded, now, "recorded", "answered", lineterm="", n=2))


def _with_key(recording: Recording, secret: str) -> tuple[str, dict[str, str]]:
    """The query string and the headers, with the key where the recording wants it."""
    query = dict(recording.query)
    headers = dict(recording.headers)
    if recording.key in {"basic", "wrong"}:
        value = secret if recording.key == "basic" else _WRONG
        headers["Authorization"] = f"Basic {base64.b64encode(value.encode()).decode()}"
    elif recording.key == "bearer":
        headers["Authorization"] = f"Bearer {secret}"
    elif recording.key == "query":
        query["key"] = secret
    return urlencode(query, doseq=True), headers


def _parsed(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return {"not JSON": f"{len(body)} bytes"}


def _readable(status: int, document: Any) -> list[str]:
    text = json.dumps(document, ensure_ascii=False, indent=2)
    return [f"status {status}", *text.splitlines()]
