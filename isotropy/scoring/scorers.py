"""Metrics as scikit-learn scorers: choose a corrector by what it does to the rows."""

from __future__ import annotations

from typing import Any

from isotropy.metrics.registry import METRICS, Metric
from isotropy.rows.door import as_rows
from isotropy.scoring.scorecard import known

__all__ = ["make_scorer"]


def make_scorer(name: str) -> Any:
    """A scikit-learn scorer that transforms rows and measures the result; greater is better.

    Parameters
    ----------
    name : str
        A metric of `METRICS`.

    Returns
    -------
    callable
        ``scorer(estimator, X, y=None)``, for ``GridSearchCV(scoring=...)`` and its like; the
        estimator needs `transform`, as pipelines of transformers have. The value is the metric's,
        or minus it where lower is better; where the ideal lies inside the range, as 0 does for the
        mean cosine, minus the distance from the ideal.

    Raises
    ------
    ValueError
        If no metric is named so, or it has neither a better direction nor an ideal.

    Notes
    -----
    Isotropy alone favours the strongest correction. It is not the quality of a search or a
    similarity: measure that too, on your task.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.scoring import make_scorer
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> scorer = make_scorer("mean_cosine")
    >>> bool(scorer(MeanRemoval().fit(X), X) > scorer(MeanRemoval(strength=0.5).fit(X), X))
    True
    """
    metric = known(name)
    if metric.better is None and metric.ideal is None:
        raise ValueError(f"{name} has neither a better direction nor an ideal: no score to raise.")
    return _MetricScorer(metric.name)


class _MetricScorer:
    """Holds the name alone, so that it pickles to the workers of a search."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        metric: Metric = METRICS[self.name]
        rows = as_rows(estimator.transform(X)).in_memory()
        value = metric.within(metric.function(rows), rows.shape[1])
        if metric.better is not None:
            return value if metric.better == "higher" else -value
        ideal = metric.ideal_at(rows.shape[1])
        assert ideal is not None  # checked when the scorer was made
        return -abs(value - ideal)

    def __repr__(self) -> str:
        return f"make_scorer({self.name!r})"
