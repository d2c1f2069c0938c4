"""What every corrector inherits; an affine one is a single method, ``_solve(moments)``."""

from __future__ import annotations

import copy
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.correctors._learning import Learner
from isotropy.correctors._shrinkage import shrunk_mean
from isotropy.moments import Moments
from isotropy.rows.door import as_rows
from isotropy.rows.source import Rows
from isotropy.storage.remote import located
from isotropy.storage.state import load_state, save_state
from isotropy.tables import CORRECTORS

__all__ = ["AffineCorrector", "Corrector", "load"]


class Corrector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):
    """Base of all correctors: checks of rows, queries, a refit that fails whole, files.

    One object may be used by several threads: those that learn take turns, so no row is lost, and
    those that apply it see the old map or the new one.

    A subclass gives

    - ``_fit_rows(X, sample_weight)``, which learns from rows that may be of any kind, and sets
      `mean_` among its fitted attributes,
    - ``_apply(X)``, which maps an array, numpy or torch,
    - ``_move(mean)``, which turns its map to that about another mean, and ``_removes_mean`` where
      that is not worth a thing,
    - ``_map_state`` and ``_restore_map``, the JSON-able numbers and the arrays that its map is made
      of. All else that a file holds are its parameters, its fitted attributes that are plain or
      arrays, and on request its `Moments`.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
        Mean of the rows, of the unit rows where the corrector normalizes before.
    query_mean_ : ndarray of shape (d,), where `fit` was given queries
        Theirs, as far as they are enough to tell it from `mean_`.
    n_samples_seen_ : int, where the corrector keeps moments
        Rows of positive weight that it learned from.

    Examples
    --------
    >>> from isotropy.correctors import Corrector, Whitening
    >>> issubclass(Whitening, Corrector)
    True
    """

    _not_saved: ClassVar[frozenset[str]] = frozenset(
        {"moments_", "n_features_in_", "n_samples_seen_"}
    )
    _dropped_parameters: ClassVar[frozenset[str]] = frozenset()
    _kind_of_moments: ClassVar[type[Moments]] = Moments
    _options_of_moments: ClassVar[tuple[str, ...]] = ("normalize", "weight_type")
    moments_: Moments | None
    n_samples_seen_: int
    mean_: np.ndarray
    query_mean_: np.ndarray
    n_features_in_: int

    def _fit_rows(self, X: Any, sample_weight: Any) -> None:
        raise NotImplementedError

    def _move(self, mean: np.ndarray) -> None:
        raise NotImplementedError

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        raise NotImplementedError

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, queries: Any = None) -> Self:
        """Learn the map from rows.

        Parameters
        ----------
        X : array of shape (n, d)
            numpy, torch, pandas, polars, a memory map, `isotropy.io` rows, or a Dask collection.
        y : ignored
        sample_weight : array of shape (n,), optional
        queries : array of shape (q, d) or Moments, optional
            Embeddings of queries such as will be asked of the rows. They have another mean;
            `transform_queries` corrects them about that. The map is learned from `X` alone. The
            mean of few queries is drawn towards that of `X`, as far as chance may have moved it;
            one query has none.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, a parameter, the weights or the queries do not fit, or
            there are too few rows.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]])).mean_.tolist()
        [2.0, 5.0]
        """
        with self._new_fit(queries) as new:
            new._fit_rows(X, sample_weight)
        return self

    # -- queries -----------------------------------------------------------------------------

    @property
    def _removes_mean(self) -> bool:
        """Whether queries need a map of their own."""
        return True

    def for_queries(self, Q: Any = None) -> Self:
        """The corrector of queries: the same map about their own mean.

        Queries are asked in other words than documents, so they have another mean. About it, the
        mean of the queries lands where that of the documents does, whatever share of the mean is
        removed, and both kinds stay in one space.

        Parameters
        ----------
        Q : array of shape (q, d) or Moments, optional
            Queries; by default those that `fit` was given. Where there are none, and where the
            corrector removes nothing of the mean, queries are corrected as documents are. The mean
            of few is drawn towards that of the documents, that of one is the documents'.

        Returns
        -------
        corrector
            A fitted one of the same class, to be applied, saved, exported or wrapped as any other.
            It holds no moments, so it learns nothing more.

        Notes
        -----
        The weight of the queries' mean is 1 - s^2 / (q |shift|^2), s^2 being their variance and
        shift the distance of the means: James & Stein 1961; from 0.95 up it is 1. Over 32 cells of
        search (12 encoders, 3 collections) ten queries about their mean as it is hurt 7, drawn 4.

        Raises
        ------
        ValueError
            If `Q` holds no rows, NaN or infinity, or rows of another width; if it is Moments of
            rows as they are where this corrector works on unit rows, or the other way round.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> documents = np.array([[1.0, 5.0], [3.0, 5.0]])
        >>> queries = np.array([[7.0, 0.0], [8.0, 0.0]])
        >>> MeanRemoval().fit(documents).for_queries(queries).transform(queries).tolist()
        [[-0.5, 0.0], [0.5, 0.0]]
        """
        check_is_fitted(self)
        twin = copy.copy(self)
        mean = getattr(twin, "query_mean_", None) if Q is None else twin._mean_of(Q)
        twin.__dict__.pop("query_mean_", None)
        twin.moments_ = None
        if mean is not None and self._removes_mean:
            twin._move(mean)
            twin.mean_ = mean
        return twin

    def transform_queries(self, Q: Any) -> Any:
        """Correct queries about their own mean, where `fit` was given queries, else as rows.

        Parameters
        ----------
        Q : array of shape (q, d)
            Of any kind that `transform` takes.

        Returns
        -------
        array of shape (q, k)
            What ``for_queries().transform(Q)`` gives.

        Raises
        ------
        ValueError
            As `transform` does.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> documents = np.array([[1.0, 5.0], [3.0, 5.0]])
        >>> queries = np.array([[7.0, 0.0], [8.0, 0.0]])
        >>> corrector = MeanRemoval().fit(documents, queries=queries)
        >>> corrector.transform_queries(queries).tolist()
        [[-0.5, 0.0], [0.5, 0.0]]
        """
        return self.for_queries().transform(Q)

    def _mean_of(self, queries: Any) -> np.ndarray:
        moments = self._moments_of(queries)
        # Those that take off no mean have none of the documents.
        return shrunk_mean(moments, getattr(self, "mean_", moments.mean))

    def _moments_of(self, queries: Any) -> Moments:
        unit = getattr(self, "normalize", "none") in ("before", "both")
        if isinstance(queries, Moments):
            moments = queries
            if moments.normalize != unit:
                raise ValueError(
                    f"The moments of the queries were gathered with normalize={not unit}; "
                    f"{type(self).__name__} with these parameters needs normalize={unit}."
                )
        else:
            moments = Moments(order=1, normalize=unit)
            try:
                moments.update(self._check_rows(queries, reset=False))
            except ValueError as error:
                raise ValueError(f"queries: {error}") from error
        if not moments.total_weight > 0:
            raise ValueError("queries holds no rows (0 samples); at least 1 is required.")
        if moments.n_features != self.n_features_in_:
            raise ValueError(
                f"queries have {moments.n_features} columns, the rows {self.n_features_in_}."
            )
        return moments

    # -- rows and state ----------------------------------------------------------------------

    def _check_rows(self, X: Any, *, reset: bool) -> Rows:
        """`X` through the one door, its width and names those of the fit, or noted with `reset`."""
        rows = as_rows(X)
        if not rows.width_known:
            return rows
        if reset and not len(rows):
            raise ValueError(
                f"Found array with 0 sample(s) (shape={rows.shape}) while a minimum of 1 is "
                "required: there is nothing to learn from."
            )
        # Bad numbers are found, with their row, by the pass over the blocks.
        named = X if hasattr(X, "columns") or hasattr(X, "__dataframe__") else rows
        validate_data(self, named, reset=reset, skip_check_array=True)
        return rows

    def _apply(self, X: Any) -> Any:
        raise NotImplementedError

    def transform(self, X: Any) -> Any:
        """Correct rows: (n, d) to (n, k). Statistics are frozen.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
            n may be 0.

        Returns
        -------
        array of shape (n, k), Rows or collection
            An array of an array: in the library, on the device and of the type of `X`. Rows of
            files stay where they are: the result is `Rows` whose blocks are corrected when they are
            read. Dask stays lazy.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or the columns are not those of the fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> corrector.transform(np.array([[4.0, 4.0]])).tolist()
        [[2.0, -1.0]]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        rows = now._check_rows(X, reset=False)
        return rows.map(now._apply, now._n_features_out, now.get_feature_names_out)

    def _known_moments(self) -> Moments:
        """The moments to learn on from."""
        if self.moments_ is None:
            raise ValueError(
                "This corrector has no moments, so it cannot learn on: it was loaded from a "
                "file saved without moments=True, or made by for_queries."
            )
        return self.moments_

    def _check_moments(self, moments: Any) -> None:
        """Refuse moments of another kind or of other options than this corrector gathers."""
        kind = self._kind_of_moments
        if not isinstance(moments, kind):
            raise TypeError(
                f"moments must be {kind.__name__}, got {type(moments).__name__}; fit(X) learns "
                "from rows."
            )
        wanted = self._new_moments()
        for option in self._options_of_moments:
            mine, theirs = getattr(wanted, option), getattr(moments, option)
            if mine != theirs:
                raise ValueError(
                    f"{type(self).__name__} with these parameters needs moments of "
                    f"{option}={mine!r}, got {option}={theirs!r}."
                )

    def _new_moments(self) -> Moments:
        raise NotImplementedError

    def _check_means(self, path: Any) -> None:
        for name in ("mean_", "query_mean_"):
            mean = getattr(self, name, None)
            if mean is not None and (
                mean.shape != (self.n_features_in_,) or not np.isfinite(mean).all()
            ):
                raise ValueError(f"{path}: its {name} does not fit; the file was changed.")

    @contextmanager
    def _new_fit(self, queries: Any) -> Iterator[Self]:
        """A twin that knows nothing yet; a refused fit, or refused queries, leave this as it is."""
        with self._learning(anew=True) as new:
            yield new
            if queries is not None:
                new.query_mean_ = new._mean_of(queries)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags

    # -- files -------------------------------------------------------------------------------

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All but the moments, as JSON-able numbers and arrays; `_from_state` is the way back."""
        check_is_fitted(self)
        more, tensors = self._map_state()
        info: dict[str, Any] = {
            "class": _saved_name(type(self)),
            "parameters": _plain_parameters(self),
            "n_features_in": self.n_features_in_,
            "n_rows": getattr(self, "n_samples_seen_", None),
            "fitted": {},
            **more,
        }
        arrays = {f"map.{name}": array for name, array in tensors.items()}
        for name, value in vars(self).items():
            if not name.endswith("_") or name in self._not_saved:
                continue
            if name == "feature_names_in_":
                info["feature_names_in"] = [str(label) for label in value]
            elif isinstance(value, np.ndarray):
                arrays[f"fitted.{name}"] = value
            else:
                info["fitted"][name] = _plain(value)
        return info, arrays

    def save(self, path: str | os.PathLike[str], *, moments: bool = False) -> None:
        """Write the fitted corrector to a safetensors file; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
        moments : bool, default=False
            Let the moments go along, where there are any: `partial_fit` goes on from them after
            loading.

        Raises
        ------
        FileError
            If it cannot be written.
        ValueError
            If a parameter is no number or text, or there are no moments to save.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> import isotropy
        >>> path = os.path.join(tempfile.mkdtemp(), "c.safetensors")
        >>> isotropy.MeanRemoval().fit(np.eye(3)).save(path)
        >>> type(isotropy.load(path)).__name__
        'MeanRemoval'
        """
        now = self._as_it_is()
        info, arrays = now._state()
        if moments:
            known = getattr(now, "moments_", None)
            if known is None:
                raise ValueError("This corrector holds no moments: none to save.")
            state, tensors = known.pack()
            info["moments"] = state
            arrays.update({f"moments.{name}": array for name, array in tensors.items()})
        save_state(path, info["class"], info, arrays)

    @classmethod
    def _from_state(cls, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
        """The corrector that `_state` describes; `cls` is a class of the user's own, or a base."""
        groups: dict[str, dict[str, np.ndarray]] = {"map": {}, "fitted": {}, "moments": {}}
        for name, array in arrays.items():
            group, _, rest = name.partition(".")
            if group not in groups:
                raise ValueError(f"{path}: unexpected array {name!r}.")
            groups[group][rest] = array
        found = _class_of(path, str(info["class"]), cls)
        try:
            corrector = found(**_revived(path, info["parameters"]))
            for name, value in {**info["fitted"], **groups["fitted"]}.items():
                setattr(corrector, name, value)
            if "feature_names_in" in info:
                corrector.feature_names_in_ = np.array(info["feature_names_in"], dtype=object)
            corrector.n_features_in_ = info["n_features_in"]
            if info["n_rows"] is not None:
                corrector.n_samples_seen_ = info["n_rows"]
            corrector._restore_map(path, info, groups["map"])
            corrector._check_means(path)
            state = info.get("moments")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: its metadata is damaged ({error!r}).") from error
        corrector.moments_ = None
        if state is not None:
            corrector.moments_ = type(corrector)._kind_of_moments.unpack(
                state, groups["moments"], path=path
            )
        return corrector

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a fitted corrector of this class, or of one derived from it.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote.

        Returns
        -------
        corrector
            Does what the saved one did, to the bit.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds another class, or something else, or was changed; the message says what.

        Examples
        --------
        >>> from isotropy import Whitening
        >>> Whitening.load("no such file")
        Traceback (most recent call last):
        FileNotFoundError: no such file: no such file.
        """
        corrector = _load(path, cls)
        if not isinstance(corrector, cls):
            raise ValueError(f"{path}: holds a {type(corrector).__name__}, not a {cls.__name__}.")
        return corrector


def load(path: str | os.PathLike[str]) -> Corrector:
    """Load a fitted corrector of any class from the safetensors file that its `save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file names the corrector as `isotropy.tables.CORRECTORS` does. A class of one's own is
        added there before, or loaded by its own `load`: a file never says what to import.

    Returns
    -------
    corrector : Corrector

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, was changed, holds a corrector that is not in the table, or was
        written by a newer, incompatible version.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import isotropy
    >>> path = os.path.join(tempfile.mkdtemp(), "mean.safetensors")
    >>> isotropy.MeanRemoval(0.5).fit(np.eye(3)).save(path)
    >>> isotropy.load(path)
    MeanRemoval(strength=0.5)
    """
    return _load(path, Corrector)


def _load(path: str | os.PathLike[str], wanted: type[Corrector]) -> Corrector:
    path = located(path)
    info, arrays = load_state(path)
    if info["class"] == "AffineMap":
        raise ValueError(
            f"{path}: holds an AffineMap, which is no corrector; AffineMap.load(path).apply(X) "
            "applies it."
        )
    corrector: Corrector = wanted._from_state(path, info, arrays)
    return corrector


def _place(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _saved_name(cls: type) -> str:
    """What a file says: the name in the table, or the place of a class that is not in it."""
    return CORRECTORS.name_of(cls) or _place(cls)


def _class_of(path: Any, saved: str, wanted: type[Corrector]) -> type[Corrector]:
    found: type[Corrector] | None = None
    if ":" not in saved:
        # The first files named the class: "MeanRemoval" for "mean-removal".
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", saved).lower()
        found = CORRECTORS.get(name)
    elif _place(wanted) == saved:
        found = wanted
    else:
        found = next((cls for cls in CORRECTORS.values() if _place(cls) == saved), None)
    if found is None:
        raise ValueError(
            f"{path}: holds a {saved!r}, which is no name of a corrector; there are: "
            f"{', '.join(CORRECTORS)}. One of your own is made known by "
            "isotropy.tables.CORRECTORS.add(name, its class)."
        )
    return found


def _learns_by_moments(corrector: AffineCorrector) -> bool:
    if corrector._moments_suffice:
        return True
    raise AttributeError(f"{type(corrector).__name__} needs more than moments: use fit.")


class AffineCorrector(Corrector):
    """Base of the correctors whose map is affine and follows from `Moments` alone.

    A subclass stores its parameters, `normalize` among them, and gives ``_solve(moments)``, which
    returns an `AffineMap`; what else it wants to tell goes into attributes of `self` that end in an
    underscore, set just before it returns.

    Attributes
    ----------
    affine_map_ : AffineMap
    moments_ : Moments or None
        Of the rows seen; None after loading a file saved without them.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the rows came with names

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AffineMap
    >>> from isotropy.correctors import AffineCorrector
    >>> class Doubling(AffineCorrector):
    ...     "A corrector of one's own."
    ...     def __init__(self, *, normalize="none"):
    ...         self.normalize = normalize
    ...     def _solve(self, moments):
    ...         return AffineMap(moments.mean, 2 * np.eye(moments.n_features))
    >>> Doubling().fit_transform(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-2.0, 0.0], [2.0, 0.0]]
    """

    normalize: Normalize
    _not_saved = Corrector._not_saved | {"affine_map_"}
    _keeps_axes: ClassVar[bool] = False
    _moments_suffice: ClassVar[bool] = True

    def _solve(self, moments: Moments) -> AffineMap:
        raise NotImplementedError

    def _moments_order(self) -> Literal[1, 2, 4]:
        """The order of the moments that `_solve` needs; see `Moments`."""
        return 2

    # -- fitting -----------------------------------------------------------------------------

    def _fit_rows(self, X: Any, sample_weight: Any) -> None:
        self._bring_in(X, sample_weight, self._new_moments(), reset=True)

    @available_if(_learns_by_moments)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Bring in more rows and solve again: the result is that of one `fit` on all rows.

        The queries that `fit` was given stay. A corrector that learns from pairs cannot do this,
        and has no such method.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
        y : ignored
        sample_weight : array of shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the rows or weights are refused, which leaves the corrector as it was, or this one
            has no moments to go on from.

        Notes
        -----
        O(d^3) beside the rows. For very many small batches gather `Moments` and call `fit_moments`
        once.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0]]))
        >>> corrector.partial_fit(np.array([[3.0, 5.0]])).mean_.tolist()
        [2.0, 5.0]
        """
        self._learn_on(X, sample_weight)
        return self

    def _learn_on(self, X: Any, sample_weight: Any, **labels: Any) -> None:
        with self._learning(anew=False) as new:
            if not hasattr(new, "affine_map_"):
                new.fit(X, sample_weight=sample_weight, **labels)
            elif labels:
                new._take_in(X, sample_weight, new._known_moments(), reset=False, **labels)
            else:
                new._bring_in(X, sample_weight, new._known_moments(), reset=False)

    def _bring_in(self, X: Any, sample_weight: Any, moments: Moments, *, reset: bool) -> None:
        self._take_in(X, sample_weight, moments, reset=reset)

    def _take_in(
        self, X: Any, sample_weight: Any, moments: Moments, *, reset: bool, **labels: Any
    ) -> None:
        check_normalize(self.normalize)
        new = moments.copy().update(self._check_rows(X, reset=reset), sample_weight, **labels)
        if not new.total_weight > 0:
            raise ValueError(
                "Every weight is zero (0 samples count); at least 1 must not be."
                if not getattr(new, "n_unlabelled", 0)
                else "No row has a label (0 samples count); at least 1 must have one."
            )
        self._finish(new)

    @available_if(_learns_by_moments)
    def fit_moments(self, moments: Moments, *, queries: Any = None) -> Self:
        """Learn the map from `Moments` alone, without the rows.

        Parameters
        ----------
        moments : Moments
            Gathered with ``normalize=True`` where this corrector normalizes before, and of an order
            that suffices: 2 for a covariance, 4 for Ledoit-Wolf shrinkage. They are copied.
        queries : array of shape (q, d) or Moments, optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the moments are of other options than this corrector needs, or hold too few rows.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval, Moments
        >>> moments = Moments().update(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> MeanRemoval().fit_moments(moments).mean_.tolist()
        [2.0, 5.0]
        """
        check_normalize(self.normalize)
        self._check_moments(moments)
        with self._new_fit(queries) as new:
            new._finish(moments.copy())
        return self

    def _finish(self, moments: Moments) -> None:
        self.affine_map_ = self._solve(moments)
        self.affine_map_.center = moments.mean
        self.moments_, self.mean_ = moments, moments.mean
        self.n_features_in_, self.n_samples_seen_ = moments.n_features, moments.n_rows

    @property
    def _removes_mean(self) -> bool:
        """Whether queries need a map of their own; a map without a shift is linear."""
        return bool(self.affine_map_.mean.any() or self.affine_map_.offset.any())

    def _move(self, mean: np.ndarray) -> None:
        self.affine_map_ = self.affine_map_.about(mean, of=self.mean_)

    def _new_moments(self) -> Moments:
        return Moments(
            unit="none",
            order=self._moments_order(),
            weight_type=getattr(self, "weight_type", "frequency"),
            normalize=self.normalize in ("before", "both"),
        )

    # -- applying ----------------------------------------------------------------------------

    def _apply(self, X: Any) -> Any:
        return self.affine_map_.apply(X, normalize=check_normalize(self.normalize))

    def inverse_transform(self, X: Any) -> Any:
        """The rows that `transform` came from, up to what it removed: that returns at its mean.

        Parameters
        ----------
        X : array of shape (n, k), numpy or torch

        Returns
        -------
        array of shape (n, d)

        Raises
        ------
        ValueError
            If `normalize` is not "none": the lengths are gone.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval
        >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> corrector.inverse_transform(np.array([[-1.0, 0.0]])).tolist()
        [[1.0, 5.0]]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        check_way_back(now.normalize)
        return as_rows(X).map(now.affine_map_.inverse().apply, now.n_features_in_)

    def to_torch(self, device: Any = None) -> Any:
        """The fitted corrector, normalization included, as a ``torch.nn.Module`` in float32.

        Parameters
        ----------
        device : torch device, optional

        Returns
        -------
        torch.nn.Module
            Maps tensors of shape (..., d) to (..., k), in their own type.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from isotropy import MeanRemoval
        >>> module = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]])).to_torch()
        >>> module(torch.tensor([[1.0, 5.0]])).tolist()
        [[-1.0, 0.0]]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        return now.affine_map_.to_torch(normalize=now.normalize, device=device)

    # -- scikit-learn ------------------------------------------------------------------------

    @property
    def _n_features_out(self) -> int:
        return self.affine_map_.n_features_out

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: those of the input where the axes keep their meaning.

        Parameters
        ----------
        input_features : sequence of str, optional
            By default the names that the rows of the fit came with.

        Returns
        -------
        ndarray of str

        Raises
        ------
        ValueError
            If `input_features` are not those of the fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import MeanRemoval, Whitening
        >>> X = np.random.default_rng(0).normal(size=(9, 2))
        >>> [list(c.fit(X).get_feature_names_out()) for c in (MeanRemoval(), Whitening())]
        [['x0', 'x1'], ['whitening0', 'whitening1']]
        """
        check_is_fitted(self)
        if self._keeps_axes:
            return _check_feature_names_in(self, input_features)
        return super().get_feature_names_out(input_features)

    # -- files -------------------------------------------------------------------------------

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"n_features_out": self._n_features_out}, self.affine_map_.arrays()

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.affine_map_ = AffineMap.from_arrays(path, arrays)
        widths = info["n_features_in"], info["n_features_out"]
        found = self.affine_map_.n_features_in, self.affine_map_.n_features_out
        check_normalize(self.normalize)
        if found != widths:
            raise ValueError(f"{path}: says it maps {widths}, but its arrays map {found}.")


def check_way_back(normalize: str) -> None:
    """Refuse to undo what no map undoes: the lengths of rows that were scaled are gone.

    Parameters
    ----------
    normalize : {"none", "before", "after", "both"}

    Raises
    ------
    ValueError
        If it is not "none".

    Examples
    --------
    >>> check_way_back("none")
    """
    if normalize != "none":
        raise ValueError(
            f"normalize={normalize!r} discards the lengths of the rows, so there is no way back. "
            "Fit with normalize='none' and scale the rows yourself."
        )


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn where the user called us, however deep in the package we are.

    Parameters
    ----------
    message : str
    category : type
        Of the warning.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     warn_user("look here", UserWarning)
    >>> str(found[0].message)
    'look here'
    """
    if category in _told_elsewhere.get():
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back and _between(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _between(module: str) -> bool:
    """Whether it stands between the user and us: our own, or what calls us in the user's name."""
    return module.partition(".")[0] in ("isotropy", "sklearn", "contextlib", "joblib")


_told_elsewhere: ContextVar[frozenset[type[Warning]]] = ContextVar("told", default=frozenset())


@contextmanager
def told_elsewhere(category: type[Warning]) -> Iterator[None]:
    """Inside it `warn_user` leaves out a category, in this thread alone.

    Python's own filters are those of the whole process, so changing them would hide other threads'
    warnings too.

    Parameters
    ----------
    category : type
        Of the warning, which the user is told in another way.

    Yields
    ------
    None

    Examples
    --------
    >>> with told_elsewhere(UserWarning):
    ...     warn_user("look here", UserWarning)
    """
    before = _told_elsewhere.set(_told_elsewhere.get() | {category})
    try:
        yield
    finally:
        _told_elsewhere.reset(before)


def _plain(value: Any) -> Any:
    """A number, string or None as JSON knows it; unfitted correctors by class and parameters."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Corrector):
        return {"class": _saved_name(type(value)), "parameters": _plain_parameters(value)}
    raise ValueError(f"A parameter of type {type(value).__name__} cannot be saved: {value!r}.")


def _plain_parameters(corrector: Corrector) -> dict[str, Any]:
    return {
        name: None if name in corrector._dropped_parameters else _plain(value)
        for name, value in corrector.get_params(deep=False).items()
    }


def _revived(path: Any, value: Any) -> Any:
    """What `_plain` made plain."""
    if isinstance(value, list):
        return [_revived(path, item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class" not in value:
        return {name: _revived(path, item) for name, item in value.items()}
    cls = _class_of(path, str(value["class"]), Corrector)
    return cls(**_revived(path, value["parameters"]))
