"""Clusters: do k-means' clusters of texts agree with the labels that people gave?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score

from isotropy.evaluate._file import LABEL, TEXT, TaskFile
from isotropy.evaluate.task import Outcome, Task
from isotropy.ranking import unit

__all__ = ["Clustering"]


@dataclass
class Clustering(Task):
    """k-means with as many clusters as labels: V-measure x 100 (Rosenberg & Hirschberg 2007).

    Parameters
    ----------
    name : str
        What tables call it.
    texts : sequence of n str
        What is clustered.
    labels : sequence of n objects
        Of at least two kinds; they are compared as strings.
    n_init : int, default=3
        Starts of k-means, the best of which counts.

    Raises
    ------
    ValueError
        If the lengths differ, or there is one kind of label only.

    Examples
    --------
    >>> from isotropy.evaluate import Clustering
    >>> task = Clustering("four", ["a", "b", "c", "d"], ["x", "x", "y", "y"])
    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> task.score({"texts": rows}).metrics
    {'V-measure': 100.0}
    """

    kind: ClassVar[str] = "clustering"
    purpose: ClassVar[str | None] = "clusters"
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
        """The texts.

        Returns
        -------
        dict of str to sequence of str

        Examples
        --------
        >>> Clustering("two", ["a", "b"], ["x", "y"]).parts
        {'texts': ['a', 'b']}
        """
        return {"texts": self.texts}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """V-measure of clusters of the unit rows.

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
        >>> task = Clustering("four", ["a", "b", "c", "d"], ["x", "y", "x", "y"])
        >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> round(task.score({"texts": rows}).main, 6)
        0.0
        """
        model = KMeans(len(self.classes), n_init=self.n_init, random_state=0)
        found, wanted = model.fit_predict(unit(rows["texts"])), self.numbers

        def measure(k: np.ndarray) -> float:
            return 100 * float(v_measure_score(wanted[k], found[k]))

        return Outcome({"V-measure": measure(np.arange(len(wanted)))}, len(wanted), measure)

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        r"""Labelled texts, by the names of the columns.

        Parameters
        ----------
        file : TaskFile
            What `read_task` was given.

        Returns
        -------
        Clustering or None

        Raises
        ------
        isotropy.io.FileError
            If a line has too few columns.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from isotropy.evaluate import read_task
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "topics.csv")
        ...     _ = path.write_text("label,text\nx,one\ny,two\n")
        ...     read_task(path)
        Clustering(name='topics', texts=['one', 'two'], labels=['x', 'y'], n_init=3)
        """
        if not file.has(TEXT, LABEL):
            return None
        return cls(file.path.stem, file.column(TEXT), file.column(LABEL))
