"""Arrays that are stored in chunks, read a few whole chunks at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["ChunkedRows", "rows_of_chunks"]

_CHUNK_BYTES = 2**24


class ChunkedRows(Rows):
    """Rows read a few whole chunks at a time, so that none is decompressed twice."""

    def __init__(
        self,
        file: Any,
        name: str | None,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        step: int,
        opened: Callable[[], Any],
    ) -> None:
        super().__init__(file, name, (int(shape[0]), int(shape[1])), dtype)
        self._step, self._opened = step, opened

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, step = self.shape[0], self._step
        step *= max(1, block_rows // step)
        with self._opened() as array:
            first = start
            while first < n:
                stop = min((first // step + 1) * step, n)
                piece = np.asarray(array[first:stop])
                if len(piece) != stop - first:
                    raise FileError(self.path, f"holds fewer rows than the {n} it declares.")
                piece = piece.astype(self.dtype, copy=False)
                for row in range(0, len(piece), block_rows):
                    yield piece[row : row + block_rows]
                first = stop


def rows_of_chunks(shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...] | None) -> int:
    """Rows of a chunk, as far as they fit in memory."""
    most = max(1, _CHUNK_BYTES // max(1, shape[1] * dtype.itemsize))
    return min(int(chunks[0]), 4 * most) if chunks else 1
