"""The Gallabox conversation widget, without a token: the agent is logged in to Gallabox.

Source: Gallabox, "Conversation Widget", docs.gallabox.com/developer-resources/conversation-widget.
"""

from __future__ import annotations

from marshmallow import validate

from imbox_plugin.links import Contact, LinkBuilder, Lookup, Schema, encoded, fields

_CONVERSATION = "https://conversation-widget.gallabox.com/conversations/phone/"


class Gallabox(LinkBuilder):
    """The WhatsApp conversation with a phone number."""

    class Options(Schema):
        """`channel_id`: needed by an account with several WhatsApp channels."""

        channel_id = fields.String(
            load_default=None,
            metadata={"help": "needed by an account with several WhatsApp channels"},
            validate=validate.Regexp(
                r"[A-Za-z0-9]{1,64}\Z",
                error="not a channel id; copy it from Gallabox, Settings, WhatsApp Channel",
            ),
        )

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """Country code and number without the plus; the name, when it is known; the channel."""
        phone = self.phone(lookup, contact)
        if not phone:
            return None
        values = {
            "name": (contact.name if contact else None) or "",
            "channelId": self.options["channel_id"] or "",
        }
        query = "&".join(f"{name}={encoded(text)}" for name, text in values.items() if text)
        return f"{_CONVERSATION}{phone.lstrip('+')}{'?' if query else ''}{query}"
