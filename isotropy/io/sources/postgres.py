"""PostgreSQL with pgvector: a column of vectors or of arrays, read in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose
from isotropy.io.postgres.catalog import Column, Table, find_table
from isotropy.io.postgres.server import TablePlace, connected, is_database, table_place
from isotropy.io.postgres.wire import KINDS, VectorError, decode, fetched, width
from isotropy.io.sources import Source
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["POSTGRES", "PostgresRows", "is_database", "read_postgres"]

_ROWS = "FROM {t} WHERE {c} IS NOT NULL"


def read_postgres(url: str, column: str | None) -> PostgresRows:
    """The rows of a vector column of a table: ``postgresql://host/database#schema.table``.

    Ordered by the primary key, or another unique one; without any, as they lie in the table. Rows
    without a vector are left out.
    """
    place = table_place(url)
    with connected(place) as connection, _snapshot(connection):
        table = find_table(connection, place)
        problems = {
            name: None
            if found.kind in KINDS
            else f"is of type {found.told}, not vector, halfvec, real[] or double precision[]"
            for name, found in table.columns.items()
        }
        chosen = table.columns[choose(place.shown, column, "column", problems)]
        n, mark = _mark(connection, table, chosen)
        d = chosen.d or _first_width(connection, place, table, chosen)
    return PostgresRows(place, table, chosen, (n, d), mark)


def _select(what: str, table: Table, column: Column, then: str = "", **more: Any) -> Any:
    """A query of the rows that have a vector."""
    sql = require("psycopg", extra="postgres").sql
    parts = {"t": table.sql, "c": sql.Identifier(column.name), "order": table.order, **more}
    return sql.SQL(f"SELECT {what} {_ROWS} {then}").format(**parts)


def _mark(connection: Any, table: Table, column: Column) -> tuple[int, list[Any]]:
    """The number of rows, and what changes when one of them does.

    Each version of a row carries the number of the transaction that wrote it. The largest alone
    would miss one that ends after a younger one; so their sum is taken too.
    """
    n, newest, total = connection.execute(
        _select("count(*), max(xmin::text::bigint), sum(xmin::text::bigint)::text", table, column)
    ).fetchone()
    files = [] if table.key else [part.file for part in table.parts(connection)]
    return n, [table.oid, column.number, newest, total, *files]


def _first_width(connection: Any, place: TablePlace, table: Table, column: Column) -> int:
    query = _select("{c}", table, column, "ORDER BY {order} LIMIT 1")
    for (value,) in fetched(connection, query):
        assert value is not None
        if d := width(column.kind, value):
            return d
        raise FileError(place.shown, f"column {column.name!r}: the first row holds no number.")
    raise FileError(place.shown, f"column {column.name!r} holds no vector, nor says its dimension.")


@contextmanager
def _snapshot(connection: Any) -> Iterator[None]:
    """A transaction that sees the database as it is at its first query, and changes nothing."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


class PostgresRows(Rows):
    """Rows of a column of a table, read in a snapshot of the time of reading.

    Parameters
    ----------
    place : TablePlace
    table : Table
        As it was when the rows were opened.
    column : Column
    shape : tuple of int
        (n, d).
    mark : list
        What tells the rows from what they are after any change.
    """

    def __init__(
        self,
        place: TablePlace,
        table: Table,
        column: Column,
        shape: tuple[int, int],
        mark: list[Any],
    ) -> None:
        super().__init__(place.shown, column.name, shape, KINDS[column.kind])
        self.place, self.table, self.column, self._mark = place, table, column, mark

    def fingerprint(self) -> list[Any]:
        """Table, column, count, and the newest and the sum of the transactions that wrote the rows.

        Returns
        -------
        list
            Another one after any insert, update or delete of a row with a vector, of its other
            columns too, and after the table or the column was made anew. Unchanged by VACUUM,
            and, where there is a key, by whatever else moves rows.
        """
        return [*super().fingerprint(), *self._mark]

    def locate(self, row: int) -> str:
        """The key of a row, looked up in the table as it is now."""
        return super().locate(row) + self._key_of(row)

    def _key_of(self, row: int) -> str:
        sql = require("psycopg", extra="postgres").sql
        where = sql.SQL("WHERE {c} IS NOT NULL ORDER BY {order} OFFSET {row}").format(
            c=sql.Identifier(self.column.name), order=self.table.order, row=sql.Literal(row)
        )
        try:
            with connected(self.place) as connection:
                key = self.table.named_row(connection, self.table.sql, where)
        except FileError:  # what is said of the row matters more
            return ""
        return f" ({key})" if key else ""

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, sql = self.shape[0], require("psycopg", extra="postgres").sql
        more = {"start": sql.Literal(start), "most": sql.Literal(n - start + 1)}
        query = _select(
            "{c}", self.table, self.column, "ORDER BY {order} OFFSET {start} LIMIT {most}", **more
        )
        row = start
        with connected(self.place) as connection, _snapshot(connection):
            found = (value for (value,) in fetched(connection, query) if value is not None)
            while values := list(islice(found, block_rows)):
                block = self._decoded(values, row)
                row += len(block)
                if row > n:
                    break
                yield block
        if row != n:
            raise FileError(
                self.path, f"held {n} vectors when it was opened, now others: begin again."
            )

    def _decoded(self, values: list[bytes], first: int) -> np.ndarray:
        try:
            return decode(self.column.kind, values, self.shape[1])
        except VectorError as error:
            row = first + error.index
            raise FileError(
                self.path,
                f"column {self.name!r}: row {row}{self._key_of(row)} {error.problem}.",
            ) from None


POSTGRES = Source(is_database, read_postgres)
