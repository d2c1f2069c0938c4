"""faiss transforms, to put before an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.affine import AffineMap
from isotropy.export._parts import parts_of, widths

__all__ = ["from_faiss", "prepend", "to_faiss"]


def to_faiss(corrector: Any, *, normalize: bool | None = None) -> list[Any]:
    """The correction as faiss transforms, in the order in which vectors go through them.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.

    Returns
    -------
    list of faiss.VectorTransform
        ``CenteringTransform`` (left out for a zero mean) and ``LinearTransform``, with
        ``NormalizationTransform`` before and after where the corrector normalizes. The mean has a
        step of its own because, in float32, it may be far larger than what it leaves.

    Raises
    ------
    ValueError
        If the corrector is not affine or not fitted.
    ImportError
        If faiss is missing (``isotropy[export]``).

    See Also
    --------
    prepend : Put them before an index.
    """
    faiss = require("faiss", extra="export")
    affine, before, after = parts_of(corrector, normalize)
    d, k = affine.n_features_in, affine.n_features_out
    chain = [faiss.NormalizationTransform(d, 2.0)] if before else []
    if affine.mean.any():
        centre = faiss.CenteringTransform(d)
        faiss.copy_array_to_vector(affine.mean.astype(np.float32), centre.mean)
        centre.is_trained = True
        chain.append(centre)
    linear = faiss.LinearTransform(d, k, True)
    faiss.copy_array_to_vector(affine.matrix.T.astype(np.float32).ravel(), linear.A)
    faiss.copy_array_to_vector(affine.offset.astype(np.float32), linear.b)
    linear.is_trained = True
    linear.set_is_orthonormal()
    chain.append(linear)
    return [*chain, faiss.NormalizationTransform(k, 2.0)] if after else chain


def prepend(index: Any, corrector: Any, *, normalize: bool | None = None) -> Any:
    """Put the correction before an index: raw vectors in, corrected ones stored and searched.

    Parameters
    ----------
    index : faiss.Index
        Of corrected vectors, filled or empty; it stays as it is, inside the new index.
    corrector : AffineMap or fitted affine corrector
    normalize : bool, optional
        As in `to_faiss`.

    Returns
    -------
    faiss.IndexPreTransform
        Takes raw vectors to add and to search with.

    Raises
    ------
    ValueError
        If the index has another width than the correction gives.

    Examples
    --------
    >>> import faiss, numpy as np
    >>> from isotropy import Whitening
    >>> from isotropy.export import prepend
    >>> X = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    >>> index = prepend(faiss.IndexFlatL2(8), Whitening().fit(X))
    >>> index.add(X)
    >>> index.search(X[:1], 1)[1].tolist()
    [[0]]
    """
    faiss = require("faiss", extra="export")
    affine, _, _ = parts_of(corrector)
    if index.d != affine.n_features_out:
        raise ValueError(
            f"The index holds vectors of {index.d} dimensions, but the correction maps "
            f"{widths(affine)}: build the index from corrected vectors."
        )
    for transform in reversed(to_faiss(corrector, normalize=normalize)):
        index = _before(faiss, transform, index)
    return index


def _before(faiss: Any, transform: Any, index: Any) -> Any:
    if isinstance(index, faiss.IndexPreTransform):
        index.prepend_transform(transform)
        return index
    return faiss.IndexPreTransform(transform, index)


def from_faiss(transform: Any) -> AffineMap:
    """See `AffineMap.from_faiss`."""
    faiss = require("faiss", extra="export")
    if not transform.is_trained:
        raise ValueError(f"The {type(transform).__name__} is not trained: train it first.")
    transform = faiss.downcast_VectorTransform(transform)
    if isinstance(transform, faiss.CenteringTransform):
        return AffineMap(faiss.vector_to_array(transform.mean).astype(np.float64))
    if isinstance(transform, faiss.ITQTransform):
        raise ValueError("An ITQTransform scales each row to length one, so it is not affine.")
    if not isinstance(transform, faiss.LinearTransform):
        raise ValueError(
            f"A {type(transform).__name__} is not an affine map: LinearTransform and its kinds "
            "(PCAMatrix, OPQMatrix, RandomRotationMatrix, ...) and CenteringTransform are."
        )
    shape = transform.d_out, transform.d_in
    matrix = faiss.vector_to_array(transform.A)[: shape[0] * shape[1]].reshape(shape)
    offset = faiss.vector_to_array(transform.b) if transform.have_bias else None
    return AffineMap(np.zeros(shape[1]), matrix.T.astype(np.float64), offset)
