"""A cell: an encoder's rows of a collection, under every setting and task; and what they show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import skew, spearmanr
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score
from sklearn.preprocessing import normalize

from isotropy import (
    AutoCorrector,
    ComponentRemoval,
    MeanRemoval,
    Moments,
    TaperedWhitening,
    Whitening,
)
from isotropy.choose.texts import terms
from isotropy.metrics import mean_cosine
from isotropy.ranking import first, ndcg, spearman, unit, vote

DRAWS = 20
LINEAR = ("trec", "stackoverflow")
# Settings that slow tasks try.
FEW = (
    "raw", "centred", "power .25", "power .5", "power 1", "origin .25", "origin .5",
    "origin tapered 1",
)  # fmt: skip


def settings(d: int) -> dict[str, Any]:
    """Name to corrector; the first leaves rows alone."""
    found: dict[str, Any] = {"raw": None, "half centred": MeanRemoval(0.5)}
    found["centred"] = MeanRemoval()
    for power in (0.25, 0.5, 0.75, 1.0):
        found[f"power {power:.2g}".replace("0.", ".")] = TaperedWhitening(power)
    found["plain 1"] = Whitening()
    for power in (0.25, 0.5, 0.75):
        named = f"origin {power:.2g}".replace("0.", ".")
        found[named] = Whitening(power=power, mean_strength=0.0)
    for power in (0.5, 1.0):
        named = f"origin tapered {power:.2g}".replace("0.", ".")
        found[named] = TaperedWhitening(power)
    for k in (1, 3, 8):
        if k <= d // 6:
            found[f"top {k} removed"] = ComponentRemoval(k)
    found["128 dims, .5"] = Whitening(power=0.5, n_components=min(128, d // 2))
    return found


# What AutoCorrector chooses: from embeddings alone, and with the texts.
CHOICES = {"chosen alone": False, "chosen by texts": True}


# -- scores: the value, and one a resample or item for the spread of differences ------------------


def _similarity(task: Any, Y: np.ndarray) -> np.ndarray:
    found = task.cosines({"texts": Y})
    draws = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    return 100 * np.array(
        [spearman(found, task.labels), *(spearman(found[k], task.labels[k]) for k in draws)]
    )


def _pairs(task: Any, Y: np.ndarray) -> np.ndarray:
    """Average precision of all pairs, which needs no threshold."""
    found, same = task.cosines({"texts": Y}), task.same
    draws = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    each = [average_precision_score(same[k], found[k]) for k in draws]
    return 100 * np.array([average_precision_score(same, found), *each])


def _resampled(each: np.ndarray) -> np.ndarray:
    draws = np.random.default_rng(0).integers(0, len(each), (DRAWS, len(each)))
    return 100 * np.concatenate([[each.mean()], each[draws].mean(1)])


def _search(task: Any, D: np.ndarray, Q: np.ndarray) -> np.ndarray:
    found = first((unit(Q) @ unit(D).T).round(9), 10)
    each = [
        ndcg([judged.get(int(row), 0.0) for row in item], list(judged.values()))
        for item, judged in zip(found, task.judged, strict=True)
    ]
    return _resampled(np.array(each))


def _neighbours(task: Any, Y: np.ndarray) -> np.ndarray:
    """Ten nearest neighbours, each text left out of its own."""
    n = len(task.classes)
    return _resampled((vote(*found_by(Y), task.numbers, n) == task.numbers).astype(float))


def _linear(task: Any, Y: np.ndarray) -> np.ndarray:
    """Logistic regression learnt from every other text, both ways."""
    Y, right = unit(Y), np.zeros(len(Y))
    for side in (0, 1):
        learnt, judged = slice(side, None, 2), slice(1 - side, None, 2)
        model = LogisticRegression(max_iter=1000).fit(Y[learnt], task.numbers[learnt])
        right[judged] = model.predict(Y[judged]) == task.numbers[judged]
    return _resampled(right)


def _clusters(task: Any, Y: np.ndarray) -> np.ndarray:
    """V-measure, mean over starts: one start's value says too little where clusters are few."""
    Y, k = unit(Y).astype(np.float32), len(task.classes)
    starts = 2 if k > 30 else 4 if k > 10 else 8
    each = np.array(
        [
            v_measure_score(
                task.numbers, KMeans(k, n_init=1, random_state=start, tol=1e-3).fit_predict(Y)
            )
            for start in range(starts)
        ]
    )
    draws = np.random.default_rng(0).integers(0, starts, (DRAWS, starts))
    return 100 * np.concatenate([[each.mean()], each[draws].mean(1)])


