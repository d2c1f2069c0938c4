"""What the cells say together: the record, and choices by cells that share nothing with a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from _cells import OWN
from _encoders import base

from isotropy.choose.decision import side_of
from isotropy.choose.kept import Kept
from isotropy.choose.record import SIDES, TASKS, Measured, derive
from isotropy.choose.settings import SETTINGS

HURT = 0.5  # points


def setting_in(cell: dict[str, Any], setting: str, own: bool) -> str:
    """What a setting is called in a cell: no correction has no mean to move."""
    return f"{setting}{OWN}" if own and f"{setting}{OWN}" in cell["points"] else setting


def side_in(cell: dict[str, Any], task: str) -> str:
    return side_of(task, Kept(cell["neighbours kept"], 0, cosine=cell["mean cosine"]))[0]


def gain(cell: dict[str, Any], name: str) -> float:
    return float(cell["points"][name] - cell["points"]["none"])


def is_hurt(cell: dict[str, Any], name: str) -> tuple[bool, bool]:
    """Whether by over half a point, and whether beyond two standard errors too."""
    lost = -gain(cell, name)
    return lost > HURT, lost > max(HURT, 2 * cell["errors"][name])


def record(cells: Iterable[dict[str, Any]]) -> list[Measured]:
    """A row a task, side, setting, and with the queries' own mean or not."""
    found = []
    known = list(cells)
    for task in TASKS:
        for side in SIDES:
            some = [cell for cell in known if cell["kind"] == task and side_in(cell, task) == side]
            for own in (False, True) if task == "search" else (False,):
                found += [_row(some, task, side, name, own) for name in SETTINGS if some]
    return [row for row in found if row is not None]


def _row(
    cells: Sequence[dict[str, Any]], task: str, side: str, setting: str, own: bool
) -> Measured | None:
    name = f"{setting}{OWN}" if own else setting
    if name not in cells[0]["points"]:
        return None
    gains = np.array([gain(cell, name) for cell in cells])
    hurt, beyond = np.array([is_hurt(cell, name) for cell in cells]).sum(0)
    return Measured(
        task,
        side,
        setting,
        own,
        len(cells),
        int(hurt),
        int(beyond),
        round(float(max(0.0, -gains.min())), 1),
        round(float(gains.mean()), 2),
        round(float(np.maximum(0, -gains - HURT).mean()), 3),
    )


def left_out(cells: Sequence[dict[str, Any]], own: bool) -> list[str]:
    """For each cell of a task what those with other texts and other encoders would choose."""
    task = cells[0]["kind"]
    found: dict[tuple[str, str], dict[Any, str]] = {}
    taken = []
    for cell in cells:
        texts, encoder = key = cell["texts"], base(cell["encoder"])
        if key not in found:
            found[key] = derive(
                record(
                    other
                    for other in cells
                    if other["texts"] != texts and base(other["encoder"]) != encoder
                )
            )
        side = side_in(cell, task)
        known = own and cell["queries known"]
        taken.append(setting_in(cell, found[key][task, side, known], own))
    return taken
