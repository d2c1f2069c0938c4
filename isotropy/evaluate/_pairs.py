"""What tasks of pairs of texts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isotropy.evaluate.task import Task
from isotropy.ranking import cosines

__all__ = ["Pairs"]


class Pairs(Task):
    """Pairs of texts; each text is embedded once."""

    left: Sequence[str]
    right: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.left) != len(self.right):
            raise ValueError(
                f"{self.name}: {len(self.left)} left texts and {len(self.right)} right ones; "
                "wanted pairs."
            )
        self.texts = list(dict.fromkeys([*self.left, *self.right]))
        place = {text: row for row, text in enumerate(self.texts)}
        self.pairs = np.array(
            [(place[a], place[b]) for a, b in zip(self.left, self.right, strict=True)], np.intp
        ).reshape(-1, 2)
        if len(self.pairs) < 2:
            raise ValueError(f"{self.name}: {len(self.pairs)} pairs; at least 2 are needed.")

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """The texts of both sides, each once.

        Returns
        -------
        dict of str to list of str
            One part, "texts".

        Examples
        --------
        >>> from isotropy.evaluate import STS
        >>> STS("two", ["a", "b"], ["c", "a"], [1.0, 2.0]).parts
        {'texts': ['a', 'b', 'c']}
        """
        return {"texts": self.texts}

    def cosines(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cosines of the pairs.

        Parameters
        ----------
        rows : mapping
            Embeddings of the part "texts".

        Returns
        -------
        ndarray of shape (m,)
            -1 to 1, to 12 decimals.

        Examples
        --------
        >>> from isotropy.evaluate import STS
        >>> task = STS("two", ["a", "b"], ["c", "a"], [1.0, 2.0])
        >>> task.cosines({"texts": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])}).tolist()
        [1.0, 0.0]
        """
        X = np.asarray(rows["texts"])
        return cosines(X[self.pairs[:, 0]], X[self.pairs[:, 1]])
