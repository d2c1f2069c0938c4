"""Erasing a concept: no linear classifier finds it afterwards, and nothing else is changed."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors.base import AffineCorrector, warn_user
from isotropy.cross import CrossMoments
from isotropy.moments import Moments
from isotropy.rows.labels import Kind

__all__ = ["ConceptErasure"]

_ROUNDING = 1e-9
"""A multiple correlation below which labels and rows have nothing in common but rounding: the
square root of the spacing of float64 is what whitening leaves of a direction near the noise."""


class ConceptErasure(AffineCorrector):
    """Erase what a linear classifier could know of a concept, and change the rows least.

    ``y = x - s (x - mean) W'P W^-1'`` with W = C^(-1/2) of the covariance C of the rows and P the
    orthogonal projection onto the columns of W C_xz, C_xz being the covariance of rows and labels.
    With s = 1 the covariance of y and the labels is zero. That is so exactly when no linear
    classifier or regression predicts them better than a constant does; and of all affine maps with
    this property it is the one of least mean square change, in every norm.

    The map is affine and needs no label when it is applied: source, language, year or length of a
    query need not be known. Where they are known, `GroupMeanRemoval` does with less.

    Parameters
    ----------
    strength : float, default=1.0
        s, from 0 to 1: 1 erases, 0.5 halves every covariance with the labels, 0 changes nothing.
    concept : {"auto", "classes", "numbers"}, default="auto"
        What labels are. "auto" takes those of a floating type as numbers, all others as classes:
        say "numbers" for years or lengths that are integers.
    normalize : {"none", "before", "after", "both"}, default="none"
        Scale rows to length one before, after, or both. What is erased is erased of the rows as
        they are before the last scaling.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
    rank_ : int
        Directions in which the rows vary, above rounding.
    n_directions_ : int
        Directions that were erased: at most one less than there are classes, and one a number.
    concepts_ : dict
        By name, the labels of each concept of classes, or None for one of numbers.
    n_unlabelled_ : int
        Rows that were left out since a label of theirs is missing (NaN or None).

    Warns
    -----
    UserWarning
        If the labels are the same in all rows, so that nothing is erased; or if they take all
        directions in which the rows vary, as where there are hardly more rows than classes.

    Notes
    -----
    Belrose et al. 2023, LEACE (arXiv 2306.03819), Theorem 4.3 with Theorems 3.1 and 3.2 (why zero
    covariance is enough). What holds exactly holds of the rows of the fit; of others it holds as
    well as their covariances are known, so fit on many more rows than there are columns. What is
    not linear in the rows stays: a deep classifier may find the concept still.

    Fit is a pass of `CrossMoments` and O(d^3); transform is 2 n d q for q directions.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import ConceptErasure
    >>> rng = np.random.default_rng(0)
    >>> source = rng.integers(0, 2, 200)
    >>> X = rng.normal(size=(200, 3)) + np.outer(source, [3, 1, 0])
    >>> Y = ConceptErasure().fit_transform(X, source)
    >>> bool(np.abs(Y[source == 0].mean(0) - Y[source == 1].mean(0)).max() < 1e-12)
    True
    """

    _keeps_axes: ClassVar[bool] = True
    _kind_of_moments = CrossMoments

    def __init__(
        self, strength: float = 1.0, *, concept: Kind = "auto", normalize: Normalize = "none"
    ) -> None:
        self.strength = strength
        self.concept = concept
        self.normalize = normalize

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _new_moments(self) -> Moments:
        before = self.normalize in ("before", "both")
        return CrossMoments(concept=self.concept, order=2, normalize=before)

    @property
    def _removes_mean(self) -> bool:
        return self.strength != 0

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        z: Any = None,
        queries: Any = None,
    ) -> Self:
        """Learn from rows and their labels what to erase.

        Parameters
        ----------
        X : array of shape (n, d)
            Of any kind that `isotropy.rows.as_rows` takes.
        y : array of shape (n,) or (n, c), list of arrays, mapping or frame
            The labels: one concept, or several.
        sample_weight : array of shape (n,), optional
        z : array, optional
            The labels, in the place of `y`: for a pipeline whose `y` is what it learns to predict,
            which then must stay. Metadata routing brings it: ``set_fit_request(z=True)``.
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no labels, or not as many as rows; if no row has one; or as in every
            corrector.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import ConceptErasure
        >>> rng = np.random.default_rng(0)
        >>> X, year = rng.normal(size=(99, 3)), rng.integers(2000, 2020, 99)
        >>> ConceptErasure(concept="numbers").fit(X + year[:, None], year).n_directions_
        1
        """
        with self._new_fit(queries) as new:
            moments = new._new_moments()
            new._take_in(X, sample_weight, moments, reset=True, z=_labels(y, z))
        return self

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, z: Any = None
    ) -> Self:
        """Bring in more rows with their labels: the result is that of one `fit` on all of them.

        Parameters
        ----------
        X : array of shape (n, d)
        y, z : array
            The labels, as in `fit`. There may be classes that did not come before.
        sample_weight : array of shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If rows, labels or weights are refused, which leaves the corrector as it was, or this
            one has no moments to go on from.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import ConceptErasure
        >>> X, z = np.random.default_rng(0).normal(size=(30, 4)), ["a", "b", "c"]
        >>> erasure = ConceptErasure().fit(X[:10], z[:2] * 5).partial_fit(X[10:], z[1:] * 10)
        >>> erasure.concepts_
        {'z': ['a', 'b', 'c']}
        """
        self._learn_on(X, sample_weight, z=_labels(y, z))
        return self

    def _solve(self, moments: Moments) -> AffineMap:
        assert isinstance(moments, CrossMoments)
        strength = self.strength
        if isinstance(strength, str) or not 0 <= strength <= 1:
            raise ValueError(f"strength must be a number from 0 to 1, got {strength!r}.")
        there, back, rank = _directions(moments)
        count = there.shape[1]
        self._tell(count, rank)
        self.rank_, self.n_directions_ = rank, count
        self.concepts_, self.n_unlabelled_ = moments.concepts, moments.n_unlabelled
        inverse = None
        if strength < 1:  # R L = I, so this is exact
            inverse = np.eye(len(there)) + strength / (1 - strength) * there @ back
        return AffineMap(
            moments.mean, removed=(strength * there, back), offset=moments.mean, inverse=inverse
        )

    def _tell(self, count: int, rank: int) -> None:
        if not count:
            warn_user(
                "Nothing is erased: the labels are the same in all rows, or have nothing to do "
                "with them.",
                UserWarning,
            )
        elif count == rank:
            warn_user(
                f"The labels take all {rank} directions in which the rows vary, so nothing is left "
                "but the mean. There are too few rows for so many labels.",
                UserWarning,
            )


def _directions(moments: CrossMoments) -> tuple[np.ndarray, np.ndarray, int]:
    """L and R of the map ``y = x - (x - mean) L R``, and the rank of the rows.

    L = W V and R = V' W^-1 with V a basis of the columns of W C_xz. Each column of C_xz is divided
    by the deviation of its label first, which changes no span: its length is then the multiple
    correlation of the label with the rows, and rounding is told from a small effect.

    R is computed as S^-1 U C_zx, from the decomposition V S U of W C_xz: the same by algebra, but
    in each column as precise as that column's own covariances. V' W^-1 would write rounding of
    large columns into those that hardly vary, and that rounding would tell the label.
    """
    values, vectors = moments.spectrum(0)
    rank = int(np.count_nonzero(values > moments.noise_floor(float(values[0]))))
    roots, vectors = np.sqrt(values[:rank]), vectors[:, :rank]
    w, assumed = moments.total_weight, moments.z_scatter
    assert assumed is not None
    variances = np.diag(assumed) / w
    rounding = (16 * np.finfo(np.float64).eps * np.abs(moments.z_mean)) ** 2
    live = variances > rounding
    related = moments.cross[live] / w / np.sqrt(variances[live])[:, None]
    left, sizes, right = np.linalg.svd((related @ vectors / roots).T, full_matrices=False)
    kept = sizes > _ROUNDING
    back = right[kept] @ related / sizes[kept, None]
    return vectors / roots @ left[:, kept], back, rank


def _labels(y: Any, z: Any) -> Any:
    if y is None and z is None:
        raise ValueError(
            "ConceptErasure requires y to be passed, but the target y is None: labels, one a row, "
            "of what is to be erased."
        )
    return y if z is None else z
