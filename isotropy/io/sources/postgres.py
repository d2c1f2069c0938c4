"""PostgreSQL with pgvector: a column read through a server-side cursor, one written back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose
from isotropy.io.sources import Source
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError
from isotropy.storage.secrets import Address

__all__ = ["POSTGRES", "PostgresRows", "is_database", "read_postgres"]

_BATCH = 2000
_NOTE = (
    "INSERT INTO isotropy_progress VALUES (%s, %s, %s) ON CONFLICT (job) "
    "DO UPDATE SET last_key = excluded.last_key, n_rows = excluded.n_rows"
)
_TYPES = {"vector": np.float32, "halfvec": np.float16}
_LISTS = {"real[]": np.float32, "double precision[]": np.float64}


def is_database(source: Any) -> bool:
    """Whether this is the URL of a PostgreSQL server."""
    return isinstance(source, str) and source.startswith(("postgresql://", "postgres://"))


def read_postgres(url: str, column: str | None) -> PostgresRows:
    """The rows of a vector column of a table: ``postgresql://host/database#schema.table``.

    Ordered by the table's primary key, which must be one column. Rows without a vector are left
    out.
    """
    address, _, table = url.partition("#")
    shown = Address(url)
    if address.partition("//")[2].partition("/")[0].count("@") > 1:
        # The library would take a piece of the password for the host, and tell it.
        raise FileError(shown, "has several @ before the host; write one of a password as %40.")
    if not table:
        raise FileError(shown, "names no table; write it behind the URL: ...#table.")
    psycopg = require("psycopg", extra="postgres")
    sql = psycopg.sql
    schema, _, bare = table.rpartition(".")
    with _connected(address, shown) as connection:
        connection.read_only = True
        found = connection.execute(
            "SELECT to_regclass(%s)::oid",
            [".".join(f'"{part}"' for part in (schema, bare) if part)],
        ).fetchone()[0]
        if found is None:
            raise FileError(shown, f"the database has no table {table!r}.")
        columns = connection.execute(
            "SELECT attname, format_type(atttypid, NULL), atttypmod FROM pg_attribute "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [found],
        ).fetchall()
        # The type's name may come with the schema of the extension.
        kinds = {name: kind.rpartition(".")[2] for name, kind, _ in columns}
        problems = {
            name: None
            if kind in _TYPES or kind in _LISTS
            else f"is of type {kind}, not vector, halfvec or real[]"
            for name, kind in kinds.items()
        }
        name = choose(shown, column, "column", problems)
        keys = connection.execute(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = ANY(i.indkey) WHERE i.indrelid = %s AND i.indisprimary",
            [found],
        ).fetchall()
        if len(keys) != 1:
            raise FileError(shown, "needs a primary key of one column, to order the rows by.")
        key = keys[0][0]
        place = sql.Identifier(schema, bare) if schema else sql.Identifier(bare)
        n, smallest, largest, last = connection.execute(
            sql.SQL(
                "SELECT count(*), min({k})::text, max({k})::text, max(xmin::text::bigint) FROM {t} "
                "WHERE {c} IS NOT NULL"
            ).format(k=sql.Identifier(key), t=place, c=sql.Identifier(name))
        ).fetchone()
        modifier = next(mod for label, _, mod in columns if label == name)
        d = modifier if modifier > 0 and kinds[name] in _TYPES else None
        if d is None:
            size = "vector_dims({c})" if kinds[name] in _TYPES else "cardinality({c})"
            row = connection.execute(
                sql.SQL(
                    f"SELECT {size} FROM {{t}} WHERE {{c}} IS NOT NULL ORDER BY {{k}} LIMIT 1"
                ).format(c=sql.Identifier(name), t=place, k=sql.Identifier(key))
            ).fetchone()
            if row is None:
                raise FileError(shown, f"column {name!r} holds no vector, nor says its dimension.")
            d = row[0]
    rows = PostgresRows(shown, name, (n, d), kinds[name])
    rows.address, rows.table, rows.key, rows.place = address, table, key, place
    rows.mark = [smallest, largest, last]
    return rows


class PostgresRows(Rows):
    """Rows of a column of a table, read in a snapshot of the time of reading."""

    address: str
    table: str
    key: str
    place: Any
    mark: list[Any]

    def __init__(self, shown: Address, name: str, shape: tuple[int, int], kind: str) -> None:
        dtype = np.dtype({**_TYPES, **_LISTS}[kind])
        super().__init__(shown, name, shape, dtype)
        self._kind = kind

    def fingerprint(self) -> list[Any]:
        """Count, ends of the key and the newest transaction that touched a row."""
        return [*super().fingerprint(), *self.mark]

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        for _, block in self._keyed_blocks(block_rows, start):
            yield block

    def _keyed_blocks(
        self, block_rows: int, start: int = 0, after: str | None = None
    ) -> Generator[tuple[list[Any], np.ndarray], None, None]:
        """Blocks with their keys, from row `start` on, or after a key given as text."""
        psycopg = require("psycopg", extra="postgres")
        sql = psycopg.sql
        n, d = self.shape
        with _connected(self.address, self.path) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            names = {"k": self.key, "c": str(self.name)}
            parts = {key: sql.Identifier(value) for key, value in names.items()}
            where = "" if after is None else " AND {k} > %(after)s"
            query = f"SELECT {{k}}, {{c}} FROM {{t}} WHERE {{c}} IS NOT NULL{where} ORDER BY {{k}}"
            if start:
                query += " OFFSET %(start)s"
            row = start
            with connection.cursor(name="isotropy", binary=True) as cursor:
                cursor.itersize = block_rows
                cursor.execute(
                    sql.SQL(query).format(t=self.place, **parts), {"after": after, "start": start}
                )
                while found := cursor.fetchmany(block_rows):
                    row += len(found)
                    if after is None and row > n:
                        break
                    yield [key for key, _ in found], self._block(found, d)
            if after is None and row != n:
                raise FileError(
                    self.path, f"held {n} vectors when it was opened, now others: begin again."
                )

    def _block(self, found: list[Any], d: int) -> np.ndarray:
        block = np.empty((len(found), d), self.dtype)
        wire = np.dtype(self.dtype).newbyteorder(">")
        for i, (key, value) in enumerate(found):
            # A vector travels as its dimension and two zero bytes, then its numbers.
            row = np.frombuffer(value, wire, offset=4) if self._kind in _TYPES else value
            if len(row) != d:
                raise FileError(
                    self.path,
                    f"column {self.name!r}: the row of {self.key} {key} holds {len(row)} numbers, "
                    f"others {d}.",
                )
            block[i] = row
        return block

    def write_column(
        self,
        column: str,
        apply: Callable[[np.ndarray, int], np.ndarray],
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        job: str,
        batch_rows: int = _BATCH,
    ) -> None:
        """Fill a column of the table with ``apply(block, first_row)``.

        Batches are written in transactions of their own, together with the key they end with;
        the same job goes on from there, whatever stopped it, and no row is written twice.
        """
        psycopg = require("psycopg", extra="postgres")
        pgvector = require("pgvector", extra="postgres")
        types = require("pgvector.psycopg", extra="postgres")
        sql = psycopg.sql
        if column == self.name:
            raise FileError(self.path, f"column {column!r} is the one that is read; name another.")
        kind = "halfvec" if dtype.itemsize == 2 else "vector"
        digest = hashlib.sha256(f"{job} {self.table} {self.name} {column}".encode()).hexdigest()
        names = sql.Identifier
        written = 0
        with _connected(self.address, self.path) as connection:
            connection.autocommit = True  # each batch below is a transaction, each else alone
            connection.execute("SET lock_timeout = '20s'")
            types.register_vector(connection)
            self._add_column(connection, column, f"{kind}({shape[1]})")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS isotropy_progress "
                "(job text PRIMARY KEY, last_key text NOT NULL, n_rows bigint NOT NULL)"
            )
            progress = connection.execute(
                "SELECT last_key, n_rows FROM isotropy_progress WHERE job = %s", [digest]
            ).fetchone()
            after, written = progress or (None, 0)
            key_type = connection.execute(
                "SELECT format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = to_regclass(%s) AND attname = %s",
                [".".join(f'"{part}"' for part in self.table.split(".")), self.key],
            ).fetchone()[0]
            stage = sql.SQL("CREATE TEMP TABLE isotropy_stage (k {}, v {}) ON COMMIT DROP").format(
                sql.SQL(key_type), sql.SQL(kind)
            )
            update = sql.SQL(
                "UPDATE {t} AS t SET {c} = s.v FROM isotropy_stage s WHERE t.{k} = s.k"
            )
            update = update.format(t=self.place, c=names(column), k=names(self.key))
            as_type = pgvector.HalfVector if kind == "halfvec" else pgvector.Vector
            try:
                with closing(self._keyed_blocks(batch_rows, after=after)) as source:
                    for keys, block in source:
                        result = apply(block, written)
                        with connection.transaction():
                            connection.execute(stage)
                            copy = "COPY isotropy_stage (k, v) FROM STDIN WITH (FORMAT BINARY)"
                            with connection.cursor().copy(copy) as out:
                                out.set_types([key_type, kind])
                                for key, vector in zip(keys, result, strict=True):
                                    out.write_row([key, as_type(vector)])
                            connection.execute(update)
                            connection.execute(
                                _NOTE,
                                [digest, str(keys[-1]), written + len(keys)],
                            )
                        written += len(keys)
                connection.execute("DELETE FROM isotropy_progress WHERE job = %s", [digest])
            except (psycopg.OperationalError, FileError) as error:
                raise FileError(
                    self.path,
                    f"stopped ({str(error).partition(': ')[2] or error}). {written} rows of column "
                    f"{column!r} are written; run the same again and it goes on from there.",
                ) from error

    def _add_column(self, connection: Any, column: str, kind: str) -> None:
        sql = require("psycopg", extra="postgres").sql
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                self.place, sql.Identifier(column), sql.SQL(kind)
            )
        )
        found = connection.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped",
            [".".join(f'"{part}"' for part in self.table.split(".")), column],
        ).fetchone()[0]
        if found.rpartition(".")[2] != kind:
            raise FileError(
                self.path, f"has a column {column!r} of type {found}, wanted {kind}; name another."
            )


@contextmanager
def _connected(address: str, shown: Address) -> Iterator[Any]:
    """A connection that is closed, and rolled back, at the end; its errors name the server."""
    psycopg = require("psycopg", extra="postgres")
    try:
        connection = psycopg.connect(address, connect_timeout=10)
        try:
            yield connection
        finally:
            connection.close()
    except psycopg.Error as error:
        # Not `from error`: a traceback would show what the database said with the secrets in it.
        raise FileError(shown, f"the database said: {str(error).strip()}.") from None


POSTGRES = Source(is_database, read_postgres)
