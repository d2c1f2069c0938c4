"""What every export starts from: the map of a corrector, and what it normalizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector

__all__ = ["arrays_of", "knows_queries", "parts_of", "widths"]


def parts_of(corrector: Any, normalize: bool | None = None) -> tuple[AffineMap, bool, bool]:
    """The affine map, and whether rows are scaled to length one before and after it.

    `normalize` overrides what the corrector does after.
    """
    if isinstance(corrector, AffineMap):
        return corrector, False, bool(normalize)
    if not isinstance(corrector, AffineCorrector):
        raise ValueError(
            "corrector must be an AffineMap or a fitted affine corrector, got "
            f"{type(corrector).__name__}: only an affine map fits these formats."
        )
    check_is_fitted(corrector)
    before = corrector.normalize in ("before", "both")
    after = corrector.normalize in ("after", "both")
    return corrector.affine_map_, before, after if normalize is None else bool(normalize)


def knows_queries(corrector: Any) -> bool:
    """Whether a fitted corrector treats queries apart from documents."""
    return hasattr(corrector, "query_mean_")


def widths(affine: AffineMap) -> str:
    """The widths of a map, for messages."""
    return f"{affine.n_features_in} -> {affine.n_features_out}"


def arrays_of(corrector: Any, normalize: bool | None, dtype: Any) -> dict[str, np.ndarray]:
    """The arrays that a plain file holds, in `dtype`; see `isotropy.export.to_safetensors`."""
    affine, before, after = parts_of(corrector, normalize)
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise ValueError(f"dtype must be a floating type, such as numpy.float32, got {kind}.")
    parts = {
        "matrix": affine.matrix,
        "bias": affine.bias,
        "mean": affine.mean,
        "offset": affine.offset,
    }
    with np.errstate(over="ignore"):
        arrays = {name: np.ascontiguousarray(part, dtype=kind) for name, part in parts.items()}
    large = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if large:
        raise ValueError(f"{' and '.join(large)} does not fit into {kind}: take a wider dtype.")
    return {**arrays, "normalize": np.array([before, after], dtype=np.uint8)}
