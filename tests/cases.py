"""Data sets named by what makes them hard, and the correctors that meet every one."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from isotropy import (
    AutoCorrector,
    ClusterRemoval,
    ComponentRemoval,
    ConceptErasure,
    ConceptorNegation,
    GroupMeanRemoval,
    GroupWhitening,
    HubnessBias,
    MeanDirectionRemoval,
    MeanRemoval,
    PairWhitening,
    RandomRotation,
    RotationGaussianizer,
    TaperedWhitening,
    WeightedRemoval,
    Whitening,
)
from isotropy.io.formats import writable
from isotropy.rows import Rows, as_rows


def _gaussian(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def _cone(n=400, d=16):
    return _gaussian(n, d) + 1000 * np.ones(d)


def _dominant(n=400, d=16):
    X = _gaussian(n, d)
    X[:, 3] *= 100
    return X


def _rank_deficient(n=400, d=16):
    return _gaussian(n, 5) @ _gaussian(5, d, seed=1) + 3


def _layer_norm(n=400, d=16):
    """Rows of LayerNorm without its affine part: in float32 one direction is null but for noise."""
    X = _gaussian(n, d).astype(np.float32) * np.linspace(0.2, 2, d, dtype=np.float32)
    return (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)


def _constant_column(n=400, d=16):
    X = _gaussian(n, d)
    X[:, 2] = 7.25
    return X


def _zero_row(n=400, d=16):
    X = _gaussian(n, d) + 1
    X[5] = 0
    return X


def _flow():
    from isotropy import FlowGaussianizer

    small = {"n_layers": 2, "hidden": 16, "max_iter": 15, "batch_size": 32, "dropout": 0.0}
    return FlowGaussianizer(**small, learning_rate=0.01, weight_decay=0.0, random_state=0)


def bent(n=160, d=8):
    """Rows that no linear map makes Gaussian, off the origin: flows have something to learn."""
    X = _gaussian(n, d)
    X[:, d // 2 :] += 2 * X[:, : d // 2] ** 2
    return X * np.arange(1, d + 1) + 4


HARD = {
    "isotropic": _gaussian(400, 16),
    "cone a thousand times the spread": _cone(),
    "one dominant direction": _dominant(),
    "rank deficient": _rank_deficient(),
    "null direction of a LayerNorm": _layer_norm(),
    "fewer rows than columns": _gaussian(9, 16) + 2,
    "duplicates": np.repeat(_gaussian(40, 16), 10, axis=0),
    "constant column": _constant_column(),
    "zero row": _zero_row(),
    "float16": (_gaussian(400, 16) + 2).astype(np.float16),
    "float32": (_gaussian(400, 16) + 2).astype(np.float32),
    "integers": np.random.default_rng(0).integers(-9, 9, size=(400, 16)),
    "tiny numbers": (_gaussian(400, 16) * 1e-25).astype(np.float32),
    "huge numbers": (_gaussian(400, 16) * 1e25).astype(np.float32),
    "fortran order": np.asfortranarray(_gaussian(400, 16)),
    "every second column": _gaussian(400, 32)[:, ::2],
}


# What two ways of computing one thing may differ by, relative to the largest number of the result,
# whatever the processor: kernels sum in other orders. Bits are compared only where one code path
# makes both sides, as for a corrector and the one loaded from its file.
TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}


# A new corrector joins every contract by a line here. With "pca", directions of equal variance
# (all without any, once shrunk) have no basis of their own; "zca" needs none.
CORRECTORS = [
    MeanRemoval(),
    MeanRemoval(0.5, normalize="both"),
    MeanDirectionRemoval(),
    ComponentRemoval(),
    ComponentRemoval(3, project="paper"),
    ComponentRemoval("d/100", normalize="before"),
    ComponentRemoval(1, center=False),
    ComponentRemoval(5, center=False, weights="spectrum"),
    ConceptorNegation(),
    ConceptorNegation(0.5, center=True, normalize="after"),
    RandomRotation(),
    RandomRotation(4, random_state=1, normalize="after"),
    AutoCorrector(),
    TaperedWhitening(),
    TaperedWhitening(power=1.75, tail=0.5, normalize="both"),
    TaperedWhitening(power=0.5, mean_strength=0.0),
    Whitening(),
    Whitening("zca"),
    Whitening("cholesky"),
    Whitening("pca-cor"),
    Whitening("zca-cor", normalize="both"),
    Whitening(power=0.5, mean_strength=0.5),
    Whitening(power="tempered", n_components=0.9),
    Whitening("zca", shrinkage="ledoit-wolf"),
    Whitening("zca", shrinkage="oas"),
    Whitening("zca", epsilon=0.1, ddof=0),
]

# Those that learn more than moments tell: from pairs, queries, clusters, or by training.
LEARNERS = [
    WeightedRemoval(4),
    WeightedRemoval(4, normalize="both"),
    PairWhitening(),
    PairWhitening(5, normalize="before"),
    ConceptErasure(),
    ConceptErasure(0.5, normalize="both"),
    GroupMeanRemoval(),
    GroupWhitening(0.5, unknown="whole"),
    GroupWhitening(own=True, unknown="whole"),
    ClusterRemoval(3, 2),
    ClusterRemoval(3, 1, keep_centers=True),
    HubnessBias(3),
    HubnessBias(3, metric="inner"),
    RotationGaussianizer(3, random_state=0),
    *([] if find_spec("nflows") is None else [_flow()]),
]


def labels_of(corrector, X):
    """The labels that `fit` and `partial_fit` ask for, which follow from the rows."""
    if not isinstance(corrector, ConceptErasure | GroupMeanRemoval):
        return {}
    rows = np.asarray(as_rows(X).in_memory())
    name = "z" if isinstance(corrector, ConceptErasure) else "groups"
    return {name: np.where(rows[:, 0] > rows[:, 1] + 1, "more", "less")}


def learn_on(corrector, X):
    """`partial_fit`, with the labels that it asks for."""
    return corrector.partial_fit(X, **labels_of(corrector, X))


def fitted(corrector, X, **more):
    """The corrector fitted on `X`, with the pairs, labels or queries that its `fit` asks for."""
    random = np.random.default_rng(3)
    more = labels_of(corrector, X) | more
    if isinstance(corrector, WeightedRemoval | PairWhitening):
        more = {
            "pairs": random.integers(0, len(X), (60, 2)),
            "pair_scores": random.random(60),
        } | more
    if isinstance(corrector, HubnessBias):
        more = {"queries": random.normal(size=(20, np.shape(X)[-1])) + 0.1} | more
    return corrector.fit(X, **more)


FORMATS = sorted(set(writable()) - {".fvecs", ".hdf5"})
"""Suffixes of files of embeddings that keep names and types, and are written as well as read."""


class Blocks(Rows):
    """Rows that come in blocks only, cut where `cuts` say."""

    def __init__(self, rows, cuts=37):
        super().__init__(None, None, rows.shape, rows.dtype)
        self.rows = rows
        self.cuts = list(range(cuts, len(rows), cuts)) if isinstance(cuts, int) else cuts

    def _blocks(self, block_rows, start):
        yield from (part for part in np.split(self.rows[start:], self.cuts) if len(part))


class Payload:
    """Whoever unpickles this makes the file that it names."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)
