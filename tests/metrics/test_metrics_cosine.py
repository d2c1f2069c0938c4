import numpy as np
import pytest
from scipy.special import ive

from isotropy import Moments
from isotropy.metrics import (
    cosine_contributions,
    cosine_spread,
    mean_cosine,
    resultant_length,
    rogue_dimension_count,
    rogue_dimensions,
    top_contribution,
    vmf_concentration,
)
from isotropy.metrics.cosine import mean_cosine_error, mean_cosine_pvalue


def pair_cosines(rows, weights=None):
    """Cosine and weight of every pair of different rows, in long double."""
    rows = np.asarray(rows, dtype=np.longdouble)
    weights = np.ones(len(rows)) if weights is None else weights
    live = (rows != 0).any(1)
    unit = rows[live] / np.sqrt((rows[live] ** 2).sum(1, keepdims=True))
    pairs = ~np.eye(len(unit), dtype=bool)
    return (unit @ unit.T)[pairs], np.outer(weights[live], weights[live])[pairs]


def test_mean_cosine_is_the_mean_over_all_pairs(hard):
    cosines, _ = pair_cosines(hard)
    assert mean_cosine(hard) == pytest.approx(float(cosines.mean()), rel=1e-9, abs=1e-12)


def test_spread_is_the_deviation_over_all_pairs(hard):
    cosines, _ = pair_cosines(hard)
    # A spread of 1e-7 is the root of 1e-14 beside 1: few digits are left of a Gram matrix.
    tolerance = 2e-2 if cosines.mean() > 0.999 else 1e-8
    assert cosine_spread(hard) == pytest.approx(float(cosines.std()), rel=tolerance, abs=1e-8)


def test_frequencies_are_repetitions(weighted):
    rows, counts, repeated = weighted
    for metric in (mean_cosine, cosine_spread, cosine_contributions, resultant_length):
        np.testing.assert_allclose(metric(rows, counts), metric(repeated), rtol=1e-10)


def test_probabilities_never_pair_a_row_with_itself(weighted):
    rows = weighted[0]
    p = np.random.default_rng(2).dirichlet(np.ones(len(rows)))
    cosines, weights = pair_cosines(rows, p)
    moments = Moments.from_rows(rows, p, unit="gram", weight_type="probability")
    mean = float(np.average(cosines, weights=weights))
    variance = float(np.average((cosines - mean) ** 2, weights=weights))
    assert mean_cosine(moments) == pytest.approx(mean, rel=1e-10)
    assert cosine_spread(moments) == pytest.approx(variance**0.5, rel=1e-9)
    assert cosine_contributions(moments).sum() == pytest.approx(mean, rel=1e-10)


def test_probabilities_given_as_frequencies_are_refused(weighted):
    rows = weighted[0]
    with pytest.raises(ValueError, match="probabilities"):
        mean_cosine(rows, np.full(len(rows), 1 / len(rows)))


def test_contributions_sum_to_the_mean_cosine(hard):
    contributions = cosine_contributions(hard)
    assert contributions.shape == (hard.shape[1],)
    assert contributions.sum() == pytest.approx(mean_cosine(hard), rel=1e-9, abs=1e-12)


def test_contribution_is_the_mean_product_of_one_coordinate(gaussian):
    unit = gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)
    n = len(unit)
    slow = [
        sum(unit[i, k] * unit[j, k] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for k in range(3)
    ]
    np.testing.assert_allclose(cosine_contributions(gaussian)[:3], slow, rtol=1e-9)


def test_one_rogue_dimension_makes_the_mean_cosine():
    rows = np.random.default_rng(0).normal(size=(300, 40))
    rows[:, 7] += 30
    assert np.argmax(cosine_contributions(rows)) == 7
    assert top_contribution(rows) == pytest.approx(1.0, abs=0.01)
    assert 7 in rogue_dimensions(rows)


def test_share_is_even_where_all_dimensions_take_part():
    rows = np.random.default_rng(0).normal(size=(3000, 40)) + 5
    assert top_contribution(rows) == pytest.approx(1 / 40, rel=0.05)


def test_share_of_no_mean_cosine_is_nan():
    rows = np.random.default_rng(0).normal(size=(300, 40))
    assert np.isnan(top_contribution(rows - rows.mean(0)))


def test_rogue_dimensions_by_mean_and_by_variance_at_the_given_distance():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(2000, 64))
    rows[:, 5] += 3
    rows[:, 9] *= 3
    assert rogue_dimensions(rows).tolist() == [5, 9]
    assert rogue_dimension_count(rows) == 2
    assert rogue_dimensions(rows, z=8.0).tolist() == []
    assert len(rogue_dimensions(rows, z=0.1)) > 2
    with pytest.raises(ValueError, match="z must be above 0"):
        rogue_dimensions(rows, z=0)


def test_equal_dimensions_hold_no_outlier_made_of_rounding():
    rows = np.full((50, 64), 0.1) + np.arange(50)[:, None] * 0.3
    assert rogue_dimensions(rows).tolist() == []


def test_resultant_is_the_length_of_the_mean_direction(gaussian):
    unit = gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)
    assert resultant_length(gaussian) == pytest.approx(np.linalg.norm(unit.mean(0)), rel=1e-12)


@pytest.mark.parametrize("d", [20, 200])
def test_concentration_gives_the_resultant_back(d):
    rows = np.random.default_rng(0).normal(size=(500, d)) + 0.8
    kappa = vmf_concentration(rows)
    expected = ive(d / 2, kappa) / ive(d / 2 - 1, kappa)  # A_d(kappa) = R of such a distribution
    assert resultant_length(rows) == pytest.approx(expected, rel=5e-3)


def test_rows_that_point_one_way():
    rows = np.outer(np.arange(1.0, 6), [0.1, 0.2, 0.7])
    assert mean_cosine(rows) == pytest.approx(1)
    assert cosine_spread(rows) == pytest.approx(0, abs=1e-7)
    assert vmf_concentration(rows) == np.inf


@pytest.mark.parametrize(
    "metric", [mean_cosine, cosine_spread, top_contribution, vmf_concentration]
)
def test_less_than_two_directions_have_no_cosine(metric):
    assert np.isnan(metric([[1.0, 2.0]]))
    assert np.isnan(metric([[1.0, 2.0], [0.0, 0.0]]))
    assert np.isnan(metric([[0.0, 0.0], [0.0, 0.0]]))


def test_pvalue_is_uniform_for_directions_without_a_mean():
    rng = np.random.default_rng(0)
    p = [mean_cosine_pvalue(Moments.from_rows(rng.normal(size=(30, 8)))) for _ in range(400)]
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.less(p, 0.05)) == pytest.approx(0.05, abs=0.03)
    assert mean_cosine_pvalue(Moments.from_rows(rng.normal(size=(30, 8)) + 1)) < 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_standard_error_is_the_deviation_over_samples(shift):
    rng = np.random.default_rng(0)
    samples = [
        Moments.from_rows(rng.normal(size=(80, 10)) + shift, unit="gram") for _ in range(300)
    ]
    told = np.mean([mean_cosine_error(moments) for moments in samples])
    seen = np.std([mean_cosine(moments) for moments in samples])
    assert told == pytest.approx(seen, rel=0.2)


def test_merged_moments_give_the_value_of_all_rows(gaussian):
    parts = Moments(unit="gram").update(gaussian[:70]) + Moments(unit="gram").update(gaussian[70:])
    for metric in (mean_cosine, cosine_spread, resultant_length):
        assert metric(parts) == pytest.approx(metric(gaussian), rel=1e-11)
