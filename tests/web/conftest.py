"""A server with one customer, and ways to ask it."""

from __future__ import annotations

import base64

import pytest

from imbox_plugin.app import create_app

KEY = "the-key-of-these-tests-0123456789"

SETTINGS = """
default_region = "SE"

[[sources]]
name = "crm"
type = "tests.web.witness:Witness"

[[sources.people]]
name = "Anna Andersson"
external_id = "C-1001"
contact_id = "77"
email = "anna@example.com"
phone = "+46701740605"

[panels.default]
keys = [{ id = "2026-11", secret = { env = "IMBOX_API_KEY" } }]
"""


def basic(credentials: str | bytes) -> str:
    """The value of an Authorization header."""
    raw = credentials.encode() if isinstance(credentials, str) else credentials
    return f"Basic {base64.b64encode(raw).decode()}"


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """Build the server that a settings text describes."""

    def serve(settings=SETTINGS, **environ):
        file = tmp_path_factory.mktemp("settings") / "imbox.toml"
        file.write_text(settings, "utf-8")
        return create_app(file, {"IMBOX_API_KEY": KEY, **environ})

    return serve


@pytest.fixture(scope="session")
def app(serve):
    return serve()


@pytest.fixture
def ask(app):
    """Ask as ImBox does, with the key: `ask("view=chat&email=...")`."""
    client = app.test_client()

    def ask(query="", method="GET", path="/imbox", **options):
        headers = {"Authorization": basic(KEY), **options.pop("headers", {})}
        # As raw bytes, which is how a server hands the query on.
        options.setdefault("environ_overrides", {})["QUERY_STRING"] = (
            query.encode().decode("latin-1") if isinstance(query, str) else query.decode("latin-1")
        )
        return client.open(path, method=method, headers=headers, **options)

    return ask


@pytest.fixture
def asked(app):
    """The lookups that the source is asked in this test."""
    asked = app.extensions["imbox_plugin"].panels["default"].directory.sources[0].asked
    asked.clear()
    return asked
