"""Documents as TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_text(document: Mapping[str, Any]) -> str:
    """A file with these tables, each on a line of its own."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return (
                f"{{{', '.join(f'{_text(key)} = {_value(item)}' for key, item in value.items())}}}"
            )
        case _:
            return str(value)


def _text(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")
