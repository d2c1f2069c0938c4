"""Advice: what is wrong, what to do for which task, and never what its own table shows worse."""

import json

import numpy as np
import pytest

import isotropy
from isotropy import AutoCorrector, Moments, advise
from isotropy.choose import advice
from isotropy.choose.kept import Kept
from isotropy.choose.record import TASKS, derive
from isotropy.choose.settings import SETTINGS, setting_of

EVERY = (*TASKS, None)


@pytest.fixture(scope="module")
def uneven():
    """In a cone, and of few directions."""
    return np.random.default_rng(0).normal(size=(400, 64)) / np.arange(1, 65) + 3


@pytest.fixture(scope="module")
def asked():
    return np.random.default_rng(1).normal(size=(60, 64)) / np.arange(1, 65) + 2


@pytest.mark.parametrize("own", [False, True], ids=["no queries", "queries"])
@pytest.mark.parametrize("value", [0.4, 0.69, 0.71, 0.73, 0.9])
@pytest.mark.parametrize("cosine", [0.1, 0.5])
@pytest.mark.parametrize("task", EVERY)
def test_nothing_in_its_own_table_is_better_in_every_way(task, value, own, cosine):
    choice = advice._choice(task, Kept(value, 1000, cosine=cosine), own)
    if task is None:  # what is harmless everywhere
        assert choice.setting == "none" or choice.risk.hurt <= 0.1 * choice.risk.cells
        return
    assert sum(row["chosen"] for row in choice.compared) == 1
    taken = next(row for row in choice.compared if row["chosen"])
    assert taken["gain"] >= 0 and choice.gain == taken["gain"]
    assert (choice.risk.cells, choice.risk.hurt, choice.risk.worst) == (
        taken["cells"],
        taken["hurt"],
        taken["worst"],
    )
    harms = [name for name in taken if name in ("hurt", "beyond", "worst", "loss")]
    better = [
        row["setting"]
        for row in choice.compared
        if row["gain"] > max(taken["gain"], 0.5)
        and all(row[harm] <= taken[harm] for harm in harms)
        and row["cells"] >= 12
    ]
    assert better == []


def test_the_table_holds_whatever_the_choice_was_derived_from():
    for task in TASKS:
        for value in (0.4, 0.9):
            choice = advice._choice(task, Kept(value, 1000), True)
            assert {choice.setting, "none"} <= {row["setting"] for row in choice.compared}
    assert set(derive(advice.ROWS).values()) <= set(SETTINGS)


@pytest.mark.parametrize("task", EVERY)
@pytest.mark.parametrize("own", [False, True], ids=["no queries", "queries"])
def test_it_says_what_the_corrector_of_the_task_does(task, own, uneven, asked):
    more = {"queries": asked} if own else {}
    found = advise(uneven, task=task, **more)
    auto = AutoCorrector(task).fit(uneven, **more)
    assert found.corrector.chosen_ == auto.chosen_
    np.testing.assert_array_equal(
        found.corrector.transform_queries(asked), auto.transform_queries(asked)
    )
    told = {one.task: one.setting for one in found.choices}
    assert list(told) == ([task] if task else [*TASKS, None])
    if auto.report_.task == task:
        chosen = auto.corrector_
        assert told[task] == ("none" if chosen is None else setting_of(chosen))


def test_all_tasks_take_one_pass_and_one_look(uneven, asked, monkeypatch):
    passes, looks = [], []
    update, look = Moments.update, advice.neighbours_kept
    monkeypatch.setattr(
        Moments,
        "update",
        lambda self, X, *a, **k: passes.append(len(X)) or update(self, X, *a, **k),
    )
    monkeypatch.setattr(advice, "neighbours_kept", lambda *a: looks.append(1) or look(*a))
    advise(np.concatenate([uneven + step for step in range(3)]), queries=asked)
    assert passes.count(1200) == 1 and len(looks) == 1


def test_what_is_broken_is_said(uneven):
    X = uneven.copy()
    X[:5] = 0
    X[5:200] = X[5]
    told = str(advise(X))
    assert "5 rows (1.2 %) are zero" in told and "repeat another one" in told
    assert "too few rows (80)" in str(advise(uneven[:80]))
    X[7, 3], X[9, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"row 7 is the first bad one.* 2 of 400 rows \(0.5 %\)"):
        advise(X)


@pytest.mark.parametrize("kind", ["few", "identical", "moments"])
def test_where_nothing_can_be_told_it_says_so_and_leaves_rows_alone(kind, uneven):
    given = {
        "few": uneven[:60],
        "identical": np.repeat(uneven[:1], 300, axis=0),
        "moments": Moments(unit="sums").update(uneven),
    }[kind]
    found = advise(given)
    assert {one.setting for one in found.choices} == {"none"}
    assert not any(one.sure or one.compared for one in found.choices)
    assert "cannot be known" in str(found) and "Not sure" in str(found)


def test_queries_of_another_width_are_of_another_space(uneven):
    with pytest.raises(ValueError, match=r"queries have 10 columns, the rows 64.*same encoder"):
        advise(uneven, queries=np.ones((5, 10)))


def test_where_queries_lie_is_said(uneven, asked):
    found = advise(uneven, queries=asked, task="search")
    spread = np.sqrt(uneven.var(0).sum())
    wanted = np.linalg.norm(asked.mean(0) - uneven.mean(0)) / spread
    assert found.figures["shift of the queries"] == pytest.approx(wanted)
    assert "different encoders" in str(found)  # 5 spreads away
    near = advise(uneven, queries=uneven[:4] + 0.2)
    assert 0 < near.figures["weight of the queries' mean"] < 1 and "4 queries are few" in str(near)


def test_labels_judge_their_own_task(uneven):
    found = advise(uneven, classes=uneven[:, 40] > 3)
    choice = {one.task: one for one in found.choices}["classes"]
    assert choice.by_labels and "accuracy" in choice.criterion
    assert [row["chosen"] for row in choice.compared].count(True) == 1
    assert not any(one.by_labels for one in found.choices if one.task != "classes")
    assert "interval" in str(found)


def test_advice_as_a_dict_is_plain_and_whole(uneven):
    found = isotropy.advise(uneven)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["findings"] == found.findings
    assert [one["setting"] for one in told["choices"]] == [one.setting for one in found.choices]
    with pytest.raises(AttributeError):
        found.choices = []


def test_one_query_is_advised_as_none(uneven, asked):
    one, none = (advise(uneven, queries=q, task="search") for q in (asked[:1], None))
    assert one.choices == none.choices and "one query" in str(one)
    assert "one query" in one._repr_html_()
    assert one.corrector.chosen_ == none.corrector.chosen_


def test_labels_that_say_nothing_leave_the_table_as_it_is_and_say_so(uneven):
    found = advise(uneven, classes=np.arange(400) % 2)
    choice = {one.task: one for one in found.choices}["classes"]
    assert choice.labelled and not choice.by_labels and choice.gain is not None
    assert "say nothing" in str(found) and "yes" in str(found)


def test_rows_of_any_number_are_answered(uneven):
    for n in (1, 2, 3, 20):
        assert {one.setting for one in advise(uneven[:n]).choices} == {"none"}
