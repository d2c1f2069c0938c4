"""What stands behind the embedding objects of other libraries: correctors, lengths, queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self

import numpy as np

from isotropy.affine import AffineMap
from isotropy.correctors import Whitening
from isotropy.encoders._fitting import (
    Texts,
    check_learns,
    fitted,
    for_queries,
    given,
    known_texts,
    learn,
    weights_of,
)
from isotropy.encoders._texts import at_least_one, checked_texts

__all__ = ["Correction", "Vectors"]

Vectors = list[list[float]]
Embed = Callable[[list[str]], Any]


class Correction:
    """The correction of documents, that of queries, and the length of what comes out.

    Parameters
    ----------
    corrector : fitted corrector, AffineMap, fitted scikit-learn estimator, or path-like
        Or the file that a corrector's or a map's `save` wrote.
    query_corrector : the same, optional
        For queries; by default the corrector's own way with them: about their mean where it was
        given queries to learn that, else as documents.
    normalize : bool, default=False
        Scale corrected vectors to length one.
    """

    def __init__(
        self, corrector: Any, *, query_corrector: Any = None, normalize: bool = False
    ) -> None:
        self.normalize = normalize
        self.corrector = fitted(corrector)
        self.query_corrector = (
            for_queries(self.corrector)
            if query_corrector is None
            else fitted(query_corrector, "query_corrector")
        )

    @classmethod
    def fit(
        cls,
        embed: Embed,
        embed_queries: Embed,
        texts: Texts,
        corrector: Any = None,
        *,
        queries: Texts | None = None,
        sample_weight: Any = None,
        normalize: bool = False,
        batch_size: int = 256,
    ) -> Self:
        """Learn the correction from embeddings of texts, and the mean of queries from theirs.

        `embed` and `embed_queries` turn a list of texts into vectors.
        """
        batch_size = at_least_one(batch_size=batch_size)
        chosen: Any = given(Whitening(power=0.5) if corrector is None else corrector)
        check_learns(chosen, weighted=sample_weight is not None, asked=queries is not None)
        texts = known_texts(texts, "texts")
        asked = None
        if queries is not None:
            asked = _blocks(embed_queries, known_texts(queries, "queries"), batch_size)
        learned, _ = learn(
            chosen,
            _blocks(embed, texts, batch_size),
            sample_weight=weights_of(sample_weight, texts),
            queries=asked,
        )
        return cls(learned, normalize=normalize)

    def documents(self, vectors: Any) -> Vectors:
        """Corrected vectors of documents."""
        return self._corrected(self.corrector, vectors)

    def query(self, vector: Any) -> list[float]:
        """The corrected vector of a query."""
        return self._corrected(self.query_corrector, [vector])[0]

    def _corrected(self, corrector: Any, vectors: Any) -> Vectors:
        """Lists of floats, computed in float64."""
        if not len(vectors):
            return []
        rows, width = np.asarray(vectors, dtype=np.float64), _width(corrector)
        if rows.ndim != 2 or rows.shape[1] != width:
            raise ValueError(
                f"The corrector takes {width} dimensions, but the embeddings have shape "
                f"{rows.shape}: it was fitted on another model's embeddings."
            )
        is_map = isinstance(corrector, AffineMap)
        rows = corrector.apply(rows) if is_map else corrector.transform(rows)
        if self.normalize:
            rows = AffineMap(np.zeros(rows.shape[1])).apply(rows, normalize="after")
        return rows.tolist()


def _width(corrector: Any) -> int:
    is_map = isinstance(corrector, AffineMap)
    return int(corrector.n_features_in if is_map else corrector.n_features_in_)


def _blocks(embed: Embed, texts: Iterable[str], batch_size: int) -> Iterator[np.ndarray]:
    lines = checked_texts(texts)
    for batch in iter(lambda: list(islice(lines, batch_size)), []):
        yield np.asarray(embed(batch), dtype=np.float64)
