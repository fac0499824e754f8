"""What stands between a click and a vendor: threads of its own, a time limit, a sound address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from imbox_plugin.links import Destination, Frame, LinkBuilder, LinkError, Reason
from imbox_plugin.resilience import NoAnswer, Pool

#: clicks at the same time, of one link in one process
_THREADS = 8
#: characters; the longest known is a token of some 1,500
_LONGEST = 8_000
# Nothing in the host that means something to a content security policy, and no user before it.
_ADDRESS = re.compile(
    r"(?P<origin>https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?)(?:[/?#][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
#: what a vendor's code may look like, as it is logged
_CODE = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class NotMinted(Exception):
    """There is no address now; `code` tells the operator why, and nothing else."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Minted:
    """Where one click leads, seen to be an address that may be opened."""

    url: str = field(repr=False)
    #: of the address, as browsers write it
    origin: str
    frame: Frame | None


class Mint:
    """Has one link's addresses minted. Built once at start, used from many threads.

    A vendor that hangs keeps the threads of its own link, and nobody waits longer than the limit.

    Args:
        builder: of the link.
        limit: seconds that a click waits.
    """

    def __init__(self, builder: LinkBuilder, limit: float = 8.0) -> None:
        self._builder, self._limit = builder, limit
        self._pool = Pool(_THREADS)

    def mint(self, order: Mapping[str, Any]) -> Minted:
        """The address for one click.

        Raises:
            NotMinted: there is none, whatever the reason.
        """
        outcome: Future[Destination] = Future()

        def job() -> None:
            try:
                made = self._builder.mint(order)
            except BaseException as error:  # noqa: BLE001 - it is raised to whoever waits
                self._pool.free()
                outcome.set_exception(error)
            else:
                self._pool.free()
                outcome.set_result(made)

        try:
            self._pool.run(job)
            return _checked(outcome.result(self._limit))
        except NotMinted:
            raise
        except NoAnswer:
            raise NotMinted(Reason.BUSY) from None
        except TimeoutError:
            raise NotMinted(Reason.LATE) from None
        except LinkError as error:
            raise NotMinted(_told(error.code)) from None
        except Exception as error:  # noqa: BLE001
            # A builder may be a plugin, and what it says may hold anything.
            raise NotMinted(type(error).__name__) from None


def _told(code: object) -> str:
    """The code of a builder, which may be a plugin, as far as it is known to be one."""
    if isinstance(code, Reason):
        return code
    text = str(code)
    return text if _CODE.fullmatch(text) else "no code"


def _checked(made: Destination) -> Minted:
    found = _ADDRESS.fullmatch(made.url)
    if not found or len(made.url) > _LONGEST:
        raise NotMinted(Reason.NOT_HTTPS)
    return Minted(made.url, found["origin"].lower().removesuffix(":443"), made.frame)
