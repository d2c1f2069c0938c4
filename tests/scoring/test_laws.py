"""A number lies in its range, a point in its interval; rounding noise is never scored."""

import time
import warnings

import numpy as np
import pytest
from cases import CORRECTORS, HARD
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isotropy import (
    AutoCorrector,
    ComponentRemoval,
    MeanRemoval,
    Moments,
    RotationGaussianizer,
    Whitening,
    compare,
    score,
)
from isotropy.metrics import METRICS, isoscore, participation_ratio
from isotropy.rows.arrays import blas_threads
from isotropy.scoring import drift, intervals, make_scorer


def rows(n=300, d=12, seed=0, mean=1.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(2, 0.3, d) + mean


def assert_within(card):
    for name, found in card.scores.items():
        if not np.isnan(found.value):
            assert found.low <= found.value <= found.high, name
        if found.p_value is not None and not np.isnan(found.p_value):
            assert 0 <= found.p_value <= 1, name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HARD)
def test_scores_lie_in_their_range_before_and_after_every_corrector(name):
    X = HARD[name]
    correctors = {}
    for k, corrector in enumerate(CORRECTORS):
        try:
            clone(corrector).fit(X)
        except ValueError:  # it wants fewer directions removed, or more rows
            continue
        correctors[f"{k} {corrector}"] = corrector
    for card in compare(X, correctors).scorecards.values():
        assert_within(card)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HARD)
def test_a_point_lies_in_its_interval_and_both_in_the_range(name):
    X = HARD[name]
    card = score(X, "all")
    found = intervals(X, list(METRICS), n_groups=min(10, len(X)))
    for metric, held in found.items():
        assert held.value == pytest.approx(card[metric], rel=1e-6, abs=1e-9, nan_ok=True), metric
        low, high = card.scores[metric].low, card.scores[metric].high
        if np.isnan(held.low):
            assert held.reason and np.isnan(held.high), metric
        else:
            assert low <= held.low <= held.value <= held.high <= high, metric


def test_counts_and_extremes_get_no_interval():
    found = intervals(rows(), list(METRICS))
    without = {name for name, held in found.items() if np.isnan(held.low)}
    assert without == {name for name, metric in METRICS.items() if metric.jumps}
    assert {"noise_edge", "top_contribution", "partition_gaussian"} <= without
    assert not without & set(intervals(rows()))


@pytest.mark.parametrize("n", [60, 130, 800])
def test_estimates_freed_of_bias_stop_at_the_ideal(n):
    rng = np.random.default_rng(0)
    white = Whitening().fit_transform(rng.normal(size=(n, 48)))
    assert participation_ratio(white) <= 48 and isoscore(white) <= 1
    assert make_scorer("isoscore")(MeanRemoval().fit(white), white) <= 1


def test_scores_of_the_rows_fitted_on_say_so():
    X = rows()
    table = compare(X, {"white": Whitening()})
    assert "scored on the rows it was fitted on" in str(table) and table["white"].notes
    assert not table["raw"].notes
    fitted = Whitening().fit(rows(seed=1))
    assert "fitted on" not in str(compare(X, {"white": fitted}, refit=False))


@pytest.mark.parametrize("normalize", ["none", "after"])
@pytest.mark.parametrize("kind", ["float32", "float64", "cone", "moments"])
def test_rounding_noise_is_never_scored(kind, normalize):
    X = rows(400, 3, mean=1000.0 if kind == "cone" else 1.0)
    X = X.astype(np.float32) if kind != "float64" else X
    given = Moments.from_rows(X) if kind == "moments" else X
    table = compare(given, {"nothing": ComponentRemoval(3, normalize=normalize)})
    if kind == "moments" and normalize == "after":
        return  # needs the rows, and says so
    card = table["nothing"]
    assert card["numerical_rank"] == 0 or np.isnan(card["numerical_rank"])
    for name in set(card) - {"numerical_rank", "rogue_dimension_count"}:
        assert np.isnan(card[name]), name
    assert "No spread left" in str(table)


