"""Where well-known CRMs show a contact: the forms of their addresses, each with its evidence.

No vendor promises that its addresses stay as they are. What is `DOCUMENTED` is in the vendor's own
documents; what is `SEEN` is what several programs of other people, or of the vendor, open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from marshmallow import ValidationError

from imbox_plugin.settings import unknown

DOCUMENTED, SEEN = "documented", "seen in programs"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LABELS = rf"{_LABEL}(?:\.{_LABEL}){{0,8}}"
_DIGITS = "[0-9]{1,20}"
_WORD = "[A-Za-z][A-Za-z0-9_]{0,79}"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the address that differs between the customers of a vendor."""

    #: what it must match as a whole; a part of the host is labels and never more
    pattern: str
    #: where to find it, or an example
    help: str
    #: None: it has to be given
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Preset:
    """The address of a contact in one CRM."""

    #: `<name>` is a part of the account, `{record}` the id of the contact there
    form: str
    parts: Mapping[str, Part]
    evidence: str
    source: str = field(repr=False)

    def template(self, account: Mapping[str, str], record: str) -> str:
        """The address with its account filled in, and a placeholder left for the record.

        Raises:
            ValidationError: a part is missing, unknown or cannot be one; no value is repeated.
        """
        for name in account:
            if name not in self.parts:
                raise ValidationError(unknown("part of the account", name, self.parts))
        address = self.form.replace("{record}", f"{{{record}}}")
        for name, part in self.parts.items():
            text = account.get(name, part.default)
            if text is None:
                raise ValidationError(f"{name} is missing; it is {part.help}")
            if not re.fullmatch(part.pattern, text):
                raise ValidationError(f"{name} cannot be right; it is {part.help}")
            address = address.replace(f"<{name}>", text)
        return address


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "bitrix24": Preset(
            "https://<portal>/crm/contact/details/{record}/",
            {"portal": Part(rf"{_LABEL}\.{_LABELS}", "the host, such as acme.bitrix24.eu")},
            SEEN,
            "several integrations",
        ),
        "dynamics365": Preset(
            "https://<org>.dynamics.com/main.aspx"
            "?appid=<app>&pagetype=entityrecord&etn=<table>&id={record}",
            {
                "org": Part(
                    rf"{_LABEL}\.crm[0-9]{{0,2}}", "the host before .dynamics.com, as in acme.crm4"
                ),
                "app": Part(
                    "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
                    "the appid in the address of the open app",
                ),
                "table": Part(_WORD, "the logical name of the table", "contact"),
            },
            DOCUMENTED,
            "learn.microsoft.com, Open apps, forms, views, dialogs, and reports with a URL",
        ),
        "hubspot": Preset(
            "https://<host>.hubspot.com/contacts/<portal>/record/0-1/{record}",
            {
                "portal": Part(_DIGITS, "the number of the account, in every address of HubSpot"),
                "host": Part(
                    r"app(?:-[a-z]{2}[0-9]{1,2})?",
                    "the host before .hubspot.com, as app-eu1",
                    "app",
                ),
            },
            SEEN,
            "several integrations; developers.hubspot.com has 0-1 as the type of contacts",
        ),
        "kommo": Preset(
            "https://<subdomain>.kommo.com/contacts/detail/{record}",
            {"subdomain": Part(_LABEL, "the host before .kommo.com")},
            SEEN,
            "several integrations",
        ),
        "lime": Preset(
            "https://<host>/client/object/<limetype>/{record}",
            {
                "host": Part(rf"{_LABEL}\.{_LABELS}", "the host of the web client"),
                "limetype": Part(_WORD, "the limetype of people", "person"),
            },
            SEEN,
            "the vendor's own package limepkg-softphone-connector",
        ),
        "pipedrive": Preset(
            "https://<company>.pipedrive.com/person/{record}",
            {"company": Part(_LABEL, "the host before .pipedrive.com")},
            SEEN,
            "several integrations",
        ),
        "salesforce": Preset(
            "https://<domain>.lightning.force.com/lightning/r/<object>/{record}/view",
            {
                "domain": Part(_LABELS, "the host before .lightning.force.com"),
                "object": Part(_WORD, "the API name of the object", "Contact"),
            },
            SEEN,
            "several integrations; developer.salesforce.com warns that addresses may change",
        ),
        "zendesk": Preset(
            "https://<subdomain>.zendesk.com/agent/users/{record}",
            {"subdomain": Part(_LABEL, "the host before .zendesk.com")},
            SEEN,
            "several integrations",
        ),
        "zoho": Preset(
            "https://crm.zoho.<domain>/crm/org<org>/tab/<module>/{record}",
            {
                "org": Part(_DIGITS, "the number behind org in every address of Zoho CRM"),
                "domain": Part(
                    r"[a-z]{2,3}(?:\.[a-z]{2})?", "what follows crm.zoho, as in eu or com.au", "com"
                ),
                "module": Part(_WORD, "the module in the address", "Contacts"),
            },
            SEEN,
            "several integrations, at com, eu and com.au",
        ),
    }
)
