"""How far two modalities of one encoder lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from isotropy.metrics._intervals import Z
from isotropy.metrics.groups import GapFigure
from isotropy.rows.arrays import raise_on_bad_row, unit_rows
from isotropy.rows.door import as_rows

__all__ = ["modality_gap"]


def modality_gap(X: Any, Y: Any) -> GapFigure:
    """Distance of the means of two modalities, of rows scaled to length one.

    An encoder of texts and images puts each kind into a cone of its own. A search then finds rows
    of the query's kind before rows on its subject; `isotropy.encoders.wrap_modalities` closes the
    gap.

    Parameters
    ----------
    X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
        Rows of one modality, two at least.
    Y : array of shape (m, d)
        Rows of the other.

    Returns
    -------
    GapFigure
        From 0 to 2, with a 95 % interval. The floor is what two samples of these sizes from the
        same rows would show.

    Raises
    ------
    ValueError
        If the widths differ, one has fewer than two rows, or a value is not finite.

    See Also
    --------
    group_gap : Four more figures, for any number of groups.

    Notes
    -----
    The figure of Liang et al. 2022, "Mind the gap" (arXiv 2203.02053). The interval comes from the
    spread of the rows along the line through both means. O((n + m) d).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import modality_gap
    >>> gap = modality_gap(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 3.0]]))
    >>> round(gap.value, 4), gap.beyond_chance
    (1.4142, True)
    """
    rows = [_unit(given, name) for given, name in ((X, "X"), (Y, "Y"))]
    if rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(
            f"X has {rows[0].shape[1]} columns and Y {rows[1].shape[1]}: both must come from one "
            "encoder."
        )
    means = [part.mean(0) for part in rows]
    apart = means[0] - means[1]
    value = float(np.linalg.norm(apart))
    along = apart / value if value > 0 else apart
    spread = sum(float((part @ along).var(ddof=1)) / len(part) for part in rows)
    total = [float(np.square(part - mean).sum()) for part, mean in zip(rows, means, strict=True)]
    n, m = map(len, rows)
    floor = float(np.sqrt(sum(total) / (n + m - 2) * (1 / n + 1 / m)))
    half = Z * float(np.sqrt(spread))
    return GapFigure(value, (max(0.0, value - half), value + half), floor)


def _unit(given: Any, name: str) -> np.ndarray:
    rows = as_rows(given).whole()
    if len(rows) < 2:
        raise ValueError(f"{name} must have two rows or more, got {len(rows)}.")
    rows = np.asarray(rows, dtype=np.float64)
    raise_on_bad_row(rows, 0)
    found: np.ndarray = unit_rows(rows)
    return found
