"""Classes: can the labels of texts be told from the embeddings of others?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from isotropy.evaluate._file import LABEL, TEXT, TaskFile
from isotropy.evaluate.task import Outcome, Task
from isotropy.ranking import nearest, unit, vote
from isotropy.storage.errors import FileError

__all__ = ["Classification"]


@dataclass
class Classification(Task):
    """Logistic regression, and the 10 nearest neighbours by cosine: accuracy x 100.

    Parameters
    ----------
    name : str
        What tables call it.
    train_texts : sequence of str
        What is learnt from, and correctors are fitted to.
    train_labels : sequence
        Of at least two kinds; labels are compared as strings.
    test_texts : sequence of str
        What is judged by.
    test_labels : sequence
        What should be said of them.
    n_neighbors : int, default=10
        That vote.

    Raises
    ------
    ValueError
        If lengths differ, a side is empty, or there is one kind of label only to learn from.

    Notes
    -----
    A neighbour's vote weighs 1 + its cosine.

    Examples
    --------
    >>> from isotropy.evaluate import Classification
    >>> task = Classification("c", ["a", "b"], ["x", "y"], ["c"], ["y"], n_neighbors=1)
    >>> task.score({"train": np.eye(2), "test": np.array([[0.1, 0.9]])}).metrics
    {'accuracy': 100.0, 'accuracy k-NN': 100.0}
    """

    kind: ClassVar[str] = "classification"
    purpose: ClassVar[str | None] = "classes"
    name: str
    train_texts: Sequence[str]
    train_labels: Sequence[object]
    test_texts: Sequence[str]
    test_labels: Sequence[object]
    n_neighbors: int = 10

    def __post_init__(self) -> None:
        self.train_y = np.asarray([str(label) for label in self.train_labels])
        self.test_y = np.asarray([str(label) for label in self.test_labels])
        sizes = len(self.train_texts), len(self.test_texts)
        if (len(self.train_y), len(self.test_y)) != sizes or len(set(self.train_y.tolist())) < 2:
            raise ValueError(f"{self.name}: wanted a label a text, of at least two kinds.")
        if not len(self.test_y):
            raise ValueError(f"{self.name}: no texts to judge by.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """Texts to learn from and texts to judge by.

        Returns
        -------
        dict of str to sequence of str

        Examples
        --------
        >>> Classification("c", ["a", "b"], ["x", "y"], ["c"], ["y"]).parts
        {'train': ['a', 'b'], 'test': ['c']}
        """
        return {"train": self.train_texts, "test": self.test_texts}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """Both classifiers on unit rows; the linear one is the main metric.

        Parameters
        ----------
        rows : mapping
            Embeddings of the parts "train" and "test".

        Returns
        -------
        Outcome
            The metrics, and what a bootstrap needs.

        Examples
        --------
        >>> task = Classification("c", ["a", "b"], ["x", "y"], ["c"], ["x"], n_neighbors=1)
        >>> task.score({"train": np.eye(2), "test": np.array([[0.1, 0.9]])}).main
        0.0
        """
        X, Z = unit(rows["train"]), unit(rows["test"])
        linear = LogisticRegression(max_iter=1000).fit(X, self.train_y)
        right = linear.predict(Z) == self.test_y
        labels, numbers = np.unique(self.train_y, return_inverse=True)
        near = np.concatenate(
            [
                vote(found, cosines, numbers, len(labels))
                for found, cosines in nearest(Z, X, self.n_neighbors)
            ]
        )
        metrics = {
            "accuracy": 100 * float(right.mean()),
            "accuracy k-NN": 100 * float((labels[near] == self.test_y).mean()),
        }
        return Outcome(metrics, len(right), lambda k: 100 * float(right[k].mean()))

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        r"""Labelled texts in two files side by side, ``..._train`` and ``..._test``.

        Parameters
        ----------
        file : TaskFile
            Either of the two.

        Returns
        -------
        Classification or None

        Raises
        ------
        isotropy.io.FileError
            If the other file is missing, or has no such columns.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from isotropy.evaluate import read_task
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for side in ("train", "test"):
        ...         path = Path(folder, f"topics_{side}.csv")
        ...         _ = path.write_text(f"label,text\nx,one {side}\ny,two {side}\n")
        ...     read_task(path, "classification").test_texts
        ['one test', 'two test']
        """
        if not file.has(TEXT, LABEL):
            return None
        name, train, test = _sides(file.path)
        learnt, judged = (_labelled(file, path) for path in (train, test))
        return cls(name, *learnt, *judged)


def _labelled(file: TaskFile, path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of one side."""
    if not path.is_file():
        raise FileError(path, f"no such file; {file.path.name} needs it beside.")
    side = file if path == file.path else TaskFile(path)
    if not side.has(TEXT, LABEL):
        raise FileError(path, "has no columns text and label.")
    return side.column(TEXT), side.column(LABEL)


def _sides(path: Path) -> tuple[str, Path, Path]:
    """The name of a classification, and its two files."""
    for mark in ("train", "test"):
        if path.stem.endswith(f"_{mark}"):
            name = path.stem.removesuffix(f"_{mark}")
            train, test = (f"{name}_{side}{path.suffix}" for side in ("train", "test"))
            return name, path.with_name(train), path.with_name(test)
    raise FileError(path, "a classification needs two files, ..._train and ..._test.")