def test_directions_that_a_corrector_took_away_stay_away():
    X = np.random.default_rng(0).normal(size=(500, 24)).astype(np.float32) * 3
    X = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True) + 20  # lies in a hyperplane
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = compare(X, {"zca": Whitening("zca"), "half": Whitening("zca", power=0.5)})
        removed = compare(X, {"two": ComponentRemoval(2)})["two"]
    assert table["raw"]["numerical_rank"] == 23
    assert table["zca"]["numerical_rank"] == table["half"]["numerical_rank"] == 23
    assert removed["numerical_rank"] == 21 and removed["condition_number"] < 100


# -- compare and its errors ----------------------------------------------------------------------


def test_the_baseline_is_not_overwritten():
    with pytest.raises(ValueError, match="'raw' is the name of the rows as they came"):
        compare(rows(), {"raw": MeanRemoval()})


@pytest.mark.parametrize(
    ("correctors", "what"),
    [
        ([MeanRemoval()], "mapping of names"),
        (Whitening(), "mapping of names"),
        ({"white": Whitening}, "is the class Whitening; make one of it: Whitening"),
        ({"white": "whitening"}, "is a str, which has no fit"),
    ],
)
def test_what_is_no_corrector_is_named(correctors, what):
    with pytest.raises(TypeError, match=what):
        compare(rows(), correctors)


@pytest.mark.parametrize("kind", ["probability", "frequency"])
def test_correctors_are_fitted_with_the_weights_as_the_caller_means_them(kind):
    X, weights = rows(40, 4), np.random.default_rng(0).random(40) + 0.1
    weights = weights / weights.sum() if kind == "probability" else np.round(weights * 5) + 1
    table = compare(
        X, {"w": Whitening(), "m": MeanRemoval()}, ["isoscore_plain"], weights, weight_type=kind
    )
    assert table["w"]["isoscore_plain"] == pytest.approx(1, abs=1e-6)
    seen = []

    class Watched(Whitening):
        def transform(self, X):
            seen.append(self)
            return super().transform(X)

    compare(X, {"w": Watched()}, ["isoscore_plain"], weights, weight_type=kind)
    y = seen[0].transform(X)
    assert np.trace(Moments.from_rows(y, weights, weight_type=kind).covariance()) == pytest.approx(
        4, rel=1e-6
    )


@pytest.mark.parametrize(
    "weighed",
    [
        ComponentRemoval(1),
        AutoCorrector(candidates=[Whitening()]),
        RotationGaussianizer(2, random_state=0),
    ],
    ids=lambda corrector: type(corrector).__name__,
)
def test_probabilities_are_relative_for_correctors_that_count_rows_too(weighed):
    X, weights = rows(60, 4), np.random.default_rng(0).random(60) + 0.1
    weights[::9] = 0
    found = [
        compare(X, {"c": weighed}, ["isoscore_plain"], scaled, weight_type="probability")["c"]
        for scaled in (weights, weights / weights.sum(), weights * 1e4)
    ]
    values = [card["isoscore_plain"] for card in found]
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


def test_errors_of_a_fit_reach_the_caller():
    class Refusing(MeanRemoval):
        def fit_moments(self, moments, **options):
            raise ValueError("not with these")

    with pytest.raises(ValueError, match="not with these"):
        compare(rows(), {"c": Refusing()})
    weights = np.ones(300)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        compare(rows(), {"pca": PCA()}, sample_weight=weights)


def test_names_on_a_card_are_suggested():
    card = score(rows(), ["mean_cosine"])
    with pytest.raises(KeyError, match="mean_cosine"):
        card["mean_cosin"]
    with pytest.raises(KeyError, match="ask for it"):
        card["isoscore"]
    assert card.get("mean_cosin") is None and "isoscore" not in card


@pytest.mark.parametrize("given", ["rows.npy", ["a text", "another"], None, MeanRemoval()])
def test_what_is_no_rows_is_named(given):
    with pytest.raises((TypeError, ValueError), match=r"rows|encoder|estimator|text|None"):
        score(given)
    with pytest.raises((TypeError, ValueError), match=r"rows|encoder|estimator|text|None"):
        drift(given, rows())


