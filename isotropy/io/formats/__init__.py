"""The table of file formats: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from isotropy.io.formats.arrow import read_arrow, read_parquet, write_arrow, write_parquet
from isotropy.io.formats.chunked import read_hdf5, write_hdf5
from isotropy.io.formats.fvecs import read_bvecs, read_fvecs, write_fvecs
from isotropy.io.formats.npy import read_npy, read_npz, write_npy, write_npz
from isotropy.io.formats.safetensors import read_safetensors, write_safetensors
from isotropy.io.formats.words import ENCODE_FIRST, read_word2vec, read_word_text
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["FORMATS", "Format", "format_of"]


class Format(NamedTuple):
    """How files of one suffix are read and written.

    Attributes
    ----------
    read : callable
        Called with the path and the column, or None, it returns the rows.
    write : callable
        Called with a binary file and the `Target`, it gives a context whose value is a function
        that appends a block. None where files of this kind are only read.
    guessed : bool
        Whether the suffix says too little: such files are not looked for in folders.
    """

    read: Callable[[Path, str | None], Rows]
    write: (
        Callable[[IO[bytes], Target], AbstractContextManager[Callable[[np.ndarray], object]]] | None
    ) = None
    guessed: bool = False


FORMATS = {
    ".arrow": Format(read_arrow, write_arrow),
    ".bin": Format(read_word2vec, guessed=True),
    ".bvecs": Format(read_bvecs),
    ".feather": Format(read_arrow, write_arrow),
    ".fvecs": Format(read_fvecs, write_fvecs),
    ".h5": Format(read_hdf5, write_hdf5),
    ".hdf5": Format(read_hdf5, write_hdf5),
    ".npy": Format(read_npy, write_npy),
    ".npz": Format(read_npz, write_npz),
    ".parquet": Format(read_parquet, write_parquet),
    ".safetensors": Format(read_safetensors, write_safetensors),
    ".txt": Format(read_word_text, guessed=True),
    ".vec": Format(read_word_text, guessed=True),
}


def format_of(path: Path) -> Format:
    """The format that the suffix of `path` names."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        texts = f" {ENCODE_FIRST}" if path.suffix.lower() in _TEXTS else ""
        raise FileError(
            path,
            f"the suffix {path.suffix!r} names no supported format; use one of "
            f"{', '.join(FORMATS)}.{texts}",
        ) from None


_TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".md", "")
