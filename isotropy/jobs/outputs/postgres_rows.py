"""Every row of a PostgreSQL table gets the correction of the vector that it has.

Nothing is believed of earlier runs: a row is right if its corrected vector is that of its vector,
and is written if not. So whatever happened since a job was stopped, running it again ends right.

A row is written only if it still is the version that was read (its place, the transaction that
wrote it, and the file of the table are the same), and no lock is waited for while others are held.
Rows that others changed meanwhile are left, and looked at again in the next pass.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from isotropy._optional import require
from isotropy.io import FileError
from isotropy.io.postgres.catalog import Column, Part, Table
from isotropy.io.postgres.server import TablePlace, connected
from isotropy.io.postgres.wire import KINDS, VectorError, decode, encode, fetched
from isotropy.jobs.plan import Apply
from isotropy.rows.arrays import BadRowError
from isotropy.rows.lanes import prefetch

__all__ = ["Correction", "patiently"]

_BATCH_BYTES = 6 * 2**20
_PASSES = 10
_WAIT = 60.0
"""Seconds for which a lock is asked for again and again."""
_LOCK_TIMEOUT = "SET lock_timeout = '500ms'"
_WRITER = """
SET enable_hashjoin = off; SET enable_mergejoin = off;
-- What is lost when the server breaks down is seen and written by the next run.
SET synchronous_commit = off;
CREATE TEMP TABLE isotropy_stage (place tid, version xid, value {type}) ON COMMIT DELETE ROWS
"""
_PAGES = """
SELECT pg_relation_size(%s::oid::regclass) / current_setting('block_size')::int
"""
# In the order of their places, so that a batch goes on behind the last one.
_READER = """
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
SET enable_seqscan = off; SET synchronize_seqscans = off; SET max_parallel_workers_per_gather = 0
"""
_CANDIDATES = """
SELECT ctid, xmin, {source}, {target} FROM ONLY {part}
WHERE ctid > {after}::tid AND ctid < {end}::tid
AND ({source} IS NOT NULL OR {target} IS NOT NULL) AND {which} LIMIT {most}
"""
_WRITE = """
WITH free AS (
    SELECT t.ctid AS place, s.value FROM pg_temp.isotropy_stage s
    JOIN ONLY {part} t ON t.ctid = s.place AND t.xmin = s.version
    WHERE pg_relation_filenode({oid}::oid::regclass) = {file} FOR NO KEY UPDATE OF t SKIP LOCKED)
UPDATE ONLY {part} t SET {target} = free.value FROM free WHERE t.ctid = free.place
"""
# What a trigger made of it; only where there is one, for it takes time.
_CHANGED = " RETURNING t.{target}::text IS DISTINCT FROM free.value::text"
_TRIGGERS = """
SELECT DISTINCT tgname FROM pg_trigger WHERE tgrelid = ANY(%s::oid[]) AND tgenabled <> 'D'
AND NOT tgisinternal AND tgtype & 19 = 19 ORDER BY tgname
"""
_COUNT = """
SELECT count(*) FILTER (WHERE {source} IS NOT NULL), count(*) FILTER (WHERE {source} IS NULL),
    count(*) FILTER (WHERE ({source} IS NULL) <> ({target} IS NULL)),
    count(*) FILTER (WHERE ({source} IS NOT NULL OR {target} IS NOT NULL) AND {which})
