"""Addresses in the settings whose host is fixed and whose values come later."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from marshmallow import ValidationError

from imbox_plugin.links.placeholders import names_in

_PLAIN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


def check_event_address(text: str) -> None:
    """See that an address has the names of an event's data: `{chatId}`, or `{entity.id}` inside.

    Raises:
        ValidationError: it has not, or does not lead to one host.
    """
    for name in names_in(text, "chatId"):
        if not _NAME.fullmatch(name):
            raise ValidationError(f"no name: {{{name}}}; a placeholder is like {{entity.id}}")
    check_address(text)


def check_address(text: str) -> None:
    """See that an address in the settings leads to one host, whatever its placeholders become.

    Raises:
        ValidationError: it does not.
    """
    parts = _split(text)
    if parts is None or parts.scheme != "https" or not parts.hostname:
        raise ValidationError("not an https address; write it as https://host/path")
    if not {"{", "@"}.isdisjoint(parts.netloc) or "\\" in text or not _PLAIN.fullmatch(text):
        raise ValidationError(
            "the host must be fixed, without a user, and the address plain ASCII without "
            "backslashes; placeholders go into the path, the query or the fragment"
        )


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts
