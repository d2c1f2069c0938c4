"""The time of exact nearest neighbours, against faiss (isotropy[export])."""

import faiss
import numpy as np
from _common import arguments, cone, parser, ratios, report, timed

from isotropy.metrics import nearest_neighbors

chosen = arguments(parser(__doc__, rows=100_000, dims=384, repeats=3))
X = cone(chosen.rows, chosen.dims)
X -= X.mean(0)
X /= np.linalg.norm(X, axis=1, keepdims=True)
queries = X[: chosen.rows // 10] + np.float32(0.01)
index = faiss.IndexFlatIP(chosen.dims)
index.add(X)
seconds = timed(
    {
        "faiss IndexFlatIP, the rows themselves": lambda: index.search(X, 11),
        "nearest_neighbors, the rows themselves": lambda: nearest_neighbors(X, 10, measure="dot"),
    },
    chosen.repeats,
    warm_up=False,
)
table = ratios(seconds, "faiss IndexFlatIP, the rows themselves")
seconds = timed(
    {
        "faiss IndexFlatIP, a tenth as queries": lambda: index.search(queries, 10),
        "nearest_neighbors, a tenth as queries": lambda: nearest_neighbors(
            X, 10, queries=queries, measure="dot"
        ),
    },
    chosen.repeats,
    warm_up=False,
)
table += ratios(seconds, "faiss IndexFlatIP, a tenth as queries")
found = nearest_neighbors(X, 10, measure="dot").indices
theirs = index.search(X[:2000], 11)[1]
same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, theirs, strict=False)])
report(
    "neighbors",
    f"10 nearest of {chosen.rows:,} x {chosen.dims}, float32; {100 * same:.2f} % the same rows",
    table,
    write=not chosen.quick,
)
