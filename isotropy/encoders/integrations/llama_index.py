"""Corrected embeddings for LlamaIndex (needs ``isotropy[llama-index]``)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from isotropy._optional import require
from isotropy.encoders.integrations._base import Correction

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from pydantic import Field, PrivateAttr
else:
    BaseEmbedding = require("llama_index.core.embeddings", extra="llama-index").BaseEmbedding
    Field = require("pydantic", extra="llama-index").Field
    PrivateAttr = require("pydantic", extra="llama-index").PrivateAttr

__all__ = ["CorrectedEmbedding"]


class CorrectedEmbedding(BaseEmbedding):
    """A LlamaIndex embedding model that corrects the vectors of any other.

    Parameters
    ----------
    base : llama_index.core.embeddings.BaseEmbedding
        Where the vectors come from; its asynchronous methods are used for ours.
    corrector : fitted corrector, AffineMap, fitted scikit-learn estimator, or path-like
        Or the file that a corrector's or a map's `save` wrote.
    query_corrector : the same, optional
        For queries. By default they go through the corrector: about their own mean where its `fit`
        was given queries, else as texts do.
    normalize : bool, default=False
        Scale corrected vectors to length one.
    **options
        Of BaseEmbedding: `model_name` and `embed_batch_size` are the base's by default.

    Raises
    ------
    ValueError
        If a corrector is none, or, at the first call, takes another number of dimensions.
    sklearn.exceptions.NotFittedError
        If a corrector is not fitted; `fit` makes one.

    Examples
    --------
    >>> from llama_index.core.embeddings import MockEmbedding
    >>> from isotropy import AffineMap
    >>> from isotropy.encoders.integrations.llama_index import CorrectedEmbedding
    >>> model = CorrectedEmbedding(MockEmbedding(embed_dim=2), AffineMap([0.5, 1.0]))
    >>> model.get_text_embedding("a"), model.get_query_embedding("a")
    ([0.0, -0.5], [0.0, -0.5])
    """

    normalize: bool = Field(default=False, frozen=True)
    _base: Any = PrivateAttr()
    _correction: Correction = PrivateAttr()

    def __init__(
        self,
        base: BaseEmbedding,
        corrector: Any,
        *,
        query_corrector: Any = None,
        normalize: bool = False,
        **options: Any,
    ) -> None:
        made = Correction(corrector, query_corrector=query_corrector, normalize=normalize)
        options.setdefault("model_name", f"{base.model_name}, corrected")
        options.setdefault("embed_batch_size", base.embed_batch_size)
        super().__init__(normalize=normalize, **options)  # type: ignore[call-arg]
        self._base, self._correction = base, made

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's events."""
        return "CorrectedEmbedding"

    @classmethod
    def fit(
        cls,
        base: BaseEmbedding,
        texts: Iterable[str] | str | os.PathLike[str],
        corrector: Any = None,
        *,
        queries: Iterable[str] | str | os.PathLike[str] | None = None,
        sample_weight: Any = None,
        batch_size: int = 256,
        **options: Any,
    ) -> Self:
        """Fit a corrector to the embeddings that `base` gives.

        Parameters
        ----------
        base : llama_index.core.embeddings.BaseEmbedding
            Where the vectors come from.
        texts : iterable of str, or path of a text file
            Documents. A generator will do: embeddings are gathered `batch_size` at a time, and not
            kept where the corrector follows from moments.
        corrector : corrector, default=Whitening(power=0.5)
            A clone of it is fitted.
        queries : iterable of str or path, optional
            Queries such as will be asked. They go through the same map about their own mean, that
            of the base's query embeddings, so that they land where the documents are.
        sample_weight : array of shape (n,), optional
            A weight for each text.
        batch_size : int, default=256
            Texts that `base` gets at a time.
        **options
            As in the class.

        Returns
        -------
        CorrectedEmbedding

        Raises
        ------
        ValueError
            If there is no text, something in them is not a string, the weights do not fit, or the
            corrector is an affine map, or needs more than texts (pairs, queries).

        Examples
        --------
        >>> from llama_index.core.embeddings import MockEmbedding
        >>> from isotropy import MeanRemoval
        >>> from isotropy.encoders.integrations.llama_index import CorrectedEmbedding
        >>> model = CorrectedEmbedding.fit(MockEmbedding(embed_dim=2), ["a", "b"], MeanRemoval())
        >>> model.get_text_embedding("a")
        [0.0, 0.0]
        """
        made = Correction.fit(
            base.get_text_embedding_batch,
            lambda batch: [base.get_query_embedding(text) for text in batch],
            texts,
            corrector,
            queries=queries,
            sample_weight=sample_weight,
            batch_size=batch_size,
        )
        return cls(base, made.corrector, **options)

    @property
    def corrector(self) -> Any:
        """What texts go through, fitted."""
        return self._correction.corrector

    @property
    def query_corrector(self) -> Any:
        """What queries go through, fitted."""
        return self._correction.query_corrector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._correction.documents([self._base.get_text_embedding(text)])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._correction.documents(self._base.get_text_embedding_batch(texts))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._correction.query(self._base.get_query_embedding(query))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._correction.documents([await self._base.aget_text_embedding(text)])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._correction.documents(await self._base.aget_text_embedding_batch(texts))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._correction.query(await self._base.aget_query_embedding(query))
