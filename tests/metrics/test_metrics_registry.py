"""What holds for every metric: one entry of the registry joins all of these."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotropy import Moments, metrics, score
from isotropy.metrics import METRICS, Metric, register
from isotropy.scoring import make_scorer

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)

# Measures of shape: of whitened rows or single coordinates, so blind to anisotropy.
SHAPE = {
    *("mardia_skewness", "mardia_kurtosis", "henze_zirkler"),
    *("coordinate_skewness", "coordinate_kurtosis", "anderson_darling"),
}

ANISOTROPY = pytest.mark.parametrize(
    "metric",
    [metric for metric in METRICS.values() if metric.name not in SHAPE],
    ids=lambda metric: metric.name,
)
FROM_MOMENTS = [metric for metric in METRICS.values() if metric.needs != "rows"]

SLICED = {"epps_pulley", "sliced_wasserstein", "henze_zirkler"}

# What stays the same when the rows are moved, scaled or turned.
OF_AXES = {"top_contribution", "rogue_dimension_count", "anderson_darling"}
OF_AXES |= {"coordinate_skewness", "coordinate_kurtosis"}
ROTATED = set(METRICS) - OF_AXES - SLICED
SCALED = set(METRICS)
SHIFTED = {
    *(SHAPE | SLICED),
    *("isoscore", "isoscore_plain", "isoscore_star", "participation_ratio", "effective_rank"),
    *("stable_rank", "top_variance_share", "numerical_rank", "condition_number", "sphericity"),
    *("noise_edge", "spectrum_decay"),
}


def values(rows, names):
    return np.array([METRICS[name].function(rows) for name in sorted(names)])


def rows_of(seed):
    """Rows of one spectrum, mean and shape for each seed."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(5, 40), rng.integers(2, 12)
    return rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d) + rng.normal(size=d), rng


SEEDS = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_scale_changes_no_metric(seed, factor):
    rows, _ = rows_of(seed)
    np.testing.assert_allclose(values(rows * factor, SCALED), values(rows, SCALED), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_rotation_changes_only_what_speaks_of_axes(seed):
    rows, rng = rows_of(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(rows.shape[1],) * 2))
    np.testing.assert_allclose(
        values(rows @ turn, ROTATED), values(rows, ROTATED), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(-100, 100))
def test_shift_changes_no_metric_of_the_spectrum(seed, shift):
    rows, _ = rows_of(seed)
    np.testing.assert_allclose(
        values(rows + shift, SHIFTED), values(rows, SHIFTED), rtol=1e-6, atol=1e-9
    )


def test_shift_changes_every_other_metric():
    rows = np.random.default_rng(0).normal(size=(50, 20))
    moved = rows + np.linspace(1, 3, 20)
    for name in set(METRICS) - SHIFTED - {"rogue_dimension_count", "top_contribution"}:
        assert METRICS[name].function(moved) != pytest.approx(METRICS[name].function(rows)), name


@EVERY
def test_value_lies_in_the_range(metric, hard):
    value = metric.function(hard)
    assert type(value) is float
    rank = Moments.from_rows(hard).rank()
    low, high = metric.bounds(rank if metric.within_rank else hard.shape[1])
    if np.isnan(value):  # undefined without a mean cosine, or of a simplex
        assert metric.name == "top_contribution" or (metric.within_rank and len(hard) <= rank + 20)
        return
    assert low - 1e-6 * abs(low) <= value <= high * (1 + 1e-6) + 1e-12


@EVERY
def test_frequencies_are_repetitions(metric, weighted):
    rows, counts, repeated = weighted
    value = metric.function(rows, sample_weight=counts)
    assert value == pytest.approx(metric.function(repeated), rel=1e-8, nan_ok=True)


