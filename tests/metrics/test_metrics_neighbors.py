"""Nearest neighbours against all pairs; hull certificates checked by hand; frequency buckets."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linprog

from isotropy.io import open_rows
from isotropy.metrics import (
    _search,
    frequency_table,
    intrinsic_dimension,
    k_occurrence,
    k_skewness,
    local_intrinsic_dimension,
    nearest_neighbors,
    neighbors,
    origin_in_hull,
    read_counts,
)


def rows(n, d, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def distances(X, Q=None, measure="cosine"):
    """Of all pairs, in the widest type: by differences, or minus dot products."""
    X = np.asarray(X).astype(np.longdouble)
    asked = X if Q is None else np.asarray(Q).astype(np.longdouble)
    if measure == "dot":
        found = -(asked @ X.T)
    else:
        zero = np.zeros((len(asked), len(X)), dtype=bool)
        if measure == "cosine":
            zero |= ~asked.any(1)[:, None] | ~X.any(1)
            lengths = [np.sqrt((Z**2).sum(1, keepdims=True)) for Z in (X, asked)]
            X, asked = (Z / np.where(n > 0, n, 1) for Z, n in zip((X, asked), lengths, strict=True))
        found = np.sqrt(np.stack([((X - row) ** 2).sum(1) for row in asked]))
        found[zero] = np.sqrt(np.longdouble(2))
    if Q is None:
        np.fill_diagonal(found, np.inf)
    return found


def plain(X, k, Q=None, measure="cosine"):
    """Indices and values by sorting all pairs."""
    found = distances(X, Q, measure)
    order = np.argsort(found, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(found, order, axis=1)
    values = {"cosine": 1 - found**2 / 2, "dot": -found, "euclidean": found}[measure]
    return order, values.astype(np.float64)


def check_exact(found, X, Q=None, measure="cosine"):
    """Recall 1 but for ties, in order, with values right to float64's rounding."""
    every = distances(X, Q, measure)
    k = found.indices.shape[1]
    farthest = np.sort(every, axis=1)[:, k - 1 : k]
    got = np.take_along_axis(every, found.indices, axis=1)
    if measure == "dot":
        size = np.abs(every[np.isfinite(every)]).max() * 1e-14
    else:
        size = np.maximum(1e-14 * farthest, 3e-16 if measure == "cosine" else 0)
    assert (got <= farthest + size).all(), "recall"
    assert (np.diff(got, axis=1) >= -size).all(), "order"
    assert all(len(set(row)) == k for row in found.indices.tolist())
    wanted = plain(X, k, Q, measure)[1]
    if measure == "euclidean":
        np.testing.assert_allclose(found.values, wanted, rtol=1e-14)
    else:
        np.testing.assert_allclose(found.values, wanted, atol=float(np.max(size)) + 1e-15)


def _clusters(spread):
    centres = np.repeat(rows(30, 24), 10, axis=0)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return centres + spread * rows(300, 24, seed=1)


def _outlier():
    X = rows(300, 24)
    X[7] *= 1e4
    return X


def _some_zero():
    X = rows(300, 24)
    X[[3, 50, 51]] = 0
    return X


