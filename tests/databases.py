"""Empty databases of a test's own."""

from __future__ import annotations

import uuid
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tests.conftest import absent
from tests.sources.test_sql import server_url

DATABASES = ("sqlite", "postgresql", "mariadb")


@contextmanager
def own_database(name, folder):
    """The URL of a database with nothing in it, gone afterwards."""
    if name == "sqlite":
        yield f"sqlite:///{folder / 'own.db'}"
        return
    admin = create_engine(server_url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    own = f"imbox_{uuid.uuid4().hex[:10]}"
    # In PostgreSQL a schema is made in a tenth of the time of a database.
    kind = "SCHEMA" if name == "postgresql" else "DATABASE"
    try:
        connection = admin.connect()
    except SQLAlchemyError as error:
        absent(name, error)
    with connection:
        connection.execute(text(f"CREATE {kind} {own}"))
        url = make_url(server_url(name))
        if name == "postgresql":
            url = url.update_query_dict({"options": f"-csearch_path={own}"})
        else:
            url = url.set(database=own)
        try:
            yield url.render_as_string(hide_password=False)
        finally:
            cascade = " CASCADE" if name == "postgresql" else ""
            connection.execute(text(f"DROP {kind} {own}{cascade}"))
