"""The arrays of a map in an .npz file for numpy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from isotropy.export.parts import arrays_of
from isotropy.storage.whole import whole_file

__all__ = ["to_npz"]


def to_npz(
    corrector: Any,
    path: str | os.PathLike[str],
    *,
    normalize: bool | None = None,
    dtype: Any = np.float32,
) -> None:
    """Write what `to_safetensors` writes, under the same names, to an .npz file for numpy.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions. Queries that it knows are left aside: pass
        ``corrector.for_queries()`` for their map.
    path : path-like
        File to write; it appears whole or not at all.
    normalize : bool, optional
        Whether the result is to be scaled to length one; by default what the corrector does.
    dtype : float type, default=float32

    Raises
    ------
    ValueError
        If the corrector is not affine or not fitted, or its numbers do not fit into `dtype`.
    FileError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import to_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_npz(MeanRemoval().fit(np.eye(2) * 4), f"{folder}/map.npz")
    ...     with np.load(f"{folder}/map.npz") as arrays:
    ...         arrays["bias"].tolist()
    [-2.0, -2.0]
    """
    with whole_file(path) as file:
        np.savez(file, **arrays_of(corrector, normalize, dtype))  # type: ignore[arg-type]
