from itertools import permutations

import numpy as np
import pytest

from isotropy import Moments, Whitening
from isotropy.metrics import (
    NeedsRows,
    condition_number,
    effective_rank,
    isoscore,
    isoscore_star,
    marchenko_pastur_spectrum,
    noise_edge,
    numerical_rank,
    participation_ratio,
    rankme,
    spectrum_decay,
    sphericity,
    sphericity_test,
    stable_rank,
    top_variance_share,
)


def with_eigenvalues(values, n=None, seed=0):
    """Rows whose covariance (ddof=0) has exactly these eigenvalues, about a mean that is not 0."""
    d = len(values)
    n = n or 3 * d
    rng = np.random.default_rng(seed)
    centred = rng.normal(size=(n, d))
    orthogonal, _ = np.linalg.qr(centred - centred.mean(0))
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return orthogonal * np.sqrt(n * np.asarray(values)) @ rotation.T + 3


def isoscore_by_the_paper(rows):
    """Algorithm 1 of Rudman et al. 2022, through the PCA."""
    centred = rows - rows.mean(0)
    d = rows.shape[1]
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    variances = np.concatenate([variances, np.zeros(d - len(variances))])
    normed = np.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(normed - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    return ((d - defect**2 * (d - np.sqrt(d))) ** 2 - d) / (d * (d - 1))


@pytest.mark.filterwarnings("ignore::isotropy.RankWarning")
@pytest.mark.parametrize("mean", [0, 1000])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(4, 4), (20, 60), (60, 60)], ids=str)
def test_few_rows_whitened_by_themselves_have_no_estimate_in_any_order(shape, dtype, mean):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=shape) + mean).astype(dtype)
    for _ in range(8):
        rows = rows[rng.permutation(len(rows))]
        white = Whitening("zca").fit_transform(rows)
        for shift in (0, mean):
            assert np.isnan(isoscore(white + white.dtype.type(shift)))
            assert np.isnan(participation_ratio(white + white.dtype.type(shift)))
    assert np.isfinite(isoscore(rows))  # before, there is one


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_few_rows_in_many_dimensions_have_an_estimate(dtype):
    rows = np.random.default_rng(0).normal(size=(4, 2000)).astype(dtype)
    assert isoscore(rows) > 0.3
    assert isoscore(rows + 10) > 0.3


def test_plain_isoscore_is_the_papers_algorithm(hard):
    rows = hard.astype(np.float64)
    tolerance = 1e-5 if hard.dtype.itemsize <= 4 else 1e-9
    assert isoscore(hard, corrected=False) == pytest.approx(
        isoscore_by_the_paper(rows), rel=tolerance, abs=1e-9
    )


@pytest.mark.filterwarnings("ignore:To copy construct")
def test_plain_isoscore_is_the_packages(hard):
    package = pytest.importorskip("IsoScore.IsoScore", reason="the package IsoScore is missing")
    torch = pytest.importorskip("torch")
    theirs = float(package.IsoScore(torch.as_tensor(hard.astype(np.float64))))
    assert isoscore(hard, corrected=False) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.filterwarnings("ignore:To copy construct")
def test_isoscore_star_is_the_packages(gaussian):
    package = pytest.importorskip("IsoScore.IsoScore", reason="the package IsoScore is missing")
    torch = pytest.importorskip("torch")
    prior = np.cov(np.random.default_rng(5).normal(size=(30, 10)).T)
    for zeta in (0.0, 0.2, 0.9):
        for target in (np.eye(10), prior):
            theirs = package.istar().IsoScore_star(
                torch.as_tensor(gaussian), torch.as_tensor(target), zeta
            )
            ours = isoscore_star(gaussian, zeta=zeta, prior=target)
            assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_isoscore_star_ignores_the_scale_of_the_rows(gaussian):
    assert isoscore_star(gaussian * 1e-3) == pytest.approx(isoscore_star(gaussian), rel=1e-9)
    assert isoscore_star(gaussian, zeta=0) == pytest.approx(isoscore(gaussian, corrected=False))
    assert isoscore_star(gaussian, zeta=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="zeta must be from 0 to 1"):
        isoscore_star(gaussian, zeta=2)
    with pytest.raises(ValueError, match="prior must be"):
        isoscore_star(gaussian, prior=np.eye(3))


