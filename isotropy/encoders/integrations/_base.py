"""What the wrappers of other libraries' embedding objects share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector
from isotropy.correctors import load as load_corrector
from isotropy.correctors.base import Corrector
from isotropy.encoders._texts import at_least_one, checked_texts
from isotropy.io.texts import read_texts

__all__ = ["correct", "fit_on", "fitted"]

Vectors = list[list[float]]


def fitted(corrector: Any, name: str = "corrector") -> Any:
    """A fitted corrector or an affine map, from itself or from its file."""
    if isinstance(corrector, str | os.PathLike):
        corrector = load_corrector(corrector)
    if isinstance(corrector, AffineMap):
        return corrector
    if not isinstance(corrector, Corrector):
        raise ValueError(
            f"{name} must be a fitted corrector, an AffineMap, or the file of a corrector, got "
            f"{type(corrector).__name__}."
        )
    check_is_fitted(corrector)
    return corrector


def correct(corrector: Any, vectors: Any, normalize: bool) -> Vectors:
    """Corrected vectors as lists of floats, computed in float64."""
    if not len(vectors):
        return []
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != _width(corrector):
        raise ValueError(
            f"The corrector takes {_width(corrector)} dimensions, but the embeddings have shape "
            f"{rows.shape}: it was fitted on another model's embeddings."
        )
    rows = corrector.apply(rows) if isinstance(corrector, AffineMap) else corrector.transform(rows)
    if normalize:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows.tolist()


def _width(corrector: Any) -> int:
    if isinstance(corrector, AffineMap):
        return corrector.n_features_in
    return int(corrector.n_features_in_)


def fit_on(
    embed: Callable[[list[str]], Any],
    texts: Iterable[str] | str | os.PathLike[str],
    corrector: Corrector,
    batch_size: int,
) -> Any:
    """A clone of `corrector`, fitted to what `embed` gives for the texts, batch by batch."""
    batch_size = at_least_one(batch_size=batch_size)
    corrector = clone(corrector)
    lines = read_texts(texts) if isinstance(texts, str | os.PathLike) else checked_texts(texts)
    batches = iter(lambda: list(islice(lines, batch_size)), [])
    blocks = (np.asarray(embed(batch), dtype=np.float64) for batch in batches)
    if isinstance(corrector, AffineCorrector):
        moments = corrector._new_moments()
        for block in blocks:
            moments.update(block, first_row=moments.n_rows)
        if moments.n_rows:
            return corrector.fit_moments(moments)
    else:
        rows = list(blocks)
        if rows:
            return corrector.fit(np.concatenate(rows))
    raise ValueError("texts holds no text to fit on.")
