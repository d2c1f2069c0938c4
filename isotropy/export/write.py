"""An export by the name of its target, to a file or folder; what the command line calls."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from isotropy.export.parts import knows_queries
from isotropy.tables import TARGETS

__all__ = ["beside", "write"]


def write(
    corrector: Any,
    to: str,
    path: str | os.PathLike[str],
    *,
    normalize: bool | None = None,
    index: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write a fitted corrector for one of the targets in `isotropy.tables.TARGETS`.

    A corrector that knows queries is written twice: for documents to `path`, and for queries
    beside it, with ``-queries`` in the name.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions.
    to : str
        "dense" writes a folder for each sentence-transformers module into the folder `path`;
        "faiss" an index that takes raw vectors; "onnx", "npz" and "safetensors" a file.
    path : path-like
        Where to; it appears whole or not at all.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.
    index : path-like, optional
        For "faiss": the file of the index of corrected vectors to put the correction before. By
        default an empty ``IndexFlatIP``.

    Returns
    -------
    list of Path
        What was written: `path`, and that for queries where there is one.

    Raises
    ------
    ValueError
        If there is no such target, the corrector is not affine or not fitted, or `index` is given
        for a target that takes none.
    FileError
        If something cannot be written, or the index not read.
    ImportError
        If the library of the target is missing.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import write
    >>> X, queries = np.eye(3), np.eye(3) + 1
    >>> corrector = MeanRemoval().fit(X, queries=queries)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write(corrector, "npz", f"{folder}/map.npz")]
    ['map.npz', 'map-queries.npz']
    """
    writer = TARGETS[to]
    options = {} if index is None else {"index": index}
    if index is not None and "index" not in inspect.signature(writer).parameters:
        raise ValueError(f"index is for an index of faiss to put the correction before, not {to}.")
    path = Path(path)
    written = {path: corrector}
    if knows_queries(corrector):
        written[beside(path)] = corrector.for_queries()
    for place, one in written.items():
        writer(one, place, normalize=normalize, **options)
    return list(written)


def beside(path: Path) -> Path:
    """Where the map for queries is written: ``map.onnx`` has ``map-queries.onnx`` beside it.

    Parameters
    ----------
    path : Path
        Of the map for documents.

    Returns
    -------
    Path

    Examples
    --------
    >>> from pathlib import Path
    >>> beside(Path("map.onnx")).name, beside(Path("folder")).name
    ('map-queries.onnx', 'folder-queries')
    """
    return path.with_name(f"{path.stem}-queries{path.suffix}")
