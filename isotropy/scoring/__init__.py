"""Scores, comparisons, intervals and drift: rows and corrections under the same ruler."""

from isotropy.scoring.change import Drift, drift
from isotropy.scoring.scorecard import Comparison, Score, Scorecard, compare, score
from isotropy.scoring.scorers import make_scorer
from isotropy.scoring.uncertainty import Interval, group_moments, intervals

__all__ = [
    "Comparison",
    "Drift",
    "Interval",
    "Score",
    "Scorecard",
    "compare",
    "drift",
    "group_moments",
    "intervals",
    "make_scorer",
    "score",
]
