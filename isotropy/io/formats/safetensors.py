"""`.safetensors`: one tensor is rows of embeddings, mapped at its place in the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from isotropy.io.checks import check_size, choose, map_rows, unusable
from isotropy.io.formats import Format
from isotropy.io.target import Target
from isotropy.rows.source import ArrayRows, Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["SAFETENSORS", "read_safetensors", "write_safetensors"]

_DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
"""numpy's type of the same bits; bfloat16, which numpy lacks, is widened after reading."""

_CODES = {2: "F16", 4: "F32", 8: "F64"}


def read_safetensors(path: Path, column: str | None) -> Rows:
    """The rows of one tensor of a `.safetensors` file, memory-mapped."""
    header, start = _read_header(path)
    name = choose(path, column, "tensor", {key: _problem(header[key]) for key in header})
    tensor = header[name]
    dtype, shape = np.dtype(_DTYPES[tensor["dtype"]]), tuple(tensor["shape"])
    begin, end = tensor["data_offsets"]
    check_size(path, shape, dtype, end - begin)
    array = map_rows(path, shape, dtype, start + begin)
    rows_type = _BFloat16Rows if tensor["dtype"] == "BF16" else ArrayRows
    return rows_type(path, name, array)


class _BFloat16Rows(Rows):
    """bfloat16 rows: the upper halves of float32 numbers, so widening them is exact."""

    def __init__(self, path: Path, name: str, halves: np.ndarray) -> None:
        super().__init__(path, name, (halves.shape[0], halves.shape[1]), np.dtype(np.float32))
        self._halves = halves

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        for first in range(start, self.shape[0], block_rows):
            bits = np.asarray(self._halves[first : first + block_rows]).astype(np.uint32)
            bits <<= 16
            yield bits.view(np.float32)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """What the file says of its tensors, and where their bytes begin."""
    with damage(path, ".safetensors", SafetensorError, OSError):
        # The library checks the header against itself and the file's size; it tells no offsets.
        with safe_open(path, framework="np"):
            pass
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _problem(tensor: dict[str, Any]) -> str | None:
    if tensor["dtype"] not in _DTYPES:
        return f"has dtype {tensor['dtype']}, which numpy lacks; save it as F16, BF16 or F32"
    return unusable(tuple(tensor["shape"]), np.dtype(_DTYPES[tensor["dtype"]]))


@contextmanager
def write_safetensors(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to the only tensor of a new `.safetensors` file."""
    if target.column == "__metadata__":
        raise FileError(target.path, "safetensors keeps the name '__metadata__'; choose another.")
    n, k = target.shape
    tensor = {
        "dtype": _CODES[target.dtype.itemsize],
        "shape": [n, k],
        "data_offsets": [0, n * k * target.dtype.itemsize],
    }
    text = json.dumps({target.column: tensor}).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight, as the format asks
    file.write(len(text).to_bytes(8, "little") + text)
    yield lambda block: file.write(block.data)


SAFETENSORS = Format(read_safetensors, write_safetensors)
