"""What a task is: texts, what people said of them, and a score that can be drawn again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from isotropy.evaluate._file import TaskFile

__all__ = ["Outcome", "Task"]


@dataclass(frozen=True)
class Outcome:
    """What a task found.

    Parameters
    ----------
    metrics : dict of str to float
        x 100; the first is the main one.
    n_items : int
        How many items a bootstrap draws from: pairs, queries or texts.
    statistic : callable
        Called with an array of item numbers, it gives the main metric of these items.

    Examples
    --------
    >>> right = np.array([1.0, 0.0, 1.0, 1.0])
    >>> found = Outcome({"accuracy": 75.0}, 4, lambda items: 100 * float(right[items].mean()))
    >>> found.main, found.statistic(np.array([0, 1]))
    (75.0, 50.0)
    """

    metrics: dict[str, float]
    n_items: int
    statistic: Callable[[np.ndarray], float]

    @property
    def main(self) -> float:
        """The main metric, x 100.

        Returns
        -------
        float

        Examples
        --------
        >>> Outcome({"nDCG@10": 41.6, "MRR@10": 60.2}, 76, lambda items: 0.0).main
        41.6
        """
        return next(iter(self.metrics.values()))


class Task(ABC):
    """A task in texts: its `parts` are embedded, and `score` takes their embeddings.

    A kind of task is a class in a file of its own, with a line in `isotropy.tables.TASKS`. It gives
    `kind`, `parts`, `score`, and `read` if it comes in files.

    Attributes
    ----------
    name : str
    kind : str
        As `isotropy.tables.TASKS` names it.
    purpose : str or None
        What an `AutoCorrector` without a task chooses for; see there.
    routes : dict of str to str
        The parts that an encoder treats in a way of their own: "query" or "document", for
        ``encode_query`` and ``encode_document``. Of parts not named, ``encode``.

    Examples
    --------
    >>> from isotropy.evaluate import STS, Task
    >>> task = STS("two", ["a cat", "a dog"], ["a kitten", "a car"], [4.5, 0.5])
    >>> isinstance(task, Task), task.kind, list(task.parts)
    (True, 'sts', ['texts'])
    """

    kind: ClassVar[str]
    purpose: ClassVar[str | None] = None
    routes: ClassVar[dict[str, str]] = {}
    name: str

    @property
    @abstractmethod
    def parts(self) -> dict[str, Sequence[str]]:
        """Texts by part; correctors are fitted to the first.

        Returns
        -------
        dict of str to sequence of str

        Examples
        --------
        >>> from isotropy.evaluate import Retrieval
        >>> Retrieval("r", ["a text"], ["a query"], [{0: 1.0}]).parts
        {'documents': ['a text'], 'queries': ['a query']}
        """

    @abstractmethod
    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """The outcome for embeddings of the parts.

        Parameters
        ----------
        rows : mapping of str to array of shape (n, d)
            For each part a row a text.

        Returns
        -------
        Outcome
            The metrics, and what a bootstrap needs.

        Examples
        --------
        >>> from isotropy.evaluate import Retrieval
        >>> task = Retrieval("r", ["a text", "another"], ["a query"], [{1: 1.0}])
        >>> rows = {"documents": np.eye(2), "queries": np.array([[1.0, 0.9]])}
        >>> round(task.score(rows).main, 1)  # second of two
        63.1
        """

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        """The task that a file or folder holds, None if it is not of this kind.

        Parameters
        ----------
        file : TaskFile
            Where `read_task` looks; it reads the file once, for all kinds that look at it.

        Returns
        -------
        Task or None

        Raises
        ------
        isotropy.io.FileError
            If it is of this kind, but damaged.

        Examples
        --------
        >>> Task.read(None) is None  # a task that does not come in files
        True
        """
        return None
