"""Groups of rows with means of their own: sources, languages, modalities, genres."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.correctors.base import Corrector
from isotropy.correctors.whitening import Whitening
from isotropy.cross import CrossMoments
from isotropy.moments import Moments, fixed_eigh
from isotropy.rows.arrays import (
    at_least_float32,
    check_weights,
    in_kind_of,
    is_torch,
    raise_on_bad_row,
    to_numpy,
    unit_rows,
)
from isotropy.rows.door import as_rows
from isotropy.rows.labels import codes_of
from isotropy.rows.source import MappedRows, MemoryRows, Rows

__all__ = ["GroupMeanRemoval", "GroupWhitening"]

_BLOCK = 4096
_MISSING, _UNSEEN = -1, -2
Unknown = Literal["nearest", "whole", "refuse"]


def _learns_on(corrector: GroupMeanRemoval) -> bool:
    if not getattr(corrector, "own", False):
        return True
    raise AttributeError("GroupWhitening(own=True) learns from all rows at once: use fit.")


class GroupMeanRemoval(Corrector):
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

    _kind_of_moments = CrossMoments
    _not_saved = Corrector._not_saved | {"linear_"}
    linear_: AffineMap

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
            elif new.moments_ is None:
                raise ValueError(
                    "This corrector has no moments, so it cannot learn on: it was loaded from a "
                    "file saved without moments=True, or made by for_queries."
                )
            else:
                if hasattr(new, "query_group_shifts_"):
                    raise ValueError(
                        "Queries by group were given to fit; the means of the groups they were "
                        "compared with would change: fit again, or use for_queries(Q, groups)."
                    )
                new._bring_in(X, sample_weight, new.moments_, groups, reset=False)
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
        self._check_enough(new)
        self._finish(new)

    @staticmethod
    def _check_enough(moments: CrossMoments) -> None:
        if len(moments.concepts) > 1:
            raise ValueError(f"groups must be one label a row, got {len(moments.concepts)} each.")
        if not moments.total_weight > 0:
            why = "No row has a group" if moments.n_unlabelled else "Every weight is zero"
            raise ValueError(f"{why} (0 samples count); at least 1 is needed.")

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
        if not isinstance(moments, CrossMoments):
            raise TypeError(f"moments must be CrossMoments, got {type(moments).__name__}.")
        wanted = self._new_moments()
        for option in ("normalize", "concept"):
            mine, theirs = getattr(wanted, option), getattr(moments, option)
            if mine != theirs:
                raise ValueError(
                    f"{type(self).__name__} with these parameters needs moments of "
                    f"{option}={mine!r}, got {option}={theirs!r}."
                )
        with self._new_fit(queries) as new:
            new._check_enough(moments)
            new._finish(moments.copy())
        return self

    def _new_moments(self) -> CrossMoments:
        before = check_normalize(self.normalize) in ("before", "both")
        return CrossMoments(concept="classes", order=self._order(), normalize=before)

    def _order(self) -> Literal[1, 2, 4]:
        return 1

    def _finish(self, moments: CrossMoments) -> None:
        self._check_parameters()
        (groups,) = moments.concepts.values()
        assert groups is not None
        self.groups_, self.counts_ = groups, moments.class_weights()
        self.shrinkage_ = self._shrinkage(moments)
        trust = _trust(self.counts_, self.shrinkage_)
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
            return _noise_to_signal(moments)
        if isinstance(wanted, str) or not wanted >= 0:
            raise ValueError(
                f"shrinkage must be 'estimated' or a number from 0 up, got {wanted!r}."
            )
        return float(wanted)

    # -- queries -----------------------------------------------------------------------------

    @property
    def _removes_mean(self) -> bool:
        return self.strength != 0 and self.center

    def _move(self, mean: np.ndarray) -> None:
        self.shift_ = self.shift_ + (self.mean_ - mean)
        self.group_shifts_ = self.group_shifts_ + (self.mean_ - mean)

    def for_queries(self, Q: Any = None, groups: Any = None) -> Self:
        """The corrector of queries: the same map about their own means.

        Parameters
        ----------
        Q : array of shape (q, d) or Moments, optional
            Queries; by default those that `fit` was given.
        groups : array of shape (q,), optional
            Their groups. Queries of a group then lie about their own mean, shrunk towards that of
            all queries; groups that are not among them, and queries whose group is not known, about
            that of all queries.

        Returns
        -------
        corrector
            A fitted one of the same class, which learns nothing more.

        Raises
        ------
        ValueError
            If `Q` or `groups` do not fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X, g = np.array([[1.0], [3.0], [9.0], [7.0]]), ["a", "a", "b", "b"]
        >>> asked = GroupMeanRemoval(shrinkage=0).fit(X, groups=g).for_queries(X + 5, groups=g)
        >>> asked.transform(X + 5, groups=g).ravel().tolist()
        [-1.0, 1.0, 1.0, -1.0]
        """
        if groups is not None and Q is None:
            raise ValueError("groups are those of Q, which is missing.")
        twin = super().for_queries(Q)
        shifts = getattr(self, "query_group_shifts_", None)
        if Q is not None:
            shifts = self._shifts_of(Q, groups)
        twin.__dict__.pop("query_group_shifts_", None)
        if shifts is not None and self._removes_mean:
            twin.group_shifts_ = shifts
        return twin

    def transform_queries(self, Q: Any, groups: Any = None) -> Any:
        """Correct queries about their own means, where `fit` was given queries, else as rows.

        Parameters
        ----------
        Q : array of shape (q, d)
        groups : array of shape (q,), optional
            Their groups, where they are known.

        Returns
        -------
        array of shape (q, k)

        Raises
        ------
        ValueError
            As `transform` does.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X, g = np.array([[1.0], [3.0], [9.0], [7.0]]), ["a", "a", "b", "b"]
        >>> corrector = GroupMeanRemoval(shrinkage=0)
        >>> corrector.fit(X, groups=g, queries=X + 5).transform_queries(X + 5, g).ravel().tolist()
        [-1.0, 1.0, 1.0, -1.0]
        """
        return self.for_queries().transform(Q, groups=groups)

    def _shifts_of(self, Q: Any, groups: Any) -> np.ndarray | None:
        """What brings queries of each group to where its rows are; None where no group is known."""
        if isinstance(Q, CrossMoments):
            moments = Q
        elif groups is None or isinstance(Q, Moments):
            return None
        else:
            moments = self._new_moments()
            moments = CrossMoments(**{**moments._options(), "order": 1})
            try:
                moments.update(self._check_rows(Q, reset=False), z=groups)
            except ValueError as error:
                raise ValueError(f"queries: {error}") from error
            self._check_enough(moments)
        (labels,) = moments.concepts.values()
        place = {label: i for i, label in enumerate(labels or [])}
        drift = moments.mean - self.center_
        counts, means = moments.class_weights(), moments.means()
        trust = _trust(counts, self.shrinkage_)
        shifts = np.tile(-drift, (len(self.groups_), 1))
        for g, label in enumerate(self.groups_):
            if (i := place.get(label)) is not None:
                apart = means[i] - drift - self.centers_[g]
                shifts[g] -= trust[i] * apart
        return shifts

    # -- applying ----------------------------------------------------------------------------

    def transform(self, X: Any, groups: Any = None) -> Any:
        """Correct rows by their groups: (n, d) to (n, k). Statistics are frozen.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
            n may be 0.
        groups : array of shape (n,), optional
            The label of each row. Without them, and for rows of groups that are missing or were not
            in the fit, `unknown` says what happens.

        Returns
        -------
        array of shape (n, k), Rows or collection
            As every corrector gives it.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, the columns are not those of the fit, there are not as
            many groups as rows, or one is unknown and ``unknown="refuse"``.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X = np.array([[1.0], [3.0], [9.0], [7.0]])
        >>> corrector = GroupMeanRemoval(shrinkage=0).fit(X, groups=["a", "a", "b", "b"])
        >>> corrector.transform([[2.5], [2.5]], groups=["a", "b"]).ravel().tolist()
        [0.5, -5.5]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        rows = now._check_rows(X, reset=False)
        if groups is None:
            if now.unknown == "refuse":
                raise ValueError(
                    "groups is missing: with unknown='refuse' every row must have one."
                )
            return rows.map(now._apply, now._n_features_out, now.get_feature_names_out)
        if hasattr(rows, "source"):
            raise ValueError(
                "groups of a Dask collection cannot be cut as its parts are: correct each part "
                "with its groups, or without any, by the nearest."
            )
        codes = now._codes(groups, len(rows))
        if isinstance(rows, MemoryRows):
            return now._apply(rows.whole(), codes)
        return _RowsInGroups(rows, now._apply, codes, now._n_features_out)

    def _codes(self, groups: Any, n: int) -> np.ndarray:
        codes = codes_of(groups, n, self.groups_)
        if self.unknown == "refuse" and (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            why = "has no group" if codes[row] == _MISSING else "is of a group not seen in the fit"
            known = ", ".join(map(repr, self.groups_[:5]))
            raise ValueError(
                f"row {row} {why}; there are {len(self.groups_)} ({known}...). "
                "unknown='nearest' or 'whole' would take it."
            )
        return codes

    def _apply(self, X: Any, codes: np.ndarray | None = None) -> Any:
        if is_torch(X):
            return self._correct(X, codes)
        X = as_rows(X).in_memory()
        parts = [slice(i, i + _BLOCK) for i in range(0, len(X), _BLOCK)] or [slice(0, 0)]
        return np.concatenate(
            [self._correct(X[p], None if codes is None else codes[p], p.start) for p in parts]
        )

    def _correct(self, X: Any, codes: np.ndarray | None, first_row: int = 0) -> Any:
        if not is_torch(X):
            raise_on_bad_row(X, first_row)
        Y = at_least_float32(X)
        if self.normalize in ("before", "both"):
            Y = unit_rows(Y)
        codes = np.full(len(X), _MISSING) if codes is None else codes
        known = codes >= 0
        # One more row of each table, for what is of no group: index -1 is the last one.
        own = np.vstack([self.group_shifts_, self.shift_])[np.where(known, codes, -1)]
        if self.unknown == "nearest" and not known.all():
            codes = np.where(known, codes, self._nearest(to_numpy(Y) + self.shift_))
        at = np.where(codes >= 0, codes, -1)
        taken = self.strength * np.vstack([self.centers_, self.center_])
        if not self.center:
            taken = taken - self.strength * self.center_
        Y = Y - in_kind_of(Y, taken[at] - own)
        return _in_type_of(X, self._linear(Y, at))

    def _linear(self, Y: Any, codes: np.ndarray) -> Any:
        after = "after" if self.normalize in ("after", "both") else "none"
        return self.linear_.apply(Y, normalize=after)  # type: ignore[arg-type]

    def _nearest(self, rows: np.ndarray) -> np.ndarray:
        """The group of each row whose mean is nearest, in the space that rows come to."""
        matrix = self.linear_._dense
        apart, centers = rows - self.center_, self.centers_ - self.center_
        if matrix is not None:
            apart, centers = apart @ matrix, centers @ matrix
        found: np.ndarray = (apart @ centers.T - np.square(centers).sum(1) / 2).argmax(1)
        return found

    def map_of(self, group: Any = None) -> AffineMap:
        """The affine map of one group, to be exported, composed or put into an encoder.

        Parameters
        ----------
        group : str, int, float or bool, optional
            One of `groups_`; by default that of rows about the mean of the whole.

        Returns
        -------
        AffineMap

        Raises
        ------
        ValueError
            If there is no such group, or `normalize` is not "none": scaling rows is not affine.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X = np.array([[1.0], [3.0], [9.0], [7.0]])
        >>> corrector = GroupMeanRemoval(shrinkage=0).fit(X, groups=["a", "a", "b", "b"])
        >>> corrector.map_of("b").apply(np.array([[9.0]])).tolist()
        [[1.0]]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        if now.normalize != "none":
            raise ValueError(
                f"normalize={now.normalize!r} scales each row, which no affine map does. Fit with "
                "normalize='none' and scale the rows yourself."
            )
        if group is not None and group not in now.groups_:
            raise ValueError(f"no group {group!r}; there are: {', '.join(map(repr, now.groups_))}.")
        return now._map_at(-1 if group is None else now.groups_.index(group))

    def _map_at(self, at: int) -> AffineMap:
        shift = np.vstack([self.group_shifts_, self.shift_])[at]
        taken = self.strength * np.vstack([self.centers_, self.center_])[at]
        if not self.center:
            taken = taken - self.strength * self.center_
        linear = self._linear_at(at)
        return AffineMap(taken - shift, linear._dense, inverse=linear._inverse)

    def _linear_at(self, at: int) -> AffineMap:
        return self.linear_

    def inverse_transform(self, X: Any, groups: Any = None) -> Any:
        """The rows that `transform` came from, up to what it removed: that returns at its mean.

        Parameters
        ----------
        X : array of shape (n, k), numpy or torch
        groups : array of shape (n,), optional
            The group of each row. Those without one come back about the mean of the whole.

        Returns
        -------
        array of shape (n, d)

        Raises
        ------
        ValueError
            If `normalize` is not "none", or there are not as many groups as rows.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> X, g = np.array([[1.0], [3.0], [9.0], [7.0]]), ["a", "a", "b", "b"]
        >>> corrector = GroupMeanRemoval().fit(X, groups=g)
        >>> back = corrector.inverse_transform(corrector.transform(X, groups=g), groups=g)
        >>> back.ravel().round(9).tolist()
        [1.0, 3.0, 9.0, 7.0]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        if now.normalize != "none":
            raise ValueError(
                f"normalize={now.normalize!r} discards the lengths of the rows, so there is no "
                "way back. Fit with normalize='none' and scale the rows yourself."
            )
        given = as_rows(X).whole()
        codes = codes_of(groups, len(given), now.groups_)
        at = np.where(codes >= 0, codes, -1)
        out = np.empty((len(given), now.n_features_in_))
        for code in np.unique(at):
            mine = np.flatnonzero(at == code)
            out[mine] = now._map_at(int(code)).inverse().apply(to_numpy(given)[mine])
        return in_kind_of(given, out)

    @property
    def _n_features_out(self) -> int:
        return self.linear_.n_features_out

    # -- files -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, moments: bool = False) -> None:
        """Write the fitted corrector to a safetensors file; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
        moments : bool, default=False
            Let the moments go along, so that `partial_fit` can go on after loading.

        Raises
        ------
        FileError
            If it cannot be written.
        ValueError
            If there are no moments to save.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> import isotropy
        >>> path = os.path.join(tempfile.mkdtemp(), "c.safetensors")
        >>> isotropy.GroupMeanRemoval().fit(np.eye(3), groups=["a", "a", "b"]).save(path)
        >>> isotropy.load(path).groups_
        ['a', 'b']
        """
        self._save(path, moments)

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, self.linear_.arrays()

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.linear_ = AffineMap.from_arrays(path, arrays)
        shape = (len(self.groups_), self.n_features_in_)
        tables = [self.centers_, self.group_shifts_, getattr(self, "query_group_shifts_", None)]
        fits = (
            self.shift_.shape == self.center_.shape == shape[1:]
            and self.linear_.n_features_in == shape[1]
        )
        own = getattr(self, "own_maps_", None)
        fits &= own is None or own.shape == (shape[0], 2, shape[1], shape[1])
        for table in tables:
            fits &= table is None or (table.shape == shape and bool(np.isfinite(table).all()))
        if not fits:
            raise ValueError(f"{path}: its groups and their means do not fit one another.")


class GroupWhitening(GroupMeanRemoval):
    """Subtract the mean of each group, and whiten by the covariance within groups.

    ``y = (x - c_g) A`` with c_g as in `GroupMeanRemoval` and A the whitening of what is left then.
    The covariance of all rows mixes the differences between groups with those inside them: what it
    holds down are the directions in which the groups differ. All groups share one A, so they stay
    in one space.

    Parameters
    ----------
    power : float, default=1.0
        1 whitens, 0 leaves the variances, 0.5 goes half the way.
    n_components : int or float or None, default=None
        As in `Whitening`: how many leading directions to keep.
    own : bool, default=False
        Let each group have directions of its own, as far as it has the rows to know them: its
        covariance is shrunk towards that within all groups. The whitening is then that which
        changes the rows least ("zca"), the only one under which groups stay comparable.
    strength, unknown, shrinkage, center, normalize
        As in `GroupMeanRemoval`.

    Attributes
    ----------
    groups_, counts_, centers_, mean_, shrinkage_
        As in `GroupMeanRemoval`.
    own_weights_ : ndarray of shape (G,), with own=True
        How much of each group's own covariance was taken, from 0 (too few rows) to 1.

    Warns
    -----
    RankWarning
        If directions were dropped because they hold nothing but rounding.

    Notes
    -----
    The covariance within groups is that of linear discriminant analysis. With ``own=True`` that of
    group g is ``(1 - r_g) S_g + r_g S``, the regularized discriminant analysis of Friedman 1989,
    with r_g = min(1, sum Var(s_ij) / sum (s_ij - S_ij)^2) estimated as Ledoit & Wolf 2003 (J.
    Empirical Finance 10, 603) do for a given target, in coordinates in which S is the identity:
    near 1 for a group of fewer rows than columns. Costs n d^2 + O(d^3), with ``own=True`` a second
    look at the rows, O(G d^3) and 2 G d^2 numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import GroupWhitening
    >>> rng = np.random.default_rng(0)
    >>> g = rng.integers(0, 2, 400)
    >>> X = rng.normal(size=(400, 2)) * [5, 1] + np.outer(g, [0, 9])
    >>> Y = GroupWhitening().fit_transform(X, groups=g)
    >>> bool(np.abs(np.cov(Y.T) - np.eye(2)).max() < 0.01)
    True
    """

    def __init__(
        self,
        power: float = 1.0,
        n_components: int | float | None = None,
        *,
        own: bool = False,
        strength: float = 1.0,
        unknown: Unknown = "nearest",
        shrinkage: float | Literal["estimated"] = "estimated",
        center: bool = True,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(
            strength, unknown=unknown, shrinkage=shrinkage, center=center, normalize=normalize
        )
        self.power = power
        self.n_components = n_components
        self.own = own

    def _order(self) -> Literal[1, 2, 4]:
        return 2

    def _solve(self, moments: CrossMoments, trust: np.ndarray) -> AffineMap:
        if self.own and self.n_components is not None:
            raise ValueError("own=True keeps all columns: leave n_components out.")
        whitening = Whitening(
            "zca" if self.own else "pca", self.n_components, power=self.power
        )._solve(moments.within(trust))
        return AffineMap(np.zeros(moments.n_features), whitening._dense, inverse=whitening._inverse)

    def _bring_in(
        self, X: Any, sample_weight: Any, moments: Moments, groups: Any, *, reset: bool
    ) -> None:
        super()._bring_in(X, sample_weight, moments, groups, reset=reset)
        if self.own:
            self._learn_own(as_rows(X), sample_weight, groups)

    def _learn_own(self, rows: Rows, sample_weight: Any, groups: Any) -> None:
        codes, assumed = codes_of(groups, len(rows), self.groups_), self.moments_
        assert isinstance(assumed, CrossMoments)
        within = assumed.within(_trust(self.counts_, self.shrinkage_))
        values, vectors = within.spectrum()
        floor = within.noise_floor(float(values[0]))
        vectors, roots = vectors[:, values > floor], np.sqrt(values[values > floor])
        unit = self.normalize in ("before", "both")
        each = [Moments(unit="none", order=4) for _ in self.groups_]
        weights, start = _weights_of(sample_weight, len(rows)), 0
        for block in rows.blocks():
            part = slice(start, start + len(block))
            wide = to_numpy(block).astype(np.float64)
            white = ((unit_rows(wide) if unit else wide) - self.mean_) @ (vectors / roots)
            for g in np.unique(codes[part][codes[part] >= 0]):
                mine = codes[part] == g
                each[g].update(white[mine], weights[part][mine])
            start += len(block)
        own = [_own_covariance(one) for one in each]
        self.own_weights_ = np.array([share for _, share in own])
        back = (vectors * roots).T
        self.own_maps_ = np.stack(
            [
                _symmetric_power(back.T @ covariance @ back, self.power, floor)
                for covariance, _ in own
            ]
        )

    def _linear(self, Y: Any, codes: np.ndarray) -> Any:
        if not self.own:
            return super()._linear(Y, codes)
        out = Y * 0
        for at in np.unique(codes):
            mine = np.flatnonzero(codes == at)
            after = "after" if self.normalize in ("after", "both") else "none"
            out[mine] = self._linear_at(int(at)).apply(Y[mine], normalize=after)  # type: ignore[arg-type]
        return out

    def _linear_at(self, at: int) -> AffineMap:
        if not self.own or at < 0:
            return self.linear_
        there, back = self.own_maps_[at]
        return AffineMap(np.zeros(len(there)), there, inverse=back)


class _RowsInGroups(MappedRows):
    """Rows corrected by their groups, block by block as they are read."""

    def __init__(self, rows: Rows, function: Any, codes: np.ndarray, width: int) -> None:
        super().__init__(rows, function, width)
        self.correct, self.codes = function, codes

    def _blocks(self, block_rows: int, start: int) -> Iterator[Any]:
        for block in self.rows.blocks(block_rows, start=start):
            yield self.correct(block, self.codes[start : start + len(block)])
            start += len(block)


def _in_type_of(X: Any, Y: Any) -> Any:
    """`Y`, computed in float32 or more, in the type of `X`; gradients flow."""
    if is_torch(Y):
        return Y.to(X.dtype if X.is_floating_point() else Y.dtype)
    return in_kind_of(X, Y)


def _trust(counts: np.ndarray, shrinkage: float) -> np.ndarray:
    """The share n / (n + k): 0 where k is infinite, and for a group without rows."""
    if np.isinf(shrinkage):
        return np.zeros_like(counts)
    total = counts + shrinkage
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def _noise_to_signal(moments: CrossMoments) -> float:
    """The variance within groups over that of their true means; infinite where there is none."""
    counts = moments.class_weights()
    n, g = float(counts.sum()), int(np.count_nonzero(counts))
    apart = moments.means() - moments.mean
    between = float(counts @ np.einsum("ij,ij->i", apart, apart))
    if g < 2:
        return 0.0
    if n <= g:
        return np.inf
    within = max(0.0, moments.spread - between) / (n - g)
    size = (n - float(counts @ counts) / n) / (g - 1)
    signal = (between / (g - 1) - within) / size
    if signal <= 0:
        return np.inf
    return within / signal


def _weights_of(sample_weight: Any, n: int) -> np.ndarray:
    weights = check_weights(sample_weight, n)
    return np.ones(n) if weights is None else weights


def _own_covariance(moments: Moments) -> tuple[np.ndarray, float]:
    """The covariance of a group, shrunk towards the identity, and the share of its own in it.

    Of rows that the covariance within groups has whitened, so that no direction counts for more
    because of its scale.
    """
    n, eye = moments.total_weight, np.eye(moments.n_features)
    if not n > 2 or moments.fourth is None:
        return eye, 0.0
    covariance = moments.covariance(0)
    apart = float(np.square(moments.covariance(1) - eye).sum())
    noise = max(0.0, moments.fourth / n - float(np.square(covariance).sum())) / n
    share = 1 - min(1.0, noise / apart) if apart > 0 else 0.0
    return share * moments.covariance(1) + (1 - share) * eye, share


def _symmetric_power(covariance: np.ndarray, power: float, floor: float) -> np.ndarray:
    """C^(-power / 2) and its inverse, without the directions that are rounding."""
    values, vectors = fixed_eigh(covariance)
    live = values > floor
    scales = values[live] ** (-power / 2)
    vectors = vectors[:, live]
    return np.stack([vectors * scales @ vectors.T, vectors / scales @ vectors.T])
