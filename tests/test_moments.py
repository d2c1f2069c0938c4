"""Moments against sums written row by row, merged in any way, saved and damaged."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from cases import Blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from isotropy import Moments
from isotropy.moments import MERGE
from isotropy.rows import passes as _sums
from isotropy.rows.sample import Sample
from isotropy.storage.state import load_state, save_state


def slow_moments(X, w, weight_type="frequency"):
    """Every sum from its definition, in float64."""
    X = np.asarray(X, dtype=np.float64)
    mean = sum(wi * x for wi, x in zip(w, X, strict=True)) / w.sum()
    Y = X - mean
    squares = (Y**2).sum(1)
    norms = np.linalg.norm(X, axis=1)
    live = norms > 0
    U, wl = X[live] / norms[live, None], w[live]
    pair = wl if weight_type == "frequency" else wl**2
    return {
        "mean": mean,
        "scatter": sum(wi * np.outer(y, y) for wi, y in zip(w, Y, strict=True)),
        "third": (w * squares) @ Y,
        "fourth": (w * squares**2).sum(),
        "unit_sum": wl @ U,
        "unit_square_sum": pair @ U**2,
        "unit_gram": (U * wl[:, None]).T @ U,
        "unit_weight": wl.sum(),
        "unit_weight2": (wl**2).sum(),
        "norm_sum": w @ norms,
        "norm_square_sum": w @ norms**2,
        "total_weight": w.sum(),
        "total_weight2": (w**2).sum(),
    }


def assert_moments(moments, wanted, rtol):
    spread = np.sqrt(np.trace(wanted["scatter"])) or 1.0
    scales = {"third": spread**3, "mean": np.abs(wanted["mean"]).max() or 1.0}
    for name, value in wanted.items():
        scale = scales.get(name, np.abs(value).max() or 1.0)
        np.testing.assert_allclose(
            getattr(moments, name) / scale, value / scale, rtol=0, atol=rtol, err_msg=name
        )


def test_moments_of_hard_rows_equal_the_sums_by_definition(hard):
    before = hard.copy()
    moments = Moments.from_rows(hard, unit="gram")
    assert_moments(moments, slow_moments(hard, np.ones(len(hard))), 1e-12)
    np.testing.assert_array_equal(hard, before)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_path_of_large_jobs_agrees_to_float32(hard, large_job, weighted):
    w = np.random.default_rng(1).integers(0, 4, len(hard)).astype(float)
    w = w if weighted else np.ones(len(hard))
    moments = Moments.from_rows(hard, w if weighted else None, unit="gram")
    assert_moments(moments, slow_moments(hard, w), 1e-5)


def test_the_path_of_large_jobs_multiplies_in_float32(large_job):
    X = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    assert Moments.from_rows(X).product_eps == np.finfo(np.float32).eps
    assert Moments.from_rows(X.astype(np.float64)).product_eps == np.finfo(np.float64).eps


@pytest.mark.parametrize("weight_type", ["frequency", "probability"])
def test_weights_of_both_kinds(weight_type):
    X = np.random.default_rng(0).normal(size=(50, 4)) + 3
    w = np.random.default_rng(1).random(50)
    moments = Moments.from_rows(X, w, unit="gram", weight_type=weight_type)
    assert_moments(moments, slow_moments(X, w, weight_type), 1e-13)
    kind = {"frequency": "fweights", "probability": "aweights"}[weight_type]
    if kind == "fweights":
        w = np.ceil(3 * w).astype(int)
        moments = Moments.from_rows(X, w)
    np.testing.assert_allclose(moments.covariance(), np.cov(X.T, **{kind: w}), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance(0), np.cov(X.T, ddof=0, **{kind: w}), rtol=1e-12)


def test_frequencies_are_repetitions():
    X = np.random.default_rng(0).normal(size=(30, 4))
    w = np.random.default_rng(1).integers(0, 4, 30)
    a = Moments.from_rows(X, w, unit="gram")
    b = Moments.from_rows(np.repeat(X, w, axis=0), unit="gram")
    wanted = {name: getattr(b, name) for name in slow_moments(X, w) if "weight2" not in name}
    assert_moments(a, wanted, 1e-12)
    assert a.n_effective == b.n_effective


def test_weights_that_sum_to_one_need_to_be_called_probabilities():
    X = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(ValueError, match="weight_type='probability'"):
        Moments.from_rows(X, np.full(10, 0.1)).covariance()
    np.testing.assert_allclose(
        Moments.from_rows(X, np.full(10, 0.1), weight_type="probability").covariance(), np.cov(X.T)
    )


splits = st.lists(st.integers(0, 60), min_size=0, max_size=5).map(sorted)


@settings(deadline=None, max_examples=40)
@given(
    splits, st.permutations(range(6)), st.sampled_from(["frequency", "probability"]), st.booleans()
)
def test_pieces_merge_exactly_in_any_order(cuts, order, weight_type, weighted):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)) * [1, 2, 3, 4, 50] + [0, 1000, 0, -5, 1]
    X[:10] += 300
    w = rng.random(60) + 0.5 if weighted else None
    options = {"unit": "gram", "weight_type": weight_type}
    edges = [0, *cuts, 60]
    pieces = [
        Moments.from_rows(X[a:b], None if w is None else w[a:b], **options)
        for a, b in pairwise(edges)
    ]
    total = Moments(**options)
    for index in order:
        if index < len(pieces):
            total = total + pieces[index]
    whole = slow_moments(X, np.ones(60) if w is None else w, weight_type)
    assert_moments(total, whole, 1e-10)
    assert total.n_rows == 60


def test_adding_leaves_both_sides_alone():
    X = np.random.default_rng(0).normal(size=(20, 3))
    a, b = Moments.from_rows(X[:5]), Moments.from_rows(X[5:])
    kept = a.mean.copy(), a.scatter.copy(), b.mean.copy()
    _ = a + b
    c = a.copy()
    c += b
    for now, before in zip((a.mean, a.scatter, b.mean), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_moments_of_different_kinds_do_not_add_up():
    X = np.ones((3, 2))
    with pytest.raises(ValueError, match="normalize"):
        Moments.from_rows(X) + Moments.from_rows(X, normalize=True)
    with pytest.raises(ValueError, match="columns"):
        Moments.from_rows(X) + Moments.from_rows(np.ones((3, 5)))


@pytest.mark.parametrize("order", [1, 2])
def test_a_lower_order_has_the_same_sums_as_far_as_it_goes(hard, order):
    low, high = Moments.from_rows(hard, order=order), Moments.from_rows(hard)
    scale = np.abs(high.mean).max()
    np.testing.assert_allclose(low.mean / scale, high.mean / scale, atol=1e-12)
    assert low.fourth is None
    if order == 1:
        with pytest.raises(ValueError, match="order=1"):
            low.covariance()
    else:
        np.testing.assert_allclose(low.scatter, high.scatter, rtol=1e-9)


def test_normalized_moments_are_those_of_unit_rows(hard):
    X = np.asarray(hard, dtype=np.float64)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = X / np.where(norms > 0, norms, 1)
    a, b = Moments.from_rows(hard, normalize=True), Moments.from_rows(unit)
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-13)
    np.testing.assert_allclose(a.scatter, b.scatter, atol=1e-11)


def test_zero_rows_count_in_the_mean_and_not_among_directions():
    X = np.array([[1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    moments = Moments.from_rows(X)
    assert (moments.n_rows, moments.n_zero_rows, moments.unit_weight) == (3, 1, 2.0)
    assert (moments.norm_min, moments.norm_max) == (0.0, 3.0)
    np.testing.assert_allclose(moments.mean, [4 / 3, 0])
    np.testing.assert_allclose(moments.unit_sum, [2, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_first_bad_row_is_named_and_nothing_changes(bad, dtype, large_job):
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(dtype)
    moments = Moments.from_rows(X)
    kept = moments.scatter.copy()
    X[271, 2] = X[290, 0] = bad
    with pytest.raises(ValueError, match="row 271 is the first"):
        moments.update(X)
    with pytest.raises(ValueError, match="row 1271 is the first"):
        moments.update(X, first_row=1000)
    np.testing.assert_array_equal(moments.scatter, kept)
    assert moments.n_rows == 300


@pytest.mark.parametrize(
    ("w", "told"),
    [([1, -1, 1], "entry 1 is -1"), ([1, np.nan, 1], "entry 1 is nan"), ([1, 1], "shape \\(3,\\)")],
)
def test_bad_weights_are_refused(w, told):
    with pytest.raises(ValueError, match=told):
        Moments.from_rows(np.ones((3, 2)), w)


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.ones(3), "2-D"),
        (np.ones((2, 2, 2)), "2-D"),
        (np.ones((2, 2), complex), "real"),
        (np.array([["a", "b"]]), "real"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(X, told):
    with pytest.raises(ValueError, match=told):
        Moments.from_rows(X)


def test_empty_rows_change_nothing_and_one_row_has_no_covariance():
    moments = Moments().update(np.empty((0, 3)))
    assert moments.n_rows == 0
    moments.update(np.ones((1, 3)))
    with pytest.raises(ValueError, match="more than 1 sample"):
        moments.covariance()
    np.testing.assert_array_equal(moments.covariance(0), np.zeros((3, 3)))


def test_weights_far_apart_lose_no_digits():
    X = np.random.default_rng(0).normal(size=(2, 3)) * 1e-3 + [[0.0], [1e6]]
    w = np.array([1.0, 1e-12])
    wanted = {name: slow_moments(X, w)[name] for name in ("mean", "scatter")}
    assert_moments(Moments.from_rows(X, w), wanted, 1e-9)


def test_a_single_constant_does_not_look_like_spread():
    moments = Moments.from_rows(np.full((1000, 4), 1e6 / 3))
    assert moments.rank() == 0


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_the_rank_is_found_at_any_scale_and_distance(scale):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 20)) * scale
    assert Moments.from_rows(X).rank() == 6
    assert Moments.from_rows(X + 1000 * scale).rank() == 6
    assert Moments.from_rows((X + 10 * scale).astype(np.float32)).rank() == 6
    assert Moments.from_rows(X).rank(tol=0.5) < 6


def test_the_null_direction_of_a_layer_norm_is_found_in_float32():
    X = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    X = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)
    assert X.dtype == np.float32
    assert Moments.from_rows(X).rank() == 15


def test_eigenvectors_have_fixed_signs_and_order():
    X = np.random.default_rng(0).normal(size=(200, 6)) * [1, 6, 2, 5, 3, 4]
    values, vectors = Moments.from_rows(X).spectrum()
    assert (np.diff(values) <= 0).all()
    largest = np.abs(vectors).argmax(0)
    assert (vectors[largest, range(6)] > 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, np.cov(X.T), atol=1e-12)


def test_moments_after_a_linear_map_are_those_of_the_mapped_rows():
    rng = np.random.default_rng(0)
    X, A = rng.normal(size=(60, 5)) + 3, rng.normal(size=(5, 2))
    mapped = Moments.from_rows(X).mapped(A, X.mean(0) @ A)
    wanted = Moments.from_rows(X @ A)
    np.testing.assert_allclose(mapped.covariance(), wanted.covariance(), rtol=1e-10)
    np.testing.assert_allclose(mapped.mean, wanted.mean, rtol=1e-12)
    assert mapped.fourth is None
    assert mapped.unit_sum is None


@pytest.mark.parametrize("unit", ["none", "sums", "gram"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_saved_moments_come_back_whole_and_go_on(tmp_path, unit, order):
    X = np.random.default_rng(0).normal(size=(40, 3))
    Moments.from_rows(X[:30], unit=unit, order=order).save(tmp_path / "m")
    loaded = Moments.load(tmp_path / "m").update(X[30:])
    wanted = Moments.from_rows(X[:30], unit=unit, order=order).update(X[30:])
    for name, value in vars(wanted).items():
        if name not in ("_eigen", "_lock"):
            np.testing.assert_array_equal(getattr(loaded, name), value, err_msg=name)


def test_empty_moments_can_be_saved(tmp_path):
    Moments().save(tmp_path / "m")
    assert Moments.load(tmp_path / "m").update(np.ones((2, 3))).n_rows == 2


def test_damaged_files_raise_a_value_error_and_nothing_else(tmp_path):
    path = tmp_path / "m"
    Moments.from_rows(np.random.default_rng(0).normal(size=(9, 3))).save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 17):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="m: "):
            Moments.load(path)
    path.write_bytes(whole)
    info, arrays = load_state(path)
    cases = [
        (info | {"format_version": 99}, arrays, "version 99"),
        (info | {"class": "Whitening"}, arrays, "Whitening"),
        (info | {"n_features": 4}, arrays, "shape"),
        (info | {"unit": "all"}, arrays, "damaged"),
        ({k: v for k, v in info.items() if k != "n_rows"}, arrays, "damaged"),
        (info, arrays | {"mean": arrays["mean"] * np.nan}, "NaN"),
        (info, arrays | {"extra": np.ones(1)}, "unexpected"),
        (info, {k: v for k, v in arrays.items() if k != "scatter"}, "missing"),
    ]
    for changed, tensors, told in cases:
        save_state(path, changed["class"], changed, tensors)
        with pytest.raises(ValueError, match=told):
            Moments.load(path)
    with pytest.raises(FileNotFoundError):
        Moments.load(tmp_path / "none")


def test_a_file_of_another_library_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"mean": np.ones(2)}, tmp_path / "m")
    with pytest.raises(ValueError, match="nothing that isotropy saved"):
        Moments.load(tmp_path / "m")
    save_file({"mean": np.ones(2)}, tmp_path / "m", {"isotropy": json.dumps([1])})
    with pytest.raises(ValueError, match="damaged"):
        Moments.load(tmp_path / "m")


def test_a_memory_map_and_a_block_source_give_the_sums_of_the_array(tmp_path, large_job):
    X = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    wanted = Moments.from_rows(X)
    mapped = Moments.from_rows(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_array_equal(mapped.scatter, wanted.scatter)

    w = np.arange(500.0)
    np.testing.assert_allclose(
        Moments.from_rows(Blocks(X, 71), w).scatter, Moments.from_rows(X, w).scatter, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_torch_rows_and_the_code_for_devices_give_the_sums_of_numpy(dtype, monkeypatch):
    torch = pytest.importorskip("torch")
    X = (torch.randn(300, 5, generator=torch.Generator().manual_seed(0)) * 9 + 50).to(
        getattr(torch, dtype)
    )
    w = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    wanted = slow_moments(X.double().numpy(), w)
    assert_moments(Moments.from_rows(X, w, unit="gram"), wanted, 1e-11)

    def as_on_a_device(self):
        self.X, self.xp, self.on_device = X, torch, True

    original = _sums.Pass.run

    def run(self):
        as_on_a_device(self)
        self.rows_per_block = self.rows_per_chunk = 64
        return original(self)

    def block_of(rows, start, stop, kind):
        return rows[start:stop].to(getattr(torch, np.dtype(kind).name))

    monkeypatch.setattr(_sums.Pass, "run", run)
    monkeypatch.setattr(_sums, "working_block", block_of)
    assert_moments(Moments.from_rows(X, w, unit="gram"), wanted, 1e-11)


# -- merging and state -------------------------------------------------------------------------


def packed(moments):
    info, arrays = moments.pack()
    return {**info, **arrays}


@pytest.mark.parametrize("options", [{}, {"unit": "gram"}, {"order": 2}, {"order": 1}], ids=str)
def test_every_part_of_the_state_has_a_rule_for_merging(options):
    told = {"unit", "order", "weight_type", "normalize", "sample"}
    told |= {"n_features", "mean", "_eigen", "_lock"}
    assert set(vars(Moments(**options))) == set(MERGE) | told


@pytest.mark.parametrize("options", [{}, {"unit": "gram"}, {"order": 2}, {"order": 1}], ids=str)
def test_parts_add_up_by_sum_in_any_order(options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) + 1000
    w = rng.integers(0, 4, 60)
    whole = packed(Moments(**options).update(X, w))
    parts = [Moments(**options).update(X[i::5], w[i::5]) for i in range(5)]
    parts.append(Moments(**options))
    for order in (parts, parts[::-1], [parts[i] for i in rng.permutation(6)]):
        found = packed(sum(order))
        for name, wanted in whole.items():
            if isinstance(wanted, str | bool | None):
                assert found[name] == wanted, name
            else:
                np.testing.assert_allclose(found[name], wanted, rtol=1e-9, atol=1e-9, err_msg=name)
    repeated = packed(Moments(**options).update(np.repeat(X, w, axis=0)))
    for name in whole.keys() - {"n_rows", "n_zero_rows", "total_weight2", "unit_weight2"}:
        if not isinstance(whole[name], str | bool | None):
            np.testing.assert_allclose(repeated[name], whole[name], rtol=1e-9, atol=1e-9)


def test_a_sum_leaves_its_parts_as_they_were():
    a, b = (Moments().update(np.random.default_rng(i).normal(size=(9, 3))) for i in (0, 1))
    before = [packed(a), packed(b)]
    total = sum([a, b])
    total.update(np.ones((3, 3)))
    for was, now in zip(before, (packed(a), packed(b)), strict=True):
        for name, value in was.items():
            np.testing.assert_array_equal(now[name], value)
    assert sum([a]) is not a
    for other in (1, "a", None):
        with pytest.raises(TypeError):
            other + a


def test_what_is_unpacked_is_what_was_packed_to_the_bit_and_in_one_order(tmp_path):
    """One layout by construction, so the same code runs on what was loaded."""
    X = np.asfortranarray(np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32))
    moments = Moments(unit="gram").update(X) + Moments(unit="gram").update(X[::2])
    moments.save(tmp_path / "m")
    others = [
        Moments.load(tmp_path / "m"),
        Moments.unpack(*moments.pack()),
        pickle.loads(pickle.dumps(moments)),
        moments.copy(),
    ]
    for other in others:
        for name, array in moments.pack()[1].items():
            twin = other.pack()[1][name]
            assert twin.dtype == array.dtype == np.float64
            assert twin.strides == array.strides and twin.flags.c_contiguous, name
            assert array.flags.c_contiguous and array.flags.writeable == twin.flags.writeable
            assert twin.tobytes() == array.tobytes()
        assert other.pack()[0] == moments.pack()[0]
        np.testing.assert_array_equal(other.spectrum()[1], moments.spectrum()[1])


def test_one_object_fed_by_several_threads_counts_all():
    X = np.random.default_rng(0).normal(size=(400, 24)) + 3
    wanted, moments = Moments().update(X), Moments()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: moments.update(X[i::40]), range(40)))
    assert moments.n_rows == 400
    np.testing.assert_allclose(moments.scatter, wanted.scatter, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.fourth, wanted.fourth, rtol=1e-9)


# -- rows that are kept ------------------------------------------------------------------------


def test_sampled_rows_are_the_same_in_any_order_parts_type_and_number_of_times():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5)).astype(np.float16).astype(np.float64)
    X[::7] = 0
    X[::11, 0] *= -0.0
    w = rng.integers(0, 3, 3000)
    wanted = Moments(sample=200).update(X).sampled
    assert wanted.shape == (200, 5) and len(np.unique(wanted, axis=0)) == 200
    parts = [Moments(sample=200).update(X[i::4]) for i in (2, 0, 3, 1)]
    found = [
        sum(parts),
        Moments(sample=200).update(X[::-1]),
        Moments(sample=200).update(X.astype(np.float16)),
        Moments(sample=200, normalize=True, order=1).update(X.repeat(2, 0)),
        Moments.unpack(*sum(parts).pack()),
        sum(parts).copy().update(X[:50]),
    ]
    for moments in found:
        np.testing.assert_array_equal(moments.sampled, wanted)
    weighed = Moments(sample=200).update(X, w).sampled
    np.testing.assert_array_equal(weighed, Moments(sample=200).update(X[w > 0]).sampled)
    few = Moments(sample=200).update(X[:9]).sampled
    assert sorted(map(tuple, few)) == sorted({tuple(row) for row in X[:9] + 0.0})
    assert Moments().update(X).sampled is None
    with pytest.raises(ValueError, match="do not add up"):
        Moments(sample=200) + Moments()
    with pytest.raises(ValueError, match="sample must be an integer"):
        Moments(sample=-1)


def test_sampled_rows_are_a_uniform_draw_and_count_the_different_ones():
    X = np.repeat(np.arange(20_000.0), 3)[:, None] + np.zeros((1, 2))
    sample = Sample.of(1000, X)
    assert abs(sample.n_different / 20_000 - 1) < 0.15
    assert abs(sample.rows[:, 0].mean() / 10_000 - 1) < 0.06
    part = Sample.of(1000, X[:600])
    assert part.n_different == len(part.rows) == 200
