"""The sums of all routers of a fleet in one table of SQLite or PostgreSQL, through SQLAlchemy.

Law: a batch is added in one transaction, row by row onto what is there, so that several routers lose none of each other's counts and a
batch that failed may be sent again whole. Every call blocks, up to `WAIT_S` where the database does not answer: it belongs in a thread.
A password comes from the environment, never from a URL. The table is made at the first use; columns are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from router.analytics.sums import Key, Sums
from router.errors import AnalyticsAway

WAIT_S: Final = 5
_SUMS: Final = tuple(field.name for field in fields(Sums))
_TABLE: Final = sa.Table(
    "warmfleet_analytics",
    sa.MetaData(),
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True),
    sa.Column("tenant", sa.String(128), primary_key=True),
    sa.Column("route", sa.String(128), primary_key=True),
    sa.Column("model", sa.String(128), primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
)


class Database:
    """`url`: `sqlite:///path` or `postgresql://user@host/name`. `password`: empty: none is needed."""

    def __init__(self, url: str, password: str, fleet: str) -> None:
        address = sa.make_url(url)
        if address.get_backend_name() == "postgresql":
            address = address.set(drivername="postgresql+psycopg", password=password or None)
        self.kind = address.get_backend_name()
        self._fleet = fleet
        self._engine = sa.create_engine(address, pool_pre_ping=True, pool_size=1, max_overflow=1, connect_args=_waits(self.kind))
        self._is_ready = False

    def add(self, rows: Mapping[Key, Sums]) -> None:
        """Raises: AnalyticsAway: nothing was added."""
        values = [self._row(key, sums) for key, sums in sorted(rows.items())]  # in one order, so that routers do not wait in a circle
        if values:
            self._do(lambda connection: connection.execute(_upsert(self.kind), values))

    def read(self, since: int, until: int) -> dict[Key, Sums]:
        """Of the hours that begin in [since, until), seconds since the epoch. Raises: AnalyticsAway"""
        columns = _TABLE.c
        wanted = sa.select(*(columns[name] for name in (*Key._fields, *_SUMS))).where(
            columns.fleet == self._fleet, columns.hour >= since, columns.hour < until
        )
        found = self._do(lambda connection: connection.execute(wanted).all())
        return {Key(*row[: len(Key._fields)]): Sums(*row[len(Key._fields) :]) for row in found}

    def forget(self, before: int) -> None:
        """Hours that began before. Raises: AnalyticsAway"""
        columns = _TABLE.c
        self._do(lambda connection: connection.execute(sa.delete(_TABLE).where(columns.fleet == self._fleet, columns.hour < before)))

    def close(self) -> None:
        self._engine.dispose()

    def _do(self, work: Any) -> Any:
        try:
            with self._engine.begin() as connection:
                if not self._is_ready:
                    _TABLE.create(connection, checkfirst=True)
                made = work(connection)
        except SQLAlchemyError as error:
            raise AnalyticsAway(f"The database of the analytics does not answer: {_cause(error)}") from error
        self._is_ready = True
        return made

    def _row(self, key: Key, sums: Sums) -> dict[str, Any]:
        return {"fleet": self._fleet, **key._asdict(), **dict(zip(_SUMS, astuple(sums), strict=True))}


def _upsert(kind: str) -> Any:
    insert = (postgresql.insert if kind == "postgresql" else sqlite.insert)(_TABLE)
    sums = {name: _TABLE.c[name] + insert.excluded[name] for name in _SUMS}
    return insert.on_conflict_do_update(index_elements=list(_TABLE.primary_key.columns), set_=sums)


def _waits(kind: str) -> dict[str, Any]:
    if kind == "postgresql":
        return {"connect_timeout": WAIT_S, "options": f"-c statement_timeout={WAIT_S}s -c lock_timeout={WAIT_S}s"}
    return {"timeout": WAIT_S}


def _cause(error: SQLAlchemyError) -> str:
    """One line without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0][:200]
