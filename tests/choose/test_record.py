"""The record is what the bench measured, and the choice follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isotropy.choose.record import ROWS, SIDES, TASKS, derive, row_of
from isotropy.choose.settings import SETTINGS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "choose.json"


def choices():
    found = derive(ROWS)
    return [key for key in found if key[0] is not None and (key[0] == "search" or not key[2])]


def test_the_record_is_what_the_bench_wrote():
    told = json.loads(RESULTS.read_text("utf-8"))["record"]
    assert [row._asdict() for row in ROWS] == told


@pytest.mark.parametrize(("task", "side", "own"), choices())
def test_no_setting_does_less_harm_and_gains_more_than_the_one_chosen(task, side, own):
    mine = row_of(task, side, own, derive(ROWS)[task, side, own])
    rivals = [row for row in ROWS if (row.task, row.side, row.own) == (task, side, own)]
    beaten = [
        row.setting
        for row in rivals
        if row.gain > max(mine.gain, 0.5)
        and (row.hurt, row.beyond, row.worst, row.loss)
        < (mine.hurt, mine.beyond, mine.worst, mine.loss)
        and row.hurt <= mine.hurt
        and row.beyond <= mine.beyond
        and row.worst <= mine.worst
        and row.loss <= mine.loss
    ]
    assert not beaten
    assert mine.hurt <= 0.1 * mine.cells and mine.beyond <= 0.02 * mine.cells and mine.gain >= 0


def test_nothing_is_chosen_that_lost_over_four_points_in_any_cell():
    rows = [row_of(*key, derive(ROWS)[key]) for key in choices()]
    assert [row for row in rows if row.worst > 4] == []


def test_every_setting_was_measured_on_every_side():
    for task in TASKS:
        for side in SIDES:
            known = {r.setting for r in ROWS if (r.task, r.side, r.own) == (task, side, False)}
            assert known == SETTINGS.keys()


def test_for_no_task_nothing_is_chosen_that_harms_any():
    for (task, side, own), setting in derive(ROWS).items():
        if task is None and setting != "none":
            for one in TASKS:
                row = row_of(one, side, own, setting)
                assert row.hurt <= 0.1 * row.cells and row.beyond <= 0.02 * row.cells
