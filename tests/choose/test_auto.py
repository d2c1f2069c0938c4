"""The choice: none unless it is sure, what the record says where it is, and reasons."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from isotropy import AutoCorrector, Moments, PairWhitening, TaperedWhitening, Whitening, load
from isotropy.choose.record import EVEN, TASKS, UNEVEN, chosen, row_of
from isotropy.choose.settings import SETTINGS, named


def even(n=400, d=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + 3


def uneven(n=400, d=64, seed=0):
    return (even(n, d, seed) - 3) / np.arange(1, d + 1) + 0.5


@pytest.mark.parametrize("task", [*TASKS, None])
@pytest.mark.parametrize("own", [False, True])
def test_what_is_chosen_is_what_the_record_says(task, own):
    told = {"queries": even(30) - 5} if own else {}
    for rows, side in ((even(), EVEN), (uneven(), UNEVEN)):
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
