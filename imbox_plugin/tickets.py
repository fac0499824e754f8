"""Link tickets: what a click will need, sealed into the address that the card carries."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imbox_plugin.model import Link
from imbox_plugin.seals import Seal, Unsealable

#: the path behind `base_url`; the ticket follows
PATH = "/open/"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an address of ours holds, once it is unsealed."""

    panel: str
    #: the name of the panel's link
    link: str
    #: what its builder mints from; holds identities
    order: Mapping[str, Any] = field(repr=False)
    #: where the agent may go when the vendor gives no address; without a text, the link's own
    fallback: Link | None = field(repr=False)
    #: seconds since it was sealed
    age: float


class Tickets:
    """Makes and reads link tickets. Built once at start, used from many threads.

    A ticket is a bearer capability: whoever has the address can open it, until it expires or the
    secret key is retired. Nobody else can read or make one.

    Args:
        secrets: the secret keys of the settings, newest first.
        base_url: the server's own public address.
        clock: seconds since 1970, which all servers that share the secret keys must agree on.

    Raises:
        ValueError: there are no secret keys.
    """

    def __init__(
        self, secrets: Sequence[str], base_url: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._seal = Seal(secrets, "link tickets")
        self._address = base_url.rstrip("/") + PATH
        self._clock = clock

    def address(
        self, panel: str, link: str, order: Mapping[str, Any], fallback: Link | None
    ) -> str:
        """The address for one card.

        Raises:
            TypeError: the order is no JSON.
            ValueError: the order is no JSON.
        """
        other = fallback and [fallback.text, fallback.url]
        content = [panel, link, int(self._clock()), order, other]
        packed = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # A surrogate that came along in a name is nothing to fail for.
        return self._address + self._seal.seal(packed.encode(errors="replace"))

    def read(self, sealed: str) -> Ticket:
        """The ticket of an address, however old it is.

        Raises:
            Unsealable: it was not made here, or its key is retired.
        """
        # The decoder skips what is no letter of its own, so one ticket could be written in many
        # ways, each with a limit of its own.
        if not _is_canonical(sealed):
            raise Unsealable
        content = self._seal.unseal(sealed)
        try:
            panel, link, moment, order, fallback = json.loads(content)
            return Ticket(
                panel, link, order, Link(*fallback) if fallback else None, self._clock() - moment
            )
        except (ValueError, TypeError):
            # Another version of this server made it.
            raise Unsealable from None

    def name(self, *parts: str) -> str:
        """A keyed hash of some texts as 64 hexadecimal digits: the same each time."""
        return self._seal.name(json.dumps(parts))


def _is_canonical(sealed: str) -> bool:
    try:
        return urlsafe_b64encode(urlsafe_b64decode(sealed)).decode("ascii") == sealed
    except ValueError:
        return False
