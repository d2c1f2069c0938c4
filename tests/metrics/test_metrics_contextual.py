"""Contextuality, rogue dimensions and clusters against loops over pairs."""

from itertools import combinations

import numpy as np
import pytest

from isotropy.metrics import (
    cluster_cosines,
    contextuality,
    cosine_contributions,
    informativity,
    intra_sentence_similarity,
    max_explainable_variance,
    mean_cosine,
    self_similarity,
)


def words_and_rows(seed=0, n=80, d=7):
    rng = np.random.default_rng(seed)
    words = np.array([f"w{k}" for k in rng.integers(0, 20, n)])
    sentences = np.sort(rng.integers(0, 12, n))
    return rng.normal(size=(n, d)) + 0.4, words, sentences


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def groups_of(labels):
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def test_self_similarity_is_the_paper_s():
    X, words, _ = words_and_rows()
    wanted = np.mean(
        [
            np.mean([cosine(X[i], X[j]) for i, j in combinations(group, 2)])
            for group in groups_of(words)
            if len(group) > 1
        ]
    )
    assert self_similarity(X, words) == pytest.approx(wanted, rel=1e-10)
    assert np.isnan(self_similarity(X[:3], ["a", "b", "c"]))


def test_intra_sentence_similarity_is_the_paper_s():
    X, _, sentences = words_and_rows()
    wanted = np.mean(
        [np.mean([cosine(X[i], X[g].mean(0)) for i in g]) for g in groups_of(sentences)]
    )
    assert intra_sentence_similarity(X, sentences) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("d", [3, 7, 40])
def test_explainable_variance_is_the_paper_s(d):
    X, words, _ = words_and_rows(d=d)
    shares = []
    for group in groups_of(words):
        if len(group) > 1:
            sigma = np.linalg.svd(X[group], compute_uv=False)
            shares.append(sigma[0] ** 2 / (sigma**2).sum())
    assert max_explainable_variance(X, words) == pytest.approx(np.mean(shares), rel=1e-10)


def test_baselines_are_taken_off():
    rng = np.random.default_rng(3)
    words = np.repeat(np.arange(60), 5)
    cone = rng.normal(size=(300, 32)) + 3  # no word means anything
    found = contextuality(cone, words, np.arange(300) // 10)
    assert found.self_similarity > 0.8 and abs(found.adjusted["self_similarity"]) < 0.01
    assert abs(found.adjusted["max_explainable_variance"]) < 0.01
    assert found.mean_cosine == mean_cosine(cone)
    static = rng.normal(size=(60, 32))[words]
    found = contextuality(static, words)
    assert found.self_similarity == pytest.approx(1)
    assert found.max_explainable_variance == pytest.approx(1)
    assert found.adjusted["max_explainable_variance"] > 0.5
    assert np.isnan(found.intra_sentence_similarity)
    assert "adjusted" in str(found) and "<table>" in found._repr_html_()
    assert list(found.to_dict()["adjusted"]) == list(found.adjusted)


def test_a_rogue_dimension_hides_the_rest():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20))
    X[:, 4] = 30 * rng.choice([1.0, 2.0], 400) + rng.normal(size=400)
    found = informativity(X, (0, 1, 3))
    assert found[0] == pytest.approx(1) and found[1] < 0.4
    plain = informativity(rng.normal(size=(400, 20)) + 1, (1,))
    assert plain[1] > 0.7
    # The definition, on the pairs it draws.
    pairs = np.random.default_rng(0)
    first = pairs.integers(400, size=50_000)
    second = (first + pairs.integers(1, 400, size=50_000)) % 400
    rest = np.delete(np.arange(20), np.argmax(cosine_contributions(X)))
    both = [
        [cosine(X[i][k], X[j][k]) for i, j in zip(first[:300], second[:300], strict=True)]
        for k in (np.arange(20), rest)
    ]
    few = informativity(X, (1,), n_pairs=50_000)[1]
    assert few == pytest.approx(np.corrcoef(*both)[0, 1] ** 2, abs=0.15)


def test_cluster_cosines_are_means_over_pairs():
    X, words, _ = words_and_rows(n=50)
    centred = X.copy()
    for group in groups_of(words):
        centred[group] -= X[group].mean(0)
    wanted = []
    for rows in (X, centred):
        inner, outer = [], []
        for i, j in combinations(range(50), 2):
            if not (np.linalg.norm(rows[i]) > 1e-12 and np.linalg.norm(rows[j]) > 1e-12):
                continue
            (inner if words[i] == words[j] else outer).append(cosine(rows[i], rows[j]))
        wanted += [np.mean(inner), np.mean(outer)]
    found = cluster_cosines(X, words)
    assert [found.intra, found.inter] == pytest.approx(wanted[:2], rel=1e-9)
    assert [found.intra_centred, found.inter_centred] == pytest.approx(wanted[2:], abs=0.02)


def test_isotropic_clusters_are_seen():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 2000)
    X = rng.normal(size=(4, 30))[labels] * 3 + rng.normal(size=(2000, 30))
    found = cluster_cosines(X, labels)
    assert found.intra > 0.8 and abs(found.intra_centred) < 0.01


def test_wrong_labels_are_named():
    X = np.ones((4, 3))
    for call in (
        lambda: self_similarity(X, [1, 2]),
        lambda: intra_sentence_similarity(X, [1, 2]),
        lambda: max_explainable_variance(X, [[1, 2, 3, 4]]),
        lambda: cluster_cosines(X, None),
        lambda: contextuality(X, [1, 2, 3, 4], [1]),
    ):
        with pytest.raises(ValueError, match="one entry a row"):
            call()
    with pytest.raises(ValueError, match="n_dims"):
        informativity(X, (3,))
    with pytest.raises(ValueError, match="two rows"):
        informativity(X[:1])
    with pytest.raises(ValueError, match="row 1"):
        self_similarity([[1.0], [np.nan]], [0, 0])


def test_zero_rows_and_nothing():
    X = np.array([[1.0, 0], [0, 0], [1, 0]])
    assert self_similarity(X, [0, 0, 0]) == pytest.approx(1)
    assert np.isfinite(intra_sentence_similarity(X, [0, 0, 0]))
    assert np.isnan(cluster_cosines(np.empty((0, 2)), np.empty(0)).intra)
