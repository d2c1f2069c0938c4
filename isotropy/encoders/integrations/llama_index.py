"""Corrected embeddings for LlamaIndex (needs ``isotropy[llama-index]``)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from isotropy._optional import require
from isotropy.correctors import Whitening
from isotropy.encoders.integrations._base import correct, fit_on, fitted

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from pydantic import PrivateAttr
else:
    BaseEmbedding = require("llama_index.core.embeddings", extra="llama-index").BaseEmbedding
    PrivateAttr = require("pydantic", extra="llama-index").PrivateAttr

__all__ = ["CorrectedEmbedding"]


class CorrectedEmbedding(BaseEmbedding):
    """A LlamaIndex embedding model that corrects the vectors of any other.

    Parameters
    ----------
    base : llama_index.core.embeddings.BaseEmbedding
        Where the vectors come from; its asynchronous methods are used for ours.
    corrector : fitted corrector, AffineMap, or path-like
        Or the file that a corrector's `save` wrote.
    query_corrector : the same, optional
        For queries; by default they are corrected as texts are.
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
    """

    normalize: bool = False
    _base: Any = PrivateAttr()
    _corrector: Any = PrivateAttr()
    _query_corrector: Any = PrivateAttr()

    def __init__(
        self,
        base: BaseEmbedding,
        corrector: Any,
        *,
        query_corrector: Any = None,
        normalize: bool = False,
        **options: Any,
    ) -> None:
        learned = fitted(corrector)
        asked = learned if query_corrector is None else fitted(query_corrector)
        options.setdefault("model_name", f"{base.model_name}, corrected")
        options.setdefault("embed_batch_size", base.embed_batch_size)
        super().__init__(normalize=normalize, **options)  # type: ignore[call-arg]
        self._base, self._corrector, self._query_corrector = base, learned, asked

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
        batch_size: int = 256,
        **options: Any,
    ) -> Self:
        """Fit a corrector to the embeddings that `base` gives.

        Parameters
        ----------
        base : llama_index.core.embeddings.BaseEmbedding
        texts : iterable of str, or path of a text file
            A generator will do: embeddings are gathered `batch_size` at a time and not kept.
        corrector : unfitted corrector, default=Whitening(power=0.5)
        queries : iterable of str or path, optional
            Fit a second one of the same kind to the query embeddings of these.
        batch_size : int, default=256
        **options
            As in the class.
        """
        corrector = Whitening(power=0.5) if corrector is None else corrector
        learned = fit_on(base.get_text_embedding_batch, texts, corrector, batch_size)
        asked = None
        if queries is not None:
            asked = fit_on(
                lambda batch: [base.get_query_embedding(text) for text in batch],
                queries,
                corrector,
                batch_size,
            )
        return cls(base, learned, query_corrector=asked, **options)

    def _correct(self, vectors: Any) -> list[list[float]]:
        return correct(self._corrector, vectors, self.normalize)

    def _correct_query(self, vector: Any) -> list[float]:
        return correct(self._query_corrector, [vector], self.normalize)[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._correct([self._base.get_text_embedding(text)])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._correct(self._base.get_text_embedding_batch(texts))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._correct_query(self._base.get_query_embedding(query))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._correct([await self._base.aget_text_embedding(text)])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._correct(await self._base.aget_text_embedding_batch(texts))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._correct_query(await self._base.aget_query_embedding(query))
