"""Intervals cover what they say, drift is found where there is some and not where there is none."""

import numpy as np
import pytest
from cases import Blocks
from scipy import stats

from isotropy import Moments, score
from isotropy.io import open_rows
from isotropy.metrics import METRICS, mean_cosine, uniformity
from isotropy.scoring import drift, group_moments, intervals
from isotropy.scoring._groups import deal
from isotropy.scoring.change import _grouping, _p_values


def rows(n, d=6, seed=0, mean=0.4):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.5, 2, d) + mean


@pytest.mark.parametrize("n_groups", [2, 7, 20, 33])
def test_groups_together_are_the_whole(n_groups):
    X = rows(33)
    weights = np.random.default_rng(1).integers(1, 4, 33)
    groups = group_moments(X, n_groups, weights)
    total = groups[0]
    for group in groups[1:]:
        total = total + group
    whole = Moments.from_rows(X, weights)
    np.testing.assert_allclose(total.covariance(), whole.covariance(), rtol=1e-12)
    assert sum(group.n_rows for group in groups) == 33
    sizes = [group.n_rows for group in groups]
    assert max(sizes) - min(sizes) <= 1
    own = deal(33, n_groups, np.random.default_rng(0)) == 1
    np.testing.assert_allclose(groups[1].mean, np.average(X[own], 0, weights[own]), rtol=1e-12)


def test_groups_of_rows_that_come_in_blocks():
    blocks = Blocks(rows(50), [17, 18, 41])
    for a, b in zip(group_moments(blocks, 8), group_moments(rows(50), 8), strict=True):
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-12)
        assert a.n_rows == b.n_rows


def test_the_jackknife_is_the_textbook_s():
    X, g = rows(60), 12
    found = intervals(X, ["mean_cosine"], n_groups=g)["mean_cosine"]
    value = mean_cosine(X)
    group = deal(60, g, np.random.default_rng(0))
    parts = np.array([mean_cosine(X[group != k]) for k in range(g)])
    error = np.sqrt((g - 1) / g * ((parts - parts.mean()) ** 2).sum())
    bias = (g - 1) * (parts.mean() - value)
    reach = stats.t.ppf(0.975, g - 1) * error
    assert found.value == pytest.approx(value)
    assert found.standard_error == pytest.approx(error)
    assert found.bias == pytest.approx(bias, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((value - bias - reach, value - bias + reach))


def test_metrics_of_rows_and_of_the_gram_matrix_get_one_too():
    X, weights = rows(80), np.arange(80) % 3
    names = ["uniformity", "cosine_spread", "isoscore"]
    found = intervals(X, names, weights, n_groups=8)
    assert list(found) == names
    for name in names:
        assert found[name].value == pytest.approx(score(X, [name], weights)[name])
        assert found[name].low < found[name].value + 1e-9 and found[name].standard_error > 0
    kept = deal(80, 8, np.random.default_rng(0)) != 3
    assert uniformity(X[kept], weights[kept]) != found["uniformity"].value


def clusters(n, rng):
    """Rows of a mixture, sorted by cluster."""
    centres = np.random.default_rng(0).normal(size=(4, 6)) * 3
    return centres[np.sort(rng.integers(0, 4, n))] + rng.normal(size=(n, 6))


def gaussian_rows(n, rng):
    return rng.normal(size=(n, 6)) * np.linspace(0.5, 2, 6) + 0.4


def heavy_rows(n, rng):
    return rng.standard_t(6, size=(n, 6)) * np.linspace(0.5, 2, 6) + 0.4


def off_centre_clusters(n, rng):
    return clusters(n, rng) + 1


def covered(make, tries, n=400):
    """The share of intervals that hold the value of the distribution, by metric."""
    names = [m.name for m in METRICS.values() if m.needs != "rows" and not m.jumps]
    truth = score(make(400_000, np.random.default_rng(99)), names)
    held = dict.fromkeys(names, 0)
    for seed in range(tries):
        found = intervals(make(n, np.random.default_rng([seed, 5])), names)
        for name in names:
            held[name] += found[name].low <= truth[name] <= found[name].high
    return {name: count / tries for name, count in held.items()}


@pytest.mark.parametrize("make", [gaussian_rows, off_centre_clusters, heavy_rows])
def test_intervals_cover_the_truth(make):
    for name, share in covered(make, tries=60).items():
        assert share >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 60), name  # it is 92 % or more


@pytest.mark.slow
@pytest.mark.parametrize("make", [gaussian_rows, off_centre_clusters, heavy_rows])
def test_intervals_cover_what_they_say(make):
    for name, share in covered(make, tries=600).items():
        assert 0.9 <= share <= 0.99, name  # 92 to 98 %, and two standard errors of 600 tries


