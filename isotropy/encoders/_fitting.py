"""A correction from whatever a user has, and the fit of one to embeddings that come in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sized
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector, HubnessBias
from isotropy.correctors import load as load_corrector
from isotropy.correctors.base import Corrector
from isotropy.encoders._texts import checked_texts
from isotropy.io.texts import read_texts
from isotropy.moments import Moments
from isotropy.storage.state import load_state

__all__ = [
    "Fitted",
    "Texts",
    "check_learns",
    "fitted",
    "for_queries",
    "given",
    "is_fitted",
    "known_texts",
    "learn",
    "load",
    "query_moments",
    "weights_of",
]

Fitted = Corrector | AffineMap
Texts = Iterable[str] | str | os.PathLike[str]


def given(corrector: Any, name: str = "corrector") -> Fitted:
    """A corrector or an affine map: itself, from its file, or from a fitted sklearn estimator."""
    if isinstance(corrector, str | os.PathLike):
        return load(corrector)
    if isinstance(corrector, AffineMap | Corrector):
        return corrector
    if isinstance(corrector, BaseEstimator):
        return AffineMap.from_sklearn(corrector)
    what = (
        f"the class {corrector.__name__}"
        if isinstance(corrector, type)
        else type(corrector).__name__
    )
    way_out = f" Make one: {corrector.__name__}()." if isinstance(corrector, type) else ""
    raise ValueError(
        f"{name} must be a corrector of isotropy, the file of one, an AffineMap, or a fitted "
        f"scikit-learn estimator that is one, got {what}.{way_out}"
    )


def fitted(corrector: Any, name: str = "corrector") -> Fitted:
    """What `given` gives, if it is fitted."""
    found = given(corrector, name)
    if isinstance(found, Corrector):
        check_is_fitted(found)
    return found


def is_fitted(corrector: Fitted) -> bool:
    """Whether it can be applied; an affine map always can."""
    try:
        fitted(corrector)
    except NotFittedError:
        return False
    return True


def load(path: str | os.PathLike[str]) -> Fitted:
    """A corrector, or an affine map, from the file that its `save` wrote."""
    is_map = load_state(path)[0]["class"] == "AffineMap"
    return AffineMap.load(path) if is_map else load_corrector(path)


def for_queries(corrector: Fitted, queries: Moments | None = None) -> Fitted:
    """What queries go through: the same map about their own mean, where that is known."""
    if isinstance(corrector, Corrector):
        return corrector.for_queries(queries)
    return corrector if queries is None else corrector.about(queries.mean)


def query_moments(corrector: Fitted, blocks: Iterable[np.ndarray]) -> Moments:
    """The moments that `for_queries` wants, of rows in blocks."""
    unit = getattr(corrector, "normalize", "none") in ("before", "both")
    moments = Moments(order=1, normalize=unit)
    _gathered(moments, blocks, None, "queries")
    return moments


def check_learns(corrector: Fitted, *, weighted: bool, asked: bool) -> None:
    """Refuse what `learn` cannot fit, before any text is encoded.

    `weighted` and `asked` say whether there are weights and queries.
    """
    who = type(corrector).__name__
    if isinstance(corrector, AffineMap):
        raise ValueError(
            "An AffineMap, or a scikit-learn estimator, is used as it is: there is nothing to fit "
            "to texts."
        )
    takes = signature(corrector.fit).parameters
    if "pairs" in takes and not hasattr(corrector, "fit_moments"):
        raise ValueError(
            f"{who} learns from pairs of rows, not from texts alone: fit it on embeddings and "
            "pairs first, and pass the fitted corrector without texts."
        )
    if "z" in takes or "groups" in takes:
        raise ValueError(
            f"{who} learns from labels of rows, not from texts alone: fit it on embeddings and "
            "labels first, and pass the fitted corrector without texts."
        )
    if weighted and "sample_weight" not in takes:
        raise ValueError(f"sample_weight is given, but {who} knows no weights: leave it out.")
    if isinstance(corrector, HubnessBias) and not asked:
        raise ValueError("HubnessBias learns from the queries that documents meet: give queries.")


def learn(
    corrector: Corrector,
    blocks: Iterable[np.ndarray],
    *,
    sample_weight: np.ndarray | None = None,
    queries: Iterable[np.ndarray] | None = None,
) -> tuple[Corrector, int]:
    """A clone, fitted to embeddings in blocks, and how many there were.

    Parameters
    ----------
    corrector : unfitted corrector
    blocks : iterable of arrays of shape (n, d)
        Embeddings of documents; kept only where the corrector does not follow from moments.
    sample_weight : array, optional
        A weight for each document.
    queries : iterable of arrays of shape (q, d), optional
        Embeddings of queries.
    """
    corrector = clone(corrector)
    if isinstance(corrector, AffineCorrector):
        moments = corrector._new_moments()
        n = _gathered(moments, blocks, sample_weight, "texts")
        asked = None if queries is None else query_moments(corrector, queries)
        return corrector.fit_moments(moments, queries=asked), n
    rows = _joined(blocks, "texts")
    _check_weights(sample_weight, len(rows))
    more: dict[str, Any] = {}
    if queries is not None:
        more["queries"] = _joined(queries, "queries")
    if sample_weight is not None:
        more["sample_weight"] = sample_weight
    return corrector.fit(rows, **more), len(rows)


def _gathered(
    moments: Moments, blocks: Iterable[np.ndarray], weights: np.ndarray | None, name: str
) -> int:
    """How many rows went into the moments; those of no weight are none of its own rows."""
    n = 0
    for block in blocks:
        start, n = n, n + len(block)
        if weights is not None and n > len(weights):
            _check_weights(weights, n)
        moments.update(block, None if weights is None else weights[start:n], first_row=start)
    if not n:
        raise ValueError(f"{name} holds no text to fit on.")
    _check_weights(weights, n)
    if not moments.total_weight > 0:
        raise ValueError("Every weight is zero; at least one text must count.")
    return n


def _joined(blocks: Iterable[np.ndarray], name: str) -> np.ndarray:
    rows = list(blocks)
    if not sum(map(len, rows)):
        raise ValueError(f"{name} holds no text to fit on.")
    return np.concatenate(rows)


def _check_weights(weights: np.ndarray | None, n: int) -> None:
    if weights is not None and len(weights) != n:
        raise ValueError(
            f"sample_weight must be one number a text, got {len(weights)} for {n} texts."
        )


def weights_of(sample_weight: Any, texts: Any) -> np.ndarray | None:
    """Weights as an array, checked against the texts as far as their number is known."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim != 1:
        raise ValueError(f"sample_weight must be 1-D, got shape {weights.shape}.")
    if isinstance(texts, Sized):
        _check_weights(weights, len(texts))
    return weights


def known_texts(texts: Texts, name: str) -> Iterable[str]:
    """Texts or those of a file: looked through where that is possible, refused where none come."""
    if isinstance(texts, str | os.PathLike):
        texts = list(read_texts(texts))
    lines = checked_texts(texts)
    if not isinstance(texts, Sized):
        return lines
    if not len(texts):
        raise ValueError(f"{name} holds no text to fit on.")
    return texts
