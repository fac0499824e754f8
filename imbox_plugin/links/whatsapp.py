"""WhatsApp's own link to a chat with a phone number.

Source: WhatsApp help centre, "How to use click to chat": digits with the country code, no plus.
"""

from __future__ import annotations

from imbox_plugin.links import Contact, LinkBuilder, Lookup, Schema, encoded, fields


class WhatsApp(LinkBuilder):
    """A chat in whatever WhatsApp the agent has."""

    lasting = True

    class Options(Schema):
        """`message`: what is written for the agent to send, if anything."""

        message = fields.String(
            load_default="", metadata={"help": "what is written for the agent to send"}
        )

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """`https://wa.me/<digits>`."""
        phone = self.phone(lookup, contact)
        if not phone:
            return None
        message = encoded(self.options["message"])
        return f"https://wa.me/{phone.lstrip('+')}" + (f"?text={message}" if message else "")
