"""How long does it take to correct rows, against the bare product X W?"""

import faiss
import numpy as np
from _common import arguments, cone, parser, ratios, report, timed
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from isotropy import ComponentRemoval, MeanRemoval, Whitening

options = parser(__doc__, rows=130_000, dims=768, repeats=5)
chosen = arguments(options)
X = cone(chosen.rows, chosen.dims)
d = chosen.dims
whiten, whiten_unit = Whitening().fit(X), Whitening(normalize="after").fit(X)
remove, centre = ComponentRemoval(3).fit(X), MeanRemoval().fit(X)
peer = PCA(whiten=True, svd_solver="covariance_eigh").fit(X)
matrix = faiss.PCAMatrix(d, d, -0.5)
matrix.train(X)
W = np.ascontiguousarray(whiten.affine_map_.matrix.astype(np.float32))
mean = X.mean(0)


def recipe():
    Y = (X - mean) @ W
    return Y / (Y**2).sum(axis=1, keepdims=True) ** 0.5


out, bare_out = np.empty_like(X), np.empty_like(X)
tasks = {
    "bare X @ W": lambda: X @ W,
    "isotropy Whitening, unit rows": lambda: whiten_unit.transform(X),
    "isotropy Whitening": lambda: whiten.transform(X),
    "isotropy ComponentRemoval(3)": lambda: remove.transform(X),
    "isotropy MeanRemoval": lambda: centre.transform(X),
    "scikit-learn PCA": lambda: peer.transform(X),
    "scikit-learn PCA, unit rows": lambda: normalize(peer.transform(X), copy=False),
    "faiss PCAMatrix": lambda: matrix.apply(X),
    "BERT-whitening recipe, unit rows": recipe,
}
title = f"Transform, float32, {chosen.rows:,} x {d}, results in new memory"
rows = ratios(timed(tasks, chosen.repeats), "bare X @ W")
tasks = {
    "bare X @ W": lambda: np.matmul(X, W, out=bare_out),
    "isotropy Whitening, unit rows": lambda: whiten_unit.affine_map_.apply(
        X, normalize="after", out=out
    ),
    "isotropy Whitening": lambda: whiten.affine_map_.apply(X, out=out),
}
held = ratios(timed(tasks, chosen.repeats), "bare X @ W")
report("transform", title, rows, write=not chosen.quick)
title = "The same into memory that is there already"
report("transform_in_place", title, held, write=not chosen.quick)
