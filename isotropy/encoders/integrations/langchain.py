"""Corrected embeddings for LangChain (needs ``isotropy[langchain]``)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from isotropy._optional import require
from isotropy.correctors import Whitening
from isotropy.encoders.integrations._base import correct, fit_on, fitted

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
else:
    Embeddings = require("langchain_core.embeddings", extra="langchain").Embeddings

__all__ = ["CorrectedEmbeddings"]


class CorrectedEmbeddings(Embeddings):
    """LangChain embeddings that correct those of any other embeddings object.

    Parameters
    ----------
    base : langchain_core.embeddings.Embeddings
        Where the vectors come from; its asynchronous methods are used for ours.
    corrector : fitted corrector, AffineMap, or path-like
        Or the file that a corrector's `save` wrote.
    query_corrector : the same, optional
        For queries; by default they are corrected as documents are.
    normalize : bool, default=False
        Scale corrected vectors to length one.

    Raises
    ------
    ValueError
        If a corrector is none, or, at the first call, takes another number of dimensions.
    sklearn.exceptions.NotFittedError
        If a corrector is not fitted; `fit` makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> from isotropy import MeanRemoval
    >>> from isotropy.encoders.integrations.langchain import CorrectedEmbeddings
    >>> base = DeterministicFakeEmbedding(size=8)
    >>> embeddings = CorrectedEmbeddings.fit(base, ["a", "b", "c"], MeanRemoval())
    >>> bool(abs(np.mean(embeddings.embed_documents(["a", "b", "c"]), axis=0)).max() < 1e-12)
    True
    """

    def __init__(
        self,
        base: Embeddings,
        corrector: Any,
        *,
        query_corrector: Any = None,
        normalize: bool = False,
    ) -> None:
        self.base, self.normalize = base, normalize
        self.corrector = fitted(corrector)
        self.query_corrector = (
            self.corrector if query_corrector is None else fitted(query_corrector)
        )

    @classmethod
    def fit(
        cls,
        base: Embeddings,
        texts: Iterable[str] | str | os.PathLike[str],
        corrector: Any = None,
        *,
        queries: Iterable[str] | str | os.PathLike[str] | None = None,
        normalize: bool = False,
        batch_size: int = 256,
    ) -> Self:
        """Fit a corrector to the embeddings that `base` gives.

        Parameters
        ----------
        base : langchain_core.embeddings.Embeddings
        texts : iterable of str, or path of a text file
            A generator will do: embeddings are gathered `batch_size` at a time and not kept.
        corrector : unfitted corrector, default=Whitening(power=0.5)
        queries : iterable of str or path, optional
            Fit a second one of the same kind to ``embed_query`` of these.
        normalize : bool, default=False
        batch_size : int, default=256
        """
        corrector = Whitening(power=0.5) if corrector is None else corrector
        learned = fit_on(base.embed_documents, texts, corrector, batch_size)
        asked = None
        if queries is not None:
            asked = fit_on(
                lambda batch: [base.embed_query(text) for text in batch],
                queries,
                corrector,
                batch_size,
            )
        return cls(base, learned, query_corrector=asked, normalize=normalize)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Corrected vectors of documents."""
        return correct(self.corrector, self.base.embed_documents(texts), self.normalize)

    def embed_query(self, text: str) -> list[float]:
        """Corrected vector of a query."""
        return correct(self.query_corrector, [self.base.embed_query(text)], self.normalize)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Corrected vectors of documents, by the base's asynchronous method."""
        return correct(self.corrector, await self.base.aembed_documents(texts), self.normalize)

    async def aembed_query(self, text: str) -> list[float]:
        """Corrected vector of a query, by the base's asynchronous method."""
        vector = await self.base.aembed_query(text)
        return correct(self.query_corrector, [vector], self.normalize)[0]
