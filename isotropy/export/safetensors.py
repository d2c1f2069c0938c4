"""A plain safetensors file, which a dozen lines read without any library but numpy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from isotropy.export.parts import arrays_of
from isotropy.storage.state import library_version
from isotropy.storage.whole import whole_file

__all__ = ["to_safetensors"]


def to_safetensors(
    corrector: Any,
    path: str | os.PathLike[str],
    *,
    normalize: bool | None = None,
    dtype: Any = np.float32,
) -> None:
    """Write matrix and bias to a plain safetensors file: ``y = x @ matrix + bias``.

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

    Notes
    -----
    Tensors: "matrix" (d, k), "bias" (k,), "mean" (d,), "offset" (k,) and "normalize", two bytes
    that say whether rows are scaled to length one before and after. Where the mean is far larger
    than the spread, ``(x - mean) @ matrix + offset`` keeps the digits that the bias loses.

    A reader without any library but numpy::

        import json
        import numpy as np

        def read(path):
            with open(path, "rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header, data = json.loads(file.read(size)), file.read()
            types = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "U8": "u1"}
            return {
                name: np.frombuffer(data[slice(*e["data_offsets"])], types[e["dtype"]])
                .reshape(e["shape"]) for name, e in header.items() if name != "__metadata__"
            }

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import load_file
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import to_safetensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_safetensors(MeanRemoval().fit(np.eye(2) * 4), f"{folder}/map.safetensors")
    ...     load_file(f"{folder}/map.safetensors")["bias"].tolist()
    [-2.0, -2.0]
    """
    from safetensors.numpy import save

    told = {"producer": f"isotropy {library_version()}", "corrector": type(corrector).__name__}
    content = save(arrays_of(corrector, normalize, dtype), metadata=told)
    with whole_file(path) as file:
        file.write(content)
