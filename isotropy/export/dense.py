"""Native sentence-transformers modules."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from isotropy._optional import require
from isotropy.export.parts import parts_of
from isotropy.storage.whole import whole_folder

__all__ = ["dense_of", "native", "to_dense", "write_dense"]


def native(name: str) -> Any:
    """A module class of sentence-transformers, which moved its modules in version 6."""
    package = require("sentence_transformers", extra="encoders")
    new = int(package.__version__.partition(".")[0]) >= 6
    where = "sentence_transformer.modules" if new else "models"
    return getattr(import_module(f"sentence_transformers.{where}"), name)


def to_dense(corrector: Any, *, normalize: bool | None = None) -> list[Any]:
    """The correction as native sentence-transformers modules, which load without isotropy.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions. Queries that it knows are left aside: pass
        ``corrector.for_queries()`` for their map.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.

    Returns
    -------
    list of torch.nn.Module
        ``Dense(d, k)`` with a bias and no activation, with ``Normalize`` before and after it
        where the corrector normalizes: append them to a SentenceTransformer.

    Raises
    ------
    ValueError
        If the corrector is not affine or not fitted.
    ImportError
        If sentence-transformers is missing (``isotropy[encoders]``).

    Notes
    -----
    The mean goes into the bias, in float64, then both are rounded to float32. Where the mean is m
    times the spread, about log10(m) of the seven digits are lost.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import to_dense
    >>> dense, = to_dense(MeanRemoval().fit(np.eye(3)))
    >>> dense.linear.bias.tolist() == [-1 / 3] * 3
    False
    >>> bool(abs(dense.linear.bias[0] + 1 / 3) < 1e-7)
    True
    """
    affine, before, after = parts_of(corrector, normalize)
    modules = [native("Normalize")()] if before else []
    modules.append(dense_of(affine.matrix, affine.bias))
    return [*modules, native("Normalize")()] if after else modules


def dense_of(matrix: Any, bias: Any) -> Any:
    """``y = x matrix + bias`` as a Dense module in float32."""
    import torch

    d, k = matrix.shape
    return native("Dense")(
        d,
        k,
        bias=True,
        activation_function=torch.nn.Identity(),
        init_weight=torch.tensor(matrix.T, dtype=torch.float32),
        init_bias=torch.tensor(bias, dtype=torch.float32),
    )


def write_dense(
    corrector: Any, path: str | os.PathLike[str], *, normalize: bool | None = None
) -> None:
    """Write the modules of `to_dense` to a folder, each into a folder of its own.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
    path : path-like
        A folder that does not exist or is empty; it appears whole or not at all. In it are
        ``0_Dense``, or ``0_Normalize`` and ``1_Dense``, and so on, as `SentenceTransformer` keeps
        its modules.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.

    Raises
    ------
    ValueError
        If the corrector is not affine or not fitted.
    FileError
        If the folder cannot be written.
    ImportError
        If sentence-transformers is missing (``isotropy[encoders]``).
    """
    with whole_folder(path) as folder:
        for number, module in enumerate(to_dense(corrector, normalize=normalize)):
            part = folder / f"{number}_{type(module).__name__}"
            part.mkdir()
            module.save(str(part))
