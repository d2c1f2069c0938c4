"""`.safetensors`: one tensor is rows of embeddings, read at its place in the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from isotropy.io.checks import check_size, choose, unusable
from isotropy.io.formats import Format
from isotropy.io.plain import PlainRows
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, NoRowsError, damage

__all__ = ["SAFETENSORS", "read_safetensors", "write_safetensors"]

_DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
"""numpy's type of the same bits; bfloat16, which numpy lacks, is widened after reading."""

_MOST_HEADER = 100_000_000
"""Bytes of a header, as the library that defines the format limits it."""

_HEADER_ERRORS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

_CODES = {2: "F16", 4: "F32", 8: "F64"}


def read_safetensors(file: Ranges, column: str | None) -> Rows:
    """The rows of one tensor of a `.safetensors` file."""
    header, start = _read_header(file)
    name = choose(file, column, "tensor", {key: _problem(header[key]) for key in header})
    tensor = header[name]
    dtype, shape = np.dtype(_DTYPES[tensor["dtype"]]), tuple(tensor["shape"])
    begin, end = tensor["data_offsets"]
    check_size(file, shape, dtype, end - begin)
    if tensor["dtype"] == "BF16":
        return _BFloat16Rows(file, name, shape, dtype, start + begin)
    return PlainRows(file, name, shape, dtype, start + begin)


class _BFloat16Rows(PlainRows):
    """bfloat16 rows: the upper halves of float32 numbers, so widening them is exact."""

    def __init__(self, *place: Any) -> None:
        super().__init__(*place)
        self.dtype = np.dtype(np.float32)

    def _decoded(self, stored: np.ndarray, first: int) -> np.ndarray:
        bits = stored.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)


def _read_header(file: Ranges) -> tuple[dict[str, Any], int]:
    """What the file says of its tensors, checked, and where their bytes begin."""
    length = int.from_bytes(file.read_at(0, min(8, file.size)), "little")
    with damage(file, ".safetensors", *_HEADER_ERRORS):
        if not 2 <= length <= min(_MOST_HEADER, file.size - 8):
            raise ValueError(f"a header of {length} bytes in {file.size}")
        header = json.loads(file.read_at(8, length))
        notes = header.pop("__metadata__", None) or {}
        if "isotropy" in notes:
            raise NoRowsError(file, "holds what isotropy learned and saved, no embeddings.")
        places = sorted(_place(name, header[name]) for name in header)
        ends = [0, *(end for _, end in places)]
        if [begin for begin, _ in places] != ends[:-1] or 8 + length + ends[-1] != file.size:
            raise ValueError("its tensors do not follow each other up to its end")
    return header, 8 + length


def _place(name: str, tensor: dict[str, Any]) -> tuple[int, int]:
    begin, end = tensor["data_offsets"]
    numbers = [begin, end, *tensor["shape"]]
    if not (isinstance(tensor["dtype"], str) and isinstance(tensor["shape"], list)):
        raise ValueError(f"tensor {name!r} has no shape or type")
    if not all(type(number) is int and number >= 0 for number in numbers) or begin > end:
        raise ValueError(f"tensor {name!r} has a shape or place that is no number of bytes")
    return begin, end


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
