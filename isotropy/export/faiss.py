"""faiss transforms, to put before an index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.export.parts import knows_queries, parts_of, widths
from isotropy.storage.errors import FileError
from isotropy.storage.whole import whole_file

__all__ = ["prepend", "to_faiss", "write_index"]


def to_faiss(corrector: Any, *, normalize: bool | None = None) -> list[Any]:
    """The correction as faiss transforms, in the order in which vectors go through them.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions. Queries that it knows are left aside: pass
        ``corrector.for_queries()`` for their transforms.
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

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import to_faiss
    >>> chain = to_faiss(MeanRemoval().fit(np.eye(2) * 4), normalize=True)
    >>> [type(transform).__name__ for transform in chain]
    ['CenteringTransform', 'LinearTransform', 'NormalizationTransform']
    >>> chain[0].apply(np.zeros((1, 2), np.float32)).tolist()
    [[-2.0, -2.0]]
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


def prepend(
    index: Any, corrector: Any, *, normalize: bool | None = None, queries: bool | None = None
) -> Any:
    """Put the correction before an index: raw vectors in, corrected ones stored and searched.

    Parameters
    ----------
    index : faiss.Index
        Of corrected vectors, filled or empty, of any kind. It is shared, not copied: what is added
        to the new index is added to it. Its own transforms stay as they are.
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions, the width of the index.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.
    queries : bool, optional
        For a corrector that knows queries, which treats them apart from documents, while an index
        of faiss has one way in: False for the index that documents are added through, True for
        the one that is searched. Both may share `index`.

    Returns
    -------
    faiss.IndexPreTransform
        Takes raw vectors to add and to search with.

    Raises
    ------
    ValueError
        If the index has another width than the correction gives, the corrector is not affine or
        not fitted, or `queries` is left out where the corrector knows queries, or is True where it
        knows none.
    ImportError
        If faiss is missing (``isotropy[export]``).

    See Also
    --------
    to_faiss : The transforms alone.

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

    With queries from elsewhere, a way in for each kind:

    >>> corrector, flat = Whitening().fit(X, queries=X + 5), faiss.IndexFlatL2(8)
    >>> prepend(flat, corrector, queries=False).add(X)
    >>> prepend(flat, corrector, queries=True).search(X[:1] + 5, 1)[1].tolist()
    [[0]]
    """
    faiss = require("faiss", extra="export")
    corrector = _side(corrector, queries)
    affine, _, _ = parts_of(corrector)
    if index.d != affine.n_features_out:
        raise ValueError(
            f"The index holds vectors of {index.d} dimensions, but the correction maps "
            f"{widths(affine)}: build the index from corrected vectors."
        )
    # Around the index even where it has transforms: one that faiss made or read owns them, and
    # would free a transform of ours a second time.
    whole = faiss.IndexPreTransform(index)
    for transform in reversed(to_faiss(corrector, normalize=normalize)):
        whole.prepend_transform(transform)
    return whole


def _side(corrector: Any, queries: bool | None) -> Any:
    """The corrector for documents, or that for queries."""
    known = knows_queries(corrector)
    if known and queries is None:
        raise ValueError(
            f"The {type(corrector).__name__} treats queries and documents apart, but an index of "
            "faiss has one way in: give queries=False for the index that documents are added "
            "through, and queries=True for the one that is searched (both may share an index)."
        )
    if queries and not known:
        raise ValueError(
            f"queries=True, but the {type(corrector).__name__} knows no queries: give them to fit, "
            "or pass corrector.for_queries(Q)."
        )
    return corrector.for_queries() if queries else corrector


def write_index(
    corrector: Any,
    path: str | os.PathLike[str],
    *,
    normalize: bool | None = None,
    index: str | os.PathLike[str] | None = None,
) -> None:
    """Write an index of faiss that takes raw vectors.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        Queries that it knows are left aside: pass ``corrector.for_queries()`` for theirs.
    path : path-like
        File to write; it appears whole or not at all.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.
    index : path-like, optional
        File of the index of corrected vectors that the correction is put before; by default an
        empty ``IndexFlatIP``.

    Raises
    ------
    ValueError
        If the index has another width than the correction gives, or the corrector is not affine or
        not fitted.
    FileError
        If `index` cannot be read, or `path` not be written.
    ImportError
        If faiss is missing (``isotropy[export]``).
    """
    faiss = require("faiss", extra="export")
    width = parts_of(corrector)[0].n_features_out
    inner = faiss.IndexFlatIP(width) if index is None else _read(faiss, index)
    queries = False if knows_queries(corrector) else None
    whole = prepend(inner, corrector, normalize=normalize, queries=queries)
    with whole_file(path) as file:
        file.write(faiss.serialize_index(whole).tobytes())


def _read(faiss: Any, path: Any) -> Any:
    if not Path(path).is_file():
        raise FileError(Path(path), "does not exist.")
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise FileError(Path(path), f"is not a faiss index ({reason}).") from error
