"""Correctors that learn from pairs: oracles from the papers, metadata routing, wrong input."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from scipy.optimize import approx_fprime
from sklearn.pipeline import make_pipeline

from isotropy import MeanRemoval, PairWhitening, WeightedRemoval, load
from isotropy.ranking import unit


def data(n=400, d=16, seed=0):
    """Rows whose first three directions drown what the scores of the pairs are about."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, d)) * (np.arange(d) > 2)
    X = meaning + rng.normal(size=(n, d)) * 9 * (np.arange(d) < 3) + 2
    pairs = rng.integers(0, n, size=(300, 2))
    rows = unit(meaning)
    return X, pairs, (rows[pairs[:, 0]] * rows[pairs[:, 1]]).sum(1)


def correlation(Y, pairs, scores):
    Y = unit(Y)
    return np.corrcoef((Y[pairs[:, 0]] * Y[pairs[:, 1]]).sum(1), scores)[0, 1]


def test_weights_are_high_where_directions_drown_the_pairs():
    X, pairs, scores = data()
    fitted = WeightedRemoval(6, penalty=0.01).fit(X, pairs=pairs, pair_scores=scores)
    assert fitted.weights_[:3].min() > 0.7 > 0.6 > fitted.weights_[3:].max()
    before = correlation(X - X.mean(0), pairs, scores)
    after = correlation(fitted.transform(X), pairs, scores)
    assert after == pytest.approx(fitted.correlation_, abs=1e-9)
    assert after > before + 0.4
    centred = X - X.mean(0)
    for weight, u in zip(fitted.weights_, fitted.components_, strict=True):
        centred = centred - weight * np.outer((X - X.mean(0)) @ u, u)
    np.testing.assert_allclose(fitted.transform(X), centred, atol=1e-9)


def test_the_weights_are_a_minimum():
    X, pairs, scores = data()
    fitted = WeightedRemoval(5, penalty=0.3).fit(X, pairs=pairs, pair_scores=scores)
    U, mean = fitted.components_, X.mean(0)

    def loss(w):
        Y = (X - mean) - ((X - mean) @ U.T * w) @ U
        return 0.3 * (w**2).mean() - correlation(Y, pairs, scores)

    inside = (fitted.weights_ > 1e-6) & (fitted.weights_ < 1 - 1e-6)
    slope = approx_fprime(fitted.weights_, loss, 1e-6)
    assert inside.any() and np.abs(slope[inside]).max() < 1e-3
    assert (slope[fitted.weights_ <= 1e-6] > -1e-3).all()
    assert (slope[fitted.weights_ >= 1 - 1e-6] < 1e-3).all()


def test_a_heavy_penalty_removes_nothing():
    X, pairs, scores = data()
    fitted = WeightedRemoval(5, penalty=1e6).fit(X, pairs=pairs, pair_scores=scores)
    np.testing.assert_allclose(fitted.weights_, 0, atol=1e-6)


def test_pair_whitening_is_the_published_recipe():
    X, _, _ = data(n=3000, d=6)
    rng = np.random.default_rng(3)
    partner = X + rng.normal(size=X.shape) * np.array([5, 1, 1, 1, 0.1, 0.1])
    rows = np.concatenate([X, partner])
    pairs = np.stack([np.arange(3000), 3000 + np.arange(3000)], 1)
    fitted = PairWhitening().fit(rows, pairs=pairs)
    apart = X - partner
    S = apart.T @ apart / 3000
    s = fitted.shrinkage_
    S = (1 - s) * S + s * np.trace(S) / 6 * np.eye(6)
    values, vectors = np.linalg.eigh(S)
    P = vectors @ np.diag(values**-0.5) @ vectors.T
    Y = (rows - rows.mean(0)) @ P
    U = np.linalg.eigh(np.cov(Y.T))[1][:, ::-1]
    np.testing.assert_allclose(np.abs(fitted.transform(rows)), np.abs(Y @ U), rtol=1e-6, atol=1e-8)
    assert s < 0.01 and fitted.n_matching_ == 3000
    # Differences of matching rows are alike in all directions afterwards.
    after = fitted.transform(X) - fitted.transform(partner)
    spread = np.linalg.eigvalsh(np.cov(after.T))
    assert spread[-1] / spread[0] < 1.3
    assert PairWhitening(2).fit(rows, pairs=pairs).transform(rows).shape == (6000, 2)


def test_few_pairs_are_shrunk_and_scores_say_which_match():
    X, pairs, scores = data()
    few = PairWhitening().fit(X, pairs=pairs, pair_scores=scores)
    assert few.n_matching_ == 75 and 0 < few.shrinkage_ <= 1
    assert np.isfinite(few.transform(X)).all()
    chosen = PairWhitening(threshold=0.2).fit(X, pairs=pairs, pair_scores=scores)
    assert chosen.n_matching_ == int((scores >= 0.2).sum())
    with pytest.raises(ValueError, match="at least 5"):
        PairWhitening(threshold=5).fit(X, pairs=pairs, pair_scores=scores)
    with pytest.raises(ValueError, match="equal rows"):
        PairWhitening().fit(X, pairs=np.array([[1, 1], [2, 2]]))


@pytest.mark.parametrize("estimator", [WeightedRemoval(4), PairWhitening(5)], ids=str)
@pytest.mark.parametrize("normalize", ["none", "both"])
def test_files_keep_the_map(tmp_path, estimator, normalize):
    X, pairs, scores = data()
    fitted = estimator.set_params(normalize=normalize).fit(X, pairs=pairs, pair_scores=scores)
    fitted.save(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        load(tmp_path / "x.safetensors").transform(X), fitted.transform(X)
    )


@pytest.mark.parametrize("estimator", [WeightedRemoval(4), PairWhitening(5)], ids=str)
def test_pairs_travel_by_metadata_routing(estimator):
    X, pairs, scores = data()
    with sklearn.config_context(enable_metadata_routing=True):
        asked = estimator.set_fit_request(pairs=True, pair_scores=True)
        pipe = make_pipeline(MeanRemoval(), asked).fit(X, pairs=pairs, pair_scores=scores)
    alone = estimator.fit(X - X.mean(0), pairs=pairs, pair_scores=scores)
    np.testing.assert_allclose(pipe.transform(X), alone.transform(X - X.mean(0)), atol=1e-9)


@pytest.mark.parametrize("estimator", [WeightedRemoval(4), PairWhitening(5)], ids=str)
def test_wrong_pairs_are_named(estimator):
    X, pairs, scores = data()
    for given, said in (
        ({}, "pairs is missing"),
        ({"pairs": [[0, 400]], "pair_scores": [1]}, "0 to 399"),
        ({"pairs": [[0, 1, 2]], "pair_scores": [1]}, r"shape \(m, 2\)"),
        ({"pairs": np.empty((0, 2), int), "pair_scores": []}, "no pair"),
        ({"pairs": pairs, "pair_scores": scores[:5]}, "one a pair"),
    ):
        with pytest.raises(ValueError, match=said):
            estimator.fit(X, **given)


@pytest.mark.parametrize("estimator", [WeightedRemoval(4), PairWhitening(5)], ids=str)
@pytest.mark.parametrize("method", ["partial_fit", "fit_moments"])
def test_what_is_impossible_is_not_there(estimator, method):
    assert not hasattr(estimator, method)