def scores(
    collection: Any,
    rows: dict[str, np.ndarray],
    known: Collection[str] = (),
    choices: bool = True,
) -> list[dict[str, Any]]:
    """A row a task and setting: points, and the standard error of the difference to raw.

    Settings that are `known` are left out.
    """
    parts = {k: v.astype(np.float64) for k, v in rows.items()}
    X = next(iter(parts.values()))
    moments = Moments(unit="sums", order=2).update(X)
    about_zero = moments.centered_at(np.zeros(X.shape[1]))
    found, raw = [], {}
    for name, setting in settings(X.shape[1]).items():
        if name != "raw" and name in known:
            continue
        seen = about_zero if name.startswith("origin tapered") else moments
        fitted = None if setting is None else setting.fit_moments(seen)
        Y = X if fitted is None else fitted.affine_map_.apply(X)
        for kind, values in _scored(collection, name, fitted, parts, Y):
            base = raw.setdefault(kind.removesuffix(", own mean"), values)
            found.append(_told(kind, name, values, base))
    for name, more in CHOICES.items():
        if not choices or name in known:
            continue
        texts = next(iter(collection.parts.values()))
        fitted = AutoCorrector().fit(X, **{"texts": texts} if more else {})
        Y = fitted.affine_map_.apply(X)
        for kind, values in _scored(collection, name, fitted, parts, Y):
            base = raw[kind.removesuffix(", own mean")]
            found.append(_told(kind, name, values, base) | {"chosen": fitted.chosen_})
    return found