@pytest.mark.parametrize("metric", FROM_MOMENTS, ids=lambda metric: metric.name)
def test_moments_give_what_rows_give(metric, gaussian):
    halves = [Moments(unit="gram").update(part) for part in np.array_split(gaussian, 2)]
    assert metric.function(halves[0] + halves[1]) == pytest.approx(
        metric.function(gaussian), rel=1e-9, nan_ok=True
    )


@EVERY
def test_floor_is_what_isotropic_rows_get(metric):
    rng = np.random.default_rng(0)
    for n, d in ((600, 40), (40, 60)):
        floor = metric.floor(n, d)
        if floor is None:
            assert metric.name == "top_contribution" or (metric.within_rank and n < d)
            continue
        rows = [rng.normal(size=(n, d)) for _ in range(12)]
        with np.errstate(divide="ignore"):
            seen = np.mean([metric.function(sample) for sample in rows])
        slack = {"noise_edge": 0.6, "rogue_dimension_count": 0.4, "mean_cosine": 2e-3}
        absolute = slack.get(metric.name, 1e-3)
        relative = 0.1 if metric.name == "condition_number" else 0.06  # the smallest varies most
        assert floor == pytest.approx(seen, rel=relative, abs=absolute), (n, d)


@EVERY
def test_ideal_is_the_limit_of_the_floor(metric):
    d = 16
    ideal, (low, high) = metric.ideal_at(d), metric.bounds(d)
    assert ideal is None or low <= ideal <= high
    floor = metric.floor(10**9, d)
    if metric.name in ("henze_zirkler", "anderson_darling"):
        return  # statistics of tests, whose value under the null does not fade
    if metric.name == "rogue_dimension_count":
        assert floor == pytest.approx(16 * 2 * 0.0027, rel=0.01)  # chance finds some in any rows
    elif floor is not None:
        assert floor == pytest.approx(ideal, abs=0.01, rel=1e-3)


@EVERY
def test_entry_tells_what_it_should(metric):
    assert METRICS[metric.name] is metric
    assert metric.needs in ("moments", "unit_gram", "rows")
    assert metric.better in ("lower", "higher", None)
    assert metric.title and metric.cost
    assert len(metric.title) <= 50


@ANISOTROPY
def test_isotropic_rows_score_better_than_a_stretched_cone(metric):
    rng = np.random.default_rng(0)
    isotropic = rng.normal(size=(500, 32))
    cone = isotropic * np.linspace(0.05, 2, 32) ** 2 + 1.5
    cone[:, 3] += 20
    good, bad = metric.function(isotropic), metric.function(cone)
    if metric.better == "higher":
        assert good > bad or metric.name == "numerical_rank"
    elif metric.better == "lower":
        if metric.name == "top_contribution":  # no mean cosine, so no share of it
            assert np.isnan(good) and bad > 0.5
        else:
            assert good < bad
    else:
        ideal = metric.ideal_at(32)
        assert abs(good - ideal) < abs(bad - ideal)


def test_a_new_metric_is_one_function_and_one_line(gaussian):
    def largest_norm(X, sample_weight=None):
        return metrics._inputs.gather(X, sample_weight, "sums").norm_max

    try:
        register(
            Metric(
                name="largest_norm",
                title="length of the longest row",
                function=largest_norm,
                range=(0.0, np.inf),
                ideal=None,
                better=None,
                needs="moments",
                cost="O(1)",
                source="",
            )
        )
        card = score(gaussian)
        assert card["largest_norm"] == pytest.approx(np.linalg.norm(gaussian, axis=1).max())
        assert "largest_norm" in str(card)
        assert card.scores["largest_norm"].floor is None
        with pytest.raises(ValueError, match="neither a better direction"):
            make_scorer("largest_norm")
    finally:
        METRICS.pop("largest_norm", None)


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="is there already"):
        register(METRICS["isoscore"])


def test_public_names_are_sorted_and_exist():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    assert set(METRICS) - set(metrics.__all__) == {
        "isoscore_plain",
        "partition_first",
        "partition_gaussian",
        "partition_second",
    }
