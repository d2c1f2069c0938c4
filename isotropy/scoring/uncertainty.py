"""How sure a metric is: jackknife intervals from the moments of groups of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from isotropy.metrics._inputs import NeedsRows, WeightType
from isotropy.metrics.registry import METRICS, Metric
from isotropy.moments import Moments
from isotropy.rows.arrays import check_weights, raise_on_bad_row
from isotropy.rows.door import as_rows
from isotropy.rows.source import Rows
from isotropy.scoring._groups import deal, is_whole, quietly
from isotropy.scoring.scorecard import known

__all__ = ["Interval", "group_moments", "intervals"]


@dataclass(frozen=True)
class Interval:
    """A metric's value with its uncertainty.

    Parameters
    ----------
    value : float
        Of all rows, as `score` has it.
    low, high : float
        Bounds of the interval. It is centred at the value freed of the jackknife's estimate of its
        bias, reaches the value itself where the bias is the larger, and ends where the metric's
        range does. NaN where there is none.
    standard_error : float
    bias : float
        Estimate of how far few rows have pulled the value away.
    reason : str
        Why there is no interval; empty where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import intervals
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> found = intervals(X, ["numerical_rank"])["numerical_rank"]
    >>> found.value, found.low, found.reason
    (16.0, nan, 'it is a count')
    """

    value: float
    low: float
    high: float
    standard_error: float
    bias: float
    reason: str = ""


def group_moments(
    X: Any,
    n_groups: int = 20,
    sample_weight: Any = None,
    *,
    unit: Any = "sums",
    weight_type: WeightType = "frequency",
    random_state: int = 0,
) -> list[Moments]:
    """Moments of groups of rows, dealt at random, from one pass.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
    n_groups : int, default=20
        At least 2, at most n.
    sample_weight : array of shape (n,), optional
    unit, weight_type
        As for `Moments`.
    random_state : int, default=0
        Seed of the dealing.

    Returns
    -------
    list of Moments
        Together they are those of all rows; they differ in size by one row at most. Rows are dealt
        at random, so that their order, sorted ones too, has no say.

    Raises
    ------
    ValueError
        If `n_groups` does not fit, or a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import group_moments
    >>> groups = group_moments(np.random.default_rng(0).normal(size=(103, 4)), 10)
    >>> sorted(group.n_rows for group in groups)
    [10, 10, 10, 10, 10, 10, 10, 11, 11, 11]
    """
    source = as_rows(X)
    n = len(source)
    if not is_whole(n_groups) or not 2 <= n_groups <= n:
        raise ValueError(
            f"n_groups must be an integer from 2 to the number of rows, {n}, got {n_groups!r}."
        )
    weights = check_weights(sample_weight, n)
    groups = [Moments(unit=unit, order=4, weight_type=weight_type) for _ in range(n_groups)]
    labels, start = deal(n, n_groups, np.random.default_rng(random_state)), 0
    for block in _blocks(source):
        raise_on_bad_row(block, start)
        own = labels[start : start + len(block)]
        part = None if weights is None else weights[start : start + len(block)]
        for k in np.unique(own):
            rows = np.flatnonzero(own == k)
            groups[k].update(block[rows], None if part is None else part[rows])
        start += len(block)
    return groups


def _blocks(rows: Rows) -> Iterator[Any]:
    if rows.array is None:
        yield from rows.blocks()
    else:
        yield rows.array


def intervals(
    X: Any,
    metrics: Sequence[str] | None = None,
    sample_weight: Any = None,
    *,
    n_groups: int = 20,
    level: float = 0.95,
    weight_type: WeightType = "frequency",
    random_state: int = 0,
) -> dict[str, Interval]:
    """Jackknife intervals of metrics, leaving out one group of rows at a time.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or a list of Moments
        A list of Moments is taken as the groups: files, days or machines for example.
    metrics : sequence of str, optional
        Names of `METRICS`; by default all that have an interval and that moments suffice for.
    sample_weight : array of shape (n,), optional
    n_groups : int, default=20
    level : float, default=0.95
        That the interval is to cover the value of the distribution with.
    weight_type : {"frequency", "probability"}, default="frequency"
    random_state : int, default=0
        Seed of the dealing of rows to groups.

    Returns
    -------
    dict of str to Interval
        NaN bounds, with the reason, where a metric is undefined on one of the parts, and for
        counts, largest and smallest values, which the jackknife does not serve.

    Raises
    ------
    ValueError
        For unknown metrics, too many groups, or a metric of rows where there are Moments alone.

    Notes
    -----
    One pass over the rows for all metrics of moments, then ``n_groups`` times O(d^3); a metric of
    rows is computed ``n_groups`` times. With g groups, values v_i without group i and their mean m,
    the standard error is ``sqrt((g - 1) / g sum (v_i - m)^2)``, the bias ``(g - 1) (m - v)``, and
    the interval that of Student's t with g - 1 degrees of freedom. Counts, such as the numerical
    rank, and largest or smallest values, such as I(W), jump: their intervals would cover less than
    they say, so they get none.

    References
    ----------
    Quenouille 1956; Tukey 1958; Shao & Tu 1995, "The jackknife and bootstrap", section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import intervals
    >>> X = np.random.default_rng(0).normal(size=(1000, 8)) + 0.5
    >>> found = intervals(X, ["mean_cosine"])["mean_cosine"]
    >>> found.low < 0.19 < found.high
    True
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}.")
    if metrics is None:
        chosen = [m for m in METRICS.values() if m.needs == "moments" and not m.jumps]
    else:
        chosen = [known(name) for name in metrics]
    if isinstance(X, (list, tuple)) and X and all(isinstance(part, Moments) for part in X):
        rows: Any = None
        if len(X) < 2:
            raise ValueError("One group has no other to be held against: give two Moments or more.")
    else:
        rows = as_rows(X)
    with quietly(*(X if rows is None else [rows])):
        groups = X
        if rows is not None:
            unit = "gram" if any(metric.needs == "unit_gram" for metric in chosen) else "sums"
            groups = group_moments(
                rows,
                n_groups,
                sample_weight,
                unit=unit,
                weight_type=weight_type,
                random_state=random_state,
            )
        whole, others = _without_each(list(groups))
        found = {}
        for metric in chosen:
            d = whole.rank() if metric.within_rank else whole.n_features
            if metric.jumps:
                value = _whole_value(metric, whole, rows, sample_weight, weight_type)
                found[metric.name] = _none(metric.within(value, d), metric.jumps)
                continue
            if metric.needs == "rows":
                values = _of_rows(
                    metric, rows, sample_weight, len(groups), weight_type, random_state
                )
            else:
                values = [metric.function(moments) for moments in (whole, *others)]
            found[metric.name] = _interval(metric, values, d, level)
        return found


