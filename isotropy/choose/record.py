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
]

TASKS = ("search", "similarity", "clusters", "classes")
EVEN, UNEVEN = "even", "uneven"

THRESHOLDS: dict[str | None, float] = dict.fromkeys((*TASKS, None), 0.71)
"""The share of neighbours kept from which on rows count as even, by task."""

_MOST_HURT = 0.1  # of the cells
_MOST_BEYOND = 0.02  # of the cells
_MOST_LOST = 4.0  # points, in any cell
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


def derive(rows: Iterable[Measured]) -> dict[tuple[str | None, str, bool], str]:
    """The setting of each (task, side, own): of the harmless ones the safest that gains enough.

    Harmless is what hurts a tenth of at least 12 cells at most, 2 % of them beyond noise, and none
    by over 4 points: what lost that much on one collection (k-means) lost 6 on others that were not
    measured. Of these settings those count that gain half as much as the best of them, so that none
    is bold for little; and of those the one that loses least is taken, or, where several lose the
    same, the one that gains most. For no task it must be harmless in all of them.

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
        and row.worst <= _MOST_LOST
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
    Measured("search", "even", "none", False, 73, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "even", "origin .25", False, 73, 2, 1, 0.8, 2.41, 0.007),
    Measured("search", "even", "origin .5", False, 73, 7, 2, 2.3, 2.93, 0.07),
    Measured("search", "even", "origin tapered .5", False, 73, 2, 0, 0.9, 2.77, 0.008),
    Measured("search", "even", "origin tapered 1", False, 73, 9, 1, 3.2, 3.58, 0.066),
    Measured("search", "even", "centred", False, 73, 22, 16, 13.1, 0.24, 1.41),
    Measured("search", "even", "power .25", False, 73, 21, 15, 11.5, 1.02, 0.851),
    Measured("search", "even", "power .5", False, 73, 16, 11, 10.5, 1.7, 0.498),
    Measured("search", "even", "power .75", False, 73, 18, 10, 9.7, 2.23, 0.433),
    Measured("search", "even", "power 1", False, 73, 18, 10, 9.3, 2.58, 0.412),
    Measured("search", "even", "plain 1", False, 73, 42, 34, 41.6, -5.83, 6.728),
    Measured("search", "even", "centred", True, 73, 4, 1, 4.6, 5.1, 0.103),
    Measured("search", "even", "power .25", True, 73, 3, 1, 3.8, 5.43, 0.086),
    Measured("search", "even", "power .5", True, 73, 5, 1, 3.2, 5.63, 0.071),
    Measured("search", "even", "power .75", True, 73, 9, 3, 2.6, 5.75, 0.069),
    Measured("search", "even", "power 1", True, 73, 11, 4, 2.7, 5.81, 0.091),
    Measured("search", "even", "plain 1", True, 73, 40, 32, 27.2, -3.2, 4.366),
    Measured("search", "uneven", "none", False, 150, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "uneven", "origin .25", False, 150, 6, 0, 1.1, 3.47, 0.012),
    Measured("search", "uneven", "origin .5", False, 150, 20, 12, 5.8, 4.96, 0.217),
    Measured("search", "uneven", "origin tapered .5", False, 150, 12, 7, 3.5, 4.01, 0.114),
    Measured("search", "uneven", "origin tapered 1", False, 150, 22, 13, 8.3, 5.62, 0.323),
    Measured("search", "uneven", "centred", False, 150, 60, 48, 49.7, -1.94, 2.34),
    Measured("search", "uneven", "power .25", False, 150, 32, 22, 42.1, 0.54, 1.306),
    Measured("search", "uneven", "power .5", False, 150, 24, 17, 32.8, 2.5, 1.01),
    Measured("search", "uneven", "power .75", False, 150, 22, 18, 24.9, 3.96, 0.83),
    Measured("search", "uneven", "power 1", False, 150, 23, 18, 17.4, 4.89, 0.665),
    Measured("search", "uneven", "plain 1", False, 150, 82, 68, 40.4, -3.27, 5.201),
    Measured("search", "uneven", "centred", True, 150, 18, 7, 6.9, 5.38, 0.207),
    Measured("search", "uneven", "power .25", True, 150, 5, 2, 5.5, 7.44, 0.061),
    Measured("search", "uneven", "power .5", True, 150, 4, 2, 3.7, 8.78, 0.043),
    Measured("search", "uneven", "power .75", True, 150, 4, 1, 3.0, 9.51, 0.042),
    Measured("search", "uneven", "power 1", True, 150, 7, 0, 2.9, 9.74, 0.052),
    Measured("search", "uneven", "plain 1", True, 150, 75, 64, 29.5, -0.72, 3.829),
    Measured("similarity", "even", "none", False, 55, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "even", "origin .25", False, 55, 13, 13, 3.0, 1.1, 0.246),
    Measured("similarity", "even", "origin .5", False, 55, 17, 13, 6.5, 0.89, 0.82),
    Measured("similarity", "even", "origin tapered .5", False, 55, 11, 10, 4.1, 0.91, 0.437),
    Measured("similarity", "even", "origin tapered 1", False, 55, 17, 13, 9.3, 0.02, 1.191),
    Measured("similarity", "even", "centred", False, 55, 18, 15, 11.8, 0.05, 0.861),
    Measured("similarity", "even", "power .25", False, 55, 16, 11, 10.7, 0.23, 0.886),
    Measured("similarity", "even", "power .5", False, 55, 17, 12, 9.7, 0.2, 0.997),
    Measured("similarity", "even", "power .75", False, 55, 17, 13, 8.7, 0.05, 1.167),
    Measured("similarity", "even", "power 1", False, 55, 19, 15, 10.1, -0.16, 1.366),
    Measured("similarity", "even", "plain 1", False, 55, 28, 22, 14.9, -1.72, 3.018),
    Measured("similarity", "uneven", "none", False, 98, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "uneven", "origin .25", False, 98, 0, 0, 0.3, 2.99, 0.0),
    Measured("similarity", "uneven", "origin .5", False, 98, 7, 0, 2.1, 4.52, 0.043),
    Measured("similarity", "uneven", "origin tapered .5", False, 98, 1, 0, 0.5, 4.26, 0.0),
    Measured("similarity", "uneven", "origin tapered 1", False, 98, 9, 0, 2.3, 6.46, 0.056),
    Measured("similarity", "uneven", "centred", False, 98, 48, 39, 13.1, 0.34, 1.576),
    Measured("similarity", "uneven", "power .25", False, 98, 36, 15, 8.5, 3.09, 0.496),
    Measured("similarity", "uneven", "power .5", False, 98, 15, 1, 4.3, 4.9, 0.131),
    Measured("similarity", "uneven", "power .75", False, 98, 10, 0, 2.5, 5.93, 0.075),
    Measured("similarity", "uneven", "power 1", False, 98, 10, 0, 2.9, 6.39, 0.081),
    Measured("similarity", "uneven", "plain 1", False, 98, 41, 18, 8.2, 3.75, 1.12),
    Measured("clusters", "even", "none", False, 81, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "even", "origin .25", False, 81, 39, 20, 9.9, -1.01, 1.117),
    Measured("clusters", "even", "origin .5", False, 81, 71, 51, 20.9, -3.95, 3.709),
    Measured("clusters", "even", "origin tapered .5", False, 81, 31, 10, 4.6, -0.11, 0.63),
    Measured("clusters", "even", "origin tapered 1", False, 81, 63, 44, 19.4, -3.51, 3.541),
    Measured("clusters", "even", "centred", False, 81, 21, 9, 13.8, 0.22, 0.699),
    Measured("clusters", "even", "power .25", False, 81, 25, 10, 14.5, 0.05, 0.818),
    Measured("clusters", "even", "power .5", False, 81, 31, 12, 13.1, -0.29, 0.799),
    Measured("clusters", "even", "power .75", False, 81, 44, 22, 14.2, -1.44, 1.559),
    Measured("clusters", "even", "power 1", False, 81, 63, 49, 19.4, -3.77, 3.746),
    Measured("clusters", "even", "plain 1", False, 81, 80, 80, 61.3, -32.98, 32.5),
    Measured("clusters", "uneven", "none", False, 111, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "uneven", "origin .25", False, 111, 14, 5, 7.6, 1.36, 0.202),
    Measured("clusters", "uneven", "origin .5", False, 111, 33, 12, 11.4, 1.23, 0.694),
    Measured("clusters", "uneven", "origin tapered .5", False, 111, 8, 1, 4.2, 3.13, 0.077),
    Measured("clusters", "uneven", "origin tapered 1", False, 111, 54, 38, 17.1, 1.02, 2.551),
    Measured("clusters", "uneven", "centred", False, 111, 33, 19, 14.1, -0.12, 0.856),
    Measured("clusters", "uneven", "power .25", False, 111, 19, 11, 9.8, 1.39, 0.474),
    Measured("clusters", "uneven", "power .5", False, 111, 16, 8, 13.1, 2.75, 0.417),
    Measured("clusters", "uneven", "power .75", False, 111, 24, 10, 14.2, 3.46, 0.612),
    Measured("clusters", "uneven", "power 1", False, 111, 52, 38, 18.3, 0.5, 2.825),
    Measured("clusters", "uneven", "plain 1", False, 111, 108, 108, 55.5, -25.65, 25.241),
    Measured("classes", "even", "none", False, 102, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "even", "origin .25", False, 102, 18, 6, 4.4, 1.12, 0.148),
    Measured("classes", "even", "origin .5", False, 102, 25, 14, 9.2, 1.28, 0.429),
    Measured("classes", "even", "origin tapered .5", False, 102, 8, 2, 2.2, 2.08, 0.057),
    Measured("classes", "even", "origin tapered 1", False, 102, 15, 7, 3.8, 2.12, 0.19),
    Measured("classes", "even", "centred", False, 102, 7, 1, 2.6, 1.86, 0.051),
    Measured("classes", "even", "power .25", False, 102, 8, 0, 2.1, 2.2, 0.039),
    Measured("classes", "even", "power .5", False, 102, 8, 1, 2.6, 2.33, 0.058),
    Measured("classes", "even", "power .75", False, 102, 12, 2, 2.8, 2.26, 0.083),
    Measured("classes", "even", "power 1", False, 102, 13, 5, 3.9, 2.12, 0.17),
    Measured("classes", "even", "plain 1", False, 102, 87, 81, 31.9, -8.15, 7.988),
    Measured("classes", "uneven", "none", False, 156, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "uneven", "origin .25", False, 156, 9, 2, 2.8, 3.06, 0.035),
    Measured("classes", "uneven", "origin .5", False, 156, 8, 2, 2.1, 5.49, 0.043),
    Measured("classes", "uneven", "origin tapered .5", False, 156, 5, 0, 1.6, 5.7, 0.015),
    Measured("classes", "uneven", "origin tapered 1", False, 156, 10, 1, 2.2, 8.63, 0.047),
    Measured("classes", "uneven", "centred", False, 156, 32, 6, 3.8, 4.44, 0.184),
    Measured("classes", "uneven", "power .25", False, 156, 1, 0, 0.6, 6.37, 0.0),
    Measured("classes", "uneven", "power .5", False, 156, 1, 0, 0.6, 7.77, 0.0),
    Measured("classes", "uneven", "power .75", False, 156, 4, 0, 1.2, 8.52, 0.008),
    Measured("classes", "uneven", "power 1", False, 156, 9, 1, 2.2, 8.66, 0.045),
    Measured("classes", "uneven", "plain 1", False, 156, 115, 107, 33.1, -7.61, 10.008),
)
"""Points are Spearman's correlation and average precision (similarity), nDCG@10 (search), V-measure
(clusters) and accuracy (classes), times 100."""
