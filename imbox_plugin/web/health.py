"""Whether a process answers, and whether it should get requests, for balancers and monitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request

from imbox_plugin.resilience import Guard
from imbox_plugin.web.errors import json_response
from imbox_plugin.web.webhook import Service

_WANTED = "imbox_plugin.wanted"

#: answered whatever else there is to do
PATHS = ("/livez", "/readyz")


def blueprint() -> Blueprint:
    """`GET /livez` and `/readyz`."""
    routes = Blueprint("health", __name__)
    for rule, view in zip(PATHS, (_alive, _ready), strict=True):
        routes.add_url_rule(rule, view_func=view, provide_automatic_options=False)
    return routes


def ready_while(app: Flask, wanted: Callable[[], bool]) -> None:
    """Let /readyz say no from when on the process is to get no more requests."""
    app.extensions[_WANTED] = wanted


def _alive() -> Response:
    return json_response({"status": "alive"})


def _ready() -> Response:
    """Ready as long as it is wanted: without any source it still gives cards, with a notice each.

    How it stands with the sources is for those with a key, each with the sources of its panels.
    Why one failed is not told: it is the text of a source's author, and nobody knows what is in it.
    """
    wanted = current_app.extensions.get(_WANTED, lambda: True)
    ready = bool(wanted())
    document: dict[str, Any] = {"status": "ready" if ready else "stopping"}
    guards = dict(_guards(current_app.extensions["imbox_plugin"]))
    if guards:
        states = {name: guard.breaker.state for name, guard in guards.items()}
        document["sources"] = [
            {"name": name, "status": state.status, "age": round(state.age)}
            for name, state in states.items()
        ]
    response = json_response(document)
    response.status_code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return response


def _guards(service: Service) -> Iterator[tuple[str, Guard]]:
    """What stands before each source of the panels that the request's key opens."""
    for name, panel in service.panels.items():
        if service.gates[name].key_id(request) is not None:
            directory = panel.directory
            for source, guard in zip(directory.sources, directory.guards, strict=True):
                yield source.context.name, guard
