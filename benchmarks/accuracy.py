"""How far from the identity is the covariance of float32 rows after whitening?"""

import faiss
import numpy as np
from _common import arguments, parser, report
from sklearn.decomposition import PCA, IncrementalPCA

from isotropy import Moments, Whitening
from isotropy.rows import passes as _sums


def rows_of(mean_cosine, n, d, unit, seed=0):
    """Eigenvalues over a range of 1e4 in a random basis, and a mean that gives the cosine."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    scales = np.logspace(0, -2, d)
    X = rng.normal(size=(n, d)) * scales @ basis
    direction = rng.normal(size=d)
    length = np.sqrt(mean_cosine / (1 - mean_cosine) * (scales**2).sum())
    X += length * direction / np.linalg.norm(direction)
    if unit:
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X.astype(np.float32)


def off(Y):
    """max |C - I|, in float64, or how many rows are not finite."""
    bad = np.count_nonzero(~np.isfinite(Y).all(axis=1))
    if bad:
        return f"NaN in {bad} rows"
    C = np.cov(np.asarray(Y, dtype=np.float64).T)
    return f"{np.abs(C - np.eye(len(C))).max():.1e}"


def by_faiss(X):
    d = X.shape[1]
    matrix = faiss.PCAMatrix(d, d, -0.5)
    matrix.train(X)
    return matrix.apply(X) * np.sqrt(len(X) - 1)  # its eigenvalues are those of the scatter


def in_float32(X):
    """Ours as it multiplies large jobs."""
    kept, _sums.SMALL_JOB = _sums.SMALL_JOB, 0
    try:
        return Whitening().fit_transform(X)
    finally:
        _sums.SMALL_JOB = kept


# Half the rows in a quick run: with fewer than 10 d of them scikit-learn takes another solver.
chosen = arguments(parser(__doc__, rows=6000, dims=256), share=2)
table = []
for unit in (False, True):
    for mean_cosine in (0.5, 0.74, 0.9, 0.96, 0.99):
        X = rows_of(mean_cosine, chosen.rows, chosen.dims, unit)
        table.append(
            {
                "rows": "unit" if unit else "raw",
                "mean cosine": mean_cosine,
                "isotropy": off(Whitening().fit_transform(X)),
                "isotropy, as large jobs": off(in_float32(X)),
                "scikit-learn PCA": off(PCA(whiten=True).fit_transform(X)),
                "faiss": off(by_faiss(X)),
                "IncrementalPCA": off(IncrementalPCA(whiten=True).fit_transform(X)),
            }
        )
title = f"max |C - I| of whitened float32 rows, {chosen.rows:,} x {chosen.dims}, spectrum over 1e4"
report("accuracy", title, table, write=not chosen.quick)

X = rows_of(0.99, chosen.rows, chosen.dims, False).astype(np.float64)
rng = np.random.default_rng(1)
w = rng.integers(0, 4, len(X))
once = Moments.from_rows(X).covariance()
pieces = [Moments.from_rows(part) for part in np.array_split(X, 13)]
merged = sum((pieces[k] for k in rng.permutation(13)), Moments()).covariance()
shuffled = Moments.from_rows(rng.permutation(X)).covariance()
weighted = Moments.from_rows(X, w).covariance()
repeated = Moments.from_rows(np.repeat(X, w, axis=0)).covariance()


def apart(A, B):
    return f"{np.abs(A - B).max() / np.abs(B).max():.1e}"


agreement = [
    {"float64 covariances": "merged from 13 pieces in any order", "apart": apart(merged, once)},
    {"float64 covariances": "shuffled rows", "apart": apart(shuffled, once)},
    {"float64 covariances": "weights against repeated rows", "apart": apart(weighted, repeated)},
]
title = "Largest difference relative to the largest entry, mean cosine 0.99"
report("agreement", title, agreement, write=not chosen.quick)
