"""Affine maps out of other libraries' fitted estimators, as the arrays that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isotropy._optional import require

__all__ = ["of_faiss", "of_sklearn"]

Parts = dict[str, Any]
"""``y = (x - mean) matrix + offset``, as `AffineMap` takes them."""


def of_sklearn(estimator: Any) -> Parts:
    """The map of one fitted estimator of scikit-learn.

    Parameters
    ----------
    estimator : scikit-learn transformer

    Returns
    -------
    dict of array
        "mean", and of "matrix", "offset" and "inverse" those that are not trivial.

    Raises
    ------
    ValueError
        If it is not an affine map.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> of_sklearn(StandardScaler(with_std=False).fit(np.ones((3, 2))))["mean"].tolist()
    [1.0, 1.0]
    """
    from sklearn.utils.validation import check_is_fitted

    reader = next(
        (_SKLEARN[c.__name__] for c in type(estimator).__mro__ if c.__name__ in _SKLEARN), None
    )
    if reader is None or not type(estimator).__module__.startswith("sklearn."):
        raise ValueError(
            f"A {type(estimator).__name__} is not known to be an affine map: "
            f"{', '.join(_SKLEARN)}, affine correctors without normalization, and pipelines of "
            "them are."
        )
    check_is_fitted(estimator)
    return reader(estimator)


def _scaled(mean: Any, scale: Any, d: int) -> Parts:
    """``(x - mean) / scale``; None stands for no mean, or no scale."""
    mean = np.zeros(d) if mean is None else mean
    if scale is None:
        return {"mean": mean}
    return {"mean": mean, "matrix": np.diag(1 / scale), "inverse": np.diag(scale)}


def _standard(scaler: Any) -> Parts:
    scale = scaler.scale_ if scaler.with_std else None
    return _scaled(scaler.mean_ if scaler.with_mean else None, scale, scaler.n_features_in_)


def _robust(scaler: Any) -> Parts:
    return _scaled(scaler.center_, scaler.scale_, scaler.n_features_in_)


def _min_max(scaler: Any) -> Parts:
    if scaler.clip:
        raise ValueError("A MinMaxScaler(clip=True) is not an affine map: it clips.")
    return {**_scaled(None, 1 / scaler.scale_, scaler.n_features_in_), "offset": scaler.min_}


def _max_abs(scaler: Any) -> Parts:
    return _scaled(None, scaler.scale_, scaler.n_features_in_)


def _pca(pca: Any) -> Parts:
    matrix = np.asarray(pca.components_, dtype=np.float64).T
    if pca.whiten:
        scale = np.sqrt(np.asarray(pca.explained_variance_, dtype=np.float64))
        # scikit-learn divides by this floor too, where a variance is zero.
        scale = np.maximum(scale, np.finfo(pca.explained_variance_.dtype).eps)
        matrix = matrix / scale
    return {"mean": pca.mean_, "matrix": matrix}


def _svd(svd: Any) -> Parts:
    return {"mean": np.zeros(svd.components_.shape[1]), "matrix": svd.components_.T}


_SKLEARN: dict[str, Callable[[Any], Parts]] = {
    "StandardScaler": _standard,
    "RobustScaler": _robust,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "PCA": _pca,
    "IncrementalPCA": _pca,
    "TruncatedSVD": _svd,
}


def of_faiss(transform: Any) -> Parts:
    """The map of one trained transform of faiss.

    Parameters
    ----------
    transform : faiss.VectorTransform

    Returns
    -------
    dict of array
        "mean", and of "matrix" and "offset" those that are not trivial.

    Raises
    ------
    ValueError
        If it is not an affine map, or not trained.
    ImportError
        If faiss is missing (``isotropy[export]``).

    Examples
    --------
    >>> import faiss, numpy as np
    >>> centering = faiss.CenteringTransform(2)
    >>> centering.train(np.ones((3, 2), np.float32))
    >>> of_faiss(centering)["mean"].tolist()
    [1.0, 1.0]
    """
    faiss = require("faiss", extra="export")
    if not transform.is_trained:
        raise ValueError(f"The {type(transform).__name__} is not trained: train it first.")
    transform = faiss.downcast_VectorTransform(transform)
    if isinstance(transform, faiss.CenteringTransform):
        return {"mean": faiss.vector_to_array(transform.mean)}
    if isinstance(transform, faiss.ITQTransform):
        raise ValueError("An ITQTransform scales each row to length one, so it is not affine.")
    if not isinstance(transform, faiss.LinearTransform):
        raise ValueError(
            f"A {type(transform).__name__} is not an affine map: LinearTransform and its kinds "
            "(PCAMatrix, OPQMatrix, RandomRotationMatrix, ...) and CenteringTransform are."
        )
    shape = transform.d_out, transform.d_in
    matrix = faiss.vector_to_array(transform.A)[: shape[0] * shape[1]].reshape(shape)
    offset = faiss.vector_to_array(transform.b) if transform.have_bias else None
    return {"mean": np.zeros(shape[1]), "matrix": matrix.T, "offset": offset}
