"""Corrected rows into a column of the PostgreSQL table that they came from."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from isotropy._optional import require
from isotropy.io import FileError, Rows
from isotropy.io.postgres.catalog import Column, Table, find_table
from isotropy.io.postgres.server import connected, said_by
from isotropy.io.postgres.wire import KINDS
from isotropy.io.sources.postgres import PostgresRows
from isotropy.jobs.outputs import ColumnOutput, Written
from isotropy.jobs.outputs.postgres_rows import Correction, patiently
from isotropy.jobs.plan import digest_of

__all__ = ["PostgresOutput"]

_MOST_NUMBERS = {"vector": 16000, "halfvec": 16000}
_MOST_INDEXED = {"vector": 2000, "halfvec": 4000}
_LONGEST_NAME = 63
_OWNER_WAIT = 5.0
"""Seconds that a job waits for one that was killed a moment ago: the server notices late."""
_UNDER_WAY = "isotropy apply is not finished here (job {}): run the same again."
_FINISHED = "Written by isotropy apply (job {})."
_MARK = re.compile(
    r"(?:isotropy apply is (not) finished here|Written by isotropy apply) \(job (\w+)\)"
)


class PostgresOutput(ColumnOutput):
    """A column of the table that is read.

    The column that a job adds carries a comment that says whose it is and whether it is finished.
    The database keeps it with that very column: it is gone when the column or the table is.
    """

    rows: PostgresRows
    connection: Any
    table: Table
    target: Column | None
    filled: Correction
    replaces = False

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether rows of a server are to be written beside the old ones."""
        return output is None and isinstance(rows, PostgresRows)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """A connection that holds the lock of this column."""
        rows = self.plan.rows
        assert isinstance(rows, PostgresRows)
        self.rows, name = rows, self.column
        with connected(rows.place) as self.connection:
            digest = hashlib.sha256(f"isotropy {name}".encode()).digest()
            key = _signed(rows.table.oid), int.from_bytes(digest[:4], "big", signed=True)
            deadline = time.monotonic() + _OWNER_WAIT
            while not self._one("SELECT pg_try_advisory_lock(%s::int, %s::int)", *key):
                if time.monotonic() > deadline:
                    self._refuse(f"column {name!r} is taken: {self._owner(key)}; wait for it.")
                time.sleep(0.1)
            yield

    def _one(self, query: Any, *values: Any) -> Any:
        found = self.connection.execute(query, values or None).fetchone()
        return None if found is None else found[0]

    def _refuse(self, problem: str) -> None:
        # Not from the database's own error, which may hold secrets.
        raise FileError(self.rows.path, problem) from None

    def _owner(self, key: tuple[int, int]) -> str:
        pid = self._one(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid::bigint = %s AND objid::bigint = %s",
            *(number % 2**32 for number in key),
        )
        return "another job writes it" + (f" (server process {pid})" if pid else "")

    def check(self) -> None:
        """Refuse a column that is no new one, nor the unfinished one of this very job."""
        rows, name = self.rows, self.column
        self.table = find_table(self.connection, rows.place)
        source = self.table.columns.get(rows.column.name)
        if self.table.oid != rows.table.oid or source is None or source != rows.column:
            self._refuse("was made anew or altered since it was opened; begin again.")
        if name == rows.name:
            self._refuse(f"column {name!r} is the one that is read; name another.")
        if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
            self._refuse(
                f"{name!r} is no name of a column: at most {_LONGEST_NAME} bytes, no tabs."
            )
        if self.table.kind == "m":
            self._refuse("is a materialized view, which takes no column; name its table.")
        self._check_rights()
        self.target = self.table.columns.get(name)
        if self.target is None:
            self._check_new(rows.column.kind)
        else:
            self._check_existing(self.target)

    def _check_rights(self) -> None:
        if not self._one("SELECT has_any_column_privilege(%s::oid, 'UPDATE')", self.table.oid):
            self._refuse("the role of this connection may not UPDATE it; GRANT it that.")
        if not self._one("SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
            self._refuse(
                "the role of this connection may not make temporary tables, which a batch of rows "
                "is sent through; GRANT TEMPORARY ON DATABASE to it."
            )

    def _check_new(self, kind: str) -> None:
        k, most = self.plan.shape[1], _MOST_NUMBERS.get(kind)
        if most and k > most:
            self._refuse(f"a {kind} holds {most:,} numbers at most, these rows {k:,}.")
        if not self.table.owned:
            told = f"{kind[:-2]}[]" if kind.endswith("[]") else f"{kind}({k})"
            self._refuse(
                "only its owner may add a column; let them say ALTER TABLE ... ADD COLUMN "
                f'"{self.column}" {told}, and run this again with --overwrite.'
            )

    def _check_existing(self, found: Column) -> None:
        k, name, owner = self.plan.shape[1], found.name, _MARK.match(found.comment or "")
        if found.kind not in KINDS or found.generated or found.d not in (None, k):
            self._refuse(
                f"has a column {name!r} of type {found.told}{' (generated)' * found.generated}, "
                f"wanted one of {k} numbers in each row; choose another name."
            )
        self.replaces = not (owner and owner[2] == self._job())
        if self.plan.overwrite or not self.replaces:
            return
        whose = ", not finished, of another job" if owner and owner[1] else ""
        self._refuse(
            f"has a column {name!r} already{whose}; say --overwrite (overwrite=True) to replace "
            "what is in it, or name another."
        )

    def _job(self) -> str:
        """What tells this job from others on the same column: the map and the column read."""
        rows = self.rows
        said = [self.plan.map, rows.table.oid, rows.column.number, self.plan.shape[1]]
        return digest_of(said)[:16]

    def write(self) -> None:
        """Correct every row that is not right yet."""
        self._before = self._size()
        if self.target is None:
            self._add_column()
            self.target = find_table(self.connection, self.rows.place).columns[self.column]
        elif self.replaces:
            self._marked(_UNDER_WAY)
        plan, rows = self.plan, self.rows
        self.filled = Correction(
            self.connection,
            rows.place,
            self.table,
            rows.column,
            self.target,
            plan.apply,
            (rows.shape[1], plan.shape[1]),
            plan.report,
        )
        errors = (require("psycopg", extra="postgres").Error, FileError)
        try:
            self.filled.correct()
        except errors as error:
            said = error.problem if isinstance(error, FileError) else said_by(error)
            said = said.removeprefix("the database said: ").rstrip(".")
            self._refuse(
                f"stopped ({said}). {self.filled.written + self.filled.found} rows of column "
                f"{self.column!r} are written; run the same again and it goes on from there."
            )

    def _size(self) -> int:
        parts = [part.oid for part in self.table.parts(self.connection)]
        return int(self._one("SELECT sum(pg_table_size(o)) FROM unnest(%s::oid[]) o", parts) or 0)

    def _add_column(self) -> None:
        sql = require("psycopg", extra="postgres").sql
        column, k = self.rows.column, self.plan.shape[1]
        size = sql.SQL("" if column.kind.endswith("[]") else f"({k})")
        add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}{}").format(
            self.table.sql, sql.Identifier(self.column), sql.Identifier(*column.type), size
        )

        def attempt() -> None:
            with self.connection.transaction():
                self._settle_vacuum()
                # Whoever comes after waits as long as this does.
                self.connection.execute("SET LOCAL lock_timeout = '500ms'")
                self.connection.execute(add)
                self._comment(_UNDER_WAY)

        refused = require("psycopg", extra="postgres").errors.LockNotAvailable
        try:
            patiently(attempt)
        except refused:
            self._refuse(
                f"is held by an open transaction{self._holders()}, so that column "
                f"{self.column!r} could not be added; end that, and run the same again. Nothing "
                "was written."
            )

    def _settle_vacuum(self) -> None:
        """Wait for a lock that neither readers nor writers wait behind.

        A second of waiting makes an automatic VACUUM give way.
        """
        sql = require("psycopg", extra="postgres").sql
        self.connection.execute("SET LOCAL lock_timeout = '5s'")
        lock = sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(self.table.sql)
        self.connection.execute(lock)

    def _comment(self, mark: str) -> None:
        """Say in the catalog whose the column is."""
        sql = require("psycopg", extra="postgres").sql
        statement = sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
            self.table.sql, sql.Identifier(self.column), sql.Literal(mark.format(self._job()))
        )
        self.connection.execute(statement)

    def _holders(self) -> str:
        found = self.connection.execute(
            "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'relation' AND granted "
            "AND relation = ANY(%s::oid[]) AND pid <> pg_backend_pid() ORDER BY pid LIMIT 5",
            [[self.table.oid, *(part.oid for part in self.table.parts(self.connection))]],
        ).fetchall()
        return f" (server process {', '.join(str(pid) for (pid,) in found)})" if found else ""

    def verify(self) -> Written:
        """Count the rows and their corrected vectors, and say in the mark that all are there."""
        filled, counts = self.filled, self.filled.count()
        missed = max(filled.missed, counts.pending)
        self._check_same()
        if counts.unequal > missed:
            self._refuse(
                f"{counts.unequal} rows have no corrected vector in column {self.column!r} after "
                "all were written: something else writes that column; begin again."
            )
        looked_at = ["rows counted", *([] if missed else ["none changed since it was corrected"])]
        return Written(
            (counts.vectors, self.plan.shape[1]),
            f"column {self.column} of {self.plan.source}",
            nulls=counts.nulls,
            changed=filled.changed,
            found=filled.found,
            replaced=int(self.replaces),
            missed=missed,
            verified=tuple(looked_at),
            notes=(*([] if missed else self._finish()), *self._told_of_size()),
        )

    def _check_same(self) -> None:
        now, then = find_table(self.connection, self.rows.place), self.target
        found = now.columns.get(self.column)
        if now.oid != self.table.oid or not (found and then and found.number == then.number):
            self._refuse(f"column {self.column!r} was dropped or made anew meanwhile; begin again.")

    def _finish(self) -> list[str]:
        """All is on disk, and the mark says so."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL synchronous_commit = on")
            self.connection.execute("SELECT txid_current()")  # waits for all before it
        told = self._marked(_FINISHED)
        return [] if told else ["Its comment still says unfinished: the table is locked"]

    def _marked(self, mark: str) -> bool:
        """Change the mark of a column that has one; False where the lock is not to be had."""
        refused = require("psycopg", extra="postgres").errors.LockNotAvailable
        text = find_table(self.connection, self.rows.place).columns[self.column].comment
        if not (_MARK.match(text or "") and self.table.owned):
            return True

        def attempt() -> None:
            with self.connection.transaction():
                self._settle_vacuum()
                self._comment(mark)

        try:
            patiently(attempt)
        except refused:
            return False
        return True

    def _told_of_size(self) -> list[str]:
        """How much the table grew, and what else its owner should know of the column."""
        assert self.target is not None
        (before, after), k = (self._before, self._size()), self.plan.shape[1]
        notes = []
        if after - before > 1e6:
            notes.append(
                f"The table grew from {before / 1e6:,.1f} to {after / 1e6:,.1f} MB, as PostgreSQL "
                "keeps the old rows: VACUUM lets their room be used again, VACUUM FULL frees it"
            )
        kind = self.target.kind
        if k > (most := _MOST_INDEXED.get(kind, k)):
            notes.append(f"Indexes of pgvector take {kind} of {most:,} numbers at most")
        return notes


def _signed(number: int) -> int:
    """A number of 32 bits as PostgreSQL's integer."""
    return (number + 2**31) % 2**32 - 2**31
