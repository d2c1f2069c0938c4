"""What correctors that know a mean for each group do with rows and queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.correctors._shrinkage import trust_in
from isotropy.correctors.base import Corrector, check_way_back
from isotropy.cross import CrossMoments
from isotropy.moments import Moments
from isotropy.rows.arrays import (
    at_least_float32,
    in_kind_of,
    is_torch,
    output_dtype,
    raise_on_bad_row,
    to_numpy,
    unit_rows,
)
from isotropy.rows.door import as_rows
from isotropy.rows.labels import codes_of
from isotropy.rows.source import MappedRows, MemoryRows, Rows

__all__ = ["Grouped", "Unknown", "check_enough"]

_BLOCK = 4096
_MISSING = -1
Unknown = Literal["nearest", "whole", "refuse"]


class Grouped(Corrector):
    """Base of correctors that are affine given the group: ``y = (x - c_g) A``.

    A subclass learns `groups_`, `centers_`, `center_` and ``linear_``, the map behind the centres,
    and says by `_new_moments` what it gathers.

    Examples
    --------
    >>> from isotropy import GroupMeanRemoval
    >>> from isotropy.correctors._grouped import Grouped
    >>> issubclass(GroupMeanRemoval, Grouped)
    True
    """

    strength: float
    unknown: Unknown
    center: bool
    normalize: Normalize
    groups_: list[Any]
    centers_: np.ndarray
    center_: np.ndarray
    shift_: np.ndarray
    group_shifts_: np.ndarray
    shrinkage_: float
    query_group_shifts_: np.ndarray
    linear_: AffineMap
    _kind_of_moments = CrossMoments
    _options_of_moments = ("normalize", "concept")
    _not_saved = Corrector._not_saved | {"linear_"}

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
        >>> fitted = corrector.fit(X, groups=g, queries=X + 5, query_groups=g)
        >>> fitted.transform_queries(X + 5, g).ravel().tolist()
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
            moments = CrossMoments(concept="classes", order=1, normalize=self._unit_before)
            try:
                moments.update(self._check_rows(Q, reset=False), z=groups)
            except ValueError as error:
                raise ValueError(f"queries: {error}") from error
            check_enough(moments)
        (labels,) = moments.concepts.values()
        place = {label: i for i, label in enumerate(labels or [])}
        drift = moments.mean - self.center_
        counts, means = moments.class_weights(), moments.means()
        trust = trust_in(counts, self.shrinkage_)
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
        if self._unit_before:
            Y = unit_rows(Y)
        codes = np.full(len(X), _MISSING) if codes is None else codes
        known = codes >= 0
        own = self._shifts[np.where(known, codes, -1)]
        if self.unknown == "nearest" and not known.all():
            codes = np.where(known, codes, self._nearest(to_numpy(Y) + self.shift_))
        at = np.where(codes >= 0, codes, -1)
        Y = Y - in_kind_of(Y, self._taken[at] - own)
        found = self._linear(Y, at)
        # in_kind_of would cut the gradient
        return found.to(output_dtype(X)) if is_torch(found) else in_kind_of(X, found)

    @property
    def _shifts(self) -> np.ndarray:
        """What is added to rows of each group; one row more, which index -1 finds, for no group."""
        return np.vstack([self.group_shifts_, self.shift_])

    @property
    def _taken(self) -> np.ndarray:
        """What is taken off rows of each group, and in the last row off those of no group."""
        whole = self.strength * self.center_
        taken = np.vstack([self.strength * self.centers_, whole])
        return taken if self.center else taken - whole

    def _linear(self, Y: Any, codes: np.ndarray) -> Any:
        return self.linear_.apply(Y, normalize=self._after)

    @property
    def _unit_before(self) -> bool:
        return check_normalize(self.normalize) in ("before", "both")

    @property
    def _after(self) -> Normalize:
        return "after" if self.normalize in ("after", "both") else "none"

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
        linear = self._linear_at(at)
        return AffineMap(self._taken[at] - self._shifts[at], linear._dense, inverse=linear._inverse)

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
        check_way_back(now.normalize)
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


class _RowsInGroups(MappedRows):
    """Rows corrected by their groups, block by block as they are read."""

    def __init__(self, rows: Rows, function: Any, codes: np.ndarray, width: int) -> None:
        super().__init__(rows, function, width)
        self.correct, self.codes = function, codes

    def _blocks(self, block_rows: int, start: int) -> Iterator[Any]:
        for block in self.rows.blocks(block_rows, start=start):
            yield self.correct(block, self.codes[start : start + len(block)])
            start += len(block)


def check_enough(moments: CrossMoments) -> None:
    """Refuse moments that no row with a group went into."""
    if len(moments.concepts) > 1:
        raise ValueError(f"groups must be one label a row, got {len(moments.concepts)} each.")
    if not moments.total_weight > 0:
        why = "No row has a group" if moments.n_unlabelled else "Every weight is zero"
        raise ValueError(f"{why} (0 samples count); at least 1 is needed.")
