"""Contact links: everything the author of a link builder imports is here."""

from marshmallow import Schema, fields

from imbox_plugin.links.base import LinkBuilder, encoded
from imbox_plugin.model import Contact, Lookup

__all__ = ["Contact", "LinkBuilder", "Lookup", "Schema", "encoded", "fields"]
