"""The choice: none unless it is sure, what the record says where it is, and reasons."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from isotropy import AutoCorrector, Moments, PairWhitening, TaperedWhitening, Whitening, load
from isotropy.choose import Risk
from isotropy.choose.kept import neighbours_kept
from isotropy.choose.record import EVEN, SOUND, TASKS, UNEVEN, chosen, row_of
from isotropy.choose.settings import SETTINGS, named


def even(n=400, d=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + 3


def uneven(n=400, d=64, seed=0):
    return (even(n, d, seed) - 3) / np.arange(1, d + 1) + 0.5


@pytest.mark.parametrize("task", [*TASKS, None])
@pytest.mark.parametrize("own", [False, True])
def test_what_is_chosen_is_what_the_record_says(task, own):
    told = {"queries": even(30) - 5} if own else {}
    for rows, side in ((even(), EVEN), (even() - 3, SOUND), (uneven(), UNEVEN)):
        auto = AutoCorrector(task).fit(rows, **told)
        wanted = chosen(task or ("search" if own else None), side, own)
        assert auto.chosen_ == ("none" if wanted == "none" else named(SETTINGS[wanted]()))
        ((found),) = [c for c in auto.report_.candidates if c["chosen"]]
        assert found["setting"] == wanted and auto.report_.sure
        assert auto.reason_ in str(auto.report_) and auto.report_.criterion in str(auto.report_)
        if wanted != "none":
            row = row_of(auto.report_.task, side, own, wanted)
            assert auto.report_.risk.hurt == row.hurt and auto.report_.risk.worst == row.worst


def test_dimensions_are_kept_whatever_is_chosen():
    for rows in (even(), uneven()):
        assert AutoCorrector("classes", n_components=10).fit(rows).transform(rows).shape[1] == 10
    # Without a correction, those in which rows are longest: cosines change least.
    Y = AutoCorrector(n_components=64).fit(even()).transform(even(9))
    np.testing.assert_allclose(Y @ Y.T, even(9) @ even(9).T, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "luck"}, "task"),
        ({"tolerance": -1}, "tolerance"),
        ({"candidates": ["whitening"]}, r"candidates\[0\]: .*affine correctors"),
        ({"candidates": [Whitening(), Whitening]}, r"candidates\[1\]: .*affine correctors"),
        ({"candidates": [PairWhitening()]}, "follow from moments alone"),
        ({"candidates": [Whitening(normalize="after")]}, "give it there"),
        ({"candidates": [Whitening(weight_type="probability")]}, "frequencies"),
    ],
)
def test_parameters_are_checked(options, said):
    with pytest.raises(ValueError, match=said):
        AutoCorrector(**options).fit(even())


def test_a_refit_forgets_what_was_chosen():
    auto = AutoCorrector("similarity").fit(uneven())
    assert auto.chosen_ != "none"
    assert auto.fit(even()).chosen_ == "none"
    assert auto.fit_moments(Moments(unit="sums").update(uneven())).chosen_ == "none"


def test_it_is_composed():
    pipe = make_pipeline(AutoCorrector("classes"), TaperedWhitening(0.5))
    assert clone(pipe).fit(uneven()).transform(uneven()).shape == (400, 64)


@pytest.mark.parametrize("task", ["search", "classes"])
@pytest.mark.parametrize("mine", [None, [TaperedWhitening(0.5), Whitening(power=0.9)], []], ids=str)
def test_what_is_loaded_does_what_was_saved(tmp_path, task, mine):
    X = uneven()
    auto = AutoCorrector(task, candidates=mine, normalize="both").fit(X, queries=X[:40] + 7)
    auto.save(tmp_path / "auto.safetensors", moments=True)
    back = load(tmp_path / "auto.safetensors")
    assert str(back) == str(auto) and str(back.corrector_) == str(auto.corrector_)
    assert (back.chosen_, back.reason_, back.report_) == (auto.chosen_, auto.reason_, auto.report_)
    more = uneven(50, seed=7) + 30
    for step in range(2):
        for one, other in ((auto, back), (auto.for_queries(), back.for_queries())):
            np.testing.assert_array_equal(one.transform(X), other.transform(X))
        np.testing.assert_array_equal(auto.transform_queries(more), back.transform_queries(more))
        if not step:
            auto.partial_fit(more)
            back.partial_fit(more)
    assert back.chosen_ == auto.chosen_


# -- what the choice must not move with ---------------------------------------------------------


def look(X, weights=None):
    moments = Moments(unit="sums", order=2, sample=1000).update(X, weights)
    return neighbours_kept(moments.sampled, moments)


SAME = {
    "in another order": lambda X: X[::-1],
    "in float16": lambda X: X.astype(np.float16),
    "about a mean a thousand times the spread": lambda X: X + 1000 * X.std(),
    "each three times": lambda X: X.repeat(3, 0),
    "a fifth of them zero": lambda X: np.concatenate([X, np.zeros((len(X) // 4, X.shape[1]))]),
    "half of them one row": lambda X: np.concatenate([X, X[:1].repeat(len(X), 0)]),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_look_does_not_move_with_what_says_nothing_of_directions(kind):
    for X in (even(), uneven()):
        assert abs(look(SAME[kind](X)).value - look(X).value) < 0.07


def test_rows_of_parts_streams_files_and_kinds_are_chosen_for_alike(tmp_path):
    from isotropy.io import open_rows

    X, weights = uneven(1200), np.arange(1200) % 3
    np.save(tmp_path / "x.npy", X)
    wanted = AutoCorrector("classes").fit(X, queries=X[:40] + 7)
    assert wanted.chosen_ != "none"
    torch = pytest.importorskip("torch")
    for rows in (open_rows(tmp_path / "x.npy"), torch.from_numpy(X)):
        found = AutoCorrector("classes").fit(rows, queries=X[:40] + 7)
        assert found.report_.evidence == pytest.approx(wanted.report_.evidence)
    parts = AutoCorrector("classes").fit(X[1000:], queries=X[:40] + 7)
    for k in (400, 0):
        parts.partial_fit(X[k : k + 600 if k else 400])
    assert parts.chosen_ == wanted.chosen_
    assert parts.report_.evidence == pytest.approx(wanted.report_.evidence, rel=1e-6)
    weighed = AutoCorrector("classes").fit(X, sample_weight=weights).report_.evidence
    repeated = AutoCorrector("classes").fit(X.repeat(weights, 0)).report_.evidence
    assert weighed == pytest.approx(repeated)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    before = AutoCorrector("classes", normalize="before").fit(X).report_.evidence
    assert before["neighbours kept"] == pytest.approx(look(unit).value, abs=0.01)


NOTHING = {
    "99 rows": (lambda: uneven(99), "only 99 of the rows differ, 100 are the least"),
    "one row": (lambda: uneven(1), "only 1 of the rows differ, 100 are the least"),
    "the same row": (lambda: np.ones((300, 64)), "only 1 of the rows differ, 100 are the least"),
    "few different rows": (
        lambda: uneven(50).repeat(9, 0),
        "only 50 of the rows differ, 100 are the least",
    ),
    "one column": (lambda: uneven(400, 1), "nothing was measured in 1 dimensions"),
    "eight columns": (lambda: uneven(400, 8), "nothing was measured in 8 dimensions"),
    "too many columns": (lambda: uneven(110, 1537), "in 50 to 1,536"),
    "two languages": (
        lambda: even() + 3 * (np.arange(400) % 2)[:, None] * even(1, seed=4),
        "groups far apart",
    ),
}


@pytest.mark.parametrize("task", [*TASKS, None])
@pytest.mark.parametrize("kind", NOTHING)
def test_what_cannot_be_told_is_left_alone_and_said(kind, task):
    make, said = NOTHING[kind]
    X = make()
    auto = AutoCorrector(task).fit(X, queries=X[:1])
    assert auto.chosen_ == "none" and said in auto.reason_ and not auto.report_.sure
    assert auto.report_.risk == Risk(0, 0, 0.0)
    np.testing.assert_array_equal(auto.transform(X), X)
    np.testing.assert_array_equal(auto.transform_queries(X), X)


def test_moments_without_rows_choose_nothing_and_those_with_rows_what_rows_do():
    X = uneven()
    auto = AutoCorrector("classes").fit_moments(Moments(unit="sums").update(X))
    assert auto.chosen_ == "none" and "moments without rows" in auto.reason_
    told = AutoCorrector("classes").fit_moments(Moments(unit="sums", sample=1000).update(X))
    wanted = AutoCorrector("classes").fit(X)
    assert told.chosen_ == wanted.chosen_ and told.report_.risk == wanted.report_.risk


def test_of_ones_own_candidates_only_measured_ones_are_chosen_without_labels():
    X = uneven()
    mine = [Whitening(power=0.9), TaperedWhitening(0.5, n_components=9)]
    auto = AutoCorrector("classes", candidates=mine).fit(X)
    assert auto.chosen_ == "TaperedWhitening(power=0.5, n_components=9)"
    assert auto.transform(X).shape == (400, 9) and mine[1].get_params()["n_components"] == 9
    assert not hasattr(mine[1], "affine_map_")
    assert AutoCorrector("classes", candidates=mine[:1]).fit(X).chosen_ == "none"
    assert AutoCorrector("classes", candidates=[]).fit(X).chosen_ == "none"


@pytest.mark.parametrize("task", [*TASKS, None])
def test_the_same_text_as_document_and_query_stays_nearest_to_itself(task):
    from isotropy.ranking import unit as scaled

    for X in (even(), uneven()):
        for told in ({}, {"queries": X}):
            auto = AutoCorrector(task).fit(X, **told)
            found = scaled(auto.transform_queries(X)) @ scaled(auto.transform(X)).T
            np.testing.assert_array_equal(found.argmax(1), np.arange(len(X)))


@pytest.mark.parametrize("n", [1, 2, 60])
def test_queries_too_few_to_tell_their_mean_change_no_choice(n, tmp_path):
    """Their mean would be drawn to that of the rows: what counts on it does harm there."""
    X, rng = uneven(), np.random.default_rng(5)
    Q = rng.normal(size=(n, X.shape[1])) * X.std(0) + X.mean(0) + 0.8 * X.std(0)
    auto, without = AutoCorrector("search").fit(X, queries=Q), AutoCorrector("search").fit(X)
    known = auto.report_.evidence["weight of the queries' mean"] >= 0.7
    assert known == (n == 60) == (auto.chosen_ != without.chosen_)
    assert ("as if there were no queries" in auto.reason_) != known
    auto.save(tmp_path / "a.safetensors", moments=True)
    back = load(tmp_path / "a.safetensors").partial_fit(X[:5])
    assert back.chosen_ == auto.chosen_
    assert set(back.report_.evidence) == set(auto.report_.evidence)


def test_a_report_says_where_the_queries_lie_and_how_often_it_did_harm():
    X = uneven()
    report = AutoCorrector("search").fit(X, queries=X[:60] + 1).report_
    for said in ("queries 60", "shift of the queries", "weight of the queries' mean 1.00", "cases"):
        assert said in str(report) and said.replace("'", "&#x27;") in report._repr_html_()
