import numpy as np
import pytest
from scipy.linalg import sqrtm

from isotropy import Moments
from isotropy.metrics import bhattacharyya, kl_divergence, wasserstein2

DISTANCES = [kl_divergence, bhattacharyya, wasserstein2]


def slow_kl(m, A, B):
    inverse = np.linalg.inv(B)
    logs = np.linalg.slogdet(B)[1] - np.linalg.slogdet(A)[1]
    return (np.trace(inverse @ A) + m @ inverse @ m - len(m) + logs) / 2


def slow_bhattacharyya(m, A, B):
    S = (A + B) / 2
    logs = np.linalg.slogdet(S)[1] - (np.linalg.slogdet(A)[1] + np.linalg.slogdet(B)[1]) / 2
    return m @ np.linalg.inv(S) @ m / 8 + logs / 2


def slow_wasserstein2(m, A, B):
    root = sqrtm(A)
    return np.sqrt(m @ m + np.trace(A) + np.trace(B) - 2 * np.trace(sqrtm(root @ B @ root)).real)


PAIRS = [
    (kl_divergence, slow_kl),
    (bhattacharyya, slow_bhattacharyya),
    (wasserstein2, slow_wasserstein2),
]


@pytest.fixture
def other():
    rng = np.random.default_rng(9)
    return rng.normal(size=(150, 10)) @ rng.normal(size=(10, 10)) - 0.3


@pytest.mark.parametrize(("fast", "slow"), PAIRS)
def test_distance_between_two_sets_is_the_textbooks(fast, slow, gaussian, other):
    m, A, B = gaussian.mean(0) - other.mean(0), np.cov(gaussian.T), np.cov(other.T)
    assert fast(gaussian, other) == pytest.approx(slow(m, A, B), rel=1e-9)
    without = fast(gaussian, other, include_mean=False)
    assert without == pytest.approx(slow(0 * m, A, B), rel=1e-9)
    assert without < fast(gaussian, other)


@pytest.mark.parametrize(("fast", "slow"), PAIRS)
def test_distance_to_the_isotropic_gaussian_is_the_textbooks(fast, slow, gaussian):
    mu, C, eye = gaussian.mean(0), np.cov(gaussian.T, ddof=0), np.eye(10)
    s = (np.trace(C) + mu @ mu) / 10
    assert fast(gaussian) == pytest.approx(slow(mu / np.sqrt(s), C / s, eye), rel=1e-9)
    s = np.trace(C) / 10
    assert fast(gaussian, include_mean=False) == pytest.approx(slow(0 * mu, C / s, eye), rel=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_distance_to_the_isotropic_gaussian_ignores_scale(distance, gaussian):
    for factor in (1e-6, 1e5):
        assert distance(gaussian * factor) == pytest.approx(distance(gaussian), rel=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_set_is_at_no_distance_from_itself(distance, gaussian, other):
    assert distance(gaussian, gaussian) == pytest.approx(0, abs=1e-10)
    cone = gaussian + 1000
    assert distance(cone, cone) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("distance", [bhattacharyya, wasserstein2])
def test_symmetric_distances_are_symmetric(distance, gaussian, other):
    assert distance(gaussian, other) == pytest.approx(distance(other, gaussian), rel=1e-10)


def test_close_sets_are_told_apart():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 20))
    centred = rows - rows.mean(0)
    stretched = rows.mean(0) + centred * (1 + 1e-9)
    expected = 1e-9 * np.sqrt(np.trace(np.cov(rows.T)))
    assert wasserstein2(rows, stretched) == pytest.approx(expected, rel=1e-3)


def test_scale_of_the_closest_isotropic_gaussian_is_the_closest(gaussian):
    mu, C = gaussian.mean(0), np.cov(gaussian.T, ddof=0)
    around = [slow_kl(mu, C, s * np.eye(10)) for s in np.linspace(0.2, 5, 500)]
    assert kl_divergence(gaussian) == pytest.approx(min(around), rel=1e-3)
    assert kl_divergence(gaussian) <= min(around) + 1e-12


@pytest.mark.parametrize("distance", [kl_divergence, bhattacharyya])
def test_a_lower_rank_is_infinitely_far(distance, gaussian, other):
    flat = gaussian.copy()
    flat[:, 0] = flat[:, 1]
    assert distance(flat) == np.inf
    assert distance(gaussian[:8]) == np.inf
    assert distance(flat, other) == distance(other, flat) == np.inf


def test_wasserstein_is_finite_at_any_rank(gaussian, other):
    few, slow = gaussian[:4], slow_wasserstein2
    m, A, B = few.mean(0) - other.mean(0), np.cov(few.T), np.cov(other.T)
    assert wasserstein2(few, other) == pytest.approx(slow(m, A, B), rel=1e-6)
    assert 0 < wasserstein2(few) <= np.sqrt(20)
    line = np.outer(np.linspace(-1, 1, 50), np.ones(10))
    assert wasserstein2(line, include_mean=False) == pytest.approx(np.sqrt(20 - 2 * np.sqrt(10)))


@pytest.mark.parametrize("distance", DISTANCES)
def test_one_row_has_no_covariance(distance, other):
    assert np.isnan(distance(np.ones((1, 10))))
    assert np.isnan(distance(np.ones((1, 10)), other))
    assert np.isnan(distance(np.zeros((5, 10))))


@pytest.mark.parametrize("distance", DISTANCES)
def test_weights_and_moments(distance, weighted, gaussian):
    rows, counts, repeated = weighted
    target = Moments.from_rows(gaussian[:, :6])
    assert distance(rows, sample_weight=counts) == pytest.approx(distance(repeated), rel=1e-9)
    assert distance(rows, target, sample_weight=counts) == pytest.approx(
        distance(repeated, gaussian[:, :6]), rel=1e-9
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_sets_of_other_dimensions_are_refused(distance, gaussian):
    with pytest.raises(ValueError, match="10 dimensions and Y 6"):
        distance(gaussian, gaussian[:, :6])


def test_wide_rows_are_compared_in_as_many_dimensions_as_rows(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(5, 60)), rng.normal(size=(8, 60)) + 0.2
    sizes, svd = [], np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda M: sizes.append(M.shape) or svd(M))
    found = wasserstein2(X, Y)
    assert max(max(size) for size in sizes) <= 9
    # tr (A^1/2 B A^1/2)^1/2 is the nuclear norm of the product of the centred rows
    cross = (X - X.mean(0)) @ (Y - Y.mean(0)).T / np.sqrt(4 * 7)
    m, common = X.mean(0) - Y.mean(0), np.linalg.norm(cross, "nuc")
    traces = X.var(0, ddof=1).sum() + Y.var(0, ddof=1).sum()
    assert found == pytest.approx(np.sqrt(m @ m + traces - 2 * common), rel=1e-7)
    assert wasserstein2(Y, X) == pytest.approx(found, rel=1e-7)
    assert wasserstein2(X, X + 1e-6) == pytest.approx(1e-6 * np.sqrt(60), rel=1e-3)
