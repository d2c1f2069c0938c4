"""Lance tables, which LanceDB keeps too: a vector column read, a corrected one written beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isotropy._optional import require
from isotropy.io.columns import TableRows, table_rows
from isotropy.io.ranges import LocalRanges
from isotropy.io.sources import Source, as_folder
from isotropy.storage.errors import damage

__all__ = ["LANCE", "LanceRows", "is_lance", "lance_damage", "read_lance"]


def is_lance(source: Any) -> bool:
    """Whether this is the folder of a Lance table."""
    folder = as_folder(source)
    return folder is not None and (folder.suffix == ".lance" or (folder / "_versions").is_dir())


class LanceRows(TableRows):
    """Rows of a column of a Lance table, at the version that it had when it was opened."""

    def fingerprint(self) -> list[Any]:
        """The version's number, and its manifest: a table written anew begins at 1 again."""
        return [*super().fingerprint(), _manifest(Path(self.path), int(self.mark or 0))]


def _manifest(path: Path, version: int) -> list[Any] | None:
    for number in (f"{version}", f"{2**64 - 1 - version:020}"):  # of the older format, the newer
        file = path / "_versions" / f"{number}.manifest"
        if file.is_file():
            return LocalRanges(file).fingerprint()
    return None


def read_lance(source: Any, column: str | None) -> TableRows:
    """The rows of one vector column of a Lance table, at the version it has now."""
    path = Path(source)
    lance = require("lance", extra="lance")
    with lance_damage(path):
        table = lance.dataset(str(path))
        version, schema, n = table.version, table.schema, table.count_rows()

    def batches(file: Any, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
        with lance_damage(path):
            source = lance.dataset(str(path), version=version)
            scanner = source.scanner(
                columns=columns, batch_size=size, offset=start, scan_in_order=True
            )
            for batch in scanner.to_batches():
                yield batch.select(columns)

    rows = table_rows(path, column, schema, n, batches, LanceRows)
    rows.mark = version
    return rows


@contextmanager
def lance_damage(path: Path) -> Iterator[None]:
    # Lance reports damage with whatever its reader meets first, from ValueError to a panic.
    with damage(path, "Lance table", Exception):
        yield


LANCE = Source(is_lance, read_lance)
