"""A link that is minted at a click: `type = "tests.minted:Minted"` in the settings of a test."""

from __future__ import annotations

from imbox_plugin.links import Destination, Frame, LinkBuilder, Schema, fields


class Minted(LinkBuilder):
    """A chat with a phone number, at an address that each click gets anew."""

    class Options(Schema):
        """`url`: where it leads; the rest says how it is embedded, and what goes wrong."""

        url = fields.String(load_default="https://chat.example.com/window")
        #: the address that stands in the card where minting fails
        own = fields.String(load_default="")
        frame = fields.Boolean(load_default=False)
        allow = fields.String(load_default="microphone *; clipboard-write *")
        sandbox = fields.String(load_default=None)
        tells = fields.List(fields.String(), load_default=list)
        order = fields.Dict(load_default=dict)

    def __init__(self, options, context):
        super().__init__(options, context)
        #: the orders minted so far
        self.minted = []
        #: what `mint` raises or gives instead
        self.instead = None

    def url(self, lookup, contact):
        phone = self.phone(lookup, contact)
        return self.options["own"] + phone.lstrip("+") if phone and self.options["own"] else None

    def order(self, lookup, contact):
        phone = self.phone(lookup, contact)
        return {"phone": phone, **self.options["order"]} if phone else None

    def mint(self, order):
        self.minted.append(order)
        if isinstance(self.instead, BaseException):
            raise self.instead
        if self.instead is not None:
            return self.instead()
        url = f"{self.options['url']}?token=minted-token-{len(self.minted)}"
        if not self.options["frame"]:
            return Destination(url)
        options = self.options
        frame = Frame(options["allow"], options["sandbox"], frozenset(options["tells"]))
        return Destination(url, frame)
