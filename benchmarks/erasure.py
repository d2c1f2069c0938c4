"""How long does erasing a concept take, beside concept-erasure from PyPI, and is it the same map?

The package is no dependency: ``pip install --no-deps concept-erasure`` where torch is. The same map
means its own with ``shrinkage=False, svd_tol=1e-10``: it shrinks the covariance by default, and
leaves correlations below 0.01. It also bends the map towards the orthogonal one where the trace of
the covariance would grow, which the paper's theorem does not; none of these rows make it do so.
"""

import numpy as np
from _common import arguments, parser, ratios, report, timed

from isotropy import ConceptErasure, CrossMoments, GroupMeanRemoval, GroupWhitening, Moments

try:
    import torch
    from concept_erasure import LeaceFitter
except ImportError:
    LeaceFitter = None

EXACT = {"shrinkage": False, "svd_tol": 1e-10}


def theirs(X, z, **options):
    labels = torch.nn.functional.one_hot(torch.from_numpy(z))
    return LeaceFitter.fit(torch.from_numpy(X), labels, **options).eraser


def difference(n, d, k):
    """Largest difference of the erased rows, in deviations of the rows."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, k, n)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(k, d))[z] * 3 + 5
    ours = ConceptErasure().fit_transform(X, z)
    other = theirs(X, z, **EXACT)(torch.from_numpy(X)).numpy()
    apart = np.abs(ours - other).max() / X.std()
    return {"rows": f"{n} x {d}, {k} classes", "difference": f"{apart:.1e}"}


options = parser(__doc__, rows=100_000, dims=768, repeats=3)
options.add_argument("--classes", type=int, default=100)
chosen = arguments(options)
rng = np.random.default_rng(0)
z = rng.integers(0, chosen.classes, chosen.rows)
X = rng.standard_normal((chosen.rows, chosen.dims), dtype=np.float32) + 3
X += rng.standard_normal((chosen.classes, chosen.dims), dtype=np.float32)[z]
one = np.zeros(chosen.rows, int)
tasks = {
    "Moments (order 2)": lambda: Moments.from_rows(X, unit="none", order=2),
    "CrossMoments": lambda: CrossMoments.from_rows(X, z=z),
    "ConceptErasure": lambda: ConceptErasure().fit(X, z),
    "GroupMeanRemoval": lambda: GroupMeanRemoval().fit(X, groups=z),
    "GroupMeanRemoval, one group": lambda: GroupMeanRemoval().fit(X, groups=one),
    "GroupWhitening": lambda: GroupWhitening().fit(X, groups=z),
    "GroupWhitening, one group": lambda: GroupWhitening().fit(X, groups=one),
}
if LeaceFitter is not None:
    tasks["concept-erasure"] = lambda: theirs(X, z)
title = f"Fit, float32, {chosen.rows:,} x {chosen.dims}, {chosen.classes} classes"
found = ratios(timed(tasks, chosen.repeats), "ConceptErasure")
report("erasure", title, found, write=not chosen.quick)
if LeaceFitter is not None:
    same = [difference(*size) for size in ((1000, 8, 2), (4096, 32, 5), (2000, 128, 20))]
    report("erasure_same", "The same map", same, write=not chosen.quick)