def test_a_transposed_matrix_is_told_once():
    with pytest.warns(UserWarning, match="X.T") as told:
        score(rows(2000, 64).T, ["mean_cosine"])
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(rows(9, 16), ["mean_cosine"])


# -- small is fast -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "job"),
    [
        (0.3, lambda X: drift(X[:1000], X[1000:])),
        (0.2, score),
        (0.2, intervals),
        (0.5, lambda X: compare(X, {"c": MeanRemoval(), "h": Whitening("zca", power=0.5)})),
    ],
    ids=["drift", "score", "intervals", "compare"],
)
def test_two_thousand_rows_take_no_time(seconds, job):
    X = rows(2000, 64)
    spent = []
    for _ in range(3):
        start = time.process_time()  # of all threads together
        job(X)
        spent.append(time.process_time() - start)
    assert min(spent) < 3 * seconds  # a slow or busy processor is no fault


def test_small_jobs_run_on_one_thread(monkeypatch):
    X, seen = rows(500, 16), set()
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: seen.add(blas_threads()) or eigh(a))
    score(X), drift(X[:200], X[200:]), intervals(X), compare(X, {"c": MeanRemoval()})
    assert seen == {1}


PIPED = {
    "alone": (),
    "scaled": (StandardScaler(),),
    "whitened": (Whitening(),),
    "nested": (make_pipeline(StandardScaler()), "passthrough"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("before", PIPED)
def test_rounding_noise_is_not_scored_behind_a_pipeline(before, dtype):
    X = rows(200, 3, mean=1.0).astype(dtype)
    pipeline = make_pipeline(*map(clone_step, PIPED[before]), ComponentRemoval(3))
    table = compare(X, {"nothing": pipeline}, ["isoscore", "effective_rank"])
    assert np.isnan(table["nothing"]["isoscore"]) and np.isnan(table["nothing"]["effective_rank"])
    assert "No spread left" in str(table)


def clone_step(step):
    return step if isinstance(step, str) else clone(step)


@pytest.mark.parametrize("normalize", ["none", "before", "after"])
@pytest.mark.parametrize("kind", ["flat", "offset", "one direction leads"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [40, 384])
def test_directions_taken_away_are_of_no_rank(d, dtype, kind, normalize):
    """What rounding leaves in them is not counted, in either precision."""
    left = 8 if normalize == "after" else 1  # of one, some rows keep next to nothing
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * d + 32, d)) + (50 if kind == "offset" else 0)
    if kind == "one direction leads":
        X += 30 * rng.normal(size=(len(X), 1))
    removal = ComponentRemoval(d - left, normalize=normalize)
    table = compare(X.astype(dtype), {"c": removal}, ["numerical_rank", "condition_number"])
    assert table["c"]["numerical_rank"] == left
    assert 1 <= table["c"]["condition_number"] < (1 + 1e-9 if left == 1 else 100)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("removed", [0, 1, 50])
def test_small_directions_that_are_real_are_kept(removed, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 96)) * np.geomspace(1, 1e-4, 96)).astype(dtype)
    corrector = ComponentRemoval(removed) if removed else Whitening()
    for given in (corrector, make_pipeline(clone(corrector))):
        assert compare(X, {"c": given}, ["numerical_rank"])["c"]["numerical_rank"] == 96 - removed


def test_a_corrector_is_named_by_a_str():
    with pytest.raises(TypeError, match="named by str, got the name 1"):
        compare(rows(), {1: Whitening()})


@pytest.mark.parametrize("value", [None, "9", 2.5, float("nan"), True])
def test_a_number_of_times_is_an_integer(value):
    for function, name in ((drift, "n_resamples"), (drift, "n_groups")):
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            function(rows(30), rows(30), **{name: value})
    with pytest.raises(ValueError, match="n_groups must be an integer"):
        intervals(rows(30), ["isoscore"], n_groups=value)
