"""Files as the tests of indexed files write them."""

from __future__ import annotations

import os
from itertools import count

#: every file is of another second, and of one long past: nobody is still writing to it
_SECONDS = count(1_000_000_000)


def write(file, content, *, by_rename=False):
    """Write a file, whole and at once, or in place as a text editor does."""
    written = file.with_name(f"{file.name}.new") if by_rename else file
    written.write_bytes(content if isinstance(content, bytes) else content.encode())
    second = next(_SECONDS)
    os.utime(written, (second, second))
    if by_rename:
        written.replace(file)
    return file