def test_it_agrees_with_the_exact_error_of_the_mean_cosine():
    X = rows(5000)
    exact = score(X, ["mean_cosine", "cosine_spread"]).scores["mean_cosine"].standard_error
    assert intervals(X, ["mean_cosine"])["mean_cosine"].standard_error == pytest.approx(
        exact, rel=0.4
    )


def test_moments_of_days_are_groups():
    X = rows(400)
    days = [Moments.from_rows(part) for part in np.split(X, 8)]
    found = intervals(days, ["isoscore", "mean_cosine"])
    assert found["isoscore"].value == pytest.approx(score(X, ["isoscore"])["isoscore"])
    assert len(intervals(days)) > 10


def test_wrong_intervals_are_named(tmp_path):
    X = rows(10)
    for call, what in [
        (lambda: intervals(X, n_groups=1), "n_groups"),
        (lambda: intervals(X, n_groups=11), "n_groups"),
        (lambda: intervals(X, level=1), "level"),
        (lambda: intervals(X, ["isotropicness"]), "No metric"),
        (lambda: intervals([Moments.from_rows(X)]), "two Moments"),
        (lambda: intervals([Moments.from_rows(X)] * 2, ["uniformity"]), "rows in memory"),
    ]:
        with pytest.raises(ValueError, match=what):
            call()
    X[7, 0] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        intervals(X, n_groups=3)


# -- drift ---------------------------------------------------------------------------------------


def test_the_distances_are_plain():
    A, B = rows(500), rows(400, seed=1) * 1.5 + 0.2
    found = drift(A, B, n_resamples=0)
    C, D = np.cov(A, rowvar=False, ddof=0), np.cov(B, rowvar=False, ddof=0)
    scale = np.sqrt(np.trace(C))
    assert found.mean_shift == pytest.approx(np.linalg.norm(A.mean(0) - B.mean(0)) / scale)
    values, vectors = np.linalg.eigh(C)
    unbiased = C * 500 / 499, D * 400 / 399
    root = vectors * np.sqrt(values * 500 / 499) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ unbiased[1] @ root)).sum()
    squared = ((A.mean(0) - B.mean(0)) ** 2).sum() + sum(map(np.trace, unbiased)) - 2 * cross
    assert found.wasserstein2 == pytest.approx(np.sqrt(squared) / scale)
    pooled, turned = np.linalg.eigh(np.cov(np.concatenate([A, B]), rowvar=False, ddof=0))
    E, F = (turned.T @ c @ turned for c in (C, D))
    parts = [(E - F)[i, j] ** 2 / (pooled[i] + pooled[j]) for i in range(6) for j in range(6)]
    assert found.covariance_change == pytest.approx(np.sqrt(sum(parts) / 2) / scale)
    shares = [np.cumsum(np.diag(c)[::-1]) / np.trace(c) for c in (E, F)]
    assert found.spectrum_change == pytest.approx(np.abs(shares[0] - shares[1]).max())
    assert not found.p_values and not found.moved and found.to_dict()["moved"] is None
    assert np.isnan(found.p_value)


def test_the_change_of_covariance_is_about_that_of_the_gaussians():
    A, B = rows(4000, mean=0), rows(4000, seed=1, mean=0) * 1.1
    found = drift(A, B, n_resamples=0)
    exact = np.sqrt(found.wasserstein2**2 - found.mean_shift**2)
    assert found.covariance_change == pytest.approx(exact, rel=0.02)


def test_trailing_directions_count_by_their_variances():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(400, 140)), rng.normal(size=(400, 140))
    A, B = A * np.linspace(3, 1, 140), B * np.linspace(3, 1, 140)
    B[:, 132:] *= 0.2  # only there
    assert drift(A, B).p_values["covariance_change"] == pytest.approx(1 / 200)


@pytest.mark.parametrize("kind", ["mean", "scale", "spectrum", "rotation"])
def test_a_change_is_found(kind):
    A, B = rows(600), rows(500, seed=1)
    if kind == "mean":
        B = B + 0.3
    elif kind == "scale":
        B = (B - 0.4) * 1.5 + 0.4
    elif kind == "rotation":
        B = (B - 0.4) @ np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0] + 0.4
    else:
        B = (B - 0.4) @ np.diag([2, 1, 1, 1, 1, 0.5]) + 0.4
    found = drift(A, B)
    assert found.moved and "have moved" in str(found)
    name = {
        "mean": "mean_shift",
        "scale": "covariance_change",
        "rotation": "covariance_change",
        "spectrum": "spectrum_change",
    }[kind]
    assert found.p_values[name] == pytest.approx(1 / 200)
    assert getattr(found, name) > found.null[name]


