"""Whitening against its papers and scikit-learn, and every option by its effect."""

import numpy as np
import pytest
from sklearn.covariance import OAS, LedoitWolf

from isotropy import Moments, RankWarning, Whitening
from isotropy.correctors._tempering import _knee, tempered_power

METHODS = ["pca", "zca", "cholesky", "pca-cor", "zca-cor"]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) * [1, 9, 0.1, 3, 1, 2] + 50


def root(S, p):
    values, vectors = np.linalg.eigh(S)
    return vectors * values**p @ vectors.T


def kessy(method, S):
    """W with y = W x, as in Table 1 of Kessy, Lewin & Strimmer 2018."""
    V = np.diag(np.diag(S))
    P = root(V, -0.5) @ S @ root(V, -0.5)
    values, U = np.linalg.eigh(S)
    theta, G = np.linalg.eigh(P)
    return {
        "zca": root(S, -0.5),
        "pca": np.diag(values**-0.5) @ U.T,
        "cholesky": np.linalg.cholesky(np.linalg.inv(S)).T,
        "zca-cor": root(P, -0.5) @ root(V, -0.5),
        "pca-cor": np.diag(theta**-0.5) @ G.T @ root(V, -0.5),
    }[method]


@pytest.mark.parametrize("method", METHODS)
def test_the_five_matrices_are_those_of_the_paper(X, method):
    A = Whitening(method).fit(X).affine_map_.matrix
    W = kessy(method, np.cov(X.T))
    if method.startswith("pca"):  # rows in any order and sign
        A, W = A @ A.T, W.T @ W
        np.testing.assert_allclose(A, W, rtol=1e-8, atol=1e-8 * np.abs(W).max())
    else:
        np.testing.assert_allclose(A.T, W, rtol=1e-7, atol=1e-9 * np.abs(W).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ddof", [0, 1])
def test_whitened_rows_have_mean_zero_and_covariance_one(X, method, ddof):
    Y = Whitening(method, ddof=ddof).fit_transform(X)
    np.testing.assert_allclose(Y.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(Y.T, ddof=ddof), np.eye(6), atol=1e-9)


def test_the_five_whitenings_give_the_same_cosines(X):
    grams = [Y @ Y.T for Y in (Whitening(m).fit_transform(X) for m in METHODS)]
    for gram in grams[1:]:
        np.testing.assert_allclose(gram, grams[0], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_fractional_power_goes_part_of_the_way(X, method):
    values = np.linalg.eigvalsh(np.cov(X.T))
    Y = Whitening(method, power=0.4).fit_transform(X)
    if "cor" not in method:
        after = np.linalg.eigvalsh(np.cov(Y.T))
        np.testing.assert_allclose(after, np.sort(values**0.6), rtol=1e-8)
    else:
        after = np.linalg.eigvalsh(np.cov(Y.T))
        np.testing.assert_allclose(
            after, np.sort(np.linalg.eigvalsh(np.corrcoef(X.T)) ** 0.6), rtol=1e-8
        )


def test_power_zero_only_rotates_and_zca_of_power_zero_only_centres(X):
    Y = Whitening(power=0).fit_transform(X)
    np.testing.assert_allclose(
        np.linalg.norm(Y, axis=1), np.linalg.norm(X - X.mean(0), axis=1), rtol=1e-10
    )
    np.testing.assert_allclose(Whitening("zca", power=0).fit_transform(X), X - X.mean(0), atol=1e-9)


def test_part_of_the_mean_and_the_covariance_about_it(X):
    beta = 0.3
    Z = X - beta * X.mean(0)
    S = np.cov(X.T) + (1 - beta) ** 2 * np.outer(X.mean(0), X.mean(0))
    Y = Whitening("zca", mean_strength=beta).fit_transform(X)
    np.testing.assert_allclose(Y, Z @ root(S, -0.5), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "oracle"), [("ledoit-wolf", LedoitWolf()), ("oas", OAS())])
@pytest.mark.parametrize("n", [4, 12, 100])
def test_shrinkage_from_moments_is_that_of_scikit_learn_from_rows(name, oracle, n):
    X = np.random.default_rng(n).normal(size=(n, 12)) * np.arange(1, 13) + 100
    oracle.fit(X)
    whitening = Whitening("zca", shrinkage=name, ddof=0).fit(X)
    np.testing.assert_allclose(whitening.shrinkage_, oracle.shrinkage_, rtol=1e-9)
    np.testing.assert_allclose(
        whitening.affine_map_.matrix, root(oracle.covariance_, -0.5), rtol=1e-7, atol=1e-9
    )
    assert whitening.rank_ == 12


def test_a_number_shrinks_by_that_much_and_one_only_scales(X):
    S = np.cov(X.T)
    target = np.trace(S) / 6 * np.eye(6)
    A = Whitening("zca", shrinkage=0.3).fit(X).affine_map_.matrix
    np.testing.assert_allclose(A, root(0.7 * S + 0.3 * target, -0.5), rtol=1e-7, atol=1e-10)
    A = Whitening("zca", shrinkage=1).fit(X).affine_map_.matrix
    np.testing.assert_allclose(A, root(target, -0.5), atol=1e-12)


def test_epsilon_is_relative_to_the_mean_eigenvalue(X):
    S = np.cov(X.T)
    wanted = root(S + 0.2 * np.trace(S) / 6 * np.eye(6), -0.5)
    for scale in (1, 1e-6):
        A = Whitening("zca", epsilon=0.2).fit(X * scale).affine_map_.matrix
        np.testing.assert_allclose(A * scale, wanted, rtol=1e-6, atol=1e-9)


def test_components_are_kept_by_number_or_by_share_of_variance(X):
    values = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    share = np.cumsum(values) / values.sum()
    assert Whitening(n_components=3).fit_transform(X).shape == (300, 3)
    whitening = Whitening(n_components=float(share[1] - 1e-6)).fit(X)
    assert whitening.n_components_ == 2
    full = Whitening().fit_transform(X)
    np.testing.assert_allclose(Whitening(n_components=2).fit_transform(X), full[:, :2], atol=1e-10)
    Y = Whitening("zca", n_components=2).fit_transform(X)
    assert Y.shape == (300, 6)
    assert np.linalg.matrix_rank(Y) == 2


@pytest.mark.parametrize("method", METHODS)
def test_directions_of_rounding_noise_are_dropped_and_told(method):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 5)) @ rng.normal(size=(5, 9)) + 10).astype(np.float32)
    with pytest.warns(RankWarning, match="5 of 9 directions"):
        whitening = Whitening(method).fit(X)
    assert whitening.rank_ == whitening.n_components_ == 5
    Y = whitening.transform(X)
    assert Y.shape[1] == (9 if method.startswith("zca") else 5)
    values = np.sort(np.linalg.eigvalsh(np.cov(Y.T)))[::-1]
    np.testing.assert_allclose(values[:5], 1, atol=1e-3)
    np.testing.assert_allclose(values[5:], 0, atol=1e-6)
    assert np.abs(Y).max() < 10


