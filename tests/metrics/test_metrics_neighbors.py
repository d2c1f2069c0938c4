"""Nearest neighbours against all pairs; hull certificates checked by hand; frequency buckets."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from isotropy.io import open_rows
from isotropy.metrics import (
    frequency_table,
    nearest_neighbors,
    neighbors,
    origin_in_hull,
    read_counts,
    token_counts,
)


def rows(n, d, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def plain(X, k, Q=None, measure="cosine"):
    """By sorting the whole matrix of float64."""
    X = np.asarray(X, dtype=np.float64)
    asked = X if Q is None else np.asarray(Q, dtype=np.float64)
    if measure == "euclidean":
        values = -cdist(asked, X)
    else:
        values = asked @ X.T
        if measure == "cosine":
            lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(X, axis=1)
            values = values / np.where(lengths > 0, lengths, 1)
    if Q is None:
        np.fill_diagonal(values, -np.inf)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(values, order, axis=1)
    return order, -values if measure == "euclidean" else values


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("asked", [False, True], ids=["among themselves", "queries"])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_the_neighbours_are_those_of_all_pairs(monkeypatch, measure, asked, dtype):
    monkeypatch.setattr(neighbors, "_BLOCK", 32)
    X, Q = rows(150, 7, mean=0.5).astype(dtype), rows(70, 7, seed=1).astype(dtype)
    Q = Q if asked else None
    found = nearest_neighbors(X, 5, queries=Q, measure=measure)
    indices, values = plain(X, 5, Q, measure)
    assert found.indices.dtype == np.int64
    np.testing.assert_allclose(found.values, values, rtol=1e-6, atol=1e-6)
    assert (found.indices == indices).mean() > 0.99


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("n", [2, 31, 32, 33, 97])
def test_every_other_row_can_be_asked_for(monkeypatch, n, measure):
    monkeypatch.setattr(neighbors, "_BLOCK", 32)
    X = rows(n, 3)
    found = nearest_neighbors(X, n - 1, measure=measure)
    np.testing.assert_array_equal(found.indices, plain(X, n - 1, measure=measure)[0])


def test_duplicates_are_neighbours_and_no_row_is_its_own(monkeypatch):
    monkeypatch.setattr(neighbors, "_BLOCK", 8)
    X = np.repeat(rows(5, 4), 4, axis=0)
    for measure in ("cosine", "dot", "euclidean"):
        found = nearest_neighbors(X, 3, measure=measure).indices
        assert (found != np.arange(20)[:, None]).all()
        if measure != "dot":
            for row, near in enumerate(found):
                assert sorted(near) == [
                    r for r in range(row // 4 * 4, row // 4 * 4 + 4) if r != row
                ]


def test_close_rows_far_from_the_origin_keep_their_order():
    X = (1e4 + rows(300, 6)).astype(np.float32)
    found = nearest_neighbors(X, 4, measure="euclidean")
    indices, values = plain(X, 4, measure="euclidean")
    assert (found.indices == indices).mean() > 0.99
    np.testing.assert_allclose(found.values, values, rtol=1e-6)


def test_zero_huge_and_tiny_rows():
    X = rows(40, 5)
    X[3] = 0
    found = nearest_neighbors(X, 6)
    np.testing.assert_array_equal(found.values[3], 0)
    for scale in (1e-30, 1e30):
        scaled = nearest_neighbors((X * scale).astype(np.float32), 6)
        assert (scaled.indices == found.indices).mean() > 0.99


def test_any_source_of_rows(tmp_path):
    X = rows(60, 4).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    wanted = nearest_neighbors(X, 3)
    found = nearest_neighbors(open_rows(tmp_path / "x.npy"), 3)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(nearest_neighbors(torch.from_numpy(X), 3).indices, wanted.indices)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_the_search_of_devices_gives_the_same(measure, asked):
    torch = pytest.importorskip("torch")
    X, Q = rows(90, 6).astype(np.float32), rows(20, 6, 1).astype(np.float32)
    wanted = nearest_neighbors(X, 4, queries=Q if asked else None, measure=measure)
    X, Q = torch.from_numpy(X), torch.from_numpy(Q)
    found = neighbors._on_device(X, Q if asked else X, 4, not asked, measure)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-6)
    assert (found.indices == wanted.indices).mean() > 0.99


def test_no_queries_give_no_neighbours():
    found = nearest_neighbors(rows(9, 3), 2, queries=np.empty((0, 3)))
    assert found.indices.shape == found.values.shape == (0, 2)


def test_wrong_questions_are_named():
    X = rows(9, 3)
    for options, what in [
        ({"k": 0}, "from 1 to 8"),
        ({"k": 9}, "from 1 to 8, the number of rows less one"),
        ({"k": True}, "k must be"),
        ({"measure": "manhattan"}, "measure must be"),
        ({"queries": np.ones((2, 4))}, "4 columns"),
        ({"queries": np.full((2, 3), np.nan)}, "queries contains NaN"),
    ]:
        with pytest.raises(ValueError, match=what):
            nearest_neighbors(X, **{"k": 2, **options})
    with pytest.raises(ValueError, match="from 1 to 0"):
        nearest_neighbors(X[:1], 1)
    X[4, 1] = np.inf
    with pytest.raises(ValueError, match="row 4"):
        nearest_neighbors(X, 2)


# -- the hull ------------------------------------------------------------------------------------


def contains_by_linear_program(X):
    n = len(X)
    system = np.vstack([X.T, np.ones(n)])
    wanted = np.concatenate([np.zeros(X.shape[1]), [1.0]])
    return linprog(np.zeros(n), A_eq=system, b_eq=wanted, method="highs").status == 0


def check_by_hand(X, found):
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    units = X / np.where(lengths > 0, lengths, 1)
    assert (found.weights >= 0).all() and found.weights.sum() == pytest.approx(1)
    assert len(found.rows) <= X.shape[1] + 1
    point = found.weights @ units[found.rows]
    assert np.linalg.norm(point) == pytest.approx(found.residual, abs=1e-12)
    if found.contains:
        assert found.residual <= 1e-9
    else:
        assert np.linalg.norm(found.direction) == pytest.approx(1)
        assert (units @ found.direction).min() == pytest.approx(found.margin, abs=1e-12)
        assert 0 < found.margin <= found.residual * (1 + 1e-9)
        assert found.margin >= found.residual * (1 - 1.1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(5, 2), (12, 6), (20, 12), (60, 30), (400, 12), (3, 8)], ids=str)
def test_the_hull_agrees_with_a_linear_program(shape, seed):
    X = rows(*shape, seed=seed, mean=0.1 * seed)
    found = origin_in_hull(X)
    assert found.contains is contains_by_linear_program(X)
    check_by_hand(X, found)


def test_known_hulls():
    d = 6
    simplex = np.vstack([np.eye(d), -np.ones((1, d))])
    assert origin_in_hull(simplex).contains
    cone = origin_in_hull(np.eye(d))
    assert not cone.contains
    # The nearest point to the origin is the middle of the face.
    assert cone.margin == pytest.approx(d**-0.5) and len(cone.rows) == d
    np.testing.assert_allclose(cone.direction, d**-0.5)
    opposite = origin_in_hull([[1.0, 2.0], [-2.0, -4.0]])
    assert opposite.contains  # on an edge
    np.testing.assert_allclose(opposite.weights, 0.5)
    one = origin_in_hull([[3.0, 4.0]])
    assert one.contains is False and one.margin == pytest.approx(1)
    zero = origin_in_hull([[1.0, 1.0], [0.0, 0.0]])
    assert zero.contains and zero.rows.tolist() == [1] and zero.residual == 0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_of_the_rows_does_not_matter(scale):
    X = rows(50, 8, mean=0.8) * scale * np.geomspace(1, 1e3, 50)[:, None]
    assert origin_in_hull(X).contains == origin_in_hull(rows(50, 8, mean=0.8)).contains


def test_a_thin_cone_and_one_that_barely_misses():
    thin = np.ones((200, 10)) + 1e-6 * rows(200, 10)
    found = origin_in_hull(thin)
    assert found.contains is False and found.margin > 0.999
    # A full circle but for one tenth of a degree.
    angles = np.deg2rad(np.linspace(0.05, 179.95, 500))
    flat = np.column_stack([np.cos(angles), np.sin(angles)])
    found = origin_in_hull(flat)
    assert found.contains is False
    assert found.margin == pytest.approx(np.sin(np.deg2rad(0.05)), rel=1e-2)


def test_hull_of_rows_in_blocks(monkeypatch, tmp_path):
    from isotropy.metrics import _inputs

    monkeypatch.setattr(_inputs, "block_rows", lambda d, itemsize: 50)
    X = rows(400, 20).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    found = origin_in_hull(open_rows(tmp_path / "x.npy"))
    assert found.contains
    check_by_hand(X.astype(np.float64), found)


def test_duplicates_in_the_hull():
    X = np.repeat(rows(30, 5, mean=0.2), 20, axis=0)
    found = origin_in_hull(X)
    assert found.contains is contains_by_linear_program(X)
    check_by_hand(X, found)


def test_undecided_is_said():
    found = origin_in_hull(rows(4000, 60), max_passes=1)
    assert found.contains is None and "Undecided" in str(found)


def test_the_certificate_speaks():
    assert "contains the origin" in str(origin_in_hull([[1.0], [-1.0]]))
    assert "outside the hull" in str(origin_in_hull(np.eye(3)))


def test_wrong_hulls_are_named():
    for X, what in [(np.empty((0, 3)), "no rows"), ([[np.nan, 1.0]], "NaN")]:
        with pytest.raises(ValueError, match=what):
            origin_in_hull(X)
    with pytest.raises(ValueError, match="tol"):
        origin_in_hull(np.eye(2), tol=0)


# -- frequency -----------------------------------------------------------------------------------


def test_buckets_are_by_rank_of_frequency():
    rng = np.random.default_rng(0)
    X, counts = rng.normal(size=(300, 6)), rng.permutation(300)
    order = np.argsort(-counts)
    table = frequency_table(X, counts, edges=(10, 100), k=2)
    assert [(b.first, b.last, b.n) for b in table.buckets] == [
        (0, 10, 10),
        (10, 100, 90),
        (100, 300, 200),
    ]
    norms, mean = np.linalg.norm(X, axis=1), X.mean(0)
    cosines = X @ mean / norms / np.linalg.norm(mean)
    distance = plain(X, 2, measure="euclidean")[1].mean(1)
    dot = plain(X, 2, measure="dot")[1].mean(1)
    for bucket in table.buckets:
        chosen = order[bucket.first : bucket.last]
        found = (bucket.norm, bucket.distance, bucket.dot, bucket.mean_cosine)
        wanted = [v[chosen].mean() for v in (norms, distance, dot, cosines)]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_rare_rows_in_a_cone_are_seen():
    rng = np.random.default_rng(1)
    counts = np.arange(2000)[::-1]
    X = rng.normal(size=(2000, 16)) * np.linspace(2, 0.5, 2000)[:, None]
    X[1000:] += 1.5
    table = frequency_table(X, counts, edges=(500, 1000))
    assert table.mean_correlation < -0.5
    first, *_, last = table.buckets
    assert last.mean_cosine > 0.8 > first.mean_cosine and last.distance < first.distance
    assert "500-1,000" in str(table) and "<table>" in table._repr_html_()


def test_zipf_s_rank_in_the_place_of_counts():
    X = np.random.default_rng(2).normal(size=(50, 4))
    by_rank = frequency_table(X, -np.arange(50), edges=(20,))
    assert by_rank.buckets == frequency_table(X, 1000 / (1 + np.arange(50)), edges=(20,)).buckets


def test_wrong_frequencies_are_named():
    X = np.eye(5)
    with pytest.raises(ValueError, match="one entry a row"):
        frequency_table(X, [1, 2])
    with pytest.raises(ValueError, match="edges must rise"):
        frequency_table(X, np.arange(5), edges=(3, 3))
    with pytest.raises(ValueError, match="k must be"):
        frequency_table(X, np.arange(5), k=5)


def test_counts_from_a_tokenizer_s_texts():
    class Letters:
        def __len__(self):
            return 26

        def __call__(self, texts, add_special_tokens):
            assert not add_special_tokens
            return {"input_ids": [[ord(letter) - 97 for letter in text] for text in texts]}

    counts = token_counts(Letters(), (text for text in ["abba", "", "az"]), batch_size=2)
    assert counts[[0, 1, 25]].tolist() == [3, 2, 1] and counts.sum() == 6


def test_counts_from_a_file(tmp_path):
    path = tmp_path / "counts.txt"
    path.write_text("the 120\nnew york\t7\n\nrare 1.5\n", encoding="utf-8")
    found = read_counts(path, ["rare", "the", "new york", "unseen"], missing=0.5)
    assert found.tolist() == [1.5, 120, 7, 0.5]
    path.write_text("the 120\nthe end\n")
    with pytest.raises(ValueError, match=r"line 2: must be a word and its count, got 'the end'"):
        read_counts(path, ["the"])


def test_counts_of_real_words(shared_data):
    words = (shared_data / "static_emb" / "glove6B_50d_top5000.ids.txt").read_text("utf-8")
    words = words.splitlines()
    X = np.load(shared_data / "static_emb" / "glove6B_50d_top5000.npy")
    counts = read_counts(shared_data / "wordfreq" / "enwiki_vocab_min200.txt", words)
    assert (counts > 0).mean() > 0.9
    table = frequency_table(X, counts)
    # The mean of GloVe's vectors is that of its frequent words.
    assert table.mean_correlation > 0.3
    assert table.buckets[0].distance < table.buckets[2].distance
