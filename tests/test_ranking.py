"""Ranks, neighbours and nDCG against slow and plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from isotropy.ranking import (
    correlations,
    cosines,
    first,
    ndcg,
    nearest,
    spearman,
    unit,
    vote,
)


@pytest.mark.parametrize("k", [1, 3, 7, 20, 50])
@pytest.mark.parametrize("seed", range(5))
def test_the_first_are_those_of_a_stable_sort_with_any_ties(seed, k):
    scores = np.random.default_rng(seed).integers(0, 6, size=(30, 20)).astype(float)
    wanted = [sorted(range(20), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
    assert first(scores, k).tolist() == wanted


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
@pytest.mark.parametrize("kind", ["float64", "float32", "tight"])
def test_the_nearest_are_exact_at_every_scale(scale, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12))
    if kind == "tight":  # clusters far narrower than the distances between them
        X = rng.normal(size=(6, 12))[np.arange(300) % 6] + 1e-4 * X
    X = (X * scale).astype(np.float32 if kind == "float32" and 1e-31 < scale < 1e31 else float)
    rows = [np.array(row, dtype=np.longdouble) for row in X]
    rows = np.array([row / np.sqrt((row * row).sum()) for row in rows])
    cosines = np.round((rows @ rows.T).astype(float), 12)
    np.fill_diagonal(cosines, -np.inf)
    wanted = np.argsort(-cosines, axis=1, kind="stable")[:, :5]
    found = np.concatenate([block for block, _ in nearest(X, X, 5, itself=True)])
    if kind == "tight":  # cosines equal to 12 decimals may differ in the 13th
        wanted, found = (np.take_along_axis(cosines, some, 1) for some in (wanted, found))
        np.testing.assert_allclose(found, wanted, atol=2e-12)
    else:
        np.testing.assert_array_equal(found, wanted)


def test_equal_rows_come_in_their_order_wherever_they_stand():
    X = np.random.default_rng(0).normal(size=(7, 33))
    rows = np.tile(X, (101, 1))
    for found, values in nearest(X, rows, 101):
        assert (found % 7 == np.arange(7)[:, None]).all()
        assert (np.diff(found, axis=1) == 7).all() and np.allclose(values, 1)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    Q, X = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    whole = np.concatenate([found for found, _ in nearest(Q, X, 9)])
    monkeypatch.setattr("isotropy.ranking._CELLS", 100)
    np.testing.assert_array_equal(np.concatenate([f for f, _ in nearest(Q, X, 9)]), whole)
    alone = np.concatenate([found for found, _ in nearest(X, X, 100, itself=True)])
    assert alone.shape == (40, 39) and not (alone == np.arange(40)[:, None]).any()


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_the_plain_sum(seed):
    rng = np.random.default_rng(seed)
    judged = rng.integers(-1, 4, size=30).astype(float)
    judged[0] = 2
    gains = rng.permutation(judged)[: rng.integers(1, 30)]

    def dcg(grades):
        return sum(max(g, 0) / math.log2(i + 2) for i, g in enumerate(grades[:10]))

    wanted = dcg(gains) / dcg(sorted(judged, reverse=True))
    assert ndcg(gains, judged) == pytest.approx(wanted) and 0 <= wanted <= 1
    assert ndcg(sorted(judged, reverse=True), judged) == pytest.approx(1)


def test_nothing_relevant_or_nothing_found_is_zero():
    assert ndcg([], [1.0]) == ndcg([0, 0], [0.0, -1]) == ndcg([1], []) == 0


def test_spearman_is_scipys_and_constants_have_none():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 60), rng.normal(size=60)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0])
    assert spearman(np.ones(5), np.arange(5)) == 0
    found = correlations(rng.normal(size=(4, 50)), rng.normal(size=(4, 50)))
    assert found.shape == (4,) and (abs(found) <= 1).all()


def test_unit_rows_are_of_length_one_at_every_scale():
    X = np.random.default_rng(0).normal(size=(5, 8)) * np.array([[1e-300, 1e-30, 1, 1e30, 1e300]]).T
    np.testing.assert_allclose(np.linalg.norm(unit(X), axis=1), 1)
    assert (unit(np.zeros((1, 3))) == 0).all() and unit(np.empty((0, 3))).shape == (0, 3)
    np.testing.assert_allclose(np.linalg.norm(unit(X[2:3].astype(np.float16)), axis=1), 1)


def test_a_vote_goes_to_a_label_that_was_found():
    labels = np.array([0, 1, 1, 2])
    found, cosines = np.array([[1, 2]]), np.array([[-0.9, -0.8]])  # as after centring
    assert vote(found, cosines, labels, 3).tolist() == [1]


def test_rounding_makes_no_ranks():
    """Rows along one direction have cosines of 1: what their lengths leave is rounding."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(200, 1)) * rng.normal(size=33)
    found = cosines(X, X[::-1])
    assert (found == 1).all() and spearman(found, rng.normal(size=200)) == 0