def _without_each(groups: list[Moments]) -> tuple[Moments, list[Moments]]:
    """The moments of all groups, and of all but one each, in O(g) merges."""
    before, behind = [groups[0]], [groups[-1]]
    for group in groups[1:]:
        before.append(before[-1] + group)
    for group in groups[-2::-1]:
        behind.append(group + behind[-1])
    behind.reverse()
    others = [behind[1], *(a + b for a, b in zip(before, behind[2:], strict=False)), before[-2]]
    return before[-1], others


def _of_rows(
    metric: Metric,
    rows: Any,
    sample_weight: Any,
    n_groups: int,
    weight_type: WeightType,
    random_state: int,
) -> list[float]:
    if rows is None:
        raise NeedsRows(f"{metric.name} needs the rows in memory, as an array.")
    X = rows.in_memory() if rows.array is None else rows.array
    weights = check_weights(sample_weight, len(X))
    group = deal(len(X), n_groups, np.random.default_rng(random_state))
    compute: Callable[..., float] = metric.function
    values = []
    for left_out in (-1, *range(n_groups)):
        kept = group != left_out
        own = None if weights is None else weights[kept]
        values.append(compute(X[kept], own, weight_type=weight_type))
    return values


def _whole_value(
    metric: Metric, whole: Moments, rows: Any, sample_weight: Any, weight_type: WeightType
) -> float:
    if metric.needs != "rows":
        return metric.function(whole)
    if rows is None:
        raise NeedsRows(f"{metric.name} needs the rows in memory, as an array.")
    return metric.function(rows.in_memory(), sample_weight, weight_type=weight_type)


def _none(value: float, reason: str) -> Interval:
    nan = float("nan")
    return Interval(value, nan, nan, nan, nan, reason)


def _interval(metric: Metric, values: list[float], d: int, level: float) -> Interval:
    """From the value of all rows, and those without each of the groups."""
    value, parts = metric.within(float(values[0]), d), np.array(values[1:])
    if not np.isfinite([value, *parts]).all():
        return _none(value, "it is not finite on all rows, or not without one of the groups")
    g, mean = len(parts), float(parts.mean())
    error = float(np.sqrt((g - 1) / g * np.square(parts - mean).sum()))
    bias = (g - 1) * (mean - value)
    reach = float(student.ppf((1 + level) / 2, g - 1)) * error
    middle = value - bias
    low, high = min(value, middle - reach), max(value, middle + reach)
    return Interval(value, metric.within(low, d), metric.within(high, d), error, bias)
