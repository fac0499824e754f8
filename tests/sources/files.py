"""What the tests of the sources of files share."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack, closing

import pytest

from imbox_plugin.model import Lookup, View
from imbox_plugin.sources import SourceContext


@pytest.fixture
def source_of(tmp_path, monkeypatch):
    """Build a source in a folder of its own, by its table in the settings; closed at the end."""
    (tmp_path / "indexes").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "indexes"))
    with ExitStack() as stack:

        def build(kind, region="SE", **table):
            context = SourceContext(
                name="people", folder=tmp_path, default_region=region, time_limit=60
            )
            return stack.enter_context(closing(kind(kind.Options().load(table), context)))

        yield build


def find(source, key, value):
    return source.find(Lookup(View.CONTACT, {key: value}))


def only(source, key, value):
    (contact,) = find(source, key, value)
    return contact


def wait():
    """Wait until no file is being read."""
    for thread in threading.enumerate():
        if thread.name.startswith("source people"):
            thread.join(60)


def settings_with(tmp_path, table):
    """Settings with one source, whose table is this text."""
    file = tmp_path / "imbox.toml"
    file.write_text(
        f"""
        default_region = "SE"
        [[sources]]
        name = "people"
        {table}
        [panels.default]
        keys = [{{ id = "t", secret = {{ env = "KEY" }} }}]
        """,
        "utf-8",
    )
    return file


ENVIRON = {"KEY": "0123456789abcdef0123456789abcdef"}
