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

_MOST_HARM = 1.5  # points, in the worst cell
_MOST_HURT = 0.1  # of the cells
_LEAST_CELLS = 12
_LEAST_GAIN = 0.3  # points, on average


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


def derive(rows: Iterable[Measured]) -> dict[tuple[str | None, str, bool], str]:
    """The setting of each (task, side, own): the greatest mean gain of those that do no harm.

    Harmless is what hurts no cell beyond noise, a tenth of the cells at most, and none by over 1.5
    points, in at least 12 cells. For no task it must be harmless in all of them.

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
            gains = {task: _harmless(known, task, side, own) for task in TASKS}
            shared = set.intersection(*(set(some) for some in gains.values()))
            everywhere = {one: sum(some[one] for some in gains.values()) for one in shared}
            for task, some in ({None: everywhere} | gains).items():
                found[task, side, own] = max(some, key=some.__getitem__, default="none")
    return found


def _harmless(rows: list[Measured], task: str, side: str, own: bool) -> dict[str, float]:
    return {
        row.setting: row.gain
        for row in rows
        if (row.task, row.side, row.own) == (task, side, own and task == "search")
        and row.cells >= _LEAST_CELLS
        and row.hurt <= _MOST_HURT * row.cells
        and not row.beyond
        and row.worst <= _MOST_HARM
        and row.gain >= _LEAST_GAIN
    }


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
    >>> row_of("classes", UNEVEN, False, "power .5").hurt
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
    Measured("similarity", "even", "none", False, 51, 0, 0, 0.0, 0.0),
    Measured("similarity", "even", "centred", False, 51, 15, 12, 11.8, 0.3),
    Measured("similarity", "even", "power .25", False, 51, 13, 9, 10.7, 0.6),
    Measured("similarity", "even", "power .5", False, 51, 13, 9, 9.7, 0.6),
    Measured("similarity", "even", "power .75", False, 51, 13, 9, 8.7, 0.6),
    Measured("similarity", "even", "power 1", False, 51, 15, 11, 10.1, 0.4),
    Measured("similarity", "even", "origin .25", False, 51, 11, 11, 3.0, 1.3),
    Measured("similarity", "even", "origin .5", False, 51, 15, 11, 6.5, 1.3),
    Measured("similarity", "even", "origin tapered .5", False, 51, 9, 8, 4.1, 1.2),
    Measured("similarity", "even", "origin tapered 1", False, 51, 13, 9, 9.3, 0.6),
    Measured("similarity", "even", "plain 1", False, 51, 24, 18, 14.9, -0.9),
    Measured("similarity", "uneven", "none", False, 93, 0, 0, 0.0, 0.0),
    Measured("similarity", "uneven", "centred", False, 93, 44, 36, 13.1, 0.5),
    Measured("similarity", "uneven", "power .25", False, 93, 33, 14, 8.5, 3.2),
    Measured("similarity", "uneven", "power .5", False, 93, 13, 1, 4.3, 5.1),
    Measured("similarity", "uneven", "power .75", False, 93, 9, 0, 2.5, 6.1),
    Measured("similarity", "uneven", "power 1", False, 93, 9, 0, 2.9, 6.6),
    Measured("similarity", "uneven", "origin .25", False, 93, 0, 0, 0.3, 3.0),
    Measured("similarity", "uneven", "origin .5", False, 93, 7, 0, 2.1, 4.6),
    Measured("similarity", "uneven", "origin tapered .5", False, 93, 1, 0, 0.5, 4.3),
    Measured("similarity", "uneven", "origin tapered 1", False, 93, 8, 0, 2.3, 6.7),
    Measured("similarity", "uneven", "plain 1", False, 93, 37, 15, 8.2, 4.1),
    Measured("search", "even", "none", False, 12, 0, 0, 0.0, 0.0),
    Measured("search", "even", "centred", False, 12, 6, 5, 11.0, -1.6),
    Measured("search", "even", "power .25", False, 12, 5, 4, 6.5, -1.1),
    Measured("search", "even", "power .5", False, 12, 5, 3, 3.4, -0.8),
    Measured("search", "even", "power .75", False, 12, 7, 4, 1.9, -0.7),
    Measured("search", "even", "power 1", False, 12, 6, 3, 2.0, -0.7),
    Measured("search", "even", "origin .25", False, 11, 0, 0, 0.0, 0.8),
    Measured("search", "even", "origin .5", False, 11, 0, 0, 0.4, 1.2),
    Measured("search", "even", "origin tapered .5", False, 9, 0, 0, 0.4, 0.4),
    Measured("search", "even", "origin tapered 1", False, 9, 2, 0, 0.7, 0.2),
    Measured("search", "even", "plain 1", False, 12, 9, 8, 11.1, -3.6),
    Measured("search", "even", "centred", True, 12, 0, 0, 0.3, 0.4),
    Measured("search", "even", "power .25", True, 12, 0, 0, 0.4, 0.5),
    Measured("search", "even", "power .5", True, 12, 0, 0, 0.5, 0.4),
    Measured("search", "even", "power .75", True, 12, 2, 0, 0.6, 0.3),
    Measured("search", "even", "power 1", True, 12, 4, 1, 0.8, 0.2),
    Measured("search", "even", "plain 1", True, 12, 8, 7, 10.6, -2.6),
    Measured("search", "uneven", "none", False, 44, 0, 0, 0.0, 0.0),
    Measured("search", "uneven", "centred", False, 44, 30, 27, 49.7, -5.9),
    Measured("search", "uneven", "power .25", False, 44, 17, 12, 42.1, -1.9),
    Measured("search", "uneven", "power .5", False, 44, 14, 12, 32.8, 1.5),
    Measured("search", "uneven", "power .75", False, 44, 13, 12, 24.9, 4.2),
    Measured("search", "uneven", "power 1", False, 44, 14, 13, 17.4, 5.9),
    Measured("search", "uneven", "origin .25", False, 40, 3, 0, 1.1, 4.8),
    Measured("search", "uneven", "origin .5", False, 40, 10, 8, 5.8, 6.7),
    Measured("search", "uneven", "origin tapered .5", False, 37, 8, 5, 3.5, 4.7),
    Measured("search", "uneven", "origin tapered 1", False, 37, 12, 9, 8.3, 5.8),
    Measured("search", "uneven", "plain 1", False, 44, 29, 26, 21.1, -3.3),
    Measured("search", "uneven", "centred", True, 44, 3, 1, 2.1, 9.9),
    Measured("search", "uneven", "power .25", True, 44, 0, 0, 0.3, 12.5),
    Measured("search", "uneven", "power .5", True, 44, 0, 0, 0.0, 14.3),
    Measured("search", "uneven", "power .75", True, 44, 1, 0, 0.7, 15.2),
    Measured("search", "uneven", "power 1", True, 44, 3, 0, 1.7, 15.3),
    Measured("search", "uneven", "plain 1", True, 44, 23, 21, 17.1, 2.5),
    Measured("clusters", "even", "none", False, 61, 0, 0, 0.0, 0.0),
    Measured("clusters", "even", "centred", False, 61, 19, 9, 13.8, -0.1),
    Measured("clusters", "even", "power .25", False, 61, 22, 10, 14.5, -0.3),
    Measured("clusters", "even", "power .5", False, 61, 26, 11, 13.1, -0.5),
    Measured("clusters", "even", "power 1", False, 61, 48, 42, 19.4, -4.3),
    Measured("clusters", "even", "origin .25", False, 61, 31, 14, 8.0, -0.9),
    Measured("clusters", "even", "origin .5", False, 61, 54, 41, 18.9, -4.0),
    Measured("clusters", "even", "origin tapered 1", False, 61, 49, 38, 19.4, -4.2),
    Measured("clusters", "uneven", "none", False, 70, 0, 0, 0.0, 0.0),
    Measured("clusters", "uneven", "centred", False, 70, 24, 13, 9.2, 0.1),
    Measured("clusters", "uneven", "power .25", False, 70, 12, 6, 9.7, 1.5),
    Measured("clusters", "uneven", "power .5", False, 70, 9, 4, 9.5, 2.9),
    Measured("clusters", "uneven", "power 1", False, 70, 39, 28, 18.3, -0.1),
    Measured("clusters", "uneven", "origin .25", False, 70, 11, 3, 3.3, 1.4),
    Measured("clusters", "uneven", "origin .5", False, 70, 26, 7, 7.5, 1.3),
    Measured("clusters", "uneven", "origin tapered 1", False, 70, 41, 30, 17.1, 0.6),
    Measured("classes", "even", "none", False, 78, 0, 0, 0.0, 0.0),
    Measured("classes", "even", "centred", False, 78, 4, 1, 2.6, 1.7),
    Measured("classes", "even", "power .25", False, 78, 6, 0, 2.1, 2.1),
    Measured("classes", "even", "power .5", False, 78, 7, 1, 2.6, 2.2),
    Measured("classes", "even", "power .75", False, 61, 10, 2, 2.8, 1.9),
    Measured("classes", "even", "power 1", False, 78, 11, 5, 3.9, 2.0),
    Measured("classes", "even", "origin .25", False, 78, 10, 5, 4.4, 1.1),
    Measured("classes", "even", "origin .5", False, 78, 17, 10, 9.2, 1.3),
    Measured("classes", "even", "origin tapered .5", False, 61, 7, 1, 2.2, 1.7),
    Measured("classes", "even", "origin tapered 1", False, 78, 14, 7, 3.8, 1.9),
    Measured("classes", "even", "plain 1", False, 61, 55, 53, 23.9, -7.4),
    Measured("classes", "uneven", "none", False, 105, 0, 0, 0.0, 0.0),
    Measured("classes", "uneven", "centred", False, 105, 17, 3, 3.2, 5.0),
    Measured("classes", "uneven", "power .25", False, 105, 0, 0, 0.2, 6.6),
    Measured("classes", "uneven", "power .5", False, 105, 0, 0, 0.4, 7.7),
    Measured("classes", "uneven", "power .75", False, 70, 3, 0, 0.8, 4.1),
    Measured("classes", "uneven", "power 1", False, 105, 7, 1, 2.2, 8.3),
    Measured("classes", "uneven", "origin .25", False, 105, 7, 1, 2.8, 3.0),
    Measured("classes", "uneven", "origin .5", False, 105, 6, 1, 1.4, 5.2),
    Measured("classes", "uneven", "origin tapered .5", False, 70, 3, 0, 0.9, 2.9),
    Measured("classes", "uneven", "origin tapered 1", False, 105, 8, 1, 2.2, 8.2),
    Measured("classes", "uneven", "plain 1", False, 70, 58, 53, 23.2, -8.9),
)
"""Points are Spearman's correlation and average precision (similarity), nDCG@10 (search), V-measure
(clusters) and accuracy (classes), times 100."""
