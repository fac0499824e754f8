"""Event sinks: everything the author of a sink imports is here."""

from marshmallow import Schema, fields

from imbox_plugin.model import Event
from imbox_plugin.sinks.base import EventSink, SinkContext, SinkError

__all__ = ["Event", "EventSink", "Schema", "SinkContext", "SinkError", "fields"]