def alarms(sizes, make, tries):
    """p-values of sets that come from one distribution: (tries, 4)."""
    found = []
    for seed in range(tries):
        rng = np.random.default_rng([seed, *sizes])
        held = drift(*(make(n, rng) for n in sizes))
        found.append([held.p_value, *held.p_values.values()])
    return np.array(found)


NULLS = {
    "10 : 1,000": ((10, 1000), gaussian_rows),
    "1,000 : 20": ((1000, 20), gaussian_rows),
    "50 : 5,000": ((50, 5000), gaussian_rows),
    "4,000 : 80": ((4000, 80), gaussian_rows),
    "as many": ((300, 300), gaussian_rows),
    "sorted by cluster": ((300, 300), clusters),
    "few, sorted by cluster": ((40, 900), clusters),
}


@pytest.mark.parametrize("name", NULLS)
def test_p_values_are_uniform_where_nothing_moved(name):
    p = alarms(*NULLS[name], tries=100)
    assert p.min() >= 1 / 200
    assert (p <= 0.05).mean(0).max() <= 0.12  # 5 % and three standard errors of 100 tries
    for column in p.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [*NULLS.values(), ((400, 50_000), gaussian_rows), ((1000, 1000), gaussian_rows)]
)
def test_the_level_is_five_per_cent(case):
    p = alarms(*case, tries=400)
    share = (p <= 0.05).mean(0)
    assert (share >= 0.05 - 0.033).all() and (share <= 0.05 + 0.033).all()  # three standard errors


def test_the_order_of_the_rows_does_not_matter_to_the_alarm():
    rng = np.random.default_rng(5)
    A, B = clusters(400, rng), clusters(400, rng)
    assert not drift(A, B).moved and not drift(rng.permutation(A), B).moved


def test_together_the_tests_alarm_as_often_as_one():
    drawn = np.random.default_rng(0).normal(size=(2000, 200, 3))
    together = np.array([_p_values(draw)[0] for draw in drawn])
    assert (together <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    "sizes", [(1000, 1000), (10, 1000), (399, 50_000), (1, 30), (2, 2), (7, 9)]
)
def test_groups_are_of_one_size(sizes):
    size, few, many = _grouping(*sizes, 40)
    assert few * size <= sizes[0] and many * size <= sizes[1] and few >= 1 and many >= 1
    assert sizes[0] - few * size <= 0.2 * sizes[0]


def test_few_rows_beside_many_that_moved_are_found():
    assert drift(rows(20_000), rows(60, seed=1) + 0.4).moved
    assert drift(rows(30, seed=1) * 2, rows(5000)).moved


def test_rows_without_spread_are_not_compared_by_rounding():
    found = drift(np.ones((40, 3)), np.ones((40, 3)))
    assert np.isnan(found.mean_shift) and not found.moved
    apart = drift(np.ones((40, 3)), 2 * np.ones((40, 3)))
    assert np.isnan(apart.mean_shift) and apart.p_values["mean_shift"] == 1 / 200


def test_saved_moments_and_files(tmp_path):
    A, B = rows(300), rows(200, seed=1)
    wanted = drift(A, B, n_resamples=0)
    Moments.from_rows(A).save(tmp_path / "a.safetensors")
    saved = Moments.load(tmp_path / "a.safetensors")
    np.save(tmp_path / "b.npy", B)
    found = drift(saved, open_rows(tmp_path / "b.npy"))
    assert found.mean_shift == pytest.approx(wanted.mean_shift, rel=1e-9)
    assert found.wasserstein2 == pytest.approx(wanted.wasserstein2, rel=1e-6)
    assert "Not tested: moments do not tell" in str(found) and "<table>" in found._repr_html_()
    with_rows = drift(open_rows(tmp_path / "b.npy"), A)
    assert set(with_rows.p_values) == {"mean_shift", "covariance_change", "spectrum_change"}


def test_runs_are_equal():
    A, B = rows(100), rows(90, seed=1)
    assert drift(A, B) == drift(A, B)
    assert drift(A, B).p_values != drift(A, B, random_state=3).p_values


def test_sets_that_do_not_compare_are_named():
    with pytest.raises(ValueError, match="6 dimensions, the new rows 5"):
        drift(rows(30), rows(30, 5))
    with pytest.raises(ValueError, match="n_resamples"):
        drift(rows(30), rows(30), n_resamples=-1)
    with pytest.raises(ValueError, match="n_groups"):
        drift(rows(30), rows(30), n_groups=1)
    single = drift(rows(30), rows(1))
    assert np.isnan(single.p_values["spectrum_change"])
    assert single.p_values["mean_shift"] >= 1 / 31
