"""What is known of a metric beside its value; each is registered in the module that defines it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from isotropy.moments import Moments
from isotropy.tables import METRICS

__all__ = ["METRICS", "Metric", "dimensions", "register"]

Bound = float | Callable[[int], float]
"""A number, or a function of the number of dimensions."""


def _unknown(n: float, d: int) -> float | None:
    """The floor where none is known: None."""
    return None


@dataclass(frozen=True)
class Metric:
    """A metric and what is known of it.

    Parameters
    ----------
    name : str
        Key in `METRICS` and in a `Scorecard`.
    title : str
        What it is, in a few words.
    function : callable
        ``function(X, sample_weight=None) -> float`` of rows or Moments. Where `needs` is "rows",
        ``function(X, sample_weight=None, weight_type="frequency")`` of rows.
    range : pair of bounds
        Smallest and largest value; a bound is a number or a function of d.
    ideal : bound or None
        The value of a perfectly isotropic distribution; None where none is defined.
    better : {"lower", "higher"} or None
        Which way is more isotropic; None where it is the ideal itself, from both sides.
    needs : {"moments", "unit_gram", "rows"}
        "moments" with sums of unit rows suffice; or also the Gram matrix of unit rows; or rows.
    cost : str
        Beside the pass over the rows that gathers the Moments.
    source : str
        Paper.
    floor : callable
        ``floor(n, d)``: about the value that n isotropic Gaussian rows of dimension d get, None
        where unknown.
    p_value, standard_error : callable or None
        Of ``Moments``. The p-value is that of the floor's null, isotropy.
    value_p_value : callable or None
        ``value_p_value(value, moments)``: the same, where it takes the value, too.
    within_rank : bool
        Whether d in bounds, ideal and floor is the numerical rank, as where rows are whitened.
    takes_moments : bool
        Whether the function, given rows, takes their moments as ``moments``, to save a pass.
    slow : bool
        Whether it takes longer than all the others together, and is left out unless asked for.
    jumps : str
        Why it has no jackknife interval, where it has none: it counts, or is the value of the
        largest or smallest of several, so that it does not follow the rows smoothly.

    Examples
    --------
    >>> from isotropy.metrics import METRICS
    >>> metric = METRICS["isoscore"]
    >>> metric.bounds(16), metric.ideal_at(16), metric.better
    ((0.0, 1.0), 1.0, 'higher')
    """

    name: str
    title: str
    function: Callable[..., float]
    range: tuple[Bound, Bound]
    ideal: Bound | None
    better: Literal["lower", "higher"] | None
    needs: Literal["moments", "unit_gram", "rows"]
    cost: str
    source: str
    floor: Callable[[float, int], float | None] = _unknown
    p_value: Callable[[Moments], float] | None = None
    standard_error: Callable[[Moments], float] | None = None
    value_p_value: Callable[[float, Moments], float] | None = None
    within_rank: bool = False
    takes_moments: bool = False
    slow: bool = False
    jumps: str = ""

    def bounds(self, d: int) -> tuple[float, float]:
        """The range in d dimensions.

        Parameters
        ----------
        d : int
            Dimensions, or the rank where the metric is `within_rank`.

        Returns
        -------
        low, high : float
            The smallest and the largest value.

        Examples
        --------
        >>> from isotropy.metrics import METRICS
        >>> METRICS["effective_rank"].bounds(16)
        (1.0, 16.0)
        """
        return _at(self.range[0], d), _at(self.range[1], d)

    def within(self, value: float, d: int) -> float:
        """The value, no further than the range in d dimensions; NaN stays NaN.

        Rounding, and the correction of a bias, may carry an estimate past what it estimates.

        Parameters
        ----------
        value : float
            An estimate of the metric.
        d : int
            Dimensions, or the rank where the metric is `within_rank`.

        Returns
        -------
        float
            The value, or the bound that it passes.

        Examples
        --------
        >>> from isotropy.metrics import METRICS
        >>> METRICS["isoscore"].within(1.02, 16)
        1.0
        """
        low, high = self.bounds(d)
        return value if value != value else float(min(max(value, low), max(low, high)))

    def ideal_at(self, d: int) -> float | None:
        """The ideal in d dimensions.

        Parameters
        ----------
        d : int
            Dimensions, or the rank where the metric is `within_rank`.

        Returns
        -------
        float or None
            The value of a perfectly isotropic distribution; None where none is defined.

        Examples
        --------
        >>> from isotropy.metrics import METRICS
        >>> METRICS["effective_rank"].ideal_at(16)
        16.0
        """
        return None if self.ideal is None else _at(self.ideal, d)


def _at(bound: Bound, d: int) -> float:
    return float(bound(d) if callable(bound) else bound)


def register(metric: Metric) -> Metric:
    """Add a metric to `METRICS`: `score`, `compare` and `make_scorer` know it from then on.

    Parameters
    ----------
    metric : Metric
        Its name must be free.

    Returns
    -------
    Metric
        The same.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from isotropy.metrics import METRICS, register
    >>> register(replace(METRICS["isoscore"], name="my_score")).title
    'IsoScore, corrected for few rows'
    >>> METRICS.pop("my_score").name
    'my_score'
    """
    METRICS.add(metric.name, metric)
    return metric


def dimensions(d: int) -> float:
    """As a bound or ideal: the number of dimensions."""
    return float(d)
