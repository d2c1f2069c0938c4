"""Groups of rows with means of their own: sources, languages, modalities, genres."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.metaestimators import available_if

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors._grouped import Grouped, Unknown, check_enough
from isotropy.correctors._shrinkage import noise_to_signal, trust_in
from isotropy.cross import CrossMoments
from isotropy.moments import Moments

__all__ = ["GroupMeanRemoval"]


def _learns_on(corrector: GroupMeanRemoval) -> bool:
    if not getattr(corrector, "own", False):
        return True
    raise AttributeError("GroupWhitening(own=True) learns from all rows at once: use fit.")


class GroupMeanRemoval(Grouped):
    """Subtract from each row the mean of its group: ``y = x - strength * c_g``.

    Each language, source, modality or genre has a mean of its own. After one mean was removed the
    differences between them remain, and nearest neighbours come from the same group before they
    come from the same subject. The mean of a small group is not known well, so it is shrunk towards
    that of the whole: a group of one row, or one that does not differ, does no harm.

    Parameters
    ----------
    strength : float, default=1.0
        Share of the mean that is removed; 0 leaves the rows alone.
    unknown : {"nearest", "whole", "refuse"}, default="nearest"
        What becomes of rows whose group is missing (None, NaN) or was not seen in the fit: the
        group whose mean is nearest, the mean of the whole, or an error.
    shrinkage : "estimated" or float, default="estimated"
        k of ``c_g = mean + n_g / (n_g + k) (mean_g - mean)`` for a group of n_g rows: rows that the
        whole counts for. 0 takes the groups' means as they are.
    center : bool, default=True
        Whether the mean of the whole goes too. False moves the groups onto one another, at the mean
        of the whole.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    groups_ : list of str, int, float or bool
        The groups of the fit, in a fixed order.
    counts_ : ndarray of shape (G,)
        Sums of the weights of their rows.
    centers_ : ndarray of shape (G, d)
        c_g.
    mean_, center_ : ndarray of shape (d,)
        The mean of all rows that have a group; of a corrector that `for_queries` made, `mean_` is
        that of the queries.
    shrinkage_ : float
        k as used; infinite where the groups do not differ by more than chance.
    shift_, group_shifts_ : ndarray of shapes (d,) and (G, d)
        What is added to rows first: zero, but for a corrector that `for_queries` made.

    Notes
    -----
    The estimate of k is the ratio of the variance within groups to that of their true means, by the
    analysis of variance of one way with random effects (Searle, Casella & McCulloch 1992, Variance
    Components, section 3.6: tau^2 = (MSB - MSW) / n0); c_g is then the best linear unbiased
    predictor, the estimate of Efron & Morris 1975 for groups of unequal size. One mean a group:
    arXiv 2507.01234 (linear deconfounding), 2507.19054 (modalities).

    Affine given the group: `map_of` gives the map of one, which goes wherever an `AffineMap` goes.
    Fit and transform are O(n d); finding the nearest group is O(n d G).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import GroupMeanRemoval
    >>> X, source = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 0.0], [7.0, 0.0]]), list("aabb")
    >>> corrector = GroupMeanRemoval(shrinkage=0).fit(X, groups=source)
    >>> corrector.transform(X, groups=source).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]
    """

    def __init__(
        self,
        strength: float = 1.0,
        *,
        unknown: Unknown = "nearest",
        shrinkage: float | Literal["estimated"] = "estimated",
        center: bool = True,
        normalize: Normalize = "none",
    ) -> None:
        self.strength = strength
        self.unknown = unknown
        self.shrinkage = shrinkage
        self.center = center
        self.normalize = normalize

    # -- fitting -----------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        queries: Any = None,
        query_groups: Any = None,
    ) -> Self:
        """Learn the means of the groups.

        Parameters
        ----------
        X : array of shape (n, d)
            Of any kind that `isotropy.rows.as_rows` takes.
        y : ignored
        sample_weight : array of shape (n,), optional
        groups : array of shape (n,)
            A label a row. Rows without one (None, NaN) are left out.
        queries : array of shape (q, d) or Moments, optional
            As in every corrector; `CrossMoments` of queries know their groups.
        query_groups : array of shape (q,), optional
            Their groups: queries of a group are then corrected about their own mean, which is
            shrunk towards that of all queries as the rows' means are.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no groups, or not as many as rows; if no row has one; or as in every
            corrector.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X = np.array([[1.0], [3.0], [9.0], [7.0]])
        >>> GroupMeanRemoval(shrinkage=0).fit(X, groups=["a", "a", "b", "b"]).centers_.tolist()
        [[2.0], [8.0]]
        """
        with self._new_fit(queries) as new:
            new._bring_in(X, sample_weight, new._new_moments(), groups, reset=True)
            if queries is not None:
                shifts = new._shifts_of(queries, query_groups)
                if shifts is not None:
                    new.query_group_shifts_ = shifts
        return self

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None, **more: Any
    ) -> Any:
        """Learn the means of the groups and remove them: `fit`, then `transform` by the groups.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ignored
        sample_weight : array of shape (n,), optional
        groups : array of shape (n,)
        **more
            Of `fit`.

        Returns
        -------
        array of shape (n, k)

        Raises
        ------
        ValueError
            As `fit` and `transform` do.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X = np.array([[1.0], [3.0], [9.0], [7.0]])
        >>> GroupMeanRemoval(shrinkage=0).fit_transform(X, groups=[0, 0, 1, 1]).ravel().tolist()
        [-1.0, 1.0, 1.0, -1.0]
        """
        self.fit(X, y, sample_weight, groups=groups, **more)
        return self.transform(X, groups=groups)

    @available_if(_learns_on)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None
    ) -> Self:
        """Bring in more rows with their groups: the result is that of one `fit` on all of them.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ignored
        sample_weight : array of shape (n,), optional
        groups : array of shape (n,)
            There may be some that did not come before.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If rows, groups or weights are refused, which leaves the corrector as it was, or this
            one has no moments to go on from.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X = np.array([[1.0], [3.0], [9.0]])
        >>> corrector = GroupMeanRemoval().fit(X[:2], groups=["a", "a"])
        >>> corrector.partial_fit(X[2:], groups=["b"]).groups_
        ['a', 'b']
        """
        with self._learning(anew=False) as new:
            if not hasattr(new, "centers_"):
                new.fit(X, sample_weight=sample_weight, groups=groups)
            elif hasattr(new, "query_group_shifts_"):
                raise ValueError(
                    "Queries by group were given to fit; the means of the groups they were "
                    "compared with would change: fit again, or use for_queries(Q, groups)."
                )
            else:
                new._bring_in(X, sample_weight, new._known_moments(), groups, reset=False)
        return self

    def _bring_in(
        self, X: Any, sample_weight: Any, moments: Moments, groups: Any, *, reset: bool
    ) -> None:
        rows = self._check_rows(X, reset=reset)
        if groups is None:
            raise ValueError("groups is missing: one label a row, of the group that it is of.")
        new = moments.copy()
        assert isinstance(new, CrossMoments)
        new.update(rows, sample_weight, z=groups)
        check_enough(new)
        self._finish(new)

    @available_if(_learns_on)
    def fit_moments(self, moments: CrossMoments, *, queries: Any = None) -> Self:
        """Learn from `CrossMoments` alone, without the rows.

        Parameters
        ----------
        moments : CrossMoments
            With ``concept="classes"``, and with ``normalize=True`` where this corrector normalizes
            before. They are copied.
        queries : array of shape (q, d) or Moments, optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If they are no `CrossMoments`.
        ValueError
            If they are of other options than this corrector needs, or hold too few rows.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments, GroupMeanRemoval
        >>> moments = CrossMoments(concept="classes").update(np.eye(2), z=["a", "b"])
        >>> GroupMeanRemoval().fit_moments(moments).groups_
        ['a', 'b']
        """
        self._check_moments(moments)
        with self._new_fit(queries) as new:
            check_enough(moments)
            new._finish(moments.copy())
        return self

    def _new_moments(self) -> CrossMoments:
        return CrossMoments(concept="classes", order=self._order(), normalize=self._unit_before)

    def _order(self) -> Literal[1, 2, 4]:
        return 1

    def _finish(self, moments: CrossMoments) -> None:
        self._check_parameters()
        (groups,) = moments.concepts.values()
        assert groups is not None
        self.groups_, self.counts_ = groups, moments.class_weights()
        self.shrinkage_ = self._shrinkage(moments)
        trust = trust_in(self.counts_, self.shrinkage_)
        self.mean_ = self.center_ = moments.mean
        self.centers_ = self.mean_ + trust[:, None] * (moments.means() - self.mean_)
        self.linear_ = self._solve(moments, trust)
        d = moments.n_features
        self.shift_, self.group_shifts_ = np.zeros(d), np.zeros((len(groups), d))
        self.moments_, self.n_features_in_ = moments, d
        self.n_samples_seen_ = moments.n_rows

    def _solve(self, moments: CrossMoments, trust: np.ndarray) -> AffineMap:
        """What follows once the means of the groups are at zero."""
        return AffineMap(np.zeros(moments.n_features))

    def _check_parameters(self) -> None:
        if isinstance(self.strength, str) or not np.isfinite(self.strength):
            raise ValueError(f"strength must be a finite number, got {self.strength!r}.")
        if self.unknown not in ("nearest", "whole", "refuse"):
            raise ValueError(
                f"unknown must be 'nearest', 'whole' or 'refuse', got {self.unknown!r}."
            )

    def _shrinkage(self, moments: CrossMoments) -> float:
        wanted = self.shrinkage
        if wanted == "estimated":
            return noise_to_signal(moments)
        if isinstance(wanted, str) or not wanted >= 0:
            raise ValueError(
                f"shrinkage must be 'estimated' or a number from 0 up, got {wanted!r}."
            )
        return float(wanted)
