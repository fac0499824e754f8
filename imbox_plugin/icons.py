"""The Material Symbols: which names there are, and how each is drawn.

`icons.json.gz` is made by `tools/icons.py` of the npm package @material-symbols/svg-400 0.48.2
(Google's symbols, Apache License 2.0): the outlined ones, weight 400, not filled.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files


class Icons:
    """Reads the symbols when the first is asked for; they take a few megabytes."""

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    @property
    def names(self) -> frozenset[str]:
        """Every name there is."""
        return frozenset(self._paths)

    def path(self, name: str) -> str | None:
        """The `d` of an SVG path in the box `0 -960 960 960`; None: there is no such symbol."""
        return self._paths.get(name)

    @cached_property
    def _paths(self) -> Mapping[str, str]:
        packed = files("imbox_plugin").joinpath("icons.json.gz").read_bytes()
        return dict(json.loads(gzip.decompress(packed)))
