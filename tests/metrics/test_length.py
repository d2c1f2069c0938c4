"""What length does to embeddings."""

import numpy as np
import pytest

from isotropy.metrics import length_table


def data(n=90, d=6):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, n)
    return rng.normal(size=(n, d)) + np.outer(lengths / 100, np.eye(d)[0]), lengths


@pytest.mark.parametrize("asked", [None, 7])
def test_bins_hold_the_means_of_plain_loops(asked):
    X, lengths = data()
    Q = None if asked is None else np.random.default_rng(1).normal(size=(asked, X.shape[1]))
    table = length_table(X, lengths, queries=Q, n_bins=3, n_neighbors=4)
    n = len(X)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = np.array([np.mean([unit[i] @ unit[j] for j in range(n) if j != i]) for i in range(n)])
    places, hits = [[] for _ in range(n)], np.zeros(n)
    for q, query in enumerate(unit if Q is None else Q):
        order = [i for i in np.argsort(-(unit @ query)) if Q is not None or i != q]
        for place, i in enumerate(order):
            places[i].append(place / (len(order) - 1))
            hits[i] += place < 4
    ranks, times = np.array([np.mean(p) for p in places]), hits / hits.mean()
    assert sum(b.n for b in table.bins) == n
    assert [b.n for b in table.bins] == pytest.approx([n / 3] * 3, abs=3)
    for b in table.bins:
        chosen = (lengths >= b.shortest) & (lengths <= b.longest)
        assert chosen.sum() == b.n
        for found, value in ((b.cosine, cosines), (b.occurrence, times), (b.rank, ranks)):
            assert found == pytest.approx(value[chosen].mean(), abs=1e-9)
        low, high = b.rank_interval
        half = 1.959964 * ranks[chosen].std(ddof=1) / np.sqrt(b.n)
        assert (low, high) == pytest.approx((b.rank - half, b.rank + half))


def test_a_pull_of_long_texts_is_seen_and_none_where_there_is_none():
    X, lengths = data(400)
    pulled = length_table(X, lengths)
    assert pulled.cosine_correlation > 0.3 and pulled.rank_correlation < -0.3
    assert pulled.bins[-1].rank_interval[1] < pulled.bins[0].rank_interval[0]
    free = length_table(np.random.default_rng(2).normal(size=(400, 6)), lengths)
    assert abs(free.cosine_correlation) < 0.15 and abs(free.rank_correlation) < 0.15
    assert "in 10-NN" in str(free) and "<table>" in free._repr_html_()


def test_texts_are_measured_in_words_and_equal_lengths_share_a_bin():
    X = np.random.default_rng(0).normal(size=(6, 3))
    table = length_table(X, ["a b"] * 5 + ["c"], n_neighbors=2)
    assert [(b.shortest, b.longest, b.n) for b in table.bins] == [(1, 1, 1), (2, 2, 5)]
    assert np.isnan(table.bins[0].rank_interval).all()
    one = length_table(X, ["a b"] * 6)
    assert len(one.bins) == 1 and np.isnan(one.cosine_correlation)
    assert one.bins[0].rank == pytest.approx(0.5) and one.bins[0].occurrence == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": [1, 2]}, "lengths must be 5"),
        ({"lengths": [1, 2, 3, 4, -5]}, "at least 0"),
        ({"lengths": [1, 2, 3, 4, np.nan]}, "finite"),
        ({"lengths": "words"}, "one text"),
        ({"n_bins": 0}, "n_bins must be"),
        ({"n_neighbors": 0}, "n_neighbors must be"),
        ({"queries": np.zeros((0, 5))}, "no rows"),
        ({"queries": np.zeros((2, 4))}, "4"),
        ({"X": np.eye(2)}, "three rows"),
        ({"X": np.full((5, 5), np.nan)}, "row 0"),
    ],
)
def test_what_makes_no_table_of_lengths_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        length_table(options.pop("X", np.eye(5)), options.pop("lengths", range(5)), **options)
