"""Semantic textual similarity: pairs of texts, and how alike people find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np

from isotropy.evaluate._file import LABEL, LEFT, RIGHT, SCORE, TEXT, TaskFile, numbers
from isotropy.evaluate._pairs import Pairs
from isotropy.evaluate.task import Outcome
from isotropy.ranking import spearman

__all__ = ["STS"]


@dataclass
class STS(Pairs):
    """Semantic textual similarity: Spearman's correlation of cosine and people's score, x 100.

    Parameters
    ----------
    name : str
        What tables call it.
    left, right : sequences of str
        The texts of m pairs.
    scores : sequence of m floats
        On any scale, larger for more alike.
    subsets : sequence of int, optional
        Sizes of the subsets that follow one another, for the aggregation "wmean" (the mean of the
        subsets' correlations, weighted by size) beside "all" (all pairs in one).

    Raises
    ------
    ValueError
        If the lengths differ, there are fewer than two pairs, or a score is not finite.

    Notes
    -----
    "all" is what SimCSE, SBERT and MTEB report, "wmean" what BERT-flow and BERT-whitening do; they
    differ by up to 12 points (Gao, Yao & Chen 2021, appendix B).

    Examples
    --------
    >>> from isotropy.evaluate import STS
    >>> task = STS("three", ["a", "a", "a"], ["b", "c", "d"], [5.0, 3.0, 0.0])
    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    >>> task.score({"texts": rows}).metrics
    {'spearman': 100.0}
    """

    kind: ClassVar[str] = "sts"
    purpose: ClassVar[str | None] = "similarity"
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
        """Spearman's correlation "all", and "wmean" where subsets are known.

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
        >>> task = STS("two", ["a", "a"], ["b", "c"], [5.0, 3.0], subsets=[2])
        >>> task.score({"texts": np.array([[1.0, 0.0], [0.1, 0.9], [0.9, 0.1]])}).metrics
        {'spearman': -100.0, 'spearman wmean': -100.0}
        """
        cosines, labels = self.cosines(rows), self.labels
        metrics = {"spearman": 100 * spearman(cosines, labels)}
        if self.subsets is not None:
            ends = np.cumsum([0, *self.subsets])
            found = [spearman(cosines[a:b], labels[a:b]) for a, b in pairwise(ends)]
            metrics["spearman wmean"] = 100 * float(np.average(found, weights=self.subsets))
        return Outcome(metrics, len(labels), lambda k: 100 * spearman(cosines[k], labels[k]))

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        r"""Pairs with scores, by the names of the columns, or the STS benchmark's columns.

        Parameters
        ----------
        file : TaskFile
            What `read_task` was given.

        Returns
        -------
        STS or None

        Raises
        ------
        isotropy.io.FileError
            If a line has too few columns, or a score that is no number.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from isotropy.evaluate import read_task
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sets.csv")
        ...     _ = path.write_text("sentence1,sentence2,score\na,b,1\na,c,2\n")
        ...     read_task(path)
        STS(name='sets', left=['a', 'a'], right=['b', 'c'], scores=[1.0, 2.0], subsets=None)
        """
        if file.has(LEFT, RIGHT, SCORE):
            texts = file.column(LEFT), file.column(RIGHT)
            return cls(file.path.stem, *texts, file.numbers(SCORE))
        if len(file.names) >= 7 and not any(map(file.has, (LEFT, RIGHT, TEXT, LABEL))):
            return cls._benchmark(file)
        return None

    @classmethod
    def _benchmark(cls, file: TaskFile) -> Self:
        """Genre, file, year, id, score, two texts; pairs without a score are left out."""
        kept = [line for line in file.lines if len(line.fields) < 5 or line.fields[4].strip()]
        scores = numbers(file.path, kept, file.fields(kept, 4))
        return cls(file.path.stem, file.fields(kept, 5), file.fields(kept, 6), scores)
