"""One door: every kind of rows gives the same, and what is no rows is told the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import Blocks
from scipy import sparse

from isotropy import MeanRemoval, Moments, score
from isotropy.io import open_rows
from isotropy.rows import Rows, as_rows, unit_rows

X = (np.random.default_rng(0).normal(size=(60, 4)) + 2).astype(np.float32)


def torch_rows(rows):
    return pytest.importorskip("torch").from_numpy(rows.copy())


def pandas_frame(rows):
    return pytest.importorskip("pandas").DataFrame(rows, columns=list("abcd"))


def pandas_nullable(rows):
    return pandas_frame(rows).astype("Float32")


def pandas_series(rows):
    return pytest.importorskip("pandas").Series(list(rows))


def polars_frame(rows):
    return pytest.importorskip("polars").DataFrame(rows, schema=list("abcd"))


def polars_series(rows):
    return pytest.importorskip("polars").Series(rows.tolist())


def arrow_table(rows):
    pa = pytest.importorskip("pyarrow")
    return pa.table({name: rows[:, k] for k, name in enumerate("abcd")})


def arrow_batch(rows):
    pa = pytest.importorskip("pyarrow")
    vectors = pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])
    return pa.record_batch([pa.array([str(n) for n in range(len(rows))]), vectors], ["id", "x"])


def arrow_lists(rows):
    pa = pytest.importorskip("pyarrow")
    return pa.chunked_array([pa.array(rows[:20].tolist()), pa.array(rows[20:].tolist())])


def dask_array(rows):
    return pytest.importorskip("dask.array").from_array(rows, chunks=(17, 3))


def unmasked(rows):
    return np.ma.masked_array(rows, mask=np.zeros(rows.shape, bool))


KINDS = [
    np.asarray,
    np.asfortranarray,
    np.ndarray.tolist,
    Blocks,
    torch_rows,
    pandas_frame,
    pandas_nullable,
    pandas_series,
    polars_frame,
    polars_series,
    arrow_table,
    arrow_batch,
    arrow_lists,
    dask_array,
    unmasked,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_the_same_rows(kind):
    rows = as_rows(kind(X))
    assert isinstance(rows, Rows) and as_rows(rows) is rows
    assert tuple(rows.shape) == X.shape and len(rows) == len(X)
    np.testing.assert_array_equal(rows.in_memory(), X)
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(7))), X)
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(7, start=41))), X[41:])
    np.testing.assert_array_equal(rows.take([5, 59, 0, 5]), X[[5, 59, 0, 5]])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_moments_and_scores_do_not_know_the_kind(kind):
    found, wanted = Moments.from_rows(kind(X)), Moments.from_rows(X)
    np.testing.assert_allclose(found.scatter, wanted.scatter, rtol=1e-9, atol=1e-9)
    value = score(kind(X), metrics=["mean_cosine"])["mean_cosine"]
    assert value == pytest.approx(score(X, metrics=["mean_cosine"])["mean_cosine"], abs=1e-9)


def test_a_file_is_rows(tmp_path):
    np.save(tmp_path / "x.npy", X)
    rows = open_rows(tmp_path / "x.npy")
    assert as_rows(rows) is rows
    np.testing.assert_array_equal(rows.take([3, 1]), X[[3, 1]])


def test_what_is_mapped_comes_back_in_the_kind_in_which_it_came(tmp_path):
    torch = pytest.importorskip("torch")

    def double(block):
        return block * 2

    assert isinstance(as_rows(X).map(double, 4), np.ndarray)
    assert isinstance(as_rows(torch_rows(X)).map(double, 4), torch.Tensor)
    assert type(as_rows(dask_array(X)).map(double, 4)).__module__.startswith("dask")
    np.save(tmp_path / "x.npy", X)
    lazy = as_rows(open_rows(tmp_path / "x.npy")).map(double, 4)
    assert isinstance(lazy, Rows)
    np.testing.assert_array_equal(lazy.in_memory(), 2 * X)


def test_nothing_is_copied_that_is_an_array():
    assert np.shares_memory(as_rows(X).in_memory(), X)
    tensor = torch_rows(X)
    assert np.shares_memory(as_rows(tensor).in_memory(), tensor.numpy())


class Encoder:
    def encode(self, texts):
        return X


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "None"),
        ("embeddings.npy", "open_rows"),
        (Path("embeddings.npy"), "open_rows"),
        ("postgresql://host/base#table", "open_rows"),
        ("a text of several words", "encode"),
        (["one text", "another"], "encode"),
        (sparse.csr_matrix(X), "toarray"),
        (sparse.csr_array(X), "toarray"),
        (X.view(np.matrix), "np.asarray"),
        (Encoder(), "encoder"),
        (MeanRemoval(), "estimator"),
        (MeanRemoval, "class"),
        (Moments.from_rows(X), "Moments"),
        (iter([X]), "iterator"),
        ({"a": X}, "dict"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_rows_is_told_the_way_out(given, said):
    with pytest.raises(TypeError, match=said):
        as_rows(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X[0], "1-D"),
        (X[None], "3-D"),
        (X.astype(complex), "Complex"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.empty((3, 0)), "0 feature"),
        (np.ma.masked_array(X, mask=np.arange(X.size).reshape(X.shape) == 9), "row 2"),
        ([[1.0, 2.0], [3.0]], "real numbers|inhomogeneous"),
    ],
)
def test_arrays_that_are_no_rows_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        as_rows(given)


def test_masked_values_are_never_learned_from():
    bad = np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
    bad[7, 2] = np.ma.masked
    for use in (MeanRemoval().fit, score, Moments.from_rows):
        with pytest.raises(ValueError, match="row 7"):
            use(bad)


def test_masked_weights_are_refused():
    weights = np.ma.masked_array(np.ones(60), mask=np.arange(60) == 3)
    for use in (MeanRemoval().fit, Moments.from_rows):
        with pytest.raises(ValueError, match="sample_weight is a masked array"):
            use(X, sample_weight=weights)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unit_rows_have_length_one_at_every_scale(dtype):
    info = np.finfo(dtype)
    for size in (float(info.tiny) * 64, 1e-3, 1.0, float(info.max) / 8):
        rows = (X[:, :3].astype(np.float64) * size / 4).astype(dtype)
        unit = unit_rows(rows)
        assert unit.dtype == dtype
        lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=8 * float(info.eps))
    zero = np.zeros((2, 3), dtype)
    np.testing.assert_array_equal(unit_rows(zero), zero)


def test_unit_rows_of_tensors_are_those_of_arrays_and_differentiable():
    torch = pytest.importorskip("torch")
    tensor = torch_rows(X * np.float32(1e-30)).requires_grad_()
    unit = unit_rows(tensor)
    np.testing.assert_allclose(unit.detach().numpy(), unit_rows(X * np.float32(1e-30)), atol=1e-6)
    unit.sum().backward()
    assert bool(torch.isfinite(tensor.grad).all())
