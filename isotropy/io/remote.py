"""The bytes of files that lie elsewhere, read by ranges."""

from __future__ import annotations

import hashlib
import json
from typing import Any, BinaryIO, cast

from isotropy._optional import require
from isotropy.io.ranges import Ranges
from isotropy.storage.errors import FileError
from isotropy.storage.remote import Place

__all__ = ["RemoteFolderState", "RemoteRanges", "files_in", "mark_of"]

_PIECE = 2**22
"""Bytes of a request: several are under way at a time, and what came is not asked for again."""

_BLOCK, _BLOCKS = 2**21, 12
"""Of the blocks in which other libraries read; the next one is fetched beside."""

_MOST_HELD = 2**28

_TAGS = ("ETag", "etag", "VersionId", "generation", "blob_id", "md5Hash", "content_md5")
_TIMES = ("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "created")


class RemoteRanges(Ranges):
    """The bytes of a file elsewhere.

    Parameters
    ----------
    place : Place
    info : dict, optional
        What the file system said of it, when it listed its folder.

    Raises
    ------
    FileError
        If there is no such file, it may not be read or cannot be reached, or it is empty.

    Notes
    -----
    A range is read in pieces of 4 MiB, several at a time; a piece that does not come is asked for
    again, with growing pauses, six times in all. Where the server tells a file by a tag, another
    content under the same name is refused.

    Examples
    --------
    >>> from isotropy.storage.remote import place_of
    >>> place = place_of("memory://an-example.bin")
    >>> place.put_bytes(b"0123456789")
    >>> file = RemoteRanges(place)
    >>> file.size, file.read_at(7, 3)
    (10, b'789')
    >>> place.system.rm("/an-example.bin")
    """

    def __init__(self, place: Place, info: dict[str, Any] | None = None) -> None:
        super().__init__(cast(Any, place.address))
        self.place = place
        info = place.info() if info is None else info
        if info.get("type") == "directory":
            raise FileError(place.address, "is a folder; name one file in it.")
        if info.get("size") is None:
            raise FileError(place.address, "the server does not tell its size; fetch it first.")
        self.size = int(info["size"])
        if not self.size:
            raise FileError(place.address, "is empty (0 bytes); write or fetch it again.")
        self._mark = mark_of(info)
        self._whole: bytes | None = None
        self._conditions = _conditions(place, info)
        self._check_ranges(info)

    @property
    def suffix(self) -> str:
        """The end of the name, which tells the format."""
        return self.place.address.suffix

    def read_into(self, offset: int, buffer: Any) -> None:
        """Fill a buffer with the bytes from `offset` on; see `Ranges.read_into`."""
        view = memoryview(buffer).cast("B") if memoryview(buffer).nbytes else memoryview(b"")
        if self._whole is not None:
            view[:] = self._whole[offset : offset + len(view)]
            return
        starts = list(range(offset, offset + len(view), _PIECE))
        attempt = 0
        while starts:
            ends = [min(start + _PIECE, offset + len(view)) for start in starts]
            failed: list[tuple[int, Any]] = []
            for start, end, data in zip(starts, ends, self._pieces(starts, ends), strict=True):
                if isinstance(data, bytes) and len(data) == end - start:
                    view[start - offset : end - offset] = data
                else:
                    failed.append((start, data))
            if failed:
                attempt = attempt if len(failed) == len(starts) else 0
                self.place.again_or_raise(self._problem(failed[0][1]), attempt)
                attempt += 1
            starts = [start for start, _ in failed]

    def _pieces(self, starts: list[int], ends: list[int]) -> list[Any]:
        """The bytes of each range, or what went wrong with it."""
        paths = [self.place.key] * len(starts)
        try:
            found: list[Any] = self.place.system.cat_ranges(
                paths, starts, ends, on_error="return", **self._conditions
            )
        except Exception as error:
            return [error] * len(starts)
        return found

    def _problem(self, came: Any) -> BaseException:
        if isinstance(came, BaseException):
            return came
        if len(came) < self.size:  # a connection that broke off, or a file that was cut
            self.check_unchanged()
            return ConnectionError(f"only {len(came)} bytes of a range came")
        return FileError(self.path, "the server sends the whole file for every part of it.")

    def open(self) -> BinaryIO:
        """The bytes as a file that can be read and sought in; what follows is fetched beside."""
        return _Cached(self).open()

    def fingerprint(self) -> list[Any]:
        """Size, and the tag or time that the server tells."""
        return [*self._mark]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if the file is gone or another one is in its place."""
        now = mark_of(self.place.info())
        if now != self._mark:
            then, size = self._mark[0], now[0]
            what = f"{then} bytes then, {size} now" if then != size else "replaced"
            raise FileError(
                self.path,
                f"changed since it was opened ({what}): wait until it is complete, and begin "
                "again.",
            )

    def _check_ranges(self, info: dict[str, Any]) -> None:
        """Keep the whole of a small file of a server that sends no parts; refuse a large one."""
        if self.place.protocol not in ("http", "https"):
            return
        if info.get("partial") is not False and self.place.tried(self._sends_ranges):
            return
        if self.size > _MOST_HELD:
            raise FileError(
                self.path,
                f"the server sends no parts of files, and this one is {self.size} bytes: fetch "
                "it first, and name the copy.",
            )
        self._whole = self.place.content()
        if len(self._whole) != self.size:
            raise FileError(
                self.path,
                f"{len(self._whole)} bytes came of {self.size}: truncated; try again.",
            )

    def _sends_ranges(self) -> bool:
        if self.size == 1:
            return True
        # The file system looks at the answer's head before it reads what was not asked for.
        with self.place.system.open(
            self.place.key, block_size=1, cache_type="none", size=self.size
        ) as file:
            try:
                file.seek(1)
                return len(file.read(1)) == 1
            except ValueError:
                return False


class _Cached(Ranges):
    """Ranges in blocks that are kept for a while, the next one fetched in a thread."""

    def __init__(self, ranges: RemoteRanges) -> None:
        super().__init__(ranges.path)
        self.size, self._ranges = ranges.size, ranges
        caching = require("fsspec.caching", extra="remote")
        self._blocks = caching.BackgroundBlockCache(
            _BLOCK,
            lambda start, end: ranges.read_at(start, min(end, ranges.size) - start),
            self.size,
            _BLOCKS,
        )

    def read_into(self, offset: int, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        view[:] = self._blocks._fetch(offset, offset + len(view))

    def fingerprint(self) -> list[Any]:
        return self._ranges.fingerprint()

    def check_unchanged(self) -> None:
        self._ranges.check_unchanged()


class RemoteFolderState:
    """The files of a folder elsewhere that is one whole, as they were when it was opened.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self.path, self._place = place.address, place
        self.files = files_in(place)
        self._digest = _digest(self.files)

    def fingerprint(self) -> list[Any]:
        """A digest of the names, sizes and tags of all files."""
        return [self._digest]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if a file was added, removed or replaced."""
        if _digest(files_in(self._place)) != self._digest:
            raise FileError(
                self.path,
                "changed since it was opened: wait until it is complete, and begin again.",
            )


def files_in(place: Place, pattern: bool = False) -> dict[str, dict[str, Any]]:
    """The files below a folder, or those that a pattern names, and what is known of each.

    Parameters
    ----------
    place : Place
    pattern : bool, default=False

    Returns
    -------
    dict of str to dict
        By name.
    """

    def found() -> Any:
        place.system.invalidate_cache()
        return (place.system.glob if pattern else place.system.find)(place.key, detail=True)

    return {key: info for key, info in place.tried(found).items() if info["type"] == "file"}


def _digest(files: dict[str, dict[str, Any]]) -> str:
    said = json.dumps([[name, mark_of(files[name])] for name in sorted(files)])
    return hashlib.sha256(said.encode()).hexdigest()


def mark_of(info: dict[str, Any]) -> list[Any]:
    """What tells a file from another of the same name: its size, and a tag or else its time."""
    for names in (_TAGS, _TIMES):
        if said := [info[name] for name in names if info.get(name)]:
            # A listing tells the same moment otherwise than the file itself does.
            moment = getattr(said[0], "timestamp", None)
            return [int(info.get("size") or 0), str(moment() if moment else said[0])]
    return [int(info.get("size") or 0), None]


def _conditions(place: Place, info: dict[str, Any]) -> dict[str, Any]:
    """A web server is told with each request which content is meant."""
    tag = info.get("ETag", "")
    if place.protocol not in ("http", "https") or not tag.startswith('"'):
        return {}
    headers = place.system.kwargs.get("headers", {})
    return {"headers": {**headers, "If-Match": tag}}
