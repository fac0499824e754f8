"""What the tests of links that a vendor makes have in common."""

from __future__ import annotations

import json
import traceback

from tests.loopback import answering
from tests.vendor import FOLDER


class Hours:
    """A clock that a test sets."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def once(status="200 OK", headers=(), body=b"{}"):
    """A play that gives this answer, and lets the client hang up: nobody closes a link."""
    return answering(status=status, headers=("Connection: close", *headers), body=body)


def everything_told(error, caplog=None):
    """All that an error and those behind it tell, also to who asks for what is suppressed."""
    told = [caplog.text] if caplog else []
    while error is not None:
        told += [str(error), repr(error), repr(error.args), repr(vars(error))]
        # The lines of code in a traceback are the test's own.
        told += traceback.TracebackException.from_exception(error).format_exception_only()
        error = error.__cause__ or error.__context__
    return "\n".join(told)


def situations(vendor):
    """The recordings of a vendor by situation."""
    return {
        file.stem.partition("__")[2]: json.loads(file.read_text("utf-8"))
        for file in FOLDER.glob(f"{vendor}__*.json")
    }


#: a vendor's address with this host replaced must not be followed; `{}` is the host
CONFUSING = (
    "http://{}/chat?token=x",
    "//{}/chat",
    "{}/chat",
    "javascript://{}/%0aalert(1)",
    "https:{}/chat",
    "https:/{}/chat",
    "https:///{}/chat",
    "https:\\\\{}/chat",
    "https://evil{}/chat",
    "https://evil-{}/chat",
    "https://{}.evil.example/chat",
    "https://{}evil.example/chat",
    "https://{}./chat",
    "https://.{}/chat",
    "https://..{}/chat",
    "https://a..{}/chat",
    "https://{}:8443/chat",
    "https://{}:443/chat",
    "https://{}:/chat",
    "https://{}@evil.example/chat",
    "https://user@{}/chat",
    "https://user:password@{}/chat",
    "https://@{}/chat",
    "https://evil.example/{}/chat",
    "https://evil.example?{}/chat",
    "https://evil.example#{}/chat",
    "https://evil.example\\@{}/chat",
    "https://evil.example\\.{}/chat",
    "https://{}\\@evil.example/chat",
    "https://{}\\.evil.example/chat",
    "https://{}%2eevil.example/chat",
    "https://{}%00.evil.example/chat",
    "https://evil.example%2f.{}/chat",
    "https://evil.example%5c.{}/chat",
    "https://evil.example\t.{}/chat",
    "https://{}\n.evil.example/chat",
    "https://{}/chat\n",
    "https://{}/chat\\..",
    "https://{}/ch at",
    "https://{}/\u0441hat",
    " https://{}/chat",
    "\thttps://{}/chat",
    "https://evil.example\uff0f.{}/chat",
    "https://evil.example\u3002{}/chat",
    "https://{}\u3002evil.example/chat",
    "https://{}\u2044.evil.example/chat",
    "https://\u24d4vil.{}.example/chat",
    "https://\u212a.{}/chat",
    "http\u017f://{}/chat",
    "https://[{}]/chat",
    "https://{},evil.example/chat",
    "https://{};evil.example/chat",
    "https://evil.example;.{}/chat",
    "https://evil_host&.{}/chat",
    "",
)
