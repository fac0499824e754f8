"""What proves that an installation works, and what proves that a source of one's own does.

`SourceContract` needs pytest, which a server does not have, so it is imported when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbox_plugin.testing.contract import SourceContract

__all__ = ["SourceContract"]


def __getattr__(name: str) -> object:
    if name != "SourceContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Otherwise an assertion that fails says AssertionError and not what was on its two sides.
    import_module("pytest").register_assert_rewrite(f"{__name__}.contract")
    return import_module(f"{__name__}.contract").SourceContract
