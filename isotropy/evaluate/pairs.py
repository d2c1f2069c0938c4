"""Paraphrases: pairs of texts that say the same, or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from sklearn.metrics import average_precision_score

from isotropy.evaluate._file import LABEL, LEFT, RIGHT, SCORE, TaskFile
from isotropy.evaluate._pairs import Pairs
from isotropy.evaluate.task import Outcome
from isotropy.storage.errors import FileError

__all__ = ["PairClassification", "best_threshold"]


def best_threshold(
    cosines: np.ndarray, labels: np.ndarray, measure: Literal["accuracy", "f1"]
) -> float:
    """The cosine from which "same" is said, best for accuracy or F1 on these pairs.

    Parameters
    ----------
    cosines : array of shape (m,)
    labels : bool array of shape (m,)
        Of both kinds.
    measure : {"accuracy", "f1"}

    Returns
    -------
    float
        Half-way between two neighbouring cosines; the highest of equally good ones.

    Examples
    --------
    >>> best_threshold(np.array([0.75, 0.5, 0.25]), np.array([True, False, False]), "accuracy")
    0.625
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
class PairClassification(Pairs):
    """Do two texts say the same? Thresholds from every other pair, judged on the rest, x 100.

    The main metric is average precision, which needs no threshold; then accuracy and F1.

    Parameters
    ----------
    name : str
        What tables call it.
    left, right : sequences of str
        The texts of m pairs.
    labels : sequence of m bools
        Of both kinds in either half.

    Raises
    ------
    ValueError
        If the lengths differ, or a half has labels of one kind only.

    Examples
    --------
    >>> from isotropy.evaluate import PairClassification
    >>> task = PairClassification("four", ["a"] * 4, ["b", "b", "c", "c"], [1, 1, 0, 0])
    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> task.score({"texts": rows}).metrics
    {'average precision': 100.0, 'accuracy': 100.0, 'F1': 100.0}
    """

    kind: ClassVar[str] = "pairs"
    purpose: ClassVar[str | None] = "similarity"
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
        """Average precision, accuracy and F1 of the second half.

        Parameters
        ----------
        rows : mapping
            Embeddings of the part "texts".

        Returns
        -------
        Outcome
            The metrics, and what a bootstrap needs.

        Examples
        --------
        >>> task = PairClassification("p", ["a"] * 4, ["b", "b", "c", "c"], [1, 1, 0, 0])
        >>> task.score({"texts": np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])}).main
        50.0
        """
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

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        r"""Pairs with labels of 0 and 1, by the names of the columns.

        Parameters
        ----------
        file : TaskFile
            What `read_task` was given.

        Returns
        -------
        PairClassification or None

        Raises
        ------
        isotropy.io.FileError
            If there is neither a column of labels nor one of scores, or one is not 0 or 1.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from isotropy.evaluate import read_task
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "same.csv")
        ...     _ = path.write_text("text1,text2,label\na,b,1\na,b,1\na,c,0\na,c,0\n")
        ...     read_task(path).labels
        [True, True, False, False]
        """
        if not file.has(LEFT, RIGHT):
            return None
        marked = next((names for names in (LABEL, SCORE) if file.has(names)), None)
        if marked is None:
            raise FileError(file.path, "has pairs of texts, but no column of scores or labels.")
        found = file.numbers(marked)
        if not set(found) <= {0.0, 1.0}:
            raise FileError(file.path, "labels of pairs must be 0 or 1.")
        texts = file.column(LEFT), file.column(RIGHT)
        return cls(file.path.stem, *texts, [bool(number) for number in found])
