"""Token-level embeddings, several vectors a text, as late interaction (ColBERT) scores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector, MeanRemoval
from isotropy.correctors._learning import Learner
from isotropy.moments import Moments
from isotropy.rows.arrays import in_kind_of, to_numpy
from isotropy.rows.door import as_rows

__all__ = ["MultiVectorCorrector"]

SCOPES = ("token", "document", "collection")
_TOKENS_AT_ONCE = 65_536


class MultiVectorCorrector(Learner):
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
    query_corrector_ : affine corrector
        What the tokens of queries go through; that of documents where `fit` was given no queries.
    n_documents_, n_tokens_ : int
        Seen in fitting.
    n_features_in_ : int

    Notes
    -----
    The tokens of queries have a mean of their own: ``fit(documents, queries=...)`` learns it, and
    `transform_queries` takes the same map about it. A second object fitted to queries would turn
    them into other axes wherever the map rotates. Centring repaired one late-interaction model and
    harmed another in the figures of the txtai project (pull request 1168): measure before use.

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

    def fit(
        self, documents: Iterable[Any], y: Any = None, *, mask: Any = None, queries: Any = None
    ) -> Self:
        """Learn the statistics of the tokens.

        Parameters
        ----------
        documents : iterable of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            numpy or torch, such as ``MultiVectorEncoder.encode_document`` returns; a generator is
            read once, and only a block of tokens is held.
        y : ignored
            There for scikit-learn.
        mask : array of shape (n, tokens), optional
            With padded documents: true for the tokens that count.
        queries : as `documents`, without padding, optional
            Queries such as will be asked, for the mean of their tokens; see `transform_queries`.

        Returns
        -------
        self
            Fitted.

        Raises
        ------
        ValueError
            If documents or queries differ in width, hold NaN or infinity, or there is no token; or
            a parameter is none of those listed. What was fitted before then stays.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import MultiVectorCorrector
        >>> documents = [np.eye(3), np.eye(3)[:2]]
        >>> MultiVectorCorrector().fit(documents).n_tokens_
        5
        """
        with self._learning(anew=True) as new:
            new._learn(documents, mask, queries, None, 0, 0)
        return self

    def partial_fit(self, documents: Iterable[Any], y: Any = None, *, mask: Any = None) -> Self:
        """Bring in more documents; the result is that of one `fit` on all. Queries stay.

        Parameters
        ----------
        documents : iterable of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            As for `fit`.
        y : ignored
            There for scikit-learn.
        mask : array of shape (n, tokens), optional
            With padded documents: true for the tokens that count.

        Returns
        -------
        self
            Fitted.

        Raises
        ------
        ValueError
            As `fit` does; what was fitted before then stays.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import MultiVectorCorrector
        >>> corrector = MultiVectorCorrector().fit([np.eye(3)])
        >>> corrector.partial_fit([np.eye(3)[:2]]).n_documents_
        2
        """
        with self._learning(anew=False) as new:
            if not hasattr(new, "corrector_"):
                new.fit(documents, mask=mask)
            else:
                old = getattr(new, "moments_", None)
                new._learn(documents, mask, None, old, new.n_documents_, new.n_tokens_)
        return self

    def _learn(
        self,
        documents: Iterable[Any],
        mask: Any,
        queries: Any,
        old: Moments | None,
        n_documents: int,
        n_tokens: int,
    ) -> None:
        template = self._template()
        moments = template._new_moments() if old is None else old.copy()
        width = None
        for rows, counts in _blocks(documents, mask):
            width = rows.shape[1]
            if self.scope != "document":
                moments.update(rows, self._weights(counts), first_row=n_tokens)
            n_documents, n_tokens = n_documents + len(counts), n_tokens + int(counts.sum())
        if not n_tokens:
            raise ValueError("documents hold no token to fit on.")
        known = self._query_moments(template, queries)
        if known is None and old is not None:
            known = self.__dict__.get("query_moments_")
        fitted = template if self.scope == "document" else template.fit_moments(moments)
        asked = fitted if known is None else fitted.for_queries(known)
        self.corrector_, self.query_corrector_, self.query_moments_ = fitted, asked, known
        self.n_documents_, self.n_tokens_ = n_documents, n_tokens
        if self.scope != "document":
            self.moments_ = moments
            width = moments.n_features
        if width is not None:
            self.n_features_in_ = width

    def _weights(self, counts: np.ndarray) -> np.ndarray | None:
        """Of each token: so that documents count alike, or tokens."""
        if self.scope == "token":
            return None
        weights: np.ndarray = np.repeat(1.0 / np.maximum(counts, 1), counts)
        return weights

    def _query_moments(self, template: Any, queries: Any) -> Moments | None:
        if queries is None or self.scope == "document":
            return None
        moments = Moments(
            unit="none",
            order=1,
            weight_type=getattr(template, "weight_type", "frequency"),
            normalize=template.normalize in ("before", "both"),
        )
        for rows, counts in _blocks(queries, None):
            moments.update(rows, self._weights(counts))
        if not moments.total_weight > 0:
            raise ValueError("queries hold no token.")
        return moments

    def _template(self) -> AffineCorrector:
        if self.scope not in SCOPES:
            raise ValueError(f"scope must be one of {SCOPES}, got {self.scope!r}.")
        corrector = MeanRemoval() if self.corrector is None else clone(self.corrector)
        if not isinstance(corrector, AffineCorrector):
            raise ValueError(
                f"corrector must be an affine corrector, got {type(corrector).__name__}."
            )
        if not hasattr(corrector, "fit_moments"):
            raise ValueError(
                f"{type(corrector).__name__} learns from more than rows, so tokens cannot be "
                "gathered for it: take one that follows from moments, such as Whitening."
            )
        return corrector

    # -- applying ----------------------------------------------------------------------------

    def transform(self, documents: Any, *, mask: Any = None) -> Any:
        """Correct token vectors: the same structure, library, device and types come back.

        Parameters
        ----------
        documents : list of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            numpy or torch; integers come back as floating numbers.
        mask : array of shape (n, tokens), optional
            Padding comes back as it was.

        Returns
        -------
        list of arrays of shape (n_tokens, k), or array of shape (n, tokens, k)
            Corrected, of length one where `normalize` is set.

        Raises
        ------
        ValueError
            If documents have another width than those fitted, or no shape of the above.
        sklearn.exceptions.NotFittedError
            If nothing was fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import MultiVectorCorrector
        >>> documents = [np.eye(2), 3 * np.eye(2)]
        >>> corrector = MultiVectorCorrector(normalize=False).fit(documents)
        >>> corrector.transform(documents)[0].tolist()
        [[0.0, -1.0], [-1.0, 0.0]]
        """
        return self._as_it_is()._through("corrector_", documents, mask)

    def transform_queries(self, queries: Any, *, mask: Any = None) -> Any:
        """Correct the token vectors of queries, about their own mean where `fit` was given queries.

        Parameters
        ----------
        queries : list of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            As for `transform`.
        mask : array of shape (n, tokens), optional
            Padding comes back as it was.

        Returns
        -------
        list of arrays of shape (n_tokens, k), or array of shape (n, tokens, k)
            Corrected, in the space of the documents.

        Raises
        ------
        ValueError
            As `transform` does.
        sklearn.exceptions.NotFittedError
            If nothing was fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import MultiVectorCorrector
        >>> documents = [np.eye(2), 3 * np.eye(2)]
        >>> queries = [tokens + 5 for tokens in documents]
        >>> corrector = MultiVectorCorrector(normalize=False).fit(documents, queries=queries)
        >>> corrector.transform_queries(queries)[0].tolist()
        [[0.0, -1.0], [-1.0, 0.0]]
        """
        return self._as_it_is()._through("query_corrector_", queries, mask)

    def _through(self, which: str, documents: Any, mask: Any) -> Any:
        check_is_fitted(self, "corrector_")
        if not hasattr(documents, "ndim"):
            return [
                self._corrected(which, _tokens(document, at))
                for at, document in enumerate(documents)
            ]
        if documents.ndim != 3:
            raise ValueError(
                "documents must be a list of (n_tokens, d) arrays or an (n, tokens, d) array, got "
                f"an array of {documents.ndim} dimensions. Put one document in a list."
            )
        kept = _mask_of(documents, mask)
        parts = [
            self._corrected(which, document[rows])
            for document, rows in zip(documents, kept, strict=True)
        ]
        # The type is that of corrected rows: integers would cut their fractions off.
        like = parts[0] if parts else documents
        k = like.shape[-1]
        shape = (*documents.shape[:2], k)
        out = in_kind_of(like, np.zeros(shape))
        if k == documents.shape[2]:
            out[~kept] = documents[~kept]
        for index, part in enumerate(parts):
            out[index][kept[index]] = part
        return out

    def fit_transform(self, documents: Any, y: Any = None, *, mask: Any = None) -> Any:
        """`fit`, then `transform`; the documents of a generator are kept for it.

        Parameters
        ----------
        documents : iterable of arrays of shape (n_tokens, d), or array of shape (n, tokens, d)
            As for `fit`.
        y : ignored
            There for scikit-learn.
        mask : array of shape (n, tokens), optional
            With padded documents: true for the tokens that count.

        Returns
        -------
        list of arrays of shape (n_tokens, k), or array of shape (n, tokens, k)
            What `transform` gives.

        Raises
        ------
        ValueError
            As `fit` does.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import MultiVectorCorrector
        >>> MultiVectorCorrector(normalize=False).fit_transform([2 * np.eye(2)])[0].tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
        """
        if isinstance(documents, Iterator):
            documents = list(documents)
        return self.fit(documents, mask=mask).transform(documents, mask=mask)

    def _corrected(self, which: str, tokens: Any) -> Any:
        if tokens.shape[1] != self.n_features_in_:
            raise ValueError(
                f"A document has tokens of {tokens.shape[1]} dimensions; "
                f"{self.n_features_in_} were fitted."
            )
        if self.scope != "document":
            tokens = getattr(self, which).transform(tokens)
        elif len(tokens) > 1:
            tokens = clone(self.corrector_).fit(tokens).transform(tokens)
        if not self.normalize:
            return tokens
        return AffineMap(np.zeros(tokens.shape[1])).apply(tokens, normalize="after")


def _tokens(document: Any, at: int) -> Any:
    return as_rows(document, name=f"document {at}").whole()


def _mask_of(documents: Any, mask: Any) -> np.ndarray:
    if mask is None:
        mask = np.ones(documents.shape[:2], dtype=bool)
    if tuple(mask.shape) != tuple(documents.shape[:2]):
        raise ValueError(
            f"mask must have shape {tuple(documents.shape[:2])}, got {tuple(mask.shape)}."
        )
    return to_numpy(mask).astype(bool)


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
