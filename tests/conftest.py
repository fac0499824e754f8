"""What several test modules need."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.demo import SETTINGS, build

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def corpus():
    """Read one of the large test-data files, or skip where they are not at hand."""
    folder = Path(os.environ.get("IMBOX_CORPORA", Path(__file__).parents[2] / "shared" / "corpora"))

    def read(name: str) -> list[dict]:
        file = folder / f"{name}.jsonl"
        if not file.exists():
            pytest.skip(f"test data {name} is not here; IMBOX_CORPORA names its folder")
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]

    return read


def absent(service: str, cause: Exception) -> None:
    """Skip a test whose service is not here; REQUIRE_SERVICES=1 makes that a failure."""
    message = f"{service} is not here: {type(cause).__name__}"
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def demo():
    """The demo's settings file, its database built."""
    build()
    return SETTINGS


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory):
    """Keep the indexes of the file sources out of the machine's own."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before
