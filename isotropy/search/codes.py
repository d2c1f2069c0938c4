"""Ranges for codes of eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from isotropy.rows.arrays import raise_on_bad_row
from isotropy.rows.door import as_rows

__all__ = ["code_ranges"]


def code_ranges(X: Any, *, quantile: float = 0.9999) -> np.ndarray:
    """Ranges for `sentence_transformers.quantize_embeddings` under which products keep their sense.

    The ranges found by default differ by dimension, and so each dimension is scaled by a factor of
    its own: an inner product of the codes is no longer one of the vectors. These are one range,
    around zero, for all dimensions: right for rows that `RandomRotation` centred and rotated,
    whose dimensions all spread alike.

    Parameters
    ----------
    X : array of shape (n, d)
        Corrected rows such as will be coded.
    quantile : float, default=0.9999
        Share of the numbers within the range; what lies outside is clipped to it.

    Returns
    -------
    ndarray of shape (2, d), float32
        Lower and upper ends: pass as ``ranges=`` with ``precision="int8"``.

    Raises
    ------
    ValueError
        If there is no row, a row holds NaN or infinity, the numbers are beyond the range of
        float32, or `quantile` is not within (0, 1].
    TypeError
        If `X` is something other than rows, such as a path or texts.

    Notes
    -----
    sentence-transformers before version 6 wraps around what lies outside; take ``quantile=1``
    there.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.search import code_ranges
    >>> code_ranges(np.array([[3.0, -4.0]]), quantile=1).tolist()
    [[-4.0, -4.0], [4.0, 4.0]]
    """
    if isinstance(quantile, bool | str) or not 0 < quantile <= 1:
        raise ValueError(f"quantile must be above 0 and at most 1, got {quantile!r}.")
    rows = as_rows(X).in_memory()
    if not rows.size:
        raise ValueError(f"X must hold rows to find ranges from, got shape {rows.shape}.")
    raise_on_bad_row(rows, 0)
    # Wide enough a type that the least integer has an absolute value, and a quantile its digits.
    rows = rows.astype(np.promote_types(rows.dtype, np.float32), copy=False)
    reach = float(np.quantile(np.abs(rows), quantile)) or 1.0
    limits = np.finfo(np.float32)
    if not float(limits.tiny) <= reach <= float(limits.max):
        raise ValueError(
            f"X reaches to {reach:.3g}, which float32 does not hold: scale the rows first."
        )
    return np.outer([-reach, reach], np.ones(rows.shape[1])).astype(np.float32)
