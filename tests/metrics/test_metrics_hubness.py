"""Hubness and intrinsic dimension against plain definitions and known answers."""

import numpy as np
import pytest
from scipy import stats

from isotropy.metrics import (
    anti_hub_rate,
    gini,
    hub_share,
    hubness,
    intrinsic_dimension,
    k_occurrence,
    k_skewness,
    local_intrinsic_dimension,
    nearest_neighbors,
    robin_hood,
)


def rows(n, d=12, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def plain_counts(documents, queries, k):
    units = [X / np.linalg.norm(X, axis=1, keepdims=True) for X in (documents, queries)]
    nearest = np.argsort(-(units[1] @ units[0].T), axis=1)[:, :k]
    return np.bincount(nearest.ravel(), minlength=len(documents))


def test_occurrences_are_counted_over_queries():
    documents, queries = rows(40), rows(25, seed=1)
    wanted = plain_counts(documents, queries, 6)
    np.testing.assert_array_equal(k_occurrence(documents, queries, 6), wanted)
    assert k_skewness(documents, queries, 6) == pytest.approx(stats.skew(wanted))
    by_dot = np.argsort(-(queries @ documents.T), axis=1)[:, :6]
    np.testing.assert_array_equal(
        k_occurrence(documents, queries, 6, measure="dot"),
        np.bincount(by_dot.ravel(), minlength=40),
    )


def test_measures_of_the_counts_are_the_papers():
    X = rows(200, 30, mean=0.3)
    counts = k_occurrence(X, n_neighbors=5)
    assert counts.sum() == 1000
    n, mean = len(counts), counts.mean()
    assert robin_hood(X, n_neighbors=5) == pytest.approx(
        0.5 * sum(abs(c - mean) for c in counts) / counts.sum()
    )
    pairs = np.abs(counts[:, None] - counts[None]).sum()
    assert gini(X, n_neighbors=5) == pytest.approx(pairs / (2 * n**2 * mean))
    assert anti_hub_rate(X, n_neighbors=5) == pytest.approx(sum(c == 0 for c in counts) / n)
    assert hub_share(X, n_neighbors=5) == pytest.approx(
        sum(c for c in counts if c >= 2 * mean) / counts.sum()
    )
    found = hubness(X, n_neighbors=5)
    assert (found.robin_hood, found.gini) == (robin_hood(X, n_neighbors=5), gini(X, n_neighbors=5))
    assert (found.anti_hub_rate, found.hub_share) == (
        anti_hub_rate(X, n_neighbors=5),
        hub_share(X, n_neighbors=5),
    )
    assert found.k_skewness == k_skewness(X, n_neighbors=5) == pytest.approx(stats.skew(counts))
    assert (found.n, found.n_queries, found.n_neighbors) == (200, 200, 5)
    hubs = found.hubs(3)
    assert counts[hubs].tolist() == sorted(counts)[::-1][:3]
    assert "of rows are never found" in str(found)


@pytest.mark.parametrize("asked", [False, True])
def test_neighbours_found_before_are_taken(asked):
    X, Q = rows(60), rows(30, seed=1)
    queries = Q if asked else None
    neighbors = nearest_neighbors(X, 8, queries=queries)
    wanted = hubness(X, queries, n_neighbors=5)
    for given in (neighbors, neighbors.indices):
        found = hubness(X, n_neighbors=5, neighbors=given)
        np.testing.assert_array_equal(found.counts, wanted.counts)
        assert found.n_queries == wanted.n_queries
    np.testing.assert_array_equal(
        k_occurrence(60, n_neighbors=5, neighbors=neighbors), wanted.counts
    )
    some = neighbors.indices.copy()
    some[:, 3:] = -1  # an approximate index found no more
    assert k_occurrence(X, n_neighbors=5, neighbors=some).sum() == 3 * len(some)


def test_hubs_grow_with_the_dimension_and_go_without_one():
    low, high = (k_skewness(rows(1500, d), measure="euclidean") for d in (3, 100))
    assert low < 0.6 < 2 < high
    ring = np.exp(2j * np.pi * np.arange(50) / 50)
    ring = np.column_stack([ring.real, ring.imag])
    assert (k_occurrence(ring, n_neighbors=2) == 2).all()
    assert np.isnan(k_skewness(ring, n_neighbors=2))
    assert (
        robin_hood(ring, n_neighbors=2)
        == gini(ring, n_neighbors=2)
        == anti_hub_rate(ring, n_neighbors=2)
        == 0
    )


def test_more_neighbours_than_documents_are_all():
    assert k_occurrence(rows(3), rows(5), 10).tolist() == [5, 5, 5]
    assert np.isnan(k_skewness(rows(3), rows(5), 10))


def test_wrong_questions_are_named():
    for call, what in [
        (lambda: k_occurrence(rows(3), rows(5), 0), "n_neighbors must be"),
        (lambda: k_occurrence(rows(3), rows(5, 4), 2), "columns"),
        (
            lambda: k_occurrence(3, n_neighbors=2, neighbors=np.zeros((4, 1), int)),
            "at least n_neighbors=2",
        ),
        (lambda: k_occurrence(3, n_neighbors=1, neighbors=np.zeros((4, 1))), "float64"),
        (lambda: k_occurrence(3, n_neighbors=1, neighbors=np.full((4, 1), 7)), "row 7"),
        (lambda: intrinsic_dimension(rows(9), discard=1), "discard"),
        (lambda: local_intrinsic_dimension(rows(9), 1), "n_neighbors must be"),
        (lambda: local_intrinsic_dimension(rows(9), 9), "from 1 to 8"),
    ]:
        with pytest.raises(ValueError, match=what):
            call()


@pytest.mark.parametrize("d", [1, 2, 5])  # higher ones come out too low
def test_dimensions_of_a_flat_manifold_are_found(d):
    rng = np.random.default_rng(d)
    X = rng.uniform(size=(4000, d)) @ rng.normal(size=(d, 20))
    assert intrinsic_dimension(X) == pytest.approx(d, rel=0.2)
    local = local_intrinsic_dimension(X, 20)
    assert 1 / np.mean(1 / local) == pytest.approx(d, rel=0.2)


def test_two_nn_is_the_paper_s_regression():
    X = rows(300, 6)
    distances = np.sort(np.linalg.norm(X[:, None] - X[None], axis=2), axis=1)
    ratios = np.sort(distances[:, 2] / distances[:, 1])[:270]
    empirical = np.arange(1, 271) / 301
    x, y = np.log(ratios), -np.log(1 - empirical)
    assert intrinsic_dimension(X) == pytest.approx((x @ y) / (x @ x), rel=1e-9)


def test_local_dimension_is_the_paper_s_likelihood():
    X = rows(80, 4)
    distances = np.sort(np.linalg.norm(X[:, None] - X[None], axis=2), axis=1)[:, 1:6]
    wanted = -1 / np.log(distances[:, :4] / distances[:, 4:]).mean(1)
    np.testing.assert_allclose(local_intrinsic_dimension(X, 5), wanted, rtol=1e-9)


def test_duplicates_count_once():
    X = rows(300, 6)
    twice = np.repeat(X, 3, axis=0)
    assert intrinsic_dimension(twice) == pytest.approx(intrinsic_dimension(X))
    local = local_intrinsic_dimension(twice, 5)
    np.testing.assert_allclose(local[::3], local_intrinsic_dimension(X, 5))
    assert (local[::3] == local[1::3]).all()
    assert np.isnan(intrinsic_dimension(np.ones((9, 3))))
    assert np.isnan(intrinsic_dimension(rows(2)))
