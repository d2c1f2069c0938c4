"""What every export starts from: the map of a corrector, and what it normalizes."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector

__all__ = ["parts_of", "widths"]


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


def widths(affine: AffineMap) -> str:
    """The widths of a map, for messages."""
    return f"{affine.n_features_in} -> {affine.n_features_out}"
