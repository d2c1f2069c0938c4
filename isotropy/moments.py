"""Moments of embeddings: one pass, any number of pieces, merged with ``+``."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from functools import partial, wraps
from threading import RLock
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, Self, TypeVar

import numpy as np

from isotropy.rows.arrays import BadRowError, check_weights, unit_roundoff
from isotropy.rows.door import as_rows, column_of, numbers_of
from isotropy.rows.lanes import gather, rows_at_a_time
from isotropy.rows.passes import SMALL_JOB, Pass, RawSums
from isotropy.rows.products import times
from isotropy.rows.sample import Sample
from isotropy.rows.source import Rows
from isotropy.storage.remote import located
from isotropy.storage.state import check_arrays, contiguous, load_state, save_state

__all__ = ["MERGE", "Moments"]

MERGE: dict[str, Literal["sum", "centered sum", "min", "max", "least keys"]] = {
    "n_rows": "sum",
    "n_zero_rows": "sum",
    "total_weight": "sum",
    "total_weight2": "sum",
    "norm_sum": "sum",
    "norm_square_sum": "sum",
    "norm_min": "min",
    "norm_max": "max",
    "unit_weight": "sum",
    "unit_weight2": "sum",
    "input_eps": "max",
    "product_eps": "max",
    "noise": "max",
    "scatter": "centered sum",
    "third": "centered sum",
    "fourth": "centered sum",
    "unit_sum": "sum",
    "unit_square_sum": "sum",
    "unit_gram": "sum",
    "sampled": "least keys",
}
"""How each part of two Moments merges; what was not gathered is None. A centered sum adds up once
both are about the common mean (`Moments.centered_at`), which is that of the two by weight. Of
sampled rows those of least key stay (`isotropy.rows.sample.Sample`)."""

_BY_RULE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": operator.add,
    "centered sum": operator.add,
    "min": min,
    "max": max,
}

_DEVICE_BLOCKS = 16  # a block sent to an accelerator is this many times larger


P = ParamSpec("P")
Found = TypeVar("Found")


def _at_one_time(
    method: Callable[Concatenate[Moments, P], Found],
) -> Callable[Concatenate[Moments, P], Found]:
    """Let a method read the state as it is at one time, whatever other threads bring in."""

    @wraps(method)
    def read(self: Moments, /, *args: P.args, **options: P.kwargs) -> Found:
        return method(self if self._still else self._twin(still=True), *args, **options)

    return read


class Moments:
    """Weighted moments of rows up to the fourth order, in float64, around a shift.

    Moments of two sets merge with ``a + b``, exactly: blocks, files, days, processes and machines
    may be summed apart, in any order, and several threads may feed one object and read it. Nothing
    of the form X'X - n m m' is ever computed, so a mean a thousand times the spread does no harm.

    Parameters
    ----------
    unit : {"sums", "gram", "none"}, default="sums"
        What to gather about the rows scaled to length one: their sums, which the mean cosine
        needs; also their Gram matrix, which the spread of the cosines needs and which doubles the
        cost; or nothing, which saves some 5 %.
    order : {4, 2, 1}, default=4
        The highest order gathered. 2 leaves out what the bias-corrected metrics and Ledoit-Wolf
        shrinkage need, which saves some 3 %; 1 gathers means only, in O(n d).
    weight_type : {"frequency", "probability"}, default="frequency"
        What `sample_weight` means. A frequency w is a row that occurs w times, so n is the sum of
        the weights. A probability is a relative weight; n is then Kish's effective size
        (sum w)^2 / sum w^2, and no row is paired with itself.
    normalize : bool, default=False
        Take the moments of the rows scaled to length one in the place of the rows.
    sample : int, default=0
        Keep so many of the rows, for what moments do not tell. They are drawn uniformly among the
        different rows by a hash of what they hold, so order, parts, threads and number types draw
        the same.

    Attributes
    ----------
    n_features : int
        Dimensions d; 0 before the first row.
    n_rows, n_zero_rows : int
        Rows of positive weight seen, and those of them that are zero. Zero rows have no direction:
        they count in the mean and the covariance, and are left out of everything about cosines.
    total_weight, total_weight2 : float
        Sums of the weights and of their squares.
    mean : ndarray of shape (d,)
    scatter : ndarray of shape (d, d) or None
        Sum of w (x - mean)(x - mean)'.
    third : ndarray of shape (d,) or None
        Sum of w |x - mean|^2 (x - mean).
    fourth : float or None
        Sum of w |x - mean|^4: what the U-statistics and Ledoit-Wolf shrinkage need.
    unit_sum, unit_square_sum : ndarray of shape (d,) or None
        Sum of w x^ and of w x^ * x^ (w^2 x^ * x^ for probabilities) over the unit rows x^.
    unit_gram : ndarray of shape (d, d) or None
        Sum of w x^ x^'.
    unit_weight, unit_weight2 : float
        Sums of the weights of the rows that are not zero, and of their squares.
    sampled : ndarray of shape (m, d) or None
        The rows kept, as they came, in float64 and an order of their own; m is at most `sample`.
    norm_sum, norm_square_sum, norm_min, norm_max : float
        Of the lengths of the rows.
    input_eps, product_eps : float
        Spacing of the coarsest type in which rows were stored, and in which they were multiplied:
        they decide below which eigenvalue there is only rounding noise.
    noise : float
        Variance along a direction that rounding may have left before these rows came here, as where
        a corrector made them of others; 0 where that is not known.

    Notes
    -----
    Merging follows Chan, Golub & LeVeque (1983) for the second order and Pebay (2008) for the
    higher ones. A pass costs n d^2 multiplications on all BLAS threads, O(n d) besides, and
    O(d^2) memory and a block of rows for each thread. Rows in float32, float16 or bfloat16 are
    multiplied in float32 where the job is large (n d^2 > 2^34) and summed in float64 block by
    block; all else is multiplied in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import Moments
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) + 1000
    >>> moments = Moments().update(X[:60]) + Moments().update(X[60:])
    >>> bool(np.allclose(moments.covariance(), np.cov(X.T), rtol=1e-9))
    True
    """

    _still = False  # whether nobody else can change it
    _merge: ClassVar = MERGE
    _centers: ClassVar[tuple[str, ...]] = ("mean",)
    _array_names: ClassVar[tuple[str, ...]] = (
        *("mean", "scatter", "third", "unit_sum", "unit_square_sum", "unit_gram", "sampled"),
    )
    _may_lack: ClassVar[tuple[str, ...]] = ("fourth",)

    def __init__(
        self,
        *,
        unit: Literal["sums", "gram", "none"] = "sums",
        order: Literal[4, 2, 1] = 4,
        weight_type: Literal["frequency", "probability"] = "frequency",
        normalize: bool = False,
        sample: int = 0,
    ) -> None:
        if unit not in ("sums", "gram", "none"):
            raise ValueError(f"unit must be 'sums', 'gram' or 'none', got {unit!r}.")
        if weight_type not in ("frequency", "probability"):
            raise ValueError(
                f"weight_type must be 'frequency' or 'probability', got {weight_type!r}."
            )
        if order not in (1, 2, 4):
            raise ValueError(f"order must be 4, 2 or 1, got {order!r}.")
        if isinstance(sample, bool) or not isinstance(sample, int | np.integer) or sample < 0:
            raise ValueError(f"sample must be an integer from 0 up, got {sample!r}.")
        self.unit, self.order = unit, order
        self.weight_type, self.normalize = weight_type, bool(normalize)
        self.sample = int(sample)
        self.n_features = 0
        self.n_rows = self.n_zero_rows = 0
        self.total_weight = self.total_weight2 = 0.0
        self.norm_sum = self.norm_square_sum = self.unit_weight = self.unit_weight2 = 0.0
        self.norm_min, self.norm_max = np.inf, 0.0
        self.input_eps = self.product_eps = self.noise = 0.0
        self._lock = RLock()  # one object may be fed by several threads
        self._allocate(0)

    def _allocate(self, d: int) -> None:
        self.n_features = d
        self.mean = np.zeros(d)
        self.scatter: np.ndarray | None = np.zeros((d, d)) if self.order > 1 else None
        self.third: np.ndarray | None = np.zeros(d) if self.order > 2 else None
        self.fourth: float | None = 0.0 if self.order > 2 else None
        with_unit, with_gram = self.unit != "none", self.unit == "gram"
        self.unit_sum = np.zeros(d) if with_unit else None
        self.unit_square_sum = np.zeros(d) if with_unit else None
        self.unit_gram = np.zeros((d, d)) if with_gram else None
        self.sampled: np.ndarray | None = np.zeros((0, d)) if self.sample else None
        self._eigen: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    # -- gathering ---------------------------------------------------------------------------

    @classmethod
    def from_rows(cls, X: Any, sample_weight: Any = None, **options: Any) -> Moments:
        """Moments of `X`.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
        sample_weight : array of shape (n,), optional
        **options
            Of the constructor: `unit`, `order`, `weight_type`, `normalize`.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            As `update` and the constructor do.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments.from_rows(np.eye(3), order=2).n_rows
        3
        """
        return cls(**options).update(X, sample_weight)

    def update(
        self,
        X: Any,
        sample_weight: Any = None,
        *,
        column: str | None = None,
        first_row: int = 0,
        device: Any = None,
    ) -> Moments:
        """Bring in the rows of `X` and return self. The state is unchanged if `X` is refused.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
            float16, bfloat16, float32, float64 or integers. Read in blocks; never written to.
            Dask collections are summed by their own scheduler, in a tree.
        sample_weight : array of shape (n,) or str, optional
            Finite and not negative; or the name of a column of a table.
        column : str, optional
            The column of vectors of a table: a pyarrow record batch or table, or a frame of pandas
            or polars. Not needed where it is the only one.
        first_row : int, default=0
            The number that an error gives the first row of `X`.
        device : torch device, optional
            Sum there: blocks are sent to it from page-locked memory while the one before is
            summed. By default where `X` is.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a row holds NaN or infinity (the first is named), the number of columns differs
            from that of earlier rows, or a weight is negative.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> moments = Moments()
        >>> for day in range(3):
        ...     moments = moments.update(np.full((10, 2), day))
        >>> moments.mean.tolist()
        [1.0, 1.0]
        """
        if isinstance(sample_weight, str):
            sample_weight = numbers_of(X, sample_weight)
        rows = as_rows(X if column is None else column_of(X, column))
        options, seen = self._options(), self.n_rows
        if rows.array is not None:
            self._check_features(rows.shape[1])
        summarize = partial(_summed, options=options, seen=seen, first_row=first_row, device=device)
        self._absorb(rows.reduce(summarize, sum, sample_weight))
        return self

    def _sum_array(self, X: Any, weights: np.ndarray | None, first_row: int, seen: int) -> None:
        """Bring in an array; with the rows `seen` elsewhere it decides how it is multiplied."""
        run = Pass(
            X,
            weights,
            order=self.order,
            unit=self.unit,
            normalize=self.normalize,
            frequency=self.weight_type == "frequency",
            seen=seen,
            first_row=first_row,
            sample=self.sample,
        )
        sums = run.run()
        if sums.weight > 0:
            self._absorb(self._centred(sums, run, unit_roundoff(X)))

    def _check_features(self, d: int) -> None:
        if self.n_features and d != self.n_features:
            raise ValueError(f"X has {d} columns, but these moments are of {self.n_features}.")

    def _centred(self, sums: RawSums, run: Pass, eps: float) -> Moments:
        """Sums about a shift as moments about the mean."""
        new = Moments(**self._options())
        new._allocate(run.d)
        new.n_rows, new.n_zero_rows = sums.n_rows, sums.n_zero_rows
        new.total_weight, new.total_weight2 = sums.weight, sums.weight2
        new.norm_sum, new.norm_square_sum = sums.norm, sums.norm2
        new.norm_min, new.norm_max = sums.norm_min, sums.norm_max
        new.unit_weight, new.unit_weight2 = sums.unit_weight, sums.unit_weight2
        new.input_eps = eps
        new.sampled = sums.sample.rows if self.sample else None
        new.product_eps = float(np.finfo(run.dtype).eps)
        w, e, scatter = sums.weight, sums.first / sums.weight, sums.scatter
        new.mean = run.shift + e
        if self.order > 1:
            trace, ee, se = float(np.trace(scatter)), float(e @ e), times(scatter, e)
            new.scatter = scatter - np.outer(w * e, e)
        if self.order > 2:
            new.third = sums.third - trace * e - 2 * se + 2 * w * ee * e
            new.fourth = float(
                sums.fourth + 4 * e @ se - 4 * sums.third @ e + 2 * ee * trace - 3 * w * ee**2
            )
        if self.unit != "none":
            new.unit_sum, new.unit_square_sum = sums.unit_sum, sums.unit_square
        if self.unit == "gram":
            new.unit_gram = sums.unit_gram
        return new

    def _options(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in ("unit", "order", "weight_type", "normalize", "sample")
        }

    # -- merging -----------------------------------------------------------------------------

    def copy(self) -> Self:
        """An independent copy. It shares the arrays, which are replaced and never written to.

        Returns
        -------
        Moments

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> moments = Moments().update(np.eye(3))
        >>> moments.copy().update(np.eye(3)).n_rows, moments.n_rows
        (6, 3)
        """
        return self._twin()

    def _twin(self, *, still: bool = False) -> Self:
        """A copy; one that is still stays in this thread, so nothing can change it."""
        twin = object.__new__(type(self))
        with self._lock:
            twin.__dict__.update(self.__dict__, _lock=RLock())
        twin._still = still
        return twin

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        total = self.copy()
        total._absorb(other)
        return total

    def __iadd__(self, other: Moments) -> Self:
        # In place: of two threads that add to one name, neither may bring back an older sum.
        if not isinstance(other, Moments):
            return NotImplemented
        self._absorb(other)
        return self

    def __radd__(self, other: Any) -> Moments:
        # sum() begins with 0.
        return self.copy() if isinstance(other, int) and other == 0 else NotImplemented

    def _absorb(self, other: Moments) -> None:
        other = other.copy()  # another thread may feed it meanwhile
        self._check_options(other)
        if not other.n_features:
            return
        with self._lock:
            self._check_features(other.n_features)
            if not self.n_features:
                self._allocate(other.n_features)
            total = self.total_weight + other.total_weight
            share = other.total_weight / total if total > 0 else 0.0
            center = self._center + share * (other._center - self._center)
            mine, theirs = self.centered_at(center), other.centered_at(center)
            new = {name: _merged(name, mine, theirs) for name in self._merge}
            new |= {name: getattr(mine, name) for name in self._centers}
            self.__dict__.update(new, _eigen={})

    def _check_options(self, other: Moments) -> None:
        for option, mine in self._options().items():
            theirs = getattr(other, option, None)
            if mine != theirs:
                raise ValueError(f"Moments of {option}={mine!r} and {theirs!r} do not add up.")

    def _said(self) -> str:
        """What processes whose moments are added must know of one another."""
        return ""

    def _agree(self, said: Iterable[str]) -> None:
        """Become such that the moments of all processes, which have `said` this, add up."""

    @property
    def _center(self) -> np.ndarray:
        """The point about which centered sums are taken."""
        return np.concatenate([getattr(self, name) for name in self._centers])

    @_at_one_time
    def centered_at(self, mean: np.ndarray) -> Moments:
        """The same moments with their centered sums taken about another point.

        Parameters
        ----------
        mean : ndarray of shape (d,)

        Returns
        -------
        Moments
            Only for being added to others about the same point: the covariance and what follows
            from it are those about `mean`.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> moments = Moments().update(np.array([[0.0], [2.0]]))
        >>> float(moments.scatter[0, 0]), float(moments.centered_at(np.zeros(1)).scatter[0, 0])
        (2.0, 4.0)
        """
        # Expand |y - e|^k with y = x - mean, sum w y = 0.
        new, e = self.copy(), mean - self.mean
        new.mean, new._eigen = mean, {}
        if self.scatter is None:
            return new
        w, scatter = self.total_weight, self.scatter
        trace, ee, se = float(np.trace(scatter)), float(e @ e), times(scatter, e)
        new.scatter = scatter + np.outer(w * e, e)
        if self.fourth is not None and self.third is not None:
            new.fourth = float(
                self.fourth + 4 * e @ se + w * ee**2 - 4 * self.third @ e + 2 * ee * trace
            )
            new.third = self.third - trace * e - 2 * se - w * ee * e
        return new

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self._twin().__dict__)
        del state["_lock"], state["_still"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=RLock())

    # -- reading -----------------------------------------------------------------------------

    @property
    @_at_one_time
    def n_effective(self) -> float:
        """Number of rows the weights amount to: their sum, or Kish's size for probabilities.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments().update(np.eye(3), [1, 2, 2]).n_effective
        5.0
        """
        if self.weight_type == "frequency" or not self.total_weight2:
            return self.total_weight
        return self.total_weight**2 / self.total_weight2

    @_at_one_time
    def covariance(self, ddof: float = 1) -> np.ndarray:
        """Covariance matrix: the scatter over W (1 - ddof / n), W the sum of the weights.

        With n the sum of the frequencies that is W - ddof; for probabilities it is
        W - ddof sum w^2 / W.

        Parameters
        ----------
        ddof : float, default=1
            1 (as numpy.cov and scikit-learn's PCA) is unbiased, 0 the plain mean of the products.

        Returns
        -------
        ndarray of shape (d, d)

        Raises
        ------
        ValueError
            If there are not more than `ddof` rows, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments().update(np.array([[0.0], [2.0]])).covariance().tolist()
        [[2.0]]
        """
        scatter, n = self._second_order(), self.n_effective
        if n <= ddof:
            hint = ""
            if self.weight_type == "frequency" and self.n_rows > ddof:
                hint = " Weights that sum to 1 are probabilities: say weight_type='probability'."
            raise ValueError(
                f"A covariance with ddof={ddof} needs more than {ddof} samples, got n_samples = "
                f"{n:.6g}.{hint}"
            )
        return scatter / (self.total_weight * (1 - ddof / n))

    @_at_one_time
    def second_moment(self, about: float = 0.0) -> np.ndarray:
        """Mean of (x - b)(x - b)' about ``b = about * mean``.

        Parameters
        ----------
        about : float, default=0.0
            Share of the mean: 0 is uncentred, 1 the covariance with ``ddof=0``.

        Returns
        -------
        ndarray of shape (d, d)

        Raises
        ------
        ValueError
            If there are no rows yet, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments().update(np.array([[0.0], [2.0]])).second_moment().tolist()
        [[2.0]]
        """
        rest = (1 - about) * self.mean
        return self._second_order() / self.total_weight + np.outer(rest, rest)

    def _second_order(self) -> np.ndarray:
        if self.scatter is None:
            raise ValueError(
                "Moments of order=1 have no covariance; gather them with order=2 or 4."
            )
        if not self.total_weight > 0:
            raise ValueError("These moments hold no rows yet (0 samples).")
        return self.scatter

    @_at_one_time
    def spectrum(self, ddof: float = 1) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the covariance.

        Signs are fixed: the largest entry of each eigenvector, by size, is positive.

        Parameters
        ----------
        ddof : float, default=1
            See `covariance`.

        Returns
        -------
        values : ndarray of shape (d,)
            Falling, never below 0.
        vectors : ndarray of shape (d, d)
            Columns, in the same order.

        Raises
        ------
        ValueError
            As `covariance` does.

        Notes
        -----
        O(d^3), kept until more rows come.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Moments().update(X).spectrum(0)[0].tolist()
        [4.5, 0.5]
        """
        if ddof not in self._eigen:
            self._eigen[ddof] = fixed_eigh(self.covariance(ddof))
        return self._eigen[ddof]

    @_at_one_time
    def eigenvalues(self, ddof: float = 1) -> np.ndarray:
        """Eigenvalues of the covariance, falling, never below 0.

        Parameters
        ----------
        ddof : float, default=1
            See `covariance`.

        Returns
        -------
        ndarray of shape (d,)

        Raises
        ------
        ValueError
            As `covariance` does.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Moments().update(X).eigenvalues(0).tolist()
        [4.5, 0.5]
        """
        if ddof in self._eigen:
            return self._eigen[ddof][0]
        values = np.linalg.eigvalsh(self.covariance(ddof))
        return np.maximum(values[::-1], 0.0)

    @_at_one_time
    def noise_floor(self, largest: float) -> float:
        """The variance along a direction below which there is nothing but rounding.

        The sum of what rounds: the eigensolver (d eps of the `largest` eigenvalue), the products
        (8 eps of the mean eigenvalue where they were float32), and the stored numbers themselves
        (16 eps^2 of their mean square).

        Parameters
        ----------
        largest : float
            The largest eigenvalue of the covariance.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there are no rows yet, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> 0 < Moments().update(np.eye(3)).noise_floor(1.0) < 1e-14
        True
        """
        d, w = self.n_features, self.total_weight
        spread = float(np.trace(self._second_order())) / w / d
        stored = spread + float(self.mean @ self.mean) / d
        wide = float(np.finfo(np.float64).eps)
        products = 8 * self.product_eps * spread if self.product_eps > wide else 0.0
        return max(d * wide * largest, products, 16 * self.input_eps**2 * stored, self.noise)

    @_at_one_time
    def rank(self, tol: float | None = None) -> int:
        """Numerical rank of the covariance: how many eigenvalues stand above rounding.

        Parameters
        ----------
        tol : float, optional
            Count those above `tol` times the largest; by default those above the `noise_floor`.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If there are no rows yet, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments().update(np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])).rank()
        1
        """
        values = self.eigenvalues(0)
        largest = float(values[0]) if values.size else 0.0
        floor = self.noise_floor(largest) if tol is None else tol * largest
        return int(np.count_nonzero(values > floor))

    @_at_one_time
    def mapped(self, matrix: np.ndarray, mean: np.ndarray) -> Moments:
        """Moments of ``y = (x - m) A + c`` with ``A = matrix`` and the given new mean.

        Mean and covariance follow exactly; cosines, lengths and the fourth order do not, and are
        absent from the result.

        Parameters
        ----------
        matrix : ndarray of shape (d, k)
        mean : ndarray of shape (k,)
            Of the mapped rows.

        Returns
        -------
        Moments
            Of k dimensions.

        Raises
        ------
        ValueError
            If there are no rows yet, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> moments = Moments().update(np.array([[0.0], [2.0]]))
        >>> moments.mapped(np.array([[3.0]]), np.zeros(1)).covariance().tolist()
        [[18.0]]
        """
        new = Moments(unit="none", weight_type=self.weight_type)
        new._allocate(matrix.shape[1])
        for name in ("n_rows", "total_weight", "total_weight2", "input_eps", "product_eps"):
            setattr(new, name, getattr(self, name))
        new.mean = contiguous(mean)
        new.scatter = contiguous(matrix.T @ self._second_order() @ matrix)
        new.third = new.fourth = None
        return new

    # -- files -------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        return {n: getattr(self, n) for n in self._array_names if getattr(self, n) is not None}

    @classmethod
    def _number_names(cls) -> tuple[str, ...]:
        beside = (*cls._array_names, *cls._may_lack)
        return tuple(name for name in cls._merge if name not in beside)

    @_at_one_time
    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The state as JSON-able numbers and as arrays: what a file or another process gets.

        Returns
        -------
        info : dict
        arrays : dict of ndarray

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> info, arrays = Moments().update(np.ones((5, 2))).pack()
        >>> info["n_rows"], sorted(arrays)[:2]
        (5, ['mean', 'scatter'])
        """
        names = (*self._number_names(), *self._may_lack, "n_features")
        info = {name: getattr(self, name) for name in names}
        info["norm_min"] = None if np.isinf(self.norm_min) else self.norm_min
        info["n_sampled"] = 0 if self.sampled is None else len(self.sampled)
        return {**info, **self._options()}, self._arrays()

    @classmethod
    def unpack(
        cls, info: dict[str, Any], arrays: dict[str, np.ndarray], *, path: Any = "moments"
    ) -> Self:
        """The moments that `pack` packed.

        Parameters
        ----------
        info : dict
        arrays : dict of ndarray
        path : str or path-like, default="moments"
            What errors name.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            If something is missing, of another shape, or not finite.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> Moments.unpack(*Moments().update(np.ones((5, 2))).pack()).n_rows
        5
        """
        try:
            added = {"sample": 0, "n_sampled": 0, "noise": 0.0}  # older files lack these
            info = added | info
            new = cls(**{name: info[name] for name in cls()._options()})
            new._prepare(info)
            new._allocate(int(info["n_features"]))
            if new.sampled is not None:
                shape = int(info["n_sampled"]), new.n_features
                new.sampled = np.broadcast_to(0.0, shape)  # no memory for what may be no truth
            for name in cls._number_names():
                value = info[name]
                setattr(new, name, np.inf if name == "norm_min" and value is None else value)
            new.fourth = info["fourth"]
            if new.fourth is None:
                new.third = None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: its metadata is damaged ({error!r}).") from error
        check_arrays(path, arrays, {name: a.shape for name, a in new._arrays().items()})
        new.__dict__.update({name: contiguous(array) for name, array in arrays.items()})
        return new

    def _prepare(self, info: dict[str, Any]) -> None:
        """Take from metadata what decides the shapes of the arrays."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file with JSON metadata; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileError
            If it cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> path = os.path.join(tempfile.mkdtemp(), "moments.safetensors")
        >>> Moments().update(np.eye(3)).save(path)
        >>> Moments.load(path).n_rows
        3
        """
        save_state(path, type(self).__name__, *self.pack())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        Moments
            Equal to those that were saved, to the bit.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else, or was changed; the message says what.

        Examples
        --------
        See `save`.

        >>> from isotropy import Moments
        >>> Moments.load("no such file")
        Traceback (most recent call last):
        FileNotFoundError: no such file: no such file.
        """
        path = located(path)
        info, arrays = load_state(path)
        if info["class"] != cls.__name__:
            raise ValueError(f"{path}: holds a {info['class']}, not {cls.__name__}.")
        return cls.unpack(info, arrays, path=path)

    def __repr__(self) -> str:
        return (
            f"Moments(n_rows={self.n_rows}, n_features={self.n_features}, "
            + ", ".join(f"{name}={value!r}" for name, value in self._options().items())
            + ")"
        )


def _summed(
    rows: Rows,
    sample_weight: Any,
    n_rows: int,
    *,
    options: dict[str, Any],
    seen: int,
    first_row: int,
    device: Any,
) -> Moments:
    """Moments of some rows, of a job of `n_rows` beside those `seen` before."""
    new, n = Moments(**options), len(rows)
    weights = check_weights(sample_weight, n)
    if n == 0:
        return new
    try:
        if rows.array is not None and device is None:
            new._sum_array(rows.array, weights, first_row, seen + max(0, n_rows - n))
            rows.check_unchanged()
            return new
        size = rows_at_a_time(rows) * (1 if device is None else _DEVICE_BLOCKS)
        blocks = rows.blocks(size)
        return gather(
            blocks, new, seen + max(n, n_rows), weights, first_row=first_row, device=device
        )[0]
    except BadRowError as error:
        raise error.at(rows.locate(error.row - first_row)) from None


def _merged(name: str, a: Moments, b: Moments) -> Any:
    left, right = getattr(a, name), getattr(b, name)
    if left is None or right is None:
        return None
    rule = a._merge[name]
    found = (
        Sample.of(a.sample, left, right).rows
        if rule == "least keys"
        else _BY_RULE[rule](left, right)
    )
    return contiguous(found) if isinstance(found, np.ndarray) else found


def fixed_eigh(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (falling, not below 0) and eigenvectors, each with its largest entry positive.

    Parameters
    ----------
    symmetric : ndarray of shape (d, d)

    Returns
    -------
    values : ndarray of shape (d,)
    vectors : ndarray of shape (d, d)
        Columns.

    Examples
    --------
    >>> import numpy as np
    >>> fixed_eigh(np.diag([1.0, 4.0]))[0].tolist()
    [4.0, 1.0]
    """
    values, vectors = np.linalg.eigh(symmetric)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    return values, vectors * column_signs(vectors)


def column_signs(matrix: np.ndarray) -> np.ndarray:
    """+1 or -1 for each column: the sign of its entry of largest size.

    1 or -1 for each column: the sign of its entry of largest size.

    Parameters
    ----------
    matrix : ndarray of shape (d, k)

    Returns
    -------
    ndarray of shape (k,)

    Examples
    --------
    >>> import numpy as np
    >>> column_signs(np.array([[1.0, 2.0], [-3.0, 1.0]])).tolist()
    [-1.0, 1.0]
    """
    largest = np.take_along_axis(matrix, np.abs(matrix).argmax(0)[None], 0)[0]
    return np.where(largest < 0, -1.0, 1.0)


def as_moments(X: Any, sample_weight: Any = None, **options: Any) -> Moments:
    """`X` as it is now if it is Moments, else the moments of its rows.

    Parameters
    ----------
    X : Moments, or rows of any kind
    sample_weight : array of shape (n,), optional
        With rows only.
    **options
        Of `Moments`, for rows.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If weights come with moments, or the rows are refused.

    Examples
    --------
    >>> import numpy as np
    >>> as_moments(np.eye(3)).n_rows
    3
    """
    if not isinstance(X, Moments):
        return Moments.from_rows(X, sample_weight, **options)
    if sample_weight is not None:
        raise ValueError("sample_weight belongs with rows; moments are weighted already.")
    return X.copy()  # as they are now, whatever other threads bring in


def is_small(n: int, d: int) -> bool:
    """Whether a pass over n x d rows is a matter of well under a second.

    Parameters
    ----------
    n, d : int

    Returns
    -------
    bool

    Examples
    --------
    >>> is_small(1000, 64)
    True
    """
    return n * d * d <= SMALL_JOB
