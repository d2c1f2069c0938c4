import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from isotropy import Moments
from isotropy.metrics import NeedsRows, uniformity, uniformity_cumulant, uniformity_floor


def over_all_pairs(rows, t=2.0, weights=None):
    """Wang & Isola's log of the mean, from an n x n matrix."""
    rows = np.asarray(rows, dtype=np.float64)
    weights = np.ones(len(rows)) if weights is None else weights
    live = np.linalg.norm(rows, axis=1) > 0
    unit = rows[live] / np.linalg.norm(rows[live], axis=1, keepdims=True)
    kernel = np.exp(-t * ((unit[:, None] - unit[None]) ** 2).sum(2))
    pairs = np.outer(weights[live], weights[live])
    np.fill_diagonal(pairs, 0)
    return np.log((pairs * kernel).sum() / pairs.sum())


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("isotropy.metrics.pairs._BLOCK", 33)


def test_uniformity_is_the_mean_over_all_pairs(hard, small_blocks):
    assert uniformity(hard) == pytest.approx(over_all_pairs(hard), abs=1e-6)


@pytest.mark.parametrize("t", [0.5, 5.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponent_is_the_one_asked_for(gaussian, t, dtype, small_blocks):
    rows = gaussian.astype(dtype)
    assert uniformity(rows, t=t) == pytest.approx(over_all_pairs(rows, t), abs=2e-6)


def test_exponent_out_of_range_is_refused(gaussian):
    for t in (0, -1, 1000):
        with pytest.raises(ValueError, match="t must be above 0"):
            uniformity(gaussian, t=t)


def test_frequencies_are_repetitions(weighted, small_blocks):
    rows, counts, repeated = weighted
    assert uniformity(rows, counts) == pytest.approx(over_all_pairs(repeated), rel=1e-12)


def test_probabilities_never_pair_a_row_with_itself(weighted, small_blocks):
    rows = weighted[0]
    p = np.random.default_rng(2).dirichlet(np.ones(len(rows)))
    value = uniformity(rows, p, weight_type="probability")
    assert value == pytest.approx(over_all_pairs(rows, weights=p), rel=1e-12)
    with pytest.raises(ValueError, match="weight_type must be"):
        uniformity(rows, p, weight_type="share")


def test_zero_rows_are_left_out(gaussian, small_blocks):
    rows = np.vstack([gaussian, np.zeros((5, 10))])
    assert uniformity(rows) == pytest.approx(uniformity(gaussian), rel=1e-12)


def test_less_than_two_directions_have_no_uniformity():
    assert np.isnan(uniformity([[1.0, 2.0]]))
    assert np.isnan(uniformity([[1.0, 2.0], [0.0, 0.0]]))
    assert np.isnan(uniformity_cumulant([[1.0, 2.0]]))


def test_bad_rows_are_named(gaussian):
    gaussian[77, 3] = np.nan
    with pytest.raises(ValueError, match="row 77"):
        uniformity(gaussian)


def test_moments_have_no_pairs(gaussian):
    with pytest.raises(NeedsRows, match="every pair"):
        uniformity(Moments.from_rows(gaussian))


def test_cumulant_form_is_that_of_the_pair_cosines(gaussian):
    unit = gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    for t in (0.5, 2.0):
        expected = -2 * t + 2 * t * cosines.mean() + 2 * t**2 * cosines.var()
        assert uniformity_cumulant(gaussian, t=t) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="t must be above 0"):
        uniformity_cumulant(gaussian, t=0)


def test_cumulant_form_is_close_in_many_dimensions():
    rows = np.random.default_rng(0).normal(size=(400, 256)) + 0.3
    assert uniformity_cumulant(rows) == pytest.approx(uniformity(rows), abs=1e-3)


@pytest.mark.parametrize("d", [3, 16, 768])
@pytest.mark.parametrize("t", [0.5, 2.0, 20.0])
def test_floor_is_the_integral_over_the_sphere(d, t):
    log_norm = gammaln(d / 2) - gammaln((d - 1) / 2) - np.log(np.pi) / 2

    def density(c):
        return np.exp(2 * t * (c - 1) + log_norm + (d - 3) / 2 * np.log1p(-c * c))

    points = [t / d, 0.5, 0.9]
    expected = np.log(quad(density, -1, 1, epsabs=0, limit=500, points=points)[0])
    assert uniformity_floor(d, t) == pytest.approx(expected, abs=1e-7)


def test_floor_in_one_and_in_very_many_dimensions():
    assert uniformity_floor(1) == pytest.approx(np.log((1 + np.exp(-8)) / 2))
    assert uniformity_floor(10**7) == pytest.approx(-4 + 8e-7, abs=1e-9)
    assert uniformity_floor(10, t=5.0) > -10
    with pytest.raises(ValueError, match="d of at least 1"):
        uniformity_floor(0)
