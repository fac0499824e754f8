"""The club's own page about a member, or its form for whoever wants to become one."""

from imbox_plugin.links import Contact, LinkBuilder, Lookup, Schema, encoded, fields


class MemberPage(LinkBuilder):
    """A member's page, else the form to join the club."""

    class Options(Schema):
        """In which shop the agent sits."""

        shop = fields.String(required=True, metadata={"help": "whose agents these are, e.g. lund"})

    def url(self, lookup: Lookup, contact: Contact | None) -> str | None:
        """The address of the page; None when there is nobody to fill the form in for."""
        club = f"https://club.example.com/{encoded(self.options['shop'])}"
        if contact and contact.external_id and "points" in contact.details:
            return f"{club}/member?number={encoded(contact.external_id)}"
        phone = self.phone(lookup, contact)
        return f"{club}/join?phone={encoded(phone)}" if phone else None
