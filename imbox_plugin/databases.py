"""The addresses of databases, as the settings have them."""

from __future__ import annotations

from types import MappingProxyType

from sqlalchemy import create_engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

_DRIVERS = MappingProxyType(
    {
        "postgres": "postgresql+psycopg",
        "postgresql": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
        "mariadb": "mariadb+pymysql",
    }
)
_EXTRAS = MappingProxyType({"psycopg": "postgresql", "pymysql": "mariadb"})


def read_url(text: str) -> URL:
    """A SQLAlchemy URL whose driver is installed.

    Raises:
        ValueError: it is none; the message is a sentence for the settings and repeats none of it.
    """
    try:
        url = make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        fault = _sqlite_fault(url) if url.get_backend_name() == "sqlite" else ""
        is_async = not fault and create_engine(url).dialect.is_async
    except ImportError:
        driver = url.get_driver_name()
        package = f"imbox-plugin[{_EXTRAS[driver]}]" if driver in _EXTRAS else driver
        raise ValueError(
            f"the database driver {driver} is not installed; run: pip install '{package}'"
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise ValueError(
            "not the address of a database; write it as sqlite:///contacts.db, "
            "postgresql://user:password@host/database or mariadb://user:password@host/database"
        ) from None
    if is_async:
        fault = "an asyncio driver cannot be used here; write postgresql:// or mariadb:// alone"
    if fault:
        raise ValueError(fault)
    return url


def has_password(url: str) -> bool:
    """Whether the text of a URL may have a password: it has a user, or an option of that name."""
    return "@" in url or "passw" in url


def _sqlite_fault(url: URL) -> str:
    if url.database in {None, "", ":memory:"}:
        return "names no file; write it as sqlite:///contacts.db"
    if url.query or url.host:
        return (
            "a SQLite file takes no host and no options; write sqlite:///contacts.db or, "
            "from the root, sqlite:////srv/contacts.db (%3F stands for a question mark)"
        )
    return ""
