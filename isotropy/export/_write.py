"""An export by the name of its format, to a file or folder; what the command line calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from isotropy._optional import require
from isotropy.export.dense import to_dense
from isotropy.export.faiss import prepend
from isotropy.export.onnx import to_onnx
from isotropy.export.plain import to_npz, to_safetensors
from isotropy.storage.errors import FileError
from isotropy.storage.whole import whole_file, whole_folder

__all__ = ["FORMATS", "write"]

FORMATS = ("dense", "faiss", "onnx", "npz", "safetensors")


def write(
    corrector: Any,
    to: str,
    path: str | os.PathLike[str],
    *,
    normalize: bool | None = None,
    index: str | os.PathLike[str] | None = None,
) -> None:
    """Write a fitted corrector in one of `FORMATS`.

    "dense" writes a folder for each sentence-transformers module into the folder `path`; "faiss"
    an IndexPreTransform, around the index in the file `index` or an empty IndexFlatIP.
    """
    if to not in FORMATS:
        raise ValueError(f"--to must be one of {', '.join(FORMATS)}, got {to!r}.")
    if index is not None and to != "faiss":
        raise ValueError(f"--index is for --to faiss, not {to}.")
    if to == "dense":
        with whole_folder(path) as folder:
            for number, module in enumerate(to_dense(corrector, normalize=normalize)):
                part = folder / f"{number}_{type(module).__name__}"
                part.mkdir()
                module.save(str(part))
    elif to == "faiss":
        _write_faiss(corrector, path, normalize, index)
    else:
        writer: Any = {"onnx": to_onnx, "npz": to_npz, "safetensors": to_safetensors}[to]
        writer(corrector, path, normalize=normalize)


def _write_faiss(corrector: Any, path: Any, normalize: bool | None, index: Any) -> None:
    faiss = require("faiss", extra="export")
    inner = faiss.IndexFlatIP(corrector._n_features_out) if index is None else _read(faiss, index)
    whole = prepend(inner, corrector, normalize=normalize)
    with whole_file(path) as file:
        file.write(faiss.serialize_index(whole).tobytes())


def _read(faiss: Any, path: Any) -> Any:
    if not Path(path).is_file():
        raise FileError(Path(path), "does not exist.")
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise FileError(Path(path), f"is not a faiss index ({reason}).") from error