HARD_TO_SEARCH = {
    "ordinary": rows(300, 24),
    "tight clusters": 10 * _clusters(1e-5),
    "near-duplicates at 1e-3": _clusters(1e-3),
    "near-duplicates at 1e-6": _clusters(1e-6),
    "near-duplicates at 1e-9": _clusters(1e-9),
    "mean a thousand times the spread": rows(300, 24, mean=1000),
    "a cone of one part in ten million": 1 + 1e-7 * rows(300, 24),
    "duplicates": _clusters(0),
    "all equal": np.ones((300, 24)),
    "zero rows": _some_zero(),
    "an outlier": _outlier(),
    "1e-30": 1e-30 * rows(300, 24),
    "1e30": 1e30 * rows(300, 24),
    "1e-150": 1e-150 * rows(300, 24),
    "1e150": 1e150 * rows(300, 24),
    "signs": np.sign(rows(300, 24)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("name", HARD_TO_SEARCH)
def test_nearest_is_nearest_on_any_rows(monkeypatch, name, measure, dtype):
    monkeypatch.setattr(_search, "_BLOCK", 64)
    with np.errstate(over="ignore"):
        X = HARD_TO_SEARCH[name].astype(dtype)
    if not np.isfinite(X).all() or (X.any() != HARD_TO_SEARCH[name].any()):
        pytest.skip(f"{dtype} does not hold them")
    check_exact(nearest_neighbors(X, 7, measure=measure), X, measure=measure)
    Q = ((X[:40].astype(np.float64) + X[1:41]) / 2).astype(dtype)
    check_exact(nearest_neighbors(X, 7, queries=Q, measure=measure), X, Q, measure)


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_are_exact_and_ties_go_to_the_lower_index(dtype, measure):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(1500, 6)).astype(dtype)
    if dtype == "int64" and measure == "euclidean":
        X = X + 2**40
    found = nearest_neighbors(X, 9, measure=measure)
    np.testing.assert_array_equal(found.indices, plain(X, 9, measure=measure)[0])


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("asked", [False, True], ids=["among themselves", "queries"])
def test_integers_that_float64_does_not_hold_are_refused(asked, measure):
    X = np.array([[2**53 - 1], [2**53], [2**53 - 3]])
    found = nearest_neighbors(X, 1, measure="euclidean")
    assert found.values.ravel().tolist() == [1, 1, 2]
    for dtype, size in [("int64", 2**53 + 1), ("uint64", 2**64 - 1), ("int64", -(2**63))]:
        big = np.array([[size], [1], [2]], dtype=dtype)
        rows_, queries = (X, big) if asked else (big, None)
        with pytest.raises(ValueError, match="beyond 2\\^53"):
            nearest_neighbors(rows_, 1, queries=queries, measure=measure)


@pytest.mark.parametrize("exponents", [(600, -600), (-600, 600), (900, 100), (-1000, 900), (0, 0)])
def test_products_rank_the_same_whatever_the_scale_of_either_side(exponents):
    X, Q = rows(50, 4), rows(5, 4, seed=1)
    wanted = nearest_neighbors(X, 2, queries=Q, measure="dot")
    x, q = exponents
    found = nearest_neighbors(np.ldexp(X, x), 2, queries=np.ldexp(Q, q), measure="dot")
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.values, np.ldexp(wanted.values, x + q))


@pytest.mark.parametrize("scale", [1e-290, 1e-300, 9e-302, 1e-305, 1e-307, 1e300])
@pytest.mark.parametrize("asked", [False, True], ids=["among themselves", "queries"])
def test_distances_scale_with_the_rows_to_the_ends_of_float64(scale, asked):
    X, Q = rows(50, 4) * scale, rows(7, 4, seed=1) * scale if asked else None
    found = nearest_neighbors(X, 3, queries=Q, measure="euclidean")
    over = None if Q is None else Q / scale
    indices, values = plain(X / scale, 3, over, "euclidean")
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.values / scale, values, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_rows_of_one_dimension_point_one_of_two_ways(dtype):
    X = rows(700, 1).astype(dtype)
    found = nearest_neighbors(X, 5)
    np.testing.assert_array_equal(found.indices, plain(X, 5)[0])
    np.testing.assert_array_equal(found.values, 1)


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_bfloat16_is_searched_as_it_is(measure):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(_clusters(1e-2)).bfloat16()
    check_exact(nearest_neighbors(X, 5, measure=measure), X.float().numpy(), measure=measure)