@pytest.mark.parametrize(("k", "d"), [(1, 5), (3, 8), (8, 8)])
def test_k_of_d_dimensions_used_evenly(k, d):
    rows = with_eigenvalues([2.0] * k + [0.0] * (d - k))
    assert isoscore(rows, corrected=False) == pytest.approx((k - 1) / (d - 1), abs=1e-12)
    for metric in (effective_rank, stable_rank, numerical_rank):
        assert metric(rows) == pytest.approx(k, rel=1e-12)
    assert condition_number(rows) == pytest.approx(1, rel=1e-9)
    assert top_variance_share(rows) == pytest.approx(1 / k, rel=1e-12)


def brute_force_ratio(rows):
    """(tr Sigma)^2 / tr Sigma^2 from means over all tuples of four different rows."""
    traces, squares = [], []
    for i, j, k, m in permutations(range(len(rows)), 4):
        a, b = rows[i] - rows[j], rows[k] - rows[m]
        traces.append((a @ a) * (b @ b) / 4)
        squares.append((a @ b) ** 2 / 4)
    return np.mean(traces) / np.mean(squares)


@pytest.mark.parametrize("n", [4, 7])
def test_corrected_ratio_is_that_of_the_u_statistics(n):
    rng = np.random.default_rng(n)
    rows = rng.exponential(size=(n, 3)) @ rng.normal(size=(3, 3)) + 2
    assert participation_ratio(rows) == pytest.approx(brute_force_ratio(rows), rel=1e-9)
    assert isoscore(rows) == pytest.approx((brute_force_ratio(rows) - 1) / 2, rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_correction_repairs_the_bias_of_few_rows(mean):
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(64, 128)) + mean for _ in range(8)]
    plain = np.mean([isoscore(rows, corrected=False) for rows in samples])
    corrected = np.mean([isoscore(rows) for rows in samples])
    assert plain == pytest.approx(0.33, abs=0.02)
    assert corrected == pytest.approx(1, abs=0.07)


def test_corrected_value_needs_four_rows_and_the_fourth_order(gaussian):
    assert np.isnan(isoscore(gaussian[:3]))
    assert np.isfinite(isoscore(gaussian[:3], corrected=False))
    moments = Moments.from_rows(gaussian)
    mapped = moments.mapped(2 * np.eye(10), moments.mean)
    with pytest.raises(NeedsRows, match="fourth order"):
        isoscore(mapped)
    assert isoscore(mapped, corrected=False) == pytest.approx(isoscore(moments, corrected=False))


def test_probabilities_that_are_equal_change_nothing(gaussian):
    p = np.full(len(gaussian), 1 / len(gaussian))
    moments = Moments.from_rows(gaussian, p, weight_type="probability")
    for metric in (isoscore, participation_ratio, sphericity, noise_edge):
        assert metric(moments) == pytest.approx(metric(gaussian), rel=1e-10)


def test_spectral_metrics_by_their_definitions(gaussian):
    values = np.linalg.eigvalsh(np.cov(gaussian.T))[::-1]
    q = values / values.sum()
    assert participation_ratio(gaussian, corrected=False) == pytest.approx(1 / (q**2).sum())
    assert effective_rank(gaussian) == pytest.approx(np.exp(-(q * np.log(q)).sum()))
    assert stable_rank(gaussian) == pytest.approx(1 / q[0])
    assert top_variance_share(gaussian) == pytest.approx(q[0])
    assert condition_number(gaussian) == pytest.approx(values[0] / values[-1])
    scaled = np.cov(gaussian.T) / values.mean() - np.eye(10)
    assert sphericity(gaussian) == pytest.approx(np.trace(scaled @ scaled) / 10)


def test_rankme_is_of_the_singular_values_of_the_rows(hard):
    sigma = np.linalg.svd(hard.astype(np.float64), compute_uv=False)
    p = sigma[sigma > 1e-9 * sigma[0]] / sigma.sum()
    tolerance = 1e-4 if hard.dtype.itemsize <= 4 else 1e-6
    assert rankme(hard) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=tolerance)


