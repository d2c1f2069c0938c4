"""How long does it take to learn a corrector, against the bare product X'X of the same rows?"""

import faiss
import numpy as np
from _common import arguments, cone, isotropic, parser, ratios, report, timed
from sklearn.decomposition import PCA, IncrementalPCA

from isotropy import ComponentRemoval, MeanRemoval, Moments, Whitening


def recipe(X):
    """The reference BERT-whitening: numpy.cov in float64, then an SVD."""
    mean = X.mean(axis=0, keepdims=True)
    u, s, _ = np.linalg.svd(np.cov(X.T))
    return u @ np.diag(1 / np.sqrt(s)), -mean


def by_faiss(X):
    d = X.shape[1]
    matrix = faiss.PCAMatrix(d, d, -0.5)
    matrix.max_points_per_d = len(X)  # by default it takes 1000 d rows and says nothing
    matrix.train(X)


def tasks_on(X):
    return {
        "bare X.T @ X": lambda: X.T @ X,
        "isotropy Moments (order 2)": lambda: Moments.from_rows(X, unit="none", order=2),
        "isotropy Moments (all but Gram)": lambda: Moments.from_rows(X),
        "isotropy Whitening": lambda: Whitening().fit(X),
        "isotropy Whitening cholesky": lambda: Whitening("cholesky").fit(X),
        "isotropy ComponentRemoval": lambda: ComponentRemoval().fit(X),
        "isotropy MeanRemoval": lambda: MeanRemoval().fit(X),
        "scikit-learn PCA covariance_eigh": lambda: PCA(
            whiten=True, svd_solver="covariance_eigh"
        ).fit(X),
        "faiss PCAMatrix": lambda: by_faiss(X),
        "BERT-whitening recipe": lambda: recipe(X),
    }


def slow_tasks_on(X):
    peer = IncrementalPCA(whiten=True, batch_size=8192)
    return {"scikit-learn IncrementalPCA": lambda: peer.fit(X)}


options = parser(__doc__, rows=130_000, dims=768, repeats=7)
options.add_argument(
    "--slow-peers", action="store_true", help="IncrementalPCA too: one run, not in turn"
)
chosen = arguments(options)
kinds = {
    "fit": ("mean cosine 0.5", cone),
    "fit_isotropic": ("isotropic", isotropic),
}
for name, (kind, rows_of) in kinds.items():
    X = rows_of(chosen.rows, chosen.dims)
    seconds = timed(tasks_on(X), chosen.repeats)
    if chosen.slow_peers:
        seconds |= timed(slow_tasks_on(X), 1, warm_up=False)
    title = f"Fit, float32, {chosen.rows:,} x {chosen.dims}, {kind}"
    report(name, title, ratios(seconds, "bare X.T @ X"), write=not chosen.quick)