@pytest.mark.parametrize("n", [50, 201, 1025, 2500])
def test_of_equal_values_the_lower_index_comes_first(n):
    X = np.repeat(rows(5, 4), n // 5, axis=0).astype(np.float32)
    for measure in ("cosine", "euclidean"):
        found = nearest_neighbors(X, 8, measure=measure).indices
        np.testing.assert_array_equal(found, plain(X, 8, measure=measure)[0])


def test_what_follows_from_neighbours_follows_from_the_exact_ones():
    X = _clusters(1e-3).astype(np.float32)
    nearest = plain(X, 5)[0]
    counts = np.bincount(nearest.ravel(), minlength=len(X))
    np.testing.assert_array_equal(k_occurrence(X, n_neighbors=5), counts)
    assert k_skewness(X, n_neighbors=5) == pytest.approx(stats.skew(counts))
    for wide in (X, 10 * _clusters(1e-5).astype(np.float32), 1e-30 * X, 1e15 * X):
        first, second = plain(wide, 2, measure="euclidean")[1].T
        ratios = np.sort(second / first)[: int(0.9 * len(X))]
        x, y = np.log(ratios), -np.log1p(-np.arange(1, len(ratios) + 1) / (len(X) + 1))
        assert intrinsic_dimension(wide) == pytest.approx(x @ y / (x @ x), rel=1e-9)
        r = plain(wide, 6, measure="euclidean")[1]
        wanted = -1 / np.log(r[:, :-1] / r[:, -1:]).mean(1)
        np.testing.assert_allclose(local_intrinsic_dimension(wide, 6), wanted, rtol=1e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("asked", [False, True], ids=["among themselves", "queries"])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_the_neighbours_are_those_of_all_pairs(monkeypatch, measure, asked, dtype):
    monkeypatch.setattr(_search, "_BLOCK", 32)
    X, Q = rows(150, 7, mean=0.5).astype(dtype), rows(70, 7, seed=1).astype(dtype)
    Q = Q if asked else None
    found = nearest_neighbors(X, 5, queries=Q, measure=measure)
    indices, values = plain(X, 5, Q, measure)
    assert found.indices.dtype == np.int64
    np.testing.assert_allclose(found.values, values, rtol=1e-12, atol=1e-15)
    if dtype != "float16":  # which holds equal distances
        np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("n", [2, 31, 32, 33, 97])
def test_every_other_row_can_be_asked_for(monkeypatch, n, measure):
    monkeypatch.setattr(_search, "_BLOCK", 32)
    X = rows(n, 3)
    found = nearest_neighbors(X, n - 1, measure=measure)
    np.testing.assert_array_equal(found.indices, plain(X, n - 1, measure=measure)[0])


def test_duplicates_are_neighbours_and_no_row_is_its_own(monkeypatch):
    monkeypatch.setattr(_search, "_BLOCK", 8)
    X = np.repeat(rows(5, 4), 4, axis=0)
    for measure in ("cosine", "dot", "euclidean"):
        found = nearest_neighbors(X, 3, measure=measure).indices
        assert (found != np.arange(20)[:, None]).all()
        if measure != "dot":
            for row, near in enumerate(found):
                assert sorted(near) == [
                    r for r in range(row // 4 * 4, row // 4 * 4 + 4) if r != row
                ]


def test_a_zero_row_has_a_cosine_of_zero_with_everything():
    X = rows(40, 5)
    X[3] = 0
    found = nearest_neighbors(X, 6)
    np.testing.assert_array_equal(found.values[3], 0)
    assert found.indices[3].tolist() == [0, 1, 2, 4, 5, 6]
    everything = nearest_neighbors(X, 39)
    np.testing.assert_array_equal(everything.values[everything.indices == 3], 0)


def test_any_source_of_rows(tmp_path):
    X = rows(60, 4).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    wanted = nearest_neighbors(X, 3)
    found = nearest_neighbors(open_rows(tmp_path / "x.npy"), 3)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(nearest_neighbors(torch.from_numpy(X), 3).indices, wanted.indices)


@pytest.mark.parametrize(
    "name", ["ordinary", "near-duplicates at 1e-3", "mean a thousand times the spread"]
)
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean"])
def test_the_search_of_devices_gives_the_same(monkeypatch, measure, asked, name):
    torch = pytest.importorskip("torch")
    X = HARD_TO_SEARCH[name].astype(np.float32)
    Q = X[:20] + X[1:21] if asked else None
    wanted = nearest_neighbors(X, 4, queries=Q, measure=measure)
    there = {"device": torch.device("cpu")}
    monkeypatch.setattr(neighbors, "search", lambda *a, **o: _search.search(*a, **{**o, **there}))
    found = nearest_neighbors(X, 4, queries=Q, measure=measure)
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.indices, wanted.indices)


def test_no_queries_give_no_neighbours():
    found = nearest_neighbors(rows(9, 3), 2, queries=np.empty((0, 3)))
    assert found.indices.shape == found.values.shape == (0, 2)


def test_wrong_questions_are_named():
    X = rows(9, 3)
    for options, what in [
        ({"n_neighbors": 0}, "from 1 to 8"),
        ({"n_neighbors": 9}, "from 1 to 8, the number of rows less one"),
        ({"n_neighbors": True}, "n_neighbors must be"),
        ({"measure": "manhattan"}, "measure must be"),
        ({"queries": np.ones((2, 4))}, "4 columns"),
        ({"queries": np.full((2, 3), np.nan)}, "queries contains NaN"),
    ]:
        with pytest.raises(ValueError, match=what):
            nearest_neighbors(X, **{"n_neighbors": 2, **options})
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
    table = frequency_table(X, counts, edges=(10, 100), n_neighbors=2)
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
    with pytest.raises(ValueError, match="n_neighbors must be"):
        frequency_table(X, np.arange(5), n_neighbors=5)


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