def test_rounding_noise_is_no_dimension():
    rows = with_eigenvalues([1.0] * 7, n=200) @ np.eye(7, 12) + 1000
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))
    for stored in (rows @ rotation, (rows @ rotation - 900).astype(np.float32)):
        assert numerical_rank(stored) == 7
        assert condition_number(stored) == pytest.approx(1, rel=1e-3)
        assert numerical_rank(stored) == Moments.from_rows(stored).rank()


@pytest.mark.parametrize(
    "metric",
    [isoscore, effective_rank, stable_rank, condition_number, sphericity, noise_edge],
)
def test_rows_without_a_spread_have_no_spectrum(metric):
    assert np.isnan(metric([[1.0, 2.0, 3.0]]))
    assert np.isnan(metric(np.full((30, 3), 0.1)))
    assert numerical_rank(np.full((30, 3), 0.1)) == 0


def test_one_dimension_has_no_isoscore_but_a_ratio():
    rows = np.random.default_rng(0).normal(size=(50, 1))
    assert np.isnan(isoscore(rows))
    assert participation_ratio(rows, corrected=False) == 1
    assert np.isnan(sphericity_test(rows).pvalue)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (40, 10), (25, 60)])
def test_sphericity_rejects_isotropic_rows_as_often_as_it_says(n, d):
    rng = np.random.default_rng(n)
    p = np.array([sphericity_test(rng.normal(size=(n, d)) + 5).pvalue for _ in range(500)])
    assert p.mean() == pytest.approx(0.5, abs=0.05)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_sphericity_agrees_with_the_normal_limit_of_ledoit_and_wolf():
    from scipy.stats import norm

    rows = np.random.default_rng(3).normal(size=(400, 200)) * np.linspace(0.95, 1.05, 200)
    test = sphericity_test(rows)
    assert test.statistic == sphericity(rows)
    limit = norm.sf((399 * test.statistic - 200 - 1) / 2)
    assert 0.001 < limit < 0.999
    assert test.pvalue == pytest.approx(limit, abs=0.02)


def test_sphericity_finds_a_stretched_axis():
    rows = np.random.default_rng(0).normal(size=(100, 30))
    rows[:, 0] *= 3
    assert sphericity_test(rows).pvalue < 1e-6


@pytest.mark.parametrize(("n", "d"), [(1000, 50), (300, 300), (60, 200)])
def test_noise_edge_counts_planted_directions(n, d):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, d)) * 0.3
    rows[:, :3] *= [9.0, 10.0, 11.0]
    assert noise_edge(rows) == 3


def test_noise_edge_is_not_moved_by_null_directions():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1000, 20)) @ np.eye(20, 80)
    assert noise_edge(rows) <= 1
    rows[:, 0] *= 5
    assert noise_edge(rows) in (1, 2)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_decay_of_a_power_law_is_its_exponent(alpha):
    rows = with_eigenvalues(np.arange(1, 31) ** -alpha)
    assert spectrum_decay(rows) == pytest.approx(alpha, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(500, 100), (101, 100), (60, 100)])
def test_marchenko_pastur_is_the_spectrum_of_gaussian_rows(n, d):
    rng = np.random.default_rng(0)
    seen = np.mean(
        [np.linalg.eigvalsh(np.cov(rng.normal(size=(n, d)).T))[::-1] for _ in range(20)], axis=0
    )
    told = marchenko_pastur_spectrum(n, d)
    assert told.sum() == pytest.approx(d)
    assert (told @ told) == pytest.approx(seen @ seen, rel=0.02)
    np.testing.assert_allclose(told, np.maximum(seen, 0), atol=0.06)
    assert np.count_nonzero(told) == min(n - 1, d)


def test_huge_and_tiny_rows_have_the_same_spectrum(gaussian):
    for factor in (1e-50, 1e50):
        scaled = gaussian * factor
        for metric in (isoscore, effective_rank, stable_rank, condition_number, spectrum_decay):
            assert metric(scaled) == pytest.approx(metric(gaussian), rel=1e-6)
