"""Laws of every metric: weights are repetition, order is nothing, parts add up, values in range."""

import inspect

import numpy as np
import pytest
from cases import HARD

from isotropy import Moments, metrics
from isotropy.metrics import METRICS, cluster_cosines, informativity, intra_sentence_similarity
from isotropy.metrics.sliced import wasserstein_floor

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)


def _weighted_functions():
    for name in metrics.__all__:
        function = getattr(metrics, name)
        if (
            inspect.isfunction(function)
            and "sample_weight" in inspect.signature(function).parameters
        ):
            yield pytest.param(function, id=name)
    for metric in METRICS.values():
        yield pytest.param(metric.function, id=f"METRICS[{metric.name}]")


WEIGHTED = pytest.mark.parametrize("function", list(_weighted_functions()))


def some_rows(n, d=6, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(5, size=(n, d)) * np.linspace(0.3, 2, d) + 0.4
    return rows, rng.integers(0, 4, n)


def numbers(value):
    return np.asarray(value, dtype=np.float64)


@WEIGHTED
@pytest.mark.parametrize("n", [40, 900], ids="{} rows".format)
def test_weights_are_repetition(function, n):
    rows, counts = some_rows(n)
    value = numbers(function(rows, sample_weight=counts))
    repeated = numbers(function(np.repeat(rows, counts, axis=0)))
    assert np.isfinite(repeated).all()
    np.testing.assert_allclose(value, repeated, rtol=1e-8)


@WEIGHTED
@pytest.mark.parametrize("n", [40, 1500], ids="{} rows".format)
def test_order_is_nothing(function, n):
    rows, counts = some_rows(n)
    order = np.random.default_rng(2).permutation(n)
    value = numbers(function(rows, sample_weight=counts))
    moved = numbers(function(rows[order], sample_weight=counts[order]))
    np.testing.assert_allclose(moved, value, rtol=1e-8)


@pytest.mark.parametrize(
    "metric",
    [metric for metric in METRICS.values() if metric.needs != "rows"],
    ids=lambda metric: metric.name,
)
def test_parts_add_up(metric):
    rows, _ = some_rows(90)
    parts = [Moments(unit="gram").update(part) for part in np.split(rows, [1, 2, 30])]
    total = parts[3] + parts[0] + (parts[2] + parts[1])
    assert metric.function(total) == pytest.approx(metric.function(rows), rel=1e-9)


SMALL = {
    "one row": some_rows(1)[0],
    "two rows": some_rows(2)[0],
    "three rows": some_rows(3)[0],
    "one dimension": some_rows(50, 1)[0],
    "one number": np.array([[3.0]]),
    "all equal": np.full((200, 6), 0.1) * np.arange(1, 7),
    "all equal in float32": np.full((50, 8), 8**-0.5, np.float32),
    "all zero": np.zeros((20, 4)),
    "two kinds of row": some_rows(2)[0][np.arange(200) % 2],
    "three kinds of row": some_rows(3, 2)[0][np.arange(90) % 3],
    "opposite": np.array([[1.0, 2.0], [-1.0, -2.0]] * 10),
    "on a line": np.outer(some_rows(100, 1)[0], [1.0, -2.0, 0.5]),
    "constant columns": np.hstack([some_rows(60, 3)[0], np.zeros((60, 3))]),
    "heavy tails": np.random.default_rng(0).standard_cauchy(size=(300, 5)) ** 3,
}
ANY = {**HARD, **SMALL}


@EVERY
@pytest.mark.parametrize("name", ANY)
def test_a_number_lies_in_its_range_or_is_nan(metric, name):
    value = metric.function(ANY[name])
    moments = Moments.from_rows(ANY[name])
    low, high = metric.bounds(moments.rank() if metric.within_rank else moments.n_features)
    slack = 1e-9
    assert np.isnan(value) or low - slack * (1 + abs(low)) <= value <= high * (1 + slack) + slack


@EVERY
@pytest.mark.parametrize("power", [-700, -500, 500, 700])
@pytest.mark.parametrize("name", ["isotropic", "one dominant direction", "rank deficient"])
def test_a_value_does_not_depend_on_the_scale_of_the_rows(metric, name, power):
    X = HARD[name]
    assert metric.function(np.ldexp(X, power)) == pytest.approx(
        metric.function(X), rel=1e-9, nan_ok=True
    )


# What speaks of the spread of rows: without any it knows nothing.
OF_SPREAD = [
    *("isoscore", "isoscore_plain", "isoscore_star", "participation_ratio", "effective_rank"),
    *("stable_rank", "top_variance_share", "condition_number", "sphericity", "noise_edge"),
    *("spectrum_decay", "kl_divergence", "bhattacharyya", "wasserstein2", "mardia_skewness"),
    *("mardia_kurtosis", "epps_pulley", "sliced_wasserstein", "henze_zirkler"),
    *("coordinate_skewness", "coordinate_kurtosis", "anderson_darling"),
]


@pytest.mark.parametrize("name", OF_SPREAD)
@pytest.mark.parametrize("rows", ["all equal", "all equal in float32", "all zero", "one row"])
def test_without_spread_a_metric_of_it_is_nan(name, rows):
    assert np.isnan(METRICS[name].function(ANY[rows]))


@pytest.mark.parametrize("rows", ["all equal", "all equal in float32"])
def test_of_one_direction_the_cosines_have_no_spread(rows):
    X = ANY[rows]
    assert metrics.cosine_spread(X) == 0
    assert metrics.vmf_concentration(X) == np.inf
    assert metrics.uniformity_cumulant(X) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_left_in_a_cluster_is_no_direction(dtype):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(3, 16)), 7, axis=0).astype(dtype)
    labels = np.repeat(np.arange(3), 7)
    for rows in (X, X * (1 + np.finfo(dtype).eps * rng.integers(-1, 2, X.shape)).astype(dtype)):
        found = cluster_cosines(rows, labels)
        assert found.intra == pytest.approx(1) and np.isfinite(found.inter)
        assert np.isnan(found.intra_centred) and np.isnan(found.inter_centred)


def test_rounding_left_of_a_sentence_is_no_direction():
    X = np.random.default_rng(0).normal(size=(3, 8))
    X[2] = -(X[0] + X[1])
    assert intra_sentence_similarity(X, [0, 0, 0]) == 0
    assert np.isnan(informativity(np.full((30, 6), 0.1), (1,))[1])


@pytest.mark.parametrize("shape", [(2, 16), (5, 16), (9, 2), (20, 1), (20, 64)], ids=str)
def test_the_floor_of_few_rows_is_what_few_rows_get(shape):
    rng = np.random.default_rng(0)
    seen = [metrics.sliced_wasserstein(rng.normal(size=shape)) for _ in range(200)]
    assert wasserstein_floor(*shape) == pytest.approx(np.mean(seen), rel=0.04)
