"""Contact links: everything the author of a link builder imports is here."""

from marshmallow import Schema, fields

from imbox_plugin.links.base import (
    Destination,
    Frame,
    LinkBuilder,
    LinkContext,
    LinkError,
    Reason,
    encoded,
)
from imbox_plugin.model import Contact, Lookup

__all__ = [
    "Contact",
    "Destination",
    "Frame",
    "LinkBuilder",
    "LinkContext",
    "LinkError",
    "Lookup",
    "Reason",
    "Schema",
    "encoded",
    "fields",
]