def _told(kind: str, name: str, values: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    apart = float((values - base)[1:].std())
    return {"task": kind, "setting": name, "points": float(values[0]), "error": apart}


def _scored(
    collection: Any, name: str, fitted: Any, parts: dict[str, np.ndarray], Y: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    for kind, task in collection.tasks.items():
        if kind == "similarity":
            yield kind, _similarity(task, Y)
        elif kind == "pairs":
            yield kind, _pairs(task, Y)
        elif kind == "search":
            Q = parts["queries"]
            yield kind, _search(task, Y, Q if fitted is None else fitted.affine_map_.apply(Q))
            if fitted is not None and not name.startswith("origin"):
                own = fitted.affine_map_
                if not fitted._removes_mean:
                    continue
                mean = getattr(fitted, "strength", 1.0) * (Q.mean(0) - parts["documents"].mean(0))
                yield f"{kind}, own mean", _search(task, Y, own.apply(Q - mean))
        elif kind == "clusters" and name in (*FEW, *CHOICES):
            yield kind, _clusters(task, Y)
        elif kind == "classes":
            yield "classes, neighbours", _neighbours(task, Y)
            if collection.name in LINEAR and name in (*FEW, *CHOICES):
                yield "classes, linear", _linear(task, Y)


# -- evidence ------------------------------------------------------------------------------------


def spectrum(X: np.ndarray) -> dict[str, float]:
    m = X.mean(0)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    values = np.maximum(values, 0)
    share = values / values.sum()
    live = share[share > 1e-12]
    d = len(values)
    U = unit(X)
    G = U.T @ U
    n = len(U)
    pairs = n * (n - 1)
    mean = ((U.sum(0) ** 2).sum() - n) / pairs
    off = np.sqrt(max(0.0, ((G * G).sum() - n) / pairs - mean**2))
    norms = np.linalg.norm(X, axis=1)
    return {
        "d": d,
        "n": len(X),
        "mean_cosine": float(mean_cosine(Moments(unit="sums").update(X))),
        "sd_cosine": float(off),
        "mean_share": float(m @ m / (X * X).sum(1).mean()),
        "effective_rank": float(np.exp(-(live * np.log(live)).sum())),
        "participation": float(1 / (share**2).sum()),
        "top1": float(share[0]),
        "top3": float(share[:3].sum()),
        "top10": float(share[:10].sum()),
        "ratio1_10": float(values[0] / values[min(9, d - 1)]),
        "ratio10_50": float(values[9] / max(values[min(49, d - 1)], 1e-30)),
        "half_rank": float((np.cumsum(share) < 0.5).sum() + 1),
        "norm_spread": float(norms.std() / norms.mean()),
        "mean_outlier": float(np.max(m**2) / (m @ m)),
        "variance_outlier": float(X.var(0).max() / X.var(0).sum()),
    }


def shapes(X: np.ndarray) -> dict[str, float]:
    """Of the principal components: outliers and skewness; of rows along the mean."""
    Z = X - X.mean(0)
    right = np.linalg.eigh(Z.T @ Z)[1].T[::-1]
    scores = Z @ right[:10].T
    m = X.mean(0) / np.linalg.norm(X.mean(0))
    standard = scores[:, :10] / scores[:, :10].std(0)
    norms = np.linalg.norm(X, axis=1)
    return {
        "kurtosis10": float((standard**4).mean() - 3),
        "skew10": float(np.abs(skew(standard, axis=0)).mean()),
        "pc1_mean": float(abs(right[0] @ m)),
        "pc3_mean": float(np.linalg.norm(right[:3] @ m)),
        "along_mean": float((Z @ m).var() / (Z * Z).sum(1).mean()),
        "norm_pc1": float(abs(spearmanr(norms, scores[:, 0]).statistic)),
    }


def found_by(Y: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows by cosine, nearest first; float32 is enough for evidence."""
    U = unit(Y).astype(np.float32)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -2)
    some = np.argpartition(-cosines, k, axis=1)[:, :k]
    values = np.take_along_axis(cosines, some, 1)
    order = np.argsort(-values, axis=1)
    return np.take_along_axis(some, order, 1), np.take_along_axis(values, order, 1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a[:, :, None] == b[:, None, :]).any(2).mean())


def evidence(texts: list[str], X: np.ndarray) -> dict[str, float]:
    X = X.astype(np.float64)
    found = spectrum(X) | shapes(X)
    moments = Moments(unit="sums", order=2).update(X)
    at = {"raw": X}
    for name, one in (("centred", MeanRemoval()), ("half", TaperedWhitening(0.5)),
                      ("full", TaperedWhitening(1.0)), ("top3", ComponentRemoval(3))):  # fmt: skip
        at[name] = one.fit_moments(moments).affine_map_.apply(X)
    near = {}
    for name, Y in at.items():
        near[name], cosines = found_by(Y)
        counts = np.bincount(near[name].ravel(), minlength=len(Y))
        found[f"hubs {name}"] = float(skew(counts))
        found[f"top cosine {name}"] = float(cosines[:, 0].mean())
        found[f"gap {name}"] = float((cosines[:, 0] - cosines[:, -1]).mean())
    for a, b in (("raw", "centred"), ("raw", "half"), ("raw", "full"), ("centred", "full"),
                 ("centred", "half"), ("centred", "top3")):  # fmt: skip
        found[f"same {a} {b}"] = overlap(near[a], near[b])
    return found | _of_texts(texts, at, near)


def _of_texts(
    texts: Sequence[str], at: dict[str, np.ndarray], near: dict[str, Any]
) -> dict[str, float]:
    told = words_of(tuple(texts))
    found = dict(told.figures)
    X, z = at["raw"], told.lengths
    Z = X - X.mean(0)
    standard = (z - z.mean()) / max(z.std(), 1e-9)
    share = np.square(Z.T @ standard / len(z)).sum() / (Z * Z).sum(1).mean()
    found["length share"] = float(share)
    for name, one in near.items():
        for kind, S in told.shared.items():
            found[f"{kind} {name}"] = float(np.take_along_axis(S, one, 1).mean())
        gap = np.abs(z[one] - z[:, None]).mean()
        found[f"length gap {name}"] = float(gap / max(told.gap, 1e-9))
    return found


class Words(NamedTuple):
    """What texts say without an encoder."""

    figures: dict[str, float]
    lengths: np.ndarray
    gap: float
    shared: dict[str, np.ndarray]


@lru_cache(maxsize=32)
def words_of(texts: tuple[str, ...]) -> Words:
    lengths = np.log1p([len(terms(text)) for text in texts])
    words = TfidfVectorizer(sublinear_tf=True, analyzer=terms)
    shared = words.fit_transform(texts)
    counts = np.bincount(shared.indices, minlength=shared.shape[1])
    common = counts >= np.sort(counts)[::-1][min(50, len(counts) - 1)]
    figures = {
        "words": float(np.expm1(lengths.mean())),
        "length_spread": float(lengths.std()),
        "distinct": float(shared.shape[1] / shared.nnz),
    }
    kept = {}
    for kind, matrix in {
        "all": shared,
        "rare": shared[:, ~common],
        "common": shared[:, common],
    }.items():
        matrix = normalize(matrix)
        S = (matrix @ matrix.T).toarray().astype(np.float32)
        np.fill_diagonal(S, 0)
        figures[f"{kind} chance"] = float(S.sum() / (len(S) * (len(S) - 1)))
        figures[f"{kind} best"] = float(-np.partition(-S, 10, axis=1)[:, :10].mean())
        kept[kind] = S
    gap = float(np.abs(lengths[:, None] - lengths[None]).mean())
    return Words(figures, lengths, gap, kept)


def of_queries(D: np.ndarray, Q: np.ndarray) -> dict[str, float]:
    """How far apart the means are, beside the spread of documents and of queries."""
    apart = Q.mean(0) - D.mean(0)
    spread = np.sqrt(D.var(0).sum())
    u, v = unit(D).mean(0), unit(Q).mean(0)
    return {
        "query shift": float(np.linalg.norm(apart) / spread),
        "query mean cosine": float(u @ v / np.linalg.norm(u) / np.linalg.norm(v)),
        "query spread": float(np.sqrt(Q.var(0).sum()) / spread),
        "n_queries": len(Q),
    }