FROM ONLY {part}
"""
# A row says only the lower half of the number of its transaction.
_NEWER = """
(((xmin::text::bigint - {first}) & 4294967295)
    < (SELECT txid_snapshot_xmax(txid_current_snapshot())) - {first}
OR xmin::text = ANY({running}))
"""

Result = TypeVar("Result")


def patiently(work: Callable[[], Result]) -> Result:
    """The result of `work`, tried again for a minute while a lock is not to be had.

    Between two tries nothing is waited for, so that others who want the table get at it.

    Parameters
    ----------
    work : callable
        One transaction, with a short ``lock_timeout``.

    Returns
    -------
    object
    """
    refused = require("psycopg", extra="postgres").errors.LockNotAvailable
    deadline, pause = time.monotonic() + _WAIT, 0.1
    while True:
        try:
            return work()
        except refused:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


class _Counts(NamedTuple):
    """What a table holds, at one moment.

    Parameters
    ----------
    vectors : int
        Rows with a vector.
    nulls : int
        Rows without.
    unequal : int
        Rows with only one of the vector and the corrected one.
    pending : int
        Rows that others wrote since the moment of a pass.
    """

    vectors: int
    nulls: int
    unequal: int
    pending: int


class _Moment(NamedTuple):
    """A point in time: which transactions had ended, and what files the table was in."""

    next: int
    running: list[str]
    parts: list[Part]


class Correction:
    """The correction of all rows of a table, and what came of it.

    Parameters
    ----------
    connection : psycopg.Connection
        To write with.
    place : TablePlace
    table : Table
    source, target : Column
    apply : callable
        Corrects a block of rows.
    shape : tuple of int
        (d, k): numbers in a row, and in a corrected one.
    report : callable
        Called with the number of rows looked at.

    Attributes
    ----------
    found, written, changed, missed : int
        Rows that were right already, that were written, of these again for others had changed
        them, and that were not (locked or changed by others to the last).
    """

    def __init__(
        self,
        connection: Any,
        place: TablePlace,
        table: Table,
        source: Column,
        target: Column,
        apply: Apply,
        shape: tuple[int, int],
        report: Callable[[int], object],
    ) -> None:
        self._connection, self._place, self._table = connection, place, table
        self._source, self._target, self._apply = source, target, apply
        (self._d, self._k), self._report = shape, report
        self._ours: list[str] = []
        self._triggers: list[str] = []
        self._moment: _Moment | None = None
        self.found = self.written = self.changed = self.missed = 0
        self._sql = require("psycopg", extra="postgres").sql

    def correct(self) -> None:
        """Look at all rows, then at those that others changed meanwhile, until there are none."""
        self._connection.execute(_LOCK_TIMEOUT)
        self._connection.execute(
            self._sql.SQL(_WRITER).format(type=self._sql.Identifier(*self._target.type))
        )
        found = self._connection.execute(
            _TRIGGERS, [[part.oid for part in self._table.parts(self._connection)]]
        )
        self._triggers = [name for (name,) in found]
        for turn in range(_PASSES):
            before = self._now()
            left = self._pass(first=turn == 0)
            # What was looked at in this pass needs no second look, unless the table was moved.
            settled = not left and before.parts == self._now().parts
            self._moment = before if settled else None
            self.missed = max(left, self.count().pending)
            if not self.missed:
                return
            if left:  # others hold them
                time.sleep(min(0.02 * 2**turn, 0.5))

    def count(self) -> _Counts:
        """What the table holds now."""
        sql, which = self._sql, self._which()
        parts = [
            self._query(_COUNT, part=part.sql, which=which)
            for part in self._table.parts(self._connection)
        ]
        names = [sql.Identifier(name) for name in _Counts._fields]
        total = sql.SQL("SELECT {} FROM ({}) AS parts({})").format(
            sql.SQL(", ").join(sql.SQL("sum({})::bigint").format(name) for name in names),
            sql.SQL(" UNION ALL ").join(parts),
            sql.SQL(", ").join(names),
        )
        return _Counts(*self._connection.execute(total).fetchone())

    def _query(self, text: str, **more: Any) -> Any:
        name = self._sql.Identifier
        return self._sql.SQL(text).format(
            source=name(self._source.name), target=name(self._target.name), **more
        )

    def _now(self) -> _Moment:
        (said,) = self._connection.execute("SELECT txid_current_snapshot()::text").fetchone()
        _, following, running = said.split(":")
        short = [str(int(number) % 2**32) for number in running.split(",") if number]
        return _Moment(int(following), short, self._table.parts(self._connection))

    def _which(self) -> Any:
        """The condition of rows to look at: not written by this run, nor seen in the last pass."""
        sql = self._sql
        ours = sql.SQL("NOT xmin::text = ANY({}::text[])").format(sql.Literal(list(self._ours)))
        if self._moment is None:
            return ours
        newer = sql.SQL(_NEWER).format(
            first=sql.Literal(self._moment.next), running=sql.Literal(self._moment.running)
        )
        return sql.SQL("{} AND {}").format(newer, ours)

    def _pass(self, first: bool) -> int:
        """Look at the rows once; returns how many were not to be had."""
        left = done = 0
        with closing(prefetch(self._batches())) as batches:  # type: ignore[type-var]
            for part, rows in batches:
                todo = self._todo(part, rows)
                now = patiently(partial(self._write, part, todo)) if todo else 0
                left += len(todo) - now
                self.written += now
                if first:
                    self.found += len(rows) - len(todo)
                    self._report(done := done + len(rows))
                else:
                    self.changed += now
        return left

    def _batches(self) -> Iterator[tuple[Part, list[tuple[Any, ...]]]]:
        """Rows to look at, with the part of the table that they lie in; each read on its own."""
        size = int(np.clip(_BATCH_BYTES // (4 * max(self._d, self._k)), 64, 20000))
        with connected(self._place) as reader:
            reader.execute(_READER)
            reader.execute(_LOCK_TIMEOUT)
            for part in self._table.parts(reader):
                (end,) = reader.execute(_PAGES, [part.oid]).fetchone()
                after, more = "(0,0)", True
                while more:
                    read = partial(self._read, reader, part, after, f"({end},0)", size)
                    moved, rows = patiently(read)
                    if more := len(rows) == size:
                        after = "({},{})".format(*struct.unpack(">IH", rows[-1][0]))
                    if rows:
                        yield moved, rows

    def _read(
        self, reader: Any, part: Part, after: str, end: str, most: int
    ) -> tuple[Part, list[tuple[Any, ...]]]:
        literal = self._sql.Literal
        query = self._query(
            _CANDIDATES,
            part=part.sql,
            after=literal(after),
            end=literal(end),
            most=literal(most),
            which=self._which(),
        )
        with reader.transaction():
            rows = list(fetched(reader, query))
            # The lock of the query is held: this is the file that was read.
            (file,) = reader.execute(
                "SELECT pg_relation_filenode(%s::oid::regclass)::bigint", [part.oid]
            ).fetchone()
        return part._replace(file=file), rows

    def _todo(self, part: Part, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows that are not right: where they are, their version, what they should hold."""
        places, versions, vectors, found = zip(*rows, strict=True)
        full = [at for at, vector in enumerate(vectors) if vector is not None]
        wanted: list[bytes | None] = [None] * len(rows)
        right = [vector is None and old is None for vector, old in zip(vectors, found, strict=True)]
        if full:
            block = self._corrected(part, places, vectors, full)
            same = self._same([found[at] for at in full], block)
            for at, value, done in zip(full, encode(self._target.kind, block), same, strict=True):
                wanted[at], right[at] = value, done
        return [
            row
            for row, done in zip(zip(places, versions, wanted, strict=True), right, strict=True)
            if not done
        ]

    def _corrected(
        self, part: Part, places: Sequence[Any], vectors: Sequence[Any], full: list[int]
    ) -> np.ndarray:
        """The corrections of the vectors, finite and in the type of the column."""
        try:
            block = decode(self._source.kind, [vectors[at] for at in full], self._d)
            with np.errstate(over="ignore"):
                block = np.asarray(self._apply(block, 0)).astype(KINDS[self._target.kind])
            if (bad := ~np.isfinite(block).all(1)).any():
                kind = self._target.told
                raise VectorError(int(bad.argmax()), f"becomes too large for the type {kind}")
        except VectorError as error:
            self._refuse(part, places[full[error.index]], error.problem)
        except BadRowError as error:
            self._refuse(part, places[full[error.row]], "holds NaN or infinity; drop or repair it")
        return block

    def _refuse(self, part: Part, place: bytes, problem: str) -> None:
        ctid = "({},{})".format(*struct.unpack(">IH", place))
        where = self._sql.SQL("WHERE ctid = {}::tid").format(self._sql.Literal(ctid))
        key = self._table.named_row(self._connection, part.sql, where) or f"ctid = {ctid}"
        raise FileError(
            self._place.shown, f"column {self._source.name!r}: the row with {key} {problem}"
        )

    def _same(self, found: list[bytes | None], wanted: np.ndarray) -> np.ndarray:
        """Which values are those wanted, but for the rounding of their type.

        Rows of another block may round otherwise.
        """
        kind, same = self._target.kind, np.zeros(len(found), bool)
        size = len(encode(kind, wanted[:1])[0])
        at = [i for i, value in enumerate(found) if value is not None and len(value) == size]
        try:
            have = decode(kind, [found[i] for i in at], self._k)  # type: ignore[misc]
        except VectorError:  # not of this job
            return same
        wide, allowed = wanted[at].astype(float), 2 * np.finfo(wanted.dtype).eps
        with np.errstate(invalid="ignore"):
            off = np.abs(have - wide).max(1, initial=0)
        same[at] = off <= allowed * np.abs(wide).max(1, initial=0)
        return same

    def _write(self, part: Part, todo: list[tuple[Any, ...]]) -> int:
        """Write what is still the version that was read and is not locked; returns how many."""
        connection, sql = self._connection, self._sql
        with connection.transaction():
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY pg_temp.isotropy_stage FROM STDIN (FORMAT BINARY)") as copy,
            ):
                for row in todo:
                    copy.write_row(row)
            written = connection.execute(
                self._query(
                    _WRITE + _CHANGED * bool(self._triggers),
                    part=part.sql,
                    oid=sql.Literal(part.oid),
                    file=sql.Literal(part.file),
                )
            )
            done: int = written.rowcount
            if self._triggers and any(changed for (changed,) in written):
                raise FileError(
                    self._place.shown,
                    f"a trigger of the table ({', '.join(self._triggers)}) changes what is written "
                    "to it; disable that for the time of this job",
                )
            (number,) = connection.execute("SELECT txid_current()").fetchone()
        self._ours.append(str(number % 2**32))
        return done
