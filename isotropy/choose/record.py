"""What was measured, by task and kind of rows, and the setting that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = [
    "CONE",
    "EVEN",
    "ROWS",
    "SIDES",
    "SOUND",
    "TASKS",
    "THRESHOLDS",
    "UNEVEN",
    "Measured",
    "chosen",
    "derive",
    "row_of",
]

TASKS = ("search", "similarity", "clusters", "classes")
SOUND, EVEN, UNEVEN = SIDES = "even, no cone", "even, in a cone", "uneven"

THRESHOLDS: dict[str | None, float] = dict.fromkeys((*TASKS, None), 0.71)
"""The share of neighbours kept from which on rows count as even, by task."""

CONE = 0.2
"""The mean cosine from which on rows lie in a cone."""

_MOST_HURT = 0.1  # of the cells
_MOST_BEYOND = 0.02  # of the cells
_MOST_LOST = 4.0  # points, in any cell
_LEAST_CELLS = 12
_LEAST_GAIN = 0.5  # points, on average: as much as a loss must be to count
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
    same, the one that hurts fewest cells. For no task it must be harmless in all of them.

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
    for side in SIDES:
        for own in (False, True):
            some = {task: _harmless(known, task, side, own) for task in TASKS}
            shared = set.intersection(*(set(one) for one in some.values()))
            everywhere = {
                name: (
                    max(one[name][0] for one in some.values()),
                    max(one[name][1] for one in some.values()),
                    sum(one[name][2] for one in some.values()),
                )
                for name in shared
            }
            for task, one in ({None: everywhere} | some).items():
                found[task, side, own] = _safest(one)
    return found


def _harmless(
    rows: list[Measured], task: str, side: str, own: bool
) -> dict[str, tuple[float, int, float]]:
    """Setting to loss, cells hurt and gain."""
    return {
        row.setting: (round(row.loss, 2), row.hurt, row.gain)
        for row in rows
        if (row.task, row.side, row.own) == (task, side, own and task == "search")
        and row.cells >= _LEAST_CELLS
        and row.hurt <= _MOST_HURT * row.cells
        and row.beyond <= _MOST_BEYOND * row.cells
        and row.worst <= _MOST_LOST
        and row.gain >= _LEAST_GAIN
    }


def _safest(settings: dict[str, tuple[float, int, float]]) -> str:
    enough = _ENOUGH * max((one[-1] for one in settings.values()), default=0.0)
    good = {name: one for name, one in settings.items() if one[-1] >= enough}
    return min(good, key=lambda name: (*good[name][:-1], -good[name][-1]), default="none")


def chosen(
    task: str | None, side: str, own: bool = False, among: Collection[str] | None = None
) -> str:
    """The setting that `derive` finds, of all or of some settings.

    Parameters
    ----------
    task : str or None
        Of `TASKS`; None for what no task is hurt by.
    side : str
        Of `SIDES`.
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
    side : str
        Of `SIDES`.
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
    Measured("search", "even, no cone", "none", False, 23, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "even, no cone", "origin .25", False, 23, 1, 0, 0.7, 0.18, 0.007),
    Measured("search", "even, no cone", "origin .5", False, 23, 4, 0, 1.0, 0.09, 0.047),
    Measured("search", "even, no cone", "origin tapered .5", False, 23, 2, 0, 0.9, -0.03, 0.024),
    Measured("search", "even, no cone", "origin tapered 1", False, 23, 6, 0, 1.3, -0.2, 0.073),
    Measured("search", "even, no cone", "centred", False, 23, 6, 3, 3.2, -0.33, 0.267),
    Measured("search", "even, no cone", "power .25", False, 23, 7, 5, 2.9, -0.38, 0.303),
    Measured("search", "even, no cone", "power .5", False, 23, 7, 6, 2.6, -0.4, 0.29),
    Measured("search", "even, no cone", "power .75", False, 23, 9, 5, 2.4, -0.44, 0.302),
    Measured("search", "even, no cone", "power 1", False, 23, 10, 6, 2.2, -0.51, 0.352),
    Measured("search", "even, no cone", "plain 1", False, 23, 13, 10, 41.6, -4.83, 4.604),
    Measured("search", "even, no cone", "centred", True, 23, 1, 0, 0.5, 0.2, 0.002),
    Measured("search", "even, no cone", "power .25", True, 23, 1, 0, 0.8, 0.19, 0.012),
    Measured("search", "even, no cone", "power .5", True, 23, 3, 1, 0.8, 0.12, 0.023),
    Measured("search", "even, no cone", "power .75", True, 23, 7, 3, 1.2, 0.03, 0.062),
    Measured("search", "even, no cone", "power 1", True, 23, 8, 4, 1.5, -0.08, 0.13),
    Measured("search", "even, no cone", "plain 1", True, 23, 11, 9, 26.4, -3.4, 3.327),
    Measured("search", "even, in a cone", "none", False, 50, 0, 0, 0.0, 0.0, 0.0),
    Measured("search", "even, in a cone", "origin .25", False, 50, 1, 1, 0.8, 3.44, 0.007),
    Measured("search", "even, in a cone", "origin .5", False, 50, 3, 2, 2.3, 4.23, 0.081),
    Measured("search", "even, in a cone", "origin tapered .5", False, 50, 0, 0, 0.4, 4.06, 0.0),
    Measured("search", "even, in a cone", "origin tapered 1", False, 50, 3, 1, 3.2, 5.32, 0.062),
    Measured("search", "even, in a cone", "centred", False, 50, 16, 13, 13.1, 0.51, 1.936),
    Measured("search", "even, in a cone", "power .25", False, 50, 14, 10, 11.5, 1.66, 1.103),
    Measured("search", "even, in a cone", "power .5", False, 50, 9, 5, 10.5, 2.66, 0.593),
    Measured("search", "even, in a cone", "power .75", False, 50, 9, 5, 9.7, 3.46, 0.493),
    Measured("search", "even, in a cone", "power 1", False, 50, 8, 4, 9.3, 4.0, 0.439),
    Measured("search", "even, in a cone", "plain 1", False, 50, 29, 24, 35.4, -6.29, 7.705),
    Measured("search", "even, in a cone", "centred", True, 50, 3, 1, 4.6, 7.36, 0.15),
    Measured("search", "even, in a cone", "power .25", True, 50, 2, 1, 3.8, 7.83, 0.119),
    Measured("search", "even, in a cone", "power .5", True, 50, 2, 0, 3.2, 8.17, 0.093),
    Measured("search", "even, in a cone", "power .75", True, 50, 2, 0, 2.6, 8.39, 0.073),
    Measured("search", "even, in a cone", "power 1", True, 50, 3, 0, 2.7, 8.51, 0.073),
    Measured("search", "even, in a cone", "plain 1", True, 50, 29, 23, 27.2, -3.11, 4.844),
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
    Measured("similarity", "even, no cone", "none", False, 20, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "even, no cone", "origin .25", False, 20, 9, 9, 3.0, -0.43, 0.485),
    Measured("similarity", "even, no cone", "origin .5", False, 20, 10, 9, 6.5, -1.33, 1.493),
    Measured(
        "similarity", "even, no cone", "origin tapered .5", False, 20, 6, 6, 4.1, -0.76, 0.779
    ),
    Measured("similarity", "even, no cone", "origin tapered 1", False, 20, 7, 6, 9.3, -1.73, 1.821),
    Measured("similarity", "even, no cone", "centred", False, 20, 8, 8, 3.5, -0.94, 0.779),
    Measured("similarity", "even, no cone", "power .25", False, 20, 7, 6, 4.6, -1.07, 0.999),
    Measured("similarity", "even, no cone", "power .5", False, 20, 7, 6, 6.2, -1.31, 1.306),
    Measured("similarity", "even, no cone", "power .75", False, 20, 7, 6, 8.2, -1.6, 1.647),
    Measured("similarity", "even, no cone", "power 1", False, 20, 8, 8, 10.1, -1.91, 1.989),
    Measured("similarity", "even, no cone", "plain 1", False, 20, 11, 10, 14.9, -4.08, 4.312),
    Measured("similarity", "even, in a cone", "none", False, 35, 0, 0, 0.0, 0.0, 0.0),
    Measured("similarity", "even, in a cone", "origin .25", False, 35, 4, 4, 1.8, 1.97, 0.11),
    Measured("similarity", "even, in a cone", "origin .5", False, 35, 7, 4, 4.7, 2.15, 0.436),
    Measured(
        "similarity", "even, in a cone", "origin tapered .5", False, 35, 5, 4, 3.3, 1.86, 0.242
    ),
    Measured(
        "similarity", "even, in a cone", "origin tapered 1", False, 35, 10, 7, 5.1, 1.03, 0.831
    ),
    Measured("similarity", "even, in a cone", "centred", False, 35, 10, 7, 11.8, 0.61, 0.908),
    Measured("similarity", "even, in a cone", "power .25", False, 35, 9, 5, 10.7, 0.97, 0.821),
    Measured("similarity", "even, in a cone", "power .5", False, 35, 10, 6, 9.7, 1.07, 0.82),
    Measured("similarity", "even, in a cone", "power .75", False, 35, 10, 7, 8.7, 0.99, 0.892),
    Measured("similarity", "even, in a cone", "power 1", False, 35, 11, 7, 7.9, 0.84, 1.01),
    Measured("similarity", "even, in a cone", "plain 1", False, 35, 17, 12, 10.2, -0.37, 2.278),
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
    Measured("clusters", "even, no cone", "none", False, 23, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "even, no cone", "origin .25", False, 23, 16, 11, 9.9, -1.91, 1.917),
    Measured("clusters", "even, no cone", "origin .5", False, 23, 20, 18, 20.9, -6.21, 6.15),
    Measured("clusters", "even, no cone", "origin tapered .5", False, 23, 14, 3, 3.6, -0.41, 0.906),
    Measured(
        "clusters", "even, no cone", "origin tapered 1", False, 23, 17, 11, 18.9, -3.03, 3.634
    ),
    Measured("clusters", "even, no cone", "centred", False, 23, 7, 2, 3.2, 0.28, 0.41),
    Measured("clusters", "even, no cone", "power .25", False, 23, 8, 2, 4.2, 0.07, 0.672),
    Measured("clusters", "even, no cone", "power .5", False, 23, 11, 4, 5.2, -0.54, 0.715),
    Measured("clusters", "even, no cone", "power .75", False, 23, 15, 8, 5.8, -1.6, 1.687),
    Measured("clusters", "even, no cone", "power 1", False, 23, 17, 12, 18.9, -2.98, 3.521),
    Measured("clusters", "even, no cone", "plain 1", False, 23, 23, 23, 61.3, -30.32, 29.824),
    Measured("clusters", "even, in a cone", "none", False, 58, 0, 0, 0.0, 0.0, 0.0),
    Measured("clusters", "even, in a cone", "origin .25", False, 58, 23, 9, 5.8, -0.65, 0.799),
    Measured("clusters", "even, in a cone", "origin .5", False, 58, 51, 33, 12.0, -3.05, 2.741),
    Measured("clusters", "even, in a cone", "origin tapered .5", False, 58, 17, 7, 4.6, 0.01, 0.52),
    Measured(
        "clusters", "even, in a cone", "origin tapered 1", False, 58, 46, 33, 19.4, -3.7, 3.504
    ),
    Measured("clusters", "even, in a cone", "centred", False, 58, 14, 7, 13.8, 0.19, 0.814),
    Measured("clusters", "even, in a cone", "power .25", False, 58, 17, 8, 14.5, 0.04, 0.876),
    Measured("clusters", "even, in a cone", "power .5", False, 58, 20, 8, 13.1, -0.19, 0.832),
    Measured("clusters", "even, in a cone", "power .75", False, 58, 29, 14, 14.2, -1.38, 1.508),
    Measured("clusters", "even, in a cone", "power 1", False, 58, 46, 37, 19.4, -4.09, 3.835),
    Measured("clusters", "even, in a cone", "plain 1", False, 58, 57, 57, 59.8, -34.03, 33.561),
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
    Measured("classes", "even, no cone", "none", False, 31, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "even, no cone", "origin .25", False, 31, 12, 4, 4.4, -0.24, 0.355),
    Measured("classes", "even, no cone", "origin .5", False, 31, 18, 13, 9.2, -1.29, 1.262),
    Measured("classes", "even, no cone", "origin tapered .5", False, 31, 5, 2, 2.2, 0.27, 0.116),
    Measured("classes", "even, no cone", "origin tapered 1", False, 31, 8, 5, 2.9, 0.14, 0.373),
    Measured("classes", "even, no cone", "centred", False, 31, 2, 0, 0.7, 0.32, 0.007),
    Measured("classes", "even, no cone", "power .25", False, 31, 2, 0, 0.6, 0.39, 0.004),
    Measured("classes", "even, no cone", "power .5", False, 31, 4, 0, 2.1, 0.44, 0.086),
    Measured("classes", "even, no cone", "power .75", False, 31, 6, 0, 1.7, 0.36, 0.1),
    Measured("classes", "even, no cone", "power 1", False, 31, 8, 3, 3.2, 0.1, 0.315),
    Measured("classes", "even, no cone", "plain 1", False, 31, 29, 28, 31.9, -10.53, 10.062),
    Measured("classes", "even, in a cone", "none", False, 71, 0, 0, 0.0, 0.0, 0.0),
    Measured("classes", "even, in a cone", "origin .25", False, 71, 6, 2, 2.1, 1.72, 0.058),
    Measured("classes", "even, in a cone", "origin .5", False, 71, 7, 1, 2.7, 2.4, 0.065),
    Measured("classes", "even, in a cone", "origin tapered .5", False, 71, 3, 0, 1.7, 2.86, 0.031),
    Measured("classes", "even, in a cone", "origin tapered 1", False, 71, 7, 2, 3.8, 2.98, 0.11),
    Measured("classes", "even, in a cone", "centred", False, 71, 5, 1, 2.6, 2.54, 0.071),
    Measured("classes", "even, in a cone", "power .25", False, 71, 6, 0, 2.1, 2.99, 0.055),
    Measured("classes", "even, in a cone", "power .5", False, 71, 4, 1, 2.6, 3.15, 0.045),
    Measured("classes", "even, in a cone", "power .75", False, 71, 6, 2, 2.8, 3.08, 0.075),
    Measured("classes", "even, in a cone", "power 1", False, 71, 5, 2, 3.9, 3.01, 0.107),
    Measured("classes", "even, in a cone", "plain 1", False, 71, 58, 53, 27.3, -7.11, 7.082),
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
