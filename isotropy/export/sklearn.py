"""Affine maps out of fitted scikit-learn estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector

__all__ = ["from_sklearn"]


def from_sklearn(estimator: Any) -> AffineMap:
    """See `AffineMap.from_sklearn`."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        if not steps:
            raise ValueError("The pipeline has no step, so the width of its rows is not known.")
        affine = from_sklearn(steps[0])
        for step in steps[1:]:
            affine = affine.then(from_sklearn(step))
        return affine
    check_is_fitted(estimator)
    if isinstance(estimator, StandardScaler):
        return _of_scaler(estimator)
    if isinstance(estimator, PCA | IncrementalPCA):
        return _of_pca(estimator)
    if isinstance(estimator, TruncatedSVD):
        components = np.asarray(estimator.components_, dtype=np.float64)
        return AffineMap(np.zeros(components.shape[1]), components.T)
    if isinstance(estimator, AffineCorrector) and estimator.normalize == "none":
        return estimator.affine_map_
    raise ValueError(
        f"A {type(estimator).__name__} is not known to be an affine map: StandardScaler, PCA, "
        "IncrementalPCA, TruncatedSVD, affine correctors without normalization, and pipelines of "
        "them are."
    )


def _of_scaler(scaler: StandardScaler) -> AffineMap:
    d = scaler.n_features_in_
    mean = np.zeros(d) if not scaler.with_mean else scaler.mean_
    if not scaler.with_std:
        return AffineMap(mean)
    return AffineMap(mean, np.diag(1 / scaler.scale_), inverse=np.diag(scaler.scale_))


def _of_pca(pca: Any) -> AffineMap:
    components = np.asarray(pca.components_, dtype=np.float64)
    matrix = components.T
    if pca.whiten:
        scale = np.sqrt(np.asarray(pca.explained_variance_, dtype=np.float64))
        # scikit-learn divides by this floor too, where a variance is zero.
        scale = np.maximum(scale, np.finfo(pca.explained_variance_.dtype).eps)
        matrix = matrix / scale
    return AffineMap(np.asarray(pca.mean_, dtype=np.float64), matrix)
