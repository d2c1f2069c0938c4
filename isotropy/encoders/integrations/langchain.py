"""Corrected embeddings for LangChain (needs ``isotropy[langchain]``)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from isotropy._optional import require
from isotropy.encoders.integrations._base import Correction

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
    corrector : fitted corrector, AffineMap, fitted scikit-learn estimator, or path-like
        Or the file that a corrector's or a map's `save` wrote.
    query_corrector : the same, optional
        For queries. By default they go through the corrector: about their own mean where its `fit`
        was given queries, else as documents do.
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
        self.base = base
        self._correction = Correction(
            corrector, query_corrector=query_corrector, normalize=normalize
        )

    @property
    def corrector(self) -> Any:
        """What documents go through, fitted."""
        return self._correction.corrector

    @property
    def query_corrector(self) -> Any:
        """What queries go through, fitted."""
        return self._correction.query_corrector

    @property
    def normalize(self) -> bool:
        """Whether corrected vectors have length one."""
        return self._correction.normalize

    @classmethod
    def fit(
        cls,
        base: Embeddings,
        texts: Iterable[str] | str | os.PathLike[str],
        corrector: Any = None,
        *,
        queries: Iterable[str] | str | os.PathLike[str] | None = None,
        sample_weight: Any = None,
        normalize: bool = False,
        batch_size: int = 256,
    ) -> Self:
        """Fit a corrector to the embeddings that `base` gives.

        Parameters
        ----------
        base : langchain_core.embeddings.Embeddings
            Where the vectors come from.
        texts : iterable of str, or path of a text file
            Documents. A generator will do: embeddings are gathered `batch_size` at a time, and not
            kept where the corrector follows from moments.
        corrector : corrector, default=Whitening(power=0.5)
            A clone of it is fitted.
        queries : iterable of str or path, optional
            Queries such as will be asked. They go through the same map about their own mean, that
            of ``embed_query``, so that they land where the documents are.
        sample_weight : array of shape (n,), optional
            A weight for each text.
        normalize : bool, default=False
            Scale corrected vectors to length one.
        batch_size : int, default=256
            Texts that `base` gets at a time.

        Returns
        -------
        CorrectedEmbeddings

        Raises
        ------
        ValueError
            If there is no text, something in them is not a string, the weights do not fit, or the
            corrector is an affine map, or needs more than texts (pairs, queries).

        Examples
        --------
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from isotropy import Whitening
        >>> from isotropy.encoders.integrations.langchain import CorrectedEmbeddings
        >>> base, texts = DeterministicFakeEmbedding(size=4), [str(n) for n in range(20)]
        >>> embeddings = CorrectedEmbeddings.fit(base, texts, Whitening(), queries=texts[:9])
        >>> len(embeddings.embed_query("a query"))
        4
        """
        made = Correction.fit(
            base.embed_documents,
            lambda batch: [base.embed_query(text) for text in batch],
            texts,
            corrector,
            queries=queries,
            sample_weight=sample_weight,
            normalize=normalize,
            batch_size=batch_size,
        )
        return cls(base, made.corrector, normalize=normalize)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Corrected vectors of documents.

        Parameters
        ----------
        texts : list of str

        Returns
        -------
        list of list of float
            Of shape (n, k).

        Raises
        ------
        ValueError
            If the corrector takes another number of dimensions than the vectors have.

        Examples
        --------
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from isotropy import AffineMap
        >>> from isotropy.encoders.integrations.langchain import CorrectedEmbeddings
        >>> base = DeterministicFakeEmbedding(size=4)
        >>> embeddings = CorrectedEmbeddings(base, AffineMap([0, 0, 0, 1.0]))
        >>> raw = base.embed_documents(["a"])[0][3]
        >>> float(round(raw - embeddings.embed_documents(["a"])[0][3], 9))
        1.0
        """
        return self._correction.documents(self.base.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The corrected vector of a query.

        Parameters
        ----------
        text : str

        Returns
        -------
        list of float

        Raises
        ------
        ValueError
            If the corrector takes another number of dimensions than the vector has.

        Examples
        --------
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from isotropy import AffineMap
        >>> from isotropy.encoders.integrations.langchain import CorrectedEmbeddings
        >>> base = DeterministicFakeEmbedding(size=4)
        >>> len(CorrectedEmbeddings(base, AffineMap([0, 0, 0, 1.0])).embed_query("a"))
        4
        """
        return self._correction.query(self.base.embed_query(text))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Corrected vectors of documents, by the base's asynchronous method.

        Parameters
        ----------
        texts : list of str

        Returns
        -------
        list of list of float

        Raises
        ------
        ValueError
            As `embed_documents` does.
        """
        return self._correction.documents(await self.base.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """The corrected vector of a query, by the base's asynchronous method.

        Parameters
        ----------
        text : str

        Returns
        -------
        list of float

        Raises
        ------
        ValueError
            As `embed_query` does.
        """
        return self._correction.query(await self.base.aembed_query(text))
