"""Does a linear classifier find a group after ConceptErasure, and on which rows?

A probe is a logistic regression with hardly any penalty. Four ways to ask it:

training
    Erasure and probe are fitted on one half of the rows, and the probe is judged on that half.
held-out
    The same probe, judged on the other half, which neither of them saw.
corpus
    Erasure is fitted on all rows, as for an index; the probe learns on one half and is judged on
    the other. Both halves were erased together, so what one has too much of the other lacks: the
    probe may fall below chance.
fresh
    Erasure is fitted on one half; the probe learns and is judged on two quarters that erasure never
    saw. This finds what is left since covariances were estimated, and falls with the rows.

Chance is the share of the largest group, its interval that of a share among the rows judged.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _common import report
from _encoders import encoded
from _sets import collections
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from isotropy import ConceptErasure

WAYS = ("training", "held-out", "corpus", "fresh")


def probe(X, z, judged_X, judged_z):
    scaler = StandardScaler().fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = LogisticRegression(C=100, max_iter=100).fit(scaler.transform(X), z)
    return float(found.score(scaler.transform(judged_X), judged_z))


def interval(z, n):
    """Where the share of the largest group lies among n rows, 95 of 100 times."""
    share = np.unique(z, return_counts=True)[1].max() / len(z)
    half = 1.96 * np.sqrt(share * (1 - share) / n)
    return share - half, share + half


def asked(X, z, rng):
    """Accuracy before, and in each of the four ways, with the rows judged."""
    order = rng.permutation(len(X))
    half, quarter = len(X) // 2, 3 * len(X) // 4
    a, b, c, d = order[:half], order[half:], order[half:quarter], order[quarter:]
    part = ConceptErasure().fit(X[a], z[a]).transform(X)
    whole = ConceptErasure().fit(X, z).transform(X)
    before = probe(X[a], z[a], X[b], z[b])
    pairs = {
        "training": (part, a, a),
        "held-out": (part, a, b),
        "corpus": (whole, a, b),
        "fresh": (part, c, d),
    }
    after = {way: (probe(Y[p], z[p], Y[q], z[q]), len(q)) for way, (Y, p, q) in pairs.items()}
    return before, after


def measured(name, draws):
    """A line for rows that are drawn, or split, several times."""
    before, after = [], {way: [] for way in WAYS}
    above = dict.fromkeys(WAYS, 0)
    for seed, (X, z) in enumerate(draws):
        raw, found = asked(X, z, np.random.default_rng(seed))
        before.append(raw)
        for way, (value, n) in found.items():
            after[way].append(value)
            above[way] += value > interval(z, n)[1]
    low, high = interval(z, len(X) - len(X) // 2)
    return {
        "rows": name,
        "runs": len(before),
        "before, held-out %": round(100 * float(np.mean(before)), 1),
        **{f"{way} %": round(100 * float(np.mean(after[way])), 1) for way in WAYS},
        "chance %": f"{100 * low:.1f} to {100 * high:.1f}",
        "above chance": ", ".join(f"{way} {above[way]}" for way in WAYS),
    }


def made(n, d, k, seed):
    rng = np.random.default_rng(seed)
    z = np.arange(n) % k
    X = rng.standard_normal((n, d), dtype=np.float32) @ (rng.normal(size=(d, d)) / d**0.5)
    return X + (rng.normal(size=(k, d)) * 0.5)[z], z


def sources(sets, data, cache):
    parts = [encoded("mean 6", sets[s], data, cache)["documents"] for s in ("cranfield", "cisi")]
    return np.concatenate(parts).astype(float), np.repeat([0, 1], [len(p) for p in parts])


def genres(sets, data, cache):
    """Of STS-B's pairs, each sentence once."""
    texts = sets["sts-test"].tasks["similarity"].texts
    lines = (data / "sts/sts-test.csv").read_text("utf-8").split("\n")
    of = {text: line.split("\t")[0] for line in lines for text in line.split("\t")[5:7]}
    rows = encoded("mean 6", sets["sts-test"], data, cache)["texts"].astype(float)
    return rows, np.array([of.get(text, "unknown") for text in texts])


options = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
options.add_argument("--data", type=Path, required=True)
options.add_argument("--cache", type=Path, required=True)
options.add_argument("--quick", action="store_true", help="1,000 rows alone; writes no file")
chosen = options.parse_args()
drawn = [(1000, 128, 2, 20), (1000, 128, 5, 20)]
if not chosen.quick:
    drawn += [(100_000, 128, 2, 3), (100_000, 128, 20, 1)]
lines = [
    measured(f"made, {n:,} x {d}, {k} groups", (made(n, d, k, seed) for seed in range(runs)))
    for n, d, k, runs in drawn
]
if not chosen.quick:
    sets = {c.name: c for c in collections(chosen.data)}
    for what, get in (("Cranfield and CISI", sources), ("STS-B's genres", genres)):
        X, z = get(sets, chosen.data, chosen.cache / "rows")
        name = f"MiniLM, {what}, {len(X):,} x {X.shape[1]}"
        lines.append(measured(name, ((X, z) for _ in range(5))))
report("probe", "A linear probe of the group after ConceptErasure", lines, write=not chosen.quick)
