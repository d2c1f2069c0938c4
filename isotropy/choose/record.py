"""What was measured, by task and kind of rows, and the setting that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = [
    "EVEN",
    "ROWS",
    "TASKS",
    "THRESHOLDS",
    "UNEVEN",
    "Measured",
    "chosen",
    "derive",
    "row_of",
    "side_of",
]

TASKS = ("search", "similarity", "clusters", "classes")
EVEN, UNEVEN = "even", "uneven"

THRESHOLDS: dict[str | None, float] = dict.fromkeys((*TASKS, None), 0.71)
"""The share of neighbours kept from which on rows count as even, by task."""

_MOST_HURT = 0.1  # of the cells
_MOST_BEYOND = 0.02  # of the cells
_LEAST_CELLS = 12
_LEAST_GAIN = 0.3  # points, on average
_ENOUGH = 0.5  # of the greatest gain


class Measured(NamedTuple):
    """A setting in all cells of a task and side, against the raw rows.

    Parameters
    ----------
    task, side, setting : str
    own : bool
        Whether queries were corrected about their own mean.
    cells : int
    hurt : int
        Cells that lost over half a point.
    beyond : int
        Those of them that lost over two standard errors.
    worst : float
        The greatest loss, in points.
    gain : float
        The mean gain, in points.
    loss : float
        The mean over all cells of what was lost over half a point, in points.
    """

    task: str
    side: str
    setting: str
    own: bool
    cells: int
    hurt: int
    beyond: int
    worst: float
    gain: float
    loss: float


def side_of(task: str | None, kept: float) -> str:
    """On which side of the threshold of a task rows are.

    Parameters
    ----------
    task : str or None
    kept : float
        The share of neighbours kept, 0 to 1.

    Returns
    -------
    {"even", "uneven"}

    Examples
    --------
    >>> side_of("search", 0.8), side_of("search", 0.6)
    ('even', 'uneven')
    """
    return EVEN if kept >= THRESHOLDS[task] else UNEVEN


def derive(rows: Iterable[Measured]) -> dict[tuple[str | None, str, bool], str]:
    """The setting of each (task, side, own): of the harmless ones the safest that gains enough.

    Harmless is what hurts a tenth of at least 12 cells at most, and 2 % of them beyond noise. Of
    these settings those count that gain half as much as the best of them, so that none is bold for
    little; and of those the one that loses least is taken, or, where several lose the same, the
    one that gains most. For no task it must be harmless in all of them.

    Parameters
    ----------
    rows : iterable of Measured

    Returns
    -------
    dict of (task, side, own) to str

    Examples
    --------
    >>> derive(ROWS)["search", UNEVEN, True]
    'power .75'
    """
    known = list(rows)
    found: dict[tuple[str | None, str, bool], str] = {}
    for side in (EVEN, UNEVEN):
        for own in (False, True):
            some = {task: _harmless(known, task, side, own) for task in TASKS}
            shared = set.intersection(*(set(one) for one in some.values()))
            everywhere = {
                name: (
                    max(one[name][0] for one in some.values()),
                    sum(one[name][1] for one in some.values()),
                )
                for name in shared
            }
            for task, one in ({None: everywhere} | some).items():
                found[task, side, own] = _safest(one)
    return found


def _harmless(
    rows: list[Measured], task: str, side: str, own: bool
) -> dict[str, tuple[float, float]]:
    """Setting to loss and gain."""
    return {
        row.setting: (round(row.loss, 2), row.gain)
        for row in rows
        if (row.task, row.side, row.own) == (task, side, own and task == "search")
        and row.cells >= _LEAST_CELLS
        and row.hurt <= _MOST_HURT * row.cells
        and row.beyond <= _MOST_BEYOND * row.cells
        and row.gain >= _LEAST_GAIN
    }


def _safest(settings: dict[str, tuple[float, float]]) -> str:
    enough = _ENOUGH * max((gain for _, gain in settings.values()), default=0.0)
    good = [(loss, -gain, name) for name, (loss, gain) in settings.items() if gain >= enough]
    return min(good, default=(0.0, 0.0, "none"))[-1]


def chosen(
    task: str | None, side: str, own: bool = False, among: Collection[str] | None = None
) -> str:
    """The setting that `derive` finds, of all or of some settings.

    Parameters
    ----------
    task : str or None
        Of `TASKS`; None for what no task is hurt by.
    side : {"even", "uneven"}
    own : bool, default=False
        Whether queries are corrected about their own mean.
    among : collection of str, optional
        The settings that may be taken.

    Returns
    -------
    str
        A name of `isotropy.choose.settings.SETTINGS`.

    Examples
    --------
    >>> chosen("classes", UNEVEN)
    'power .5'
    """
    return derive(row for row in ROWS if among is None or row.setting in among)[task, side, own]


def row_of(task: str | None, side: str, own: bool, setting: str) -> Measured | None:
    """What was measured of a setting; for no task the worst of all tasks.

    Parameters
    ----------
    task : str or None
    side : {"even", "uneven"}
    own : bool
    setting : str

    Returns
    -------
    Measured or None
        None where it was not measured.

    Examples
    --------
    >>> row_of("classes", UNEVEN, False, "none").hurt
    0
    """
    found = [
        row
        for row in ROWS
        if row.side == side
        and row.setting == setting
        and (task is None or row.task == task)
        and row.own == (own and row.task == "search" and setting != "none")
    ]
    return max(found, key=lambda row: row.worst, default=None)


ROWS: tuple[Measured, ...] = (
    Measured("search", "even", "none", False, 72, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "even", "origin .25", False, 72, 2, 1, 0.8, 2.24, 0.007),
    Measured("search", "even", "origin .5", False, 72, 7, 2, 2.3, 2.67, 0.071),
    Measured("search", "even", "origin tapered .5", False, 72, 2, 0, 0.9, 2.57, 0.008),
    Measured("search", "even", "origin tapered 1", False, 72, 9, 1, 3.2, 3.3, 0.066),
    Measured("search", "even", "centred", False, 72, 21, 15, 13.1, 0.36, 1.317),
    Measured("search", "even", "power .25", False, 72, 20, 15, 11.5, 1.04, 0.859),
    Measured("search", "even", "power .5", False, 72, 17, 11, 10.5, 1.63, 0.522),
    Measured("search", "even", "power .75", False, 72, 18, 10, 9.7, 2.1, 0.439),
    Measured("search", "even", "power 1", False, 72, 18, 10, 9.3, 2.41, 0.418),
    Measured("search", "even", "plain 1", False, 72, 41, 33, 41.6, -5.5, 6.413),
    Measured("search", "even", "centred", True, 72, 4, 1, 4.6, 4.84, 0.105),
    Measured("search", "even", "power .25", True, 72, 3, 1, 3.8, 5.13, 0.087),
    Measured("search", "even", "power .5", True, 72, 5, 1, 3.2, 5.3, 0.072),
    Measured("search", "even", "power .75", True, 72, 9, 3, 2.6, 5.42, 0.07),
    Measured("search", "even", "power 1", True, 72, 11, 4, 2.7, 5.47, 0.093),
    Measured("search", "even", "plain 1", True, 72, 39, 31, 27.2, -3.2, 4.388),
    Measured("search", "uneven", "none", False, 151, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "uneven", "origin .25", False, 151, 6, 0, 1.1, 3.54, 0.012),
    Measured("search", "uneven", "origin .5", False, 151, 20, 12, 5.8, 5.07, 0.216),
    Measured("search", "uneven", "origin tapered .5", False, 151, 12, 7, 3.5, 4.09, 0.113),
    Measured("search", "uneven", "origin tapered 1", False, 151, 22, 13, 8.3, 5.74, 0.321),
    Measured("search", "uneven", "centred", False, 151, 61, 49, 49.7, -1.98, 2.378),
    Measured("search", "uneven", "power .25", False, 151, 33, 22, 42.1, 0.53, 1.3),
    Measured("search", "uneven", "power .5", False, 151, 23, 17, 32.8, 2.53, 0.995),
    Measured("search", "uneven", "power .75", False, 151, 22, 18, 24.9, 4.01, 0.824),
    Measured("search", "uneven", "power 1", False, 151, 23, 18, 17.4, 4.96, 0.661),
    Measured("search", "uneven", "plain 1", False, 151, 83, 69, 40.4, -3.45, 5.361),
    Measured("search", "uneven", "centred", True, 151, 18, 7, 6.9, 5.5, 0.206),
    Measured("search", "uneven", "power .25", True, 151, 5, 2, 5.5, 7.57, 0.061),
    Measured("search", "uneven", "power .5", True, 151, 4, 2, 3.7, 8.92, 0.042),
    Measured("search", "uneven", "power .75", True, 151, 4, 1, 3.0, 9.64, 0.042),
    Measured("search", "uneven", "power 1", True, 151, 7, 0, 2.9, 9.87, 0.052),
    Measured("search", "uneven", "plain 1", True, 151, 76, 65, 29.5, -0.73, 3.822),
    Measured("similarity", "even", "none", False, 54, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "even", "origin .25", False, 54, 13, 13, 3.0, 0.92, 0.251),
    Measured("similarity", "even", "origin .5", False, 54, 17, 13, 6.5, 0.63, 0.835),
    Measured("similarity", "even", "origin tapered .5", False, 54, 11, 10, 4.1, 0.67, 0.445),
    Measured("similarity", "even", "origin tapered 1", False, 54, 17, 13, 9.3, -0.27, 1.213),
    Measured("similarity", "even", "centred", False, 54, 18, 15, 11.8, -0.14, 0.877),
    Measured("similarity", "even", "power .25", False, 54, 16, 11, 10.7, -0.01, 0.902),
    Measured("similarity", "even", "power .5", False, 54, 17, 12, 9.7, -0.07, 1.015),
    Measured("similarity", "even", "power .75", False, 54, 17, 13, 8.7, -0.24, 1.189),
    Measured("similarity", "even", "power 1", False, 54, 19, 15, 10.1, -0.46, 1.391),
    Measured("similarity", "even", "plain 1", False, 54, 28, 22, 14.9, -2.01, 3.073),
    Measured("similarity", "uneven", "none", False, 99, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "uneven", "origin .25", False, 99, 0, 0, 0.3, 3.07, 0.0),
    Measured("similarity", "uneven", "origin .5", False, 99, 7, 0, 2.1, 4.63, 0.043),
    Measured("similarity", "uneven", "origin tapered .5", False, 99, 1, 0, 0.5, 4.35, 0.0),
    Measured("similarity", "uneven", "origin tapered 1", False, 99, 9, 0, 2.3, 6.56, 0.056),
    Measured("similarity", "uneven", "centred", False, 99, 48, 39, 13.1, 0.44, 1.56),
    Measured("similarity", "uneven", "power .25", False, 99, 36, 15, 8.5, 3.19, 0.491),
    Measured("similarity", "uneven", "power .5", False, 99, 15, 1, 4.3, 5.0, 0.129),
    Measured("similarity", "uneven", "power .75", False, 99, 10, 0, 2.5, 6.02, 0.075),
    Measured("similarity", "uneven", "power 1", False, 99, 10, 0, 2.9, 6.49, 0.08),
    Measured("similarity", "uneven", "plain 1", False, 99, 41, 18, 8.2, 3.85, 1.108),
    Measured("clusters", "even", "none", False, 79, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "even", "origin .25", False, 79, 39, 20, 9.9, -1.03, 1.145),
    Measured("clusters", "even", "origin .5", False, 79, 69, 51, 20.9, -4.03, 3.795),
    Measured("clusters", "even", "origin tapered .5", False, 79, 31, 10, 4.6, -0.13, 0.646),
    Measured("clusters", "even", "origin tapered 1", False, 79, 62, 43, 19.4, -3.59, 3.62),
    Measured("clusters", "even", "centred", False, 79, 21, 9, 13.8, 0.2, 0.717),
    Measured("clusters", "even", "power .25", False, 79, 25, 10, 14.5, 0.03, 0.839),
    Measured("clusters", "even", "power .5", False, 79, 30, 12, 13.1, -0.28, 0.815),
    Measured("clusters", "even", "power .75", False, 79, 43, 22, 14.2, -1.48, 1.598),
    Measured("clusters", "even", "power 1", False, 79, 62, 49, 19.4, -3.86, 3.837),
    Measured("clusters", "even", "plain 1", False, 79, 78, 78, 61.3, -33.64, 33.164),
    Measured("clusters", "uneven", "none", False, 113, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "uneven", "origin .25", False, 113, 14, 5, 7.6, 1.33, 0.199),
    Measured("clusters", "uneven", "origin .5", False, 113, 35, 12, 11.4, 1.19, 0.687),
    Measured("clusters", "uneven", "origin tapered .5", False, 113, 8, 1, 4.2, 3.08, 0.076),
    Measured("clusters", "uneven", "origin tapered 1", False, 113, 55, 39, 17.1, 0.99, 2.513),
    Measured("clusters", "uneven", "centred", False, 113, 33, 19, 14.1, -0.1, 0.841),
    Measured("clusters", "uneven", "power .25", False, 113, 19, 11, 9.8, 1.38, 0.466),
    Measured("clusters", "uneven", "power .5", False, 113, 17, 8, 13.1, 2.7, 0.412),
    Measured("clusters", "uneven", "power .75", False, 113, 25, 10, 14.2, 3.4, 0.601),
    Measured("clusters", "uneven", "power 1", False, 113, 53, 38, 18.3, 0.48, 2.778),
    Measured("clusters", "uneven", "plain 1", False, 113, 110, 110, 55.5, -25.32, 24.905),
    Measured("classes", "even", "none", False, 100, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "even", "origin .25", False, 100, 17, 6, 4.4, 1.12, 0.144),
    Measured("classes", "even", "origin .5", False, 100, 24, 14, 9.2, 1.3, 0.437),
    Measured("classes", "even", "origin tapered .5", False, 100, 8, 2, 2.2, 2.09, 0.058),
    Measured("classes", "even", "origin tapered 1", False, 100, 15, 7, 3.8, 2.13, 0.194),
    Measured("classes", "even", "centred", False, 100, 7, 1, 2.6, 1.9, 0.052),
    Measured("classes", "even", "power .25", False, 100, 7, 0, 2.1, 2.22, 0.038),
    Measured("classes", "even", "power .5", False, 100, 8, 1, 2.6, 2.35, 0.059),
    Measured("classes", "even", "power .75", False, 100, 12, 2, 2.8, 2.3, 0.084),
    Measured("classes", "even", "power 1", False, 100, 13, 5, 3.9, 2.13, 0.174),
    Measured("classes", "even", "plain 1", False, 100, 86, 80, 31.9, -8.27, 8.11),
    Measured("classes", "uneven", "none", False, 158, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "uneven", "origin .25", False, 158, 10, 2, 2.8, 3.03, 0.04),
    Measured("classes", "uneven", "origin .5", False, 158, 9, 2, 2.1, 5.42, 0.043),
    Measured("classes", "uneven", "origin tapered .5", False, 158, 5, 0, 1.6, 5.64, 0.015),
    Measured("classes", "uneven", "origin tapered 1", False, 158, 10, 1, 2.2, 8.55, 0.046),
    Measured("classes", "uneven", "centred", False, 158, 32, 6, 3.8, 4.39, 0.181),
    Measured("classes", "uneven", "power .25", False, 158, 2, 0, 0.7, 6.3, 0.001),
    Measured("classes", "uneven", "power .5", False, 158, 1, 0, 0.6, 7.68, 0.0),
    Measured("classes", "uneven", "power .75", False, 158, 4, 0, 1.2, 8.41, 0.008),
    Measured("classes", "uneven", "power 1", False, 158, 9, 1, 2.2, 8.58, 0.045),
    Measured("classes", "uneven", "plain 1", False, 158, 116, 108, 33.1, -7.54, 9.905),
)
"""Points are Spearman's correlation and average precision (similarity), nDCG@10 (search), V-measure
(clusters) and accuracy (classes), times 100."""
