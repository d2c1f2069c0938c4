"""Intervals cover what they say, drift is found where there is some and not where there is none."""

import numpy as np
import pytest
from cases import Blocks
from scipy import stats

from isotropy import Moments, score
from isotropy.io import open_rows
from isotropy.metrics import mean_cosine, uniformity
from isotropy.scoring import drift, group_moments, intervals


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
    np.testing.assert_allclose(
        groups[1].mean, np.average(X[1::n_groups], 0, weights[1::n_groups]), rtol=1e-12
    )


def test_groups_of_rows_that_come_in_blocks():
    blocks = Blocks(rows(50), [17, 18, 41])
    for a, b in zip(group_moments(blocks, 8), group_moments(rows(50), 8), strict=True):
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-12)
        assert a.n_rows == b.n_rows


def test_the_jackknife_is_the_textbook_s():
    X, g = rows(60), 12
    found = intervals(X, ["mean_cosine"], n_groups=g)["mean_cosine"]
    value = mean_cosine(X)
    parts = np.array([mean_cosine(X[np.arange(60) % g != k]) for k in range(g)])
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
    kept = np.arange(80) % 8 != 3
    assert uniformity(X[kept], weights[kept]) != found["uniformity"].value


@pytest.mark.parametrize("name", ["mean_cosine", "isoscore", "effective_rank", "resultant_length"])
def test_intervals_cover_the_truth(name):
    truth = score(rows(200_000, seed=99), [name])[name]
    covered = 0
    for seed in range(120):
        found = intervals(rows(300, seed=seed), [name])[name]
        covered += found.low <= truth <= found.high
    assert 0.87 <= covered / 120 <= 1


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
    along = np.diag(vectors.T @ D @ vectors)[::-1]
    shares = np.cumsum(values[::-1]) / values.sum() - np.cumsum(along) / along.sum()
    assert found.spectrum_change == pytest.approx(np.abs(shares).max())
    assert not found.p_values and not found.moved and found.to_dict()["moved"] is None


@pytest.mark.parametrize("kind", ["mean", "scale", "spectrum"])
def test_a_change_is_found(kind):
    A, B = rows(600), rows(500, seed=1)
    if kind == "mean":
        B = B + 0.3
    elif kind == "scale":
        B = (B - 0.4) * 1.5 + 0.4
    else:
        B = (B - 0.4) @ np.diag([2, 1, 1, 1, 1, 0.5]) + 0.4
    found = drift(A, B)
    assert found.moved and "have moved" in str(found)
    name = {"mean": "mean_shift", "scale": "wasserstein2", "spectrum": "spectrum_change"}[kind]
    assert found.p_values[name] == pytest.approx(1 / 200)
    assert getattr(found, name) > found.null[name]


def test_no_change_is_rarely_found():
    p = np.array(
        [
            list(
                drift(rows(300, seed=s), rows(200, seed=s + 500), n_resamples=59).p_values.values()
            )
            for s in range(40)
        ]
    )
    assert (p <= 0.05).mean() < 0.12 and 0.3 < p.mean() < 0.7


def test_saved_moments_and_files(tmp_path):
    A, B = rows(300), rows(200, seed=1)
    wanted = drift(A, B, n_resamples=0)
    Moments.from_rows(A).save(tmp_path / "a.safetensors")
    saved = Moments.load(tmp_path / "a.safetensors")
    np.save(tmp_path / "b.npy", B)
    found = drift(saved, open_rows(tmp_path / "b.npy"))
    assert found.mean_shift == pytest.approx(wanted.mean_shift, rel=1e-9)
    assert found.wasserstein2 == pytest.approx(wanted.wasserstein2, rel=1e-6)
    assert "Without rows" in str(found) and "<table>" in found._repr_html_()
    with_rows = drift(open_rows(tmp_path / "b.npy"), A)
    assert set(with_rows.p_values) == {"mean_shift", "wasserstein2", "spectrum_change"}


def test_runs_are_equal():
    A, B = rows(100), rows(90, seed=1)
    assert drift(A, B) == drift(A, B)
    assert drift(A, B).p_values != drift(A, B, random_state=3).p_values


def test_sets_that_do_not_compare_are_named():
    with pytest.raises(ValueError, match="6 dimensions, the new rows 5"):
        drift(rows(30), rows(30, 5))
    with pytest.raises(ValueError, match="n_resamples"):
        drift(rows(30), rows(30), n_resamples=-1)
    few = drift(rows(30), rows(1))
    assert not few.p_values and np.isfinite(few.mean_shift)
