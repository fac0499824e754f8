"""The demo's database, which recordings and the examples of README are about."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "examples" / "demo" / "imbox.toml"

#: what the settings of the demo and of recordings take for the key
ENVIRON = {"IMBOX_DEMO_KEY": "demo-key-not-for-production"}


def build() -> None:
    """Build the database where `make run` does; the same rows each time."""
    script = runpy.run_path(str(SETTINGS.with_name("build.py")))
    script["build"](SETTINGS.with_name("shop.db"))
