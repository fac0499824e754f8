"""Data sources: everything a plugin author imports is here."""

from marshmallow import Schema, fields

from imbox_plugin.identity import carries, search_forms
from imbox_plugin.model import Contact, Key, Lookup
from imbox_plugin.sources.base import DataSource, SourceContext, SourceError

__all__ = [
    "Contact",
    "DataSource",
    "Key",
    "Lookup",
    "Schema",
    "SourceContext",
    "SourceError",
    "carries",
    "fields",
    "search_forms",
]
