"""Files elsewhere: one, a list, a pattern, a folder, a Zarr array."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from isotropy._optional import require
from isotropy.io.folders import is_rows
from isotropy.io.formats import open_file, read_ranges
from isotropy.io.remote import RemoteFolderState, RemoteRanges, files_in
from isotropy.io.sources import Source
from isotropy.io.sources.shards import natural, no_rows, shards_of
from isotropy.io.sources.zarr import MARKS, rows_of_zarr, zarr_damage
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError
from isotropy.storage.remote import Place, is_remote, located, place_of
from isotropy.tables import FORMATS

__all__ = ["REMOTE", "read_remote"]

_MAGIC = {"http": "*[", "https": "*["}
"""A question mark begins the parameters of a web address."""


def _recognizes(given: Any) -> bool:
    return is_remote(given) or (isinstance(given, list | tuple) and any(map(is_remote, given)))


def read_remote(given: Any, column: str | None) -> Rows:
    """The rows of a URL, or of a list with URLs in it."""
    if isinstance(given, list | tuple):
        # One behind the other, so that two lists of the same files are the same rows.
        return shards_of(located(given[0]), given, column, _read_one)
    return _read_url(given, column)


def _read_one(given: Any, column: str | None) -> Rows:
    return _read_url(given, column) if is_remote(given) else open_file(given, column)


def _read_url(given: Any, column: str | None) -> Rows:
    place = place_of(given)
    if any(mark in place.key for mark in _MAGIC.get(place.protocol, "*?[")):
        return _read_all(place, files_in(place, pattern=True), column, "no file matches this.")
    if place.key.endswith("/") or PurePosixPath(place.name).suffix.lower() not in FORMATS:
        info = place.info()
        if info["type"] == "directory":
            whole = _is_zarr(place)
            return _read_zarr(place, column) if whole else _read_folder(place, column)
        return read_ranges(RemoteRanges(place, info), column)
    return read_ranges(RemoteRanges(place), column)


def _read_folder(place: Place, column: str | None) -> Rows:
    at = len(place.key.rstrip("/"))
    found = {key: info for key, info in files_in(place).items() if is_rows(key[at:].lstrip("/"))}
    return _read_all(place, found, column, no_rows())


def _is_zarr(place: Place) -> bool:
    folder = place.key.rstrip("/")
    return place.name.endswith(".zarr") or any(
        place.at(f"{folder}/{mark}").exists() for mark in MARKS
    )


def _read_zarr(place: Place, column: str | None) -> Rows:
    store = require("zarr.storage", extra="zarr").FsspecStore
    with zarr_damage(place.address):
        opened = store.from_url(
            place.address.reveal(), storage_options=place.address.options, read_only=True
        )
    state = RemoteFolderState(place)
    empty = any(info.get("size") == 0 for info in state.files.values())
    return rows_of_zarr(state, opened, column, empty)


def _read_all(place: Place, found: dict[str, Any], column: str | None, none: str) -> Rows:
    if not found:
        raise FileError(place.address, none)
    keys = sorted(found, key=lambda key: natural(PurePosixPath(key)))  # type: ignore[arg-type]

    def read(key: str, column: str | None) -> Rows:
        # A web server's list of files tells no sizes.
        info = found[key] if found[key].get("size") is not None else None
        return read_ranges(RemoteRanges(place.at(key), info), column)

    return shards_of(place.address, keys, column, read)  # type: ignore[arg-type]


REMOTE = Source(_recognizes, read_remote)
