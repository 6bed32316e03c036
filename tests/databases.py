"""Ledgers of tests on PostgreSQL instead of SQLite: WHETSTONE_TEST_LEDGERS=postgresql python -m pytest ...

Each project that tests.fakes makes names a database of its own in project.json, as a person would, on a server of the
test process (tests.clusters). A test that is about SQLite's own file has the mark `sqlite`, and skips then.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.clusters import Cluster

IS_POSTGRESQL = os.environ.get("WHETSTONE_TEST_LEDGERS") == "postgresql"
_server: "list[Cluster]" = []
_numbers = itertools.count(1)


def new_database() -> str | None:
    """The URL of an empty database, which this process and those that it starts may use; None where tests are on
    SQLite."""
    if not _server:
        return None
    url = _server[0].create(f"tests_{next(_numbers)}")
    os.environ["WHETSTONE_LEDGERS"] = f"{os.environ.get('WHETSTONE_LEDGERS', '')} {url}".strip()
    return url


def refuses(database: str, statement: str) -> None:
    """Hold that the database itself does not carry out a statement that changes the past."""
    import sqlalchemy as sa

    url = database if "://" in database else sa.URL.create("sqlite", database=database)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
        connection.exec_driver_sql(statement)


def tamper_postgresql(database: str, script: str) -> None:
    """What an administrator of the database could do: statements with all triggers switched off."""
    import psycopg
    import sqlalchemy as sa

    url = sa.make_url(database)
    with psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement.encode())


def let_go() -> None:
    """Close the connections to the databases of the test that has ended: there are more than an app ever opens."""
    if _server:
        from curation.ledger import engines

        for url in _server[0].urls:
            engines.engine_of(url).dispose()
        _server[0].urls.clear()


@contextmanager
def on_postgresql() -> Iterator[None]:
    """Until the end of the block new projects have their ledgers on a server of this process."""
    from tests.clusters import cluster

    with cluster("-c fsync=off -c max_connections=1000") as running:
        _server.append(running)
        try:
            yield
        finally:
            _server.clear()
