"""Token-level embeddings, several vectors a text, as late interaction (ColBERT) scores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector, MeanRemoval
from isotropy.rows.arrays import is_torch
from isotropy.rows.door import as_rows

__all__ = ["MultiVectorCorrector"]

SCOPES = ("token", "document", "collection")
_TOKENS_AT_ONCE = 65_536


class MultiVectorCorrector(BaseEstimator):
    """Correct the token vectors of documents (ColBERT and other late interaction).

    Parameters
    ----------
    corrector : affine corrector, default=MeanRemoval()
        What is done to the vectors; its unfitted parameters.
    scope : {"token", "document", "collection"}, default="collection"
        Whose statistics are used. "token": of all tokens, each counting the same, so that long
        documents weigh more. "collection": of all tokens, each document counting the same.
        "document": of each document's own tokens, at the time it is transformed; nothing is
        learned, and a document of a single token is left as it is, since its mean is all of it.
    normalize : bool, default=True
        Scale the vectors to length one afterwards, as MaxSim wants them; zero vectors stay zero.

    Attributes
    ----------
    corrector_ : affine corrector
        Fitted; for scope "document" unfitted.
    n_documents_, n_tokens_ : int
        Seen in fitting.
    n_features_in_ : int

    Notes
    -----
    Queries have statistics of their own: fit a second object to them, or apply that of the
    documents; compare both on your data. Centring repaired one late-interaction model and harmed
    another in the figures of the txtai project (pull request 1168): measure before use.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.encoders import MultiVectorCorrector
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.normal(size=(n, 4)) + 1 for n in (3, 7, 5)]
    >>> corrected = MultiVectorCorrector(normalize=False).fit_transform(documents)
    >>> means = np.mean([tokens.mean(axis=0) for tokens in corrected], axis=0)
    >>> bool(abs(means).max() < 1e-12)
    True
    """

    def __init__(
        self,
        corrector: AffineCorrector | None = None,
        *,
        scope: Literal["token", "document", "collection"] = "collection",
        normalize: bool = True,
    ) -> None:
        self.corrector = corrector
        self.scope = scope
        self.normalize = normalize

    # -- fitting -----------------------------------------------------------------------------

    def fit(self, documents: Iterable[Any], y: Any = None, *, mask: Any = None) -> Self:
        """Learn the statistics of the tokens.

        Parameters
        ----------
        documents : iterable of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            numpy or torch, such as ``MultiVectorEncoder.encode_document`` returns; a generator is
            read once, and only a block of tokens is held.
        y : ignored
        mask : array of shape (n, tokens), optional
            With padded documents: true for the tokens that count.

        Raises
        ------
        ValueError
            If documents differ in width, hold NaN or infinity, or there is no token.
        """
        for name in ("moments_", "n_features_in_"):
            if hasattr(self, name):
                delattr(self, name)
        self.n_documents_ = self.n_tokens_ = 0
        return self.partial_fit(documents, mask=mask)

    def partial_fit(self, documents: Iterable[Any], y: Any = None, *, mask: Any = None) -> Self:
        """Bring in more documents; the result is that of one `fit` on all."""
        template = self._template()
        if not hasattr(self, "n_documents_"):
            self.n_documents_ = self.n_tokens_ = 0
        moments = getattr(self, "moments_", None) or template._new_moments()
        for rows, counts in _blocks(documents, mask):
            if self.scope == "document":
                self.n_features_in_ = rows.shape[1]
            else:
                weights = None
                if self.scope == "collection":
                    weights = np.repeat(1.0 / np.maximum(counts, 1), counts)
                moments.update(rows, weights, first_row=self.n_tokens_)
            self.n_documents_ += len(counts)
            self.n_tokens_ += int(counts.sum())
        if not self.n_tokens_:
            raise ValueError("documents hold no token to fit on.")
        self.corrector_ = template
        if self.scope != "document":
            self.moments_ = moments
            self.corrector_ = template.fit_moments(moments)
            self.n_features_in_ = moments.n_features
        return self

    def _template(self) -> AffineCorrector:
        if self.scope not in SCOPES:
            raise ValueError(f"scope must be one of {SCOPES}, got {self.scope!r}.")
        corrector = MeanRemoval() if self.corrector is None else clone(self.corrector)
        if not isinstance(corrector, AffineCorrector):
            raise ValueError(
                f"corrector must be an affine corrector, got {type(corrector).__name__}."
            )
        return corrector

    # -- applying ----------------------------------------------------------------------------

    def transform(self, documents: Any, *, mask: Any = None) -> Any:
        """Correct token vectors: the same structure, library, device and types come back.

        Parameters
        ----------
        documents : list of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
        mask : array of shape (n, tokens), optional
            Padding comes back as it was.

        Returns
        -------
        list of arrays of shape (n_tokens, k), or array of shape (n, tokens, k)
        """
        check_is_fitted(self, "corrector_")
        if not hasattr(documents, "ndim"):
            return [self._corrected(_tokens(document, at)) for at, document in enumerate(documents)]
        if documents.ndim != 3:
            raise ValueError(
                "documents must be a list of (n_tokens, d) arrays or an (n, tokens, d) array, got "
                f"an array of {documents.ndim} dimensions. Put one document in a list."
            )
        kept = _mask_of(documents, mask)
        parts = [
            self._corrected(document[rows]) for document, rows in zip(documents, kept, strict=True)
        ]
        k = parts[0].shape[1] if parts else documents.shape[2]
        shape = (*documents.shape[:2], k)
        if is_torch(documents):
            out = documents.new_zeros(shape)
        else:
            out = np.zeros(shape, dtype=documents.dtype)
        if k == documents.shape[2]:
            out[~kept] = documents[~kept]
        for index, part in enumerate(parts):
            out[index][kept[index]] = part
        return out

    def fit_transform(self, documents: Any, y: Any = None, *, mask: Any = None) -> Any:
        """`fit`, then `transform`; documents are read twice, so a generator will not do."""
        if isinstance(documents, Iterator):
            documents = list(documents)
        return self.fit(documents, mask=mask).transform(documents, mask=mask)

    def _corrected(self, tokens: Any) -> Any:
        if tokens.shape[1] != self.n_features_in_:
            raise ValueError(
                f"A document has tokens of {tokens.shape[1]} dimensions; "
                f"{self.n_features_in_} were fitted."
            )
        if self.scope != "document":
            tokens = self.corrector_.transform(tokens)
        elif len(tokens) > 1:
            tokens = clone(self.corrector_).fit(tokens).transform(tokens)
        if not self.normalize:
            return tokens
        return AffineMap(np.zeros(tokens.shape[1])).apply(tokens, normalize="after")


def _tokens(document: Any, at: int) -> Any:
    tokens = document if is_torch(document) else np.asarray(document)
    if tokens.ndim != 2:
        raise ValueError(
            f"Document {at} must be an array of shape (n_tokens, d), got shape "
            f"{tuple(tokens.shape)}."
        )
    return tokens


def _mask_of(documents: Any, mask: Any) -> Any:
    if mask is None:
        mask = np.ones(documents.shape[:2], dtype=bool)
    if tuple(mask.shape) != tuple(documents.shape[:2]):
        raise ValueError(
            f"mask must have shape {tuple(documents.shape[:2])}, got {tuple(mask.shape)}."
        )
    if is_torch(documents):
        import torch

        return torch.as_tensor(mask, device=documents.device).bool()
    return np.asarray(mask.cpu() if is_torch(mask) else mask).astype(bool)


def _blocks(documents: Any, mask: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens of many documents at once, with how many belong to each."""
    if hasattr(documents, "ndim"):
        if documents.ndim != 3:
            raise ValueError(
                "documents must be an iterable of (n_tokens, d) arrays or an (n, tokens, d) array, "
                f"got an array of {documents.ndim} dimensions. Put one document in a list."
            )
        kept = _mask_of(documents, mask)
        documents = (document[rows] for document, rows in zip(documents, kept, strict=True))
    elif mask is not None:
        raise ValueError("mask goes with an (n, tokens, d) array of padded documents.")
    held: list[np.ndarray] = []
    for at, document in enumerate(documents):
        tokens = as_rows(document, name=f"document {at}").in_memory()
        if held and tokens.shape[1] != held[0].shape[1]:
            raise ValueError(
                f"Document {at} has tokens of {tokens.shape[1]} dimensions, those before it of "
                f"{held[0].shape[1]}."
            )
        held.append(tokens)
        if sum(map(len, held)) >= _TOKENS_AT_ONCE:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(held: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(held), np.array([len(tokens) for tokens in held])
