"""Encryption at rest: what leaves the process and comes back, such as a link ticket."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Unsealable(Exception):
    """What was brought was not sealed here, was changed, is too old, or its key is retired."""

    def __init__(self) -> None:
        super().__init__("not sealed by an active secret key, or too long ago")


class Seal:
    """Seals and opens for one purpose. Built once at start, used from many threads.

    Every purpose has keys of its own, derived from the secret keys (HKDF-SHA256), so that what is
    sealed for one is worthless for another. Fernet encrypts, authenticates and dates the content.

    Args:
        secrets: the secret keys of the settings, newest first: the first seals, all of them open.
        purpose: what is sealed, such as `link tickets`.

    Raises:
        ValueError: there are no secret keys.
    """

    def __init__(self, secrets: Sequence[str], purpose: str) -> None:
        if not secrets:
            raise ValueError("secret_keys is empty; add one")
        keys = [_derived(secret, purpose) for secret in secrets]
        self._fernet = MultiFernet([Fernet(urlsafe_b64encode(key)) for key in keys])
        self._name_key = _derived(secrets[0], f"{purpose}: names")

    def seal(self, content: bytes) -> str:
        """The content as text of letters, digits and `-_=`, which only this server can read."""
        return self._fernet.encrypt(content).decode("ascii")

    def unseal(self, sealed: str, max_age: int | None = None) -> bytes:
        """The content.

        Args:
            sealed: what `seal` gave.
            max_age: seconds since then; None: however old it is.

        Raises:
            Unsealable: for whatever reason.
        """
        try:
            return self._fernet.decrypt(sealed, ttl=max_age)
        except (InvalidToken, ValueError):
            # ValueError: a text that is not ASCII.
            raise Unsealable from None

    def name(self, text: str) -> str:
        """A keyed hash of a text as 64 hexadecimal digits: the same each time."""
        whole = text.encode(errors="surrogatepass")
        return blake2b(whole, key=self._name_key, digest_size=32).hexdigest()


def _derived(secret: str, purpose: str) -> bytes:
    # An environment variable that is not UTF-8 comes with its odd bytes as surrogates.
    kdf = HKDF(SHA256(), 32, salt=None, info=f"imbox-plugin {purpose}".encode())
    return kdf.derive(secret.encode(errors="surrogateescape"))
