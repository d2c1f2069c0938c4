"""Tasks: texts, what people said of them, and a score that can be drawn again by bootstrap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score

__all__ = [
    "STS",
    "Classification",
    "Clustering",
    "Outcome",
    "PairClassification",
    "Retrieval",
    "Task",
    "best_threshold",
    "ndcg",
    "spearman",
]


@dataclass(frozen=True)
class Outcome:
    """What a task found.

    Attributes
    ----------
    metrics : dict of str to float
        x 100; the first is the main one.
    n_items : int
        What is drawn in a bootstrap: pairs, queries or texts.
    statistic : callable
        Called with an array of item numbers, it gives the main metric of these items.
    """

    metrics: dict[str, float]
    n_items: int
    statistic: Callable[[np.ndarray], float]

    @property
    def main(self) -> float:
        """The main metric."""
        return next(iter(self.metrics.values()))


class Task(ABC):
    """A task in texts: `parts` of them are embedded, and `score` takes their embeddings.

    Attributes
    ----------
    name : str
    kind : str
    """

    kind: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def parts(self) -> dict[str, Sequence[str]]:
        """Texts by part. Correctors are fitted to the first; "queries" may have their own."""

    @abstractmethod
    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """The outcome for embeddings of the parts: (n, d) arrays, rows as the texts."""


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one in float64; zero rows stay."""
    rows = np.asarray(rows, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation with average ranks for ties, -1 to 1; 0 where one is constant."""
    a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


class _Pairs(Task):
    left: Sequence[str]
    right: Sequence[str]

    def __post_init__(self) -> None:
        texts = list(dict.fromkeys([*self.left, *self.right]))
        place = {text: row for row, text in enumerate(texts)}
        self.texts = texts
        self.pairs = np.array(
            [(place[a], place[b]) for a, b in zip(self.left, self.right, strict=True)], np.intp
        ).reshape(-1, 2)
        if len(self.pairs) < 2:
            raise ValueError(f"{self.name}: {len(self.pairs)} pairs; at least 2 are needed.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """The texts of both sides, each once."""
        return {"texts": self.texts}

    def cosines(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of the pairs."""
        X = unit(rows["texts"])
        return np.einsum("ij,ij->i", X[self.pairs[:, 0]], X[self.pairs[:, 1]])


@dataclass
class STS(_Pairs):
    """Semantic textual similarity: Spearman's correlation of cosine and people's score, x 100.

    Parameters
    ----------
    name : str
    left, right : sequences of str
    scores : sequence of float
    subsets : sequence of int, optional
        Sizes of the subsets that follow one another, for the aggregation "wmean" (the mean of the
        subsets' correlations, weighted by size) beside "all" (all pairs in one).

    Notes
    -----
    "all" is what SimCSE, SBERT and MTEB report, "wmean" what BERT-flow and BERT-whitening do; they
    differ by up to 12 points (Gao, Yao & Chen 2021, appendix B).
    """

    kind: ClassVar[str] = "sts"
    name: str
    left: Sequence[str]
    right: Sequence[str]
    scores: Sequence[float]
    subsets: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.labels = np.asarray(self.scores, np.float64)
        if self.labels.shape != (len(self.pairs),) or not np.isfinite(self.labels).all():
            raise ValueError(f"{self.name}: wanted one finite score a pair.")
        if self.subsets is not None and sum(self.subsets) != len(self.pairs):
            raise ValueError(
                f"{self.name}: subsets hold {sum(self.subsets)} pairs, there are {len(self.pairs)}."
            )

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """Spearman "all", and "wmean" where subsets are known."""
        cosines, labels = self.cosines(rows), self.labels
        metrics = {"spearman": 100 * spearman(cosines, labels)}
        if self.subsets is not None:
            ends = np.cumsum([0, *self.subsets])
            found = [spearman(cosines[a:b], labels[a:b]) for a, b in pairwise(ends)]
            metrics["spearman wmean"] = 100 * float(np.average(found, weights=self.subsets))
        return Outcome(metrics, len(labels), lambda k: 100 * spearman(cosines[k], labels[k]))


def best_threshold(cosines: np.ndarray, labels: np.ndarray, measure: str) -> float:
    """The cosine from which "same" is said, best for accuracy or F1 on these pairs.

    Half-way between two neighbouring cosines; the highest of equally good ones.
    """
    order = np.argsort(-cosines, kind="stable")
    sorted_cosines, hits = cosines[order], np.cumsum(labels[order])
    said = np.arange(1, len(labels) + 1)
    positives = hits[-1]
    if measure == "accuracy":
        values = hits + (len(labels) - positives) - (said - hits)
    else:
        values = 2 * hits / (said + positives)
    last = np.append(sorted_cosines[1:] < sorted_cosines[:-1], True)  # equal cosines go together
    values = np.where(last, values, -np.inf)
    best = int(values.argmax())
    if measure == "accuracy" and len(labels) - positives >= values[best]:
        return float(np.nextafter(sorted_cosines[0], np.inf))
    after = sorted_cosines[best + 1] if best + 1 < len(labels) else sorted_cosines[best] - 1
    return float((sorted_cosines[best] + after) / 2)


@dataclass
class PairClassification(_Pairs):
    """Do two texts say the same? Thresholds from every other pair, judged on the rest, x 100.

    The main metric is average precision, which needs no threshold; then accuracy and F1.

    Parameters
    ----------
    name : str
    left, right : sequences of str
    labels : sequence of bool
    """

    kind: ClassVar[str] = "pairs"
    name: str
    left: Sequence[str]
    right: Sequence[str]
    labels: Sequence[bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.same = np.asarray(self.labels).astype(bool)
        if self.same.shape != (len(self.pairs),):
            raise ValueError(f"{self.name}: wanted one label a pair.")
        if len({*self.same[0::2].tolist()}) < 2 or len({*self.same[1::2].tolist()}) < 2:
            raise ValueError(f"{self.name}: each half needs pairs of both labels.")

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """Average precision, accuracy and F1 of the second half."""
        cosines, same = self.cosines(rows), self.same
        judged, labels = cosines[1::2], same[1::2]
        said = judged >= best_threshold(cosines[0::2], same[0::2], "accuracy")
        for_f1 = judged >= best_threshold(cosines[0::2], same[0::2], "f1")

        def precision(k: np.ndarray) -> float:
            some = labels[k]
            return 100 * float(average_precision_score(some, judged[k])) if some.any() else 0.0

        metrics = {
            "average precision": precision(np.arange(len(labels))),
            "accuracy": 100 * float((said == labels).mean()),
            "F1": 100 * float(2 * (for_f1 & labels).sum() / max(1, for_f1.sum() + labels.sum())),
        }
        return Outcome(metrics, len(labels), precision)


def ndcg(gains: np.ndarray, ideal: np.ndarray, k: int = 10) -> float:
    """nDCG@k of the gains in the order found; `ideal` are all gains there are (Jarvelin 2002)."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.sort(ideal)[::-1][:k]
    scale = best @ discount[: len(best)]
    found = gains[:k]
    return float(found @ discount[: len(found)] / scale) if scale > 0 else 0.0


@dataclass
class Retrieval(Task):
    """Search: nDCG@10, MRR@10 and recall@100 by cosine, means over queries, x 100.

    Parameters
    ----------
    name : str
    documents : sequence of str
    queries : sequence of str
    judged : sequence of mappings
        For each query its relevant documents by number, with grades above 0.
    """

    kind: ClassVar[str] = "retrieval"
    name: str
    documents: Sequence[str]
    queries: Sequence[str]
    judged: Sequence[Mapping[int, float]]

    def __post_init__(self) -> None:
        if len(self.judged) != len(self.queries) or not self.queries:
            raise ValueError(f"{self.name}: wanted judgements for each of at least one query.")
        if not all(self.judged):
            raise ValueError(f"{self.name}: a query has no relevant document; leave it out.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """Documents and queries."""
        return {"documents": self.documents, "queries": self.queries}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """By the exact cosines of all documents, a block of queries at a time."""
        D, Q = unit(rows["documents"]), unit(rows["queries"])
        depth = min(100, len(D))
        gains, ranks, recalls = [], [], []
        for start in range(0, len(Q), 256):
            scores = Q[start : start + 256] @ D.T
            best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
            for found, wanted in zip(best, self.judged[start : start + 256], strict=True):
                got = np.array([wanted.get(int(row), 0.0) for row in found])
                gains.append(ndcg(got, np.array(list(wanted.values()))))
                hits = np.flatnonzero(got[:10] > 0)
                ranks.append(1 / (1 + hits[0]) if hits.size else 0.0)
                recalls.append(np.count_nonzero(got > 0) / len(wanted))
        per_query = np.array(gains)
        metrics = {
            "nDCG@10": 100 * float(per_query.mean()),
            "MRR@10": 100 * float(np.mean(ranks)),
            "recall@100": 100 * float(np.mean(recalls)),
        }
        return Outcome(metrics, len(per_query), lambda k: 100 * float(per_query[k].mean()))


@dataclass
class Clustering(Task):
    """k-means with as many clusters as labels: V-measure x 100 (Rosenberg & Hirschberg 2007).

    Parameters
    ----------
    name : str
    texts : sequence of str
    labels : sequence
    n_init : int, default=3
    """

    kind: ClassVar[str] = "clustering"
    name: str
    texts: Sequence[str]
    labels: Sequence[object]
    n_init: int = 3

    def __post_init__(self) -> None:
        self.classes, self.numbers = np.unique(
            np.asarray([str(label) for label in self.labels]), return_inverse=True
        )
        if len(self.numbers) != len(self.texts) or len(self.classes) < 2:
            raise ValueError(f"{self.name}: wanted a label a text, of at least two kinds.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """The texts."""
        return {"texts": self.texts}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """V-measure of clusters of the unit rows."""
        model = KMeans(len(self.classes), n_init=self.n_init, random_state=0)
        found, wanted = model.fit_predict(unit(rows["texts"])), self.numbers

        def measure(k: np.ndarray) -> float:
            return 100 * float(v_measure_score(wanted[k], found[k]))

        return Outcome({"V-measure": measure(np.arange(len(wanted)))}, len(wanted), measure)


@dataclass
class Classification(Task):
    """Logistic regression, and the 10 nearest neighbours by cosine: accuracy x 100.

    Parameters
    ----------
    name : str
    train_texts, test_texts : sequences of str
    train_labels, test_labels : sequences
    """

    kind: ClassVar[str] = "classification"
    name: str
    train_texts: Sequence[str]
    train_labels: Sequence[object]
    test_texts: Sequence[str]
    test_labels: Sequence[object]
    n_neighbors: int = field(default=10)

    def __post_init__(self) -> None:
        self.train_y = np.asarray([str(label) for label in self.train_labels])
        self.test_y = np.asarray([str(label) for label in self.test_labels])
        sizes = len(self.train_texts), len(self.test_texts)
        if (len(self.train_y), len(self.test_y)) != sizes or len(set(self.train_y.tolist())) < 2:
            raise ValueError(f"{self.name}: wanted a label a text, of at least two kinds.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """Texts to learn from and texts to judge by."""
        return {"train": self.train_texts, "test": self.test_texts}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """Both classifiers on unit rows; the linear one is the main metric."""
        X, Z = unit(rows["train"]), unit(rows["test"])
        linear = LogisticRegression(max_iter=1000).fit(X, self.train_y)
        right = linear.predict(Z) == self.test_y
        labels, numbers = np.unique(self.train_y, return_inverse=True)
        k = min(self.n_neighbors, len(X))
        near = []
        for start in range(0, len(Z), 512):
            scores = Z[start : start + 512] @ X.T
            rows_found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            for found, row in zip(rows_found, scores, strict=True):
                votes = np.bincount(numbers[found], row[found], minlength=len(labels))
                near.append(labels[votes.argmax()])
        metrics = {
            "accuracy": 100 * float(right.mean()),
            "accuracy k-NN": 100 * float((np.array(near) == self.test_y).mean()),
        }
        return Outcome(metrics, len(right), lambda k: 100 * float(right[k].mean()))
