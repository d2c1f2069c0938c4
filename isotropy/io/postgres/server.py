"""Where a table is, and a connection to its server whose errors are one line without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

from isotropy._optional import require
from isotropy.storage.errors import FileError
from isotropy.storage.secrets import Address

__all__ = ["TablePlace", "connected", "is_database", "said_by", "table_place"]

_NAME = r'(?:"((?:[^"]|"")+)"|([^".][^.]*))'
_TABLE = re.compile(rf"(?:{_NAME}\.)?{_NAME}")


class TablePlace(NamedTuple):
    """A table of a server.

    Parameters
    ----------
    server : Address
        The URL without the table; shown without its secrets.
    shown : Address
        The URL with the table, without its secrets.
    schema : str or None
        None for the first schema of the search path that has such a table.
    table : str
    """

    server: Address
    shown: Address
    schema: str | None
    table: str


def is_database(source: Any) -> bool:
    """Whether this is the URL of a PostgreSQL server."""
    return isinstance(source, str) and source.startswith(("postgresql://", "postgres://"))


def table_place(url: str) -> TablePlace:
    """The server and the table that a URL names: ``postgresql://host/database#schema.table``.

    Parameters
    ----------
    url : str
        Names of schema and table stand behind the ``#`` as the database has them, capitals too.
        One that holds a dot stands in quotation marks, which are doubled within; anything may be
        percent-encoded.

    Returns
    -------
    TablePlace

    Raises
    ------
    FileError
        If there is no table, or what stands there can be read in two ways.

    Examples
    --------
    >>> str(table_place("postgresql://me:hidden@host/base#items").shown)
    'postgresql://me:***@host/base#items'
    >>> table_place('postgresql://host/base#"my.schema".odd%20name')[2:]
    ('my.schema', 'odd name')
    """
    address, _, table = url.partition("#")
    shown = Address(url)
    host = address.partition("//")[2].partition("/")[0]
    # The library would take a piece of the password for the host, and tell it.
    for mark, code, cut in (("@", "%40", host.count("@") > 1), ("#", "%23", _is_cut(host, table))):
        if cut:
            raise FileError(
                shown, f"has several {mark} before the host; write one of a password as {code}."
            )
    if not table:
        raise FileError(shown, "names no table; write it behind the URL: ...#table.")
    found = _TABLE.fullmatch(table)
    if not found:
        raise FileError(
            shown,
            'names no table behind the #; write table or schema.table, and "in.quotation.marks" '
            "a name that holds a dot.",
        )
    schema, name = (_plain(*found.groups()[at : at + 2]) for at in (0, 2))
    assert name is not None
    return TablePlace(Address(address), shown, schema, name)


def _is_cut(host: str, table: str) -> bool:
    """Whether the # stands within a password: ``//me:one#two@host/base``."""
    return ":" in host and "@" not in host and "@" in re.sub(r'"[^"]*"', "", table)


def _plain(quoted: str | None, bare: str | None) -> str | None:
    text = bare if quoted is None else quoted.replace('""', '"')
    return None if text is None else unquote(text)


@contextmanager
def connected(place: TablePlace) -> Iterator[Any]:
    """A connection, closed and rolled back at the end; each statement is a transaction of its own.

    Parameters
    ----------
    place : TablePlace

    Yields
    ------
    psycopg.Connection

    Raises
    ------
    FileError
        In the place of any error of the database, here or within the context.
    """
    psycopg = require("psycopg", extra="postgres")
    try:
        options = psycopg.conninfo.conninfo_to_dict(place.server.reveal())
        options = {"connect_timeout": 10, "application_name": "isotropy", **options}
        connection = psycopg.connect(**options, autocommit=True)
        try:
            yield connection
        finally:
            connection.close()
    except psycopg.Error as error:
        # Not `from error`: a traceback would show what the database said with the secrets in it.
        raise FileError(place.shown, f"the database said: {said_by(error)}.") from None


def said_by(error: BaseException) -> str:
    """What an error of the database says, in one line, without the full stop.

    Parameters
    ----------
    error : psycopg.Error

    Returns
    -------
    str
    """
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return (" ".join((primary or str(error)).split()) or type(error).__name__).rstrip(".")
