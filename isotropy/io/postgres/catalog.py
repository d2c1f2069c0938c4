"""What the catalog of the server says about a table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from isotropy._optional import require
from isotropy.io.postgres.server import TablePlace
from isotropy.io.postgres.wire import KINDS
from isotropy.storage.errors import FileError

__all__ = ["Column", "Table", "find_table"]

_FIND = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %(table)s AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
AND CASE WHEN %(schema)s::text IS NULL THEN pg_table_is_visible(c.oid)
    ELSE n.nspname = %(schema)s END
"""
_NAMES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN relname ELSE nspname || '.' || relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1 LIMIT 10000
"""
# The type below a domain counts.
_COLUMNS = """
SELECT a.attname, a.attnum, b.typname, s.nspname,
    CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
    format_type(a.atttypid, a.atttypmod), a.attgenerated::text <> '',
    col_description(%(oid)s, attnum)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
JOIN pg_namespace s ON s.oid = b.typnamespace
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# Columns that tell any two rows apart, now and within every transaction.
_KEY = """
SELECT array_agg(a.attname::text ORDER BY k.place)
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indimmediate
AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, count(*), i.indexrelid LIMIT 1
"""
_PARTS = """
WITH RECURSIVE parts(oid) AS (
    SELECT %(oid)s::bigint
    UNION SELECT inhrelid::bigint FROM pg_inherits JOIN parts ON oid = inhparent)
SELECT c.oid::bigint, n.nspname, c.relname, pg_relation_filenode(c.oid)::bigint
FROM parts p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') ORDER BY c.oid
"""


class Column(NamedTuple):
    """A column of a table.

    Parameters
    ----------
    name : str
    number : int
        Never given again by the table, when the column is dropped.
    kind : str
        One of `wire.KINDS`, or another type, as the database calls it.
    d : int or None
        Numbers in a vector, where the type says it.
    type : tuple of str
        Schema and name of the type.
    told : str
        The type as the database shows it.
    generated : bool
        Whether the database computes it from other columns.
    comment : str or None
    """

    name: str
    number: int
    kind: str
    d: int | None
    type: tuple[str, str]
    told: str
    generated: bool
    comment: str | None


class Part(NamedTuple):
    """A table that holds rows itself: all of an ordinary one, a partition of another.

    Parameters
    ----------
    oid : int
    schema, name : str
    file : int
        Another one once the table was written anew, by VACUUM FULL or the like.
    """

    oid: int
    schema: str
    name: str
    file: int

    @property
    def sql(self) -> Any:
        """The name, quoted."""
        return require("psycopg", extra="postgres").sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Table:
    """A table as the catalog has it.

    Parameters
    ----------
    oid : int
        Another one when the table is dropped and made again.
    schema, name : str
    kind : str
        "r" for a table, "p" for a partitioned one, "m" for a materialized view.
    owned : bool
        Whether the role of the connection may change its columns.
    columns : dict of str to Column
    key : tuple of str
        The columns of the primary key or of another unique one; empty where there is none.
    """

    oid: int
    schema: str
    name: str
    kind: str
    owned: bool
    columns: dict[str, Column]
    key: tuple[str, ...]

    @cached_property
    def sql(self) -> Any:
        """The name, quoted."""
        return require("psycopg", extra="postgres").sql.Identifier(self.schema, self.name)

    @cached_property
    def order(self) -> Any:
        """What rows are ordered by: the key, or where they lie."""
        sql = require("psycopg", extra="postgres").sql
        names = [sql.Identifier(name) for name in self.key]
        return sql.SQL(", ").join(names or [sql.SQL("tableoid"), sql.SQL("ctid")])

    def parts(self, connection: Any) -> list[Part]:
        """The tables that hold the rows."""
        found = connection.execute(_PARTS, {"oid": self.oid}).fetchall()
        return [Part(*row) for row in found]

    def named_row(self, connection: Any, part: Any, where: Any) -> str:
        """How a person finds a row: its key and the value of that, or where it lies.

        Parameters
        ----------
        connection : psycopg.Connection
        part : psycopg.sql.Identifier
            The table to look in.
        where : psycopg.sql.Composable
            What stands behind FROM: a condition, or an order and how many to leave out.

        Returns
        -------
        str
            "id = 7"; empty where the row is not there any more.
        """
        sql = require("psycopg", extra="postgres").sql
        names = self.key or ("ctid",)
        fields = sql.SQL(", ").join(sql.Identifier(name) for name in names)
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in names)
        # Two steps: what is shown as text must not be ordered as text.
        query = sql.SQL("SELECT {} FROM (SELECT {} FROM {} {} LIMIT 1) AS found").format(
            texts, fields, part, where
        )
        row = connection.execute(query).fetchone()
        return "" if row is None else ", ".join(map(" = ".join, zip(names, row, strict=True)))


def find_table(connection: Any, place: TablePlace) -> Table:
    """The table that a place names.

    Parameters
    ----------
    connection : psycopg.Connection
    place : TablePlace

    Returns
    -------
    Table

    Raises
    ------
    FileError
        If there is none, or it is a view, whose rows have no order.
    """
    names = {"table": place.table, "schema": place.schema}
    row = connection.execute(_FIND, names).fetchone()
    if row is None:
        raise FileError(place.shown, _missing(connection, place))
    oid, schema, name, kind, owned = row
    if kind in "vf":
        what = "a view" if kind == "v" else "a foreign table"
        raise FileError(
            place.shown,
            f"is {what}, whose rows have no order of their own; name the table below it, or make a "
            "materialized view of it.",
        )
    columns = connection.execute(_COLUMNS, {"oid": oid}).fetchall()
    key = connection.execute(_KEY, {"oid": oid}).fetchone()
    found = {column[0]: _column(*column) for column in columns}
    return Table(oid, schema, name, kind, owned, found, tuple(key[0]) if key else ())


def _column(
    name: str, number: int, base: str, schema: str, modifier: int, told: str, *rest: Any
) -> Column:
    kind = {"_float4": "real[]", "_float8": "double precision[]"}.get(base, base)
    d = modifier if modifier > 0 and kind in ("vector", "halfvec") else None
    return Column(name, number, kind if kind in KINDS else told, d, (schema, base), told, *rest)


def _missing(connection: Any, place: TablePlace) -> str:
    wanted = place.table if place.schema is None else f"{place.schema}.{place.table}"
    known = {name.lower(): name for (name,) in connection.execute(_NAMES)}
    near = difflib.get_close_matches(wanted.lower(), known, n=3)
    hint = f"; near it: {', '.join(repr(known[name]) for name in near)}" if near else ""
    return f"the database has no table {wanted!r}{hint}."