def test_fewer_rows_than_columns_whiten_what_they_span():
    X = np.random.default_rng(0).normal(size=(10, 30)) + 5
    with pytest.warns(RankWarning, match="10 rows cannot span more"):
        Y = Whitening().fit_transform(X)
    assert Y.shape == (10, 9)
    np.testing.assert_allclose(np.cov(Y.T), np.eye(9), atol=1e-9)


def test_a_rank_tolerance_of_ones_own_drops_more(X):
    values = np.linalg.eigvalsh(np.cov(X.T))
    tol = float(np.sqrt(values[2] * values[3]) / values[-1])
    with pytest.warns(RankWarning):
        assert Whitening(rank_tol=tol).fit(X).rank_ == 3


def test_a_constant_column_survives_scaling_by_its_deviation():
    X = np.random.default_rng(0).normal(size=(50, 4))
    X[:, 1] = 1e6 / 3
    with pytest.warns(RankWarning):
        Y = Whitening("zca-cor").fit_transform(X)
    np.testing.assert_allclose(Y[:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(Y[:, [0, 2, 3]].T), np.eye(3), atol=1e-9)


def test_zipfian_whitening_is_whitening_under_word_frequencies():
    rng = np.random.default_rng(0)
    X, p = rng.normal(size=(200, 5)) + 3, 1 / np.arange(1, 201)
    p /= p.sum()
    mean = p @ X
    S = (X - mean).T * p @ (X - mean)
    Y = Whitening("zca", ddof=0, weight_type="probability").fit(X, sample_weight=p).transform(X)
    np.testing.assert_allclose(Y, (X - mean) @ root(S, -0.5), rtol=1e-8, atol=1e-9)


def test_tempering_follows_its_formula():
    values = 100.0 / np.arange(1, 201) ** 1.2
    noise = values[180:].mean()
    ratio = values[:180] / noise - 1
    knee = _knee(ratio)
    x = np.arange(180) / 179
    distance = 1 - (ratio - ratio[-1]) / (ratio[0] - ratio[-1]) - x
    assert knee == distance.argmax()
    for k in (5, 50, 128):
        wanted = min(1.0, ratio[k - 1] / ratio[knee])
        assert tempered_power(values, k) == pytest.approx(wanted)
    X = np.random.default_rng(0).normal(size=(3000, 200)) * np.sqrt(values)
    whitening = Whitening(power="tempered", n_components=50).fit(X)
    assert 0 < whitening.power_ < 1
    again = Whitening(power=whitening.power_, n_components=50).fit(X)
    np.testing.assert_array_equal(whitening.transform(X), again.transform(X))


def test_a_curve_without_a_knee_has_none():
    assert _knee(np.ones(10)) is None
    assert _knee(np.arange(10)[::-1] * 1.0) is None
    assert tempered_power(np.ones(20), 5) == 1.0


@pytest.mark.parametrize(
    "parameters",
    [
        {"method": "svd"},
        {"power": -1},
        {"power": "half"},
        {"power": np.nan},
        {"n_components": 0},
        {"n_components": 7},
        {"n_components": 2.5},
        {"n_components": "all"},
        {"n_components": True},
        {"shrinkage": 2},
        {"shrinkage": "lw"},
        {"epsilon": -1},
        {"rank_tol": -1},
        {"mean_strength": np.inf},
        {"ddof": "one"},
        {"weight_type": "count"},
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named_with_what_came(X, parameters):
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=rf"{name}.*{str(parameters[name])[:4]}"):
        Whitening(**parameters).fit(X)


def test_one_row_is_refused_and_moments_of_order_one_too(X):
    with pytest.raises(ValueError, match="sample"):
        Whitening().fit(X[:1])
    with pytest.raises(ValueError, match="order=1"):
        Whitening().fit_moments(Moments.from_rows(X, order=1))
    with pytest.raises(ValueError, match="order=4"):
        Whitening(shrinkage="ledoit-wolf").fit_moments(Moments.from_rows(X, order=2))
