"""Every format that others write is read back bit for bit, in blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cases import FORMATS

from isotropy.io import open_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DTYPES = ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8"]
TABLES = [".parquet", ".arrow", ".feather"]


def gathered(rows, block_rows=7):
    return np.concatenate([np.empty((0, rows.shape[1]), rows.dtype), *rows.blocks(block_rows)])


def fixed_lists(X):
    return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_come_back_bit_for_bit(tmp_path, save, suffix, dtype):
    X = np.random.default_rng(1).normal(size=(50, 6), scale=50).astype(np.int8).astype(dtype)
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    assert rows.shape == (50, 6)
    assert rows.dtype == X.dtype
    assert rows.name == (None if suffix == ".npy" else "vector")
    assert rows.path == tmp_path / f"x{suffix}"
    back = gathered(rows)
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("block_rows", [1, 7, 25, 50, 1000])
def test_every_block_is_full_but_the_last(tmp_path, save, X, suffix, block_rows):
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    sizes = [len(block) for block in rows.blocks(block_rows)]
    full, rest = divmod(50, block_rows)
    assert sizes == [block_rows] * full + [rest] * (rest > 0)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_without_rows_has_a_dimension_all_the_same(tmp_path, save, suffix):
    rows = open_rows(save(tmp_path / f"x{suffix}", np.empty((0, 6), np.float32)))
    assert rows.shape == (0, 6)
    assert list(rows.blocks()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_two_readers_of_one_file_do_not_disturb_each_other(tmp_path, save, X, suffix):
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    for one, other in zip(rows.blocks(20), rows.blocks(20), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(gathered(rows), X)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_suffix_may_be_in_capitals_and_the_path_a_string(tmp_path, save, X, suffix):
    path = save(tmp_path / f"x{suffix}", X).rename(tmp_path / f"x{suffix.upper()}")
    np.testing.assert_array_equal(gathered(open_rows(str(path))), X)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_name_that_looks_like_an_address_is_a_name(tmp_path, save, X, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / f"x{suffix}", X).rename(tmp_path / f"s3:a b%20é#?{suffix}")
    np.testing.assert_array_equal(gathered(open_rows(path.name)), X)


@pytest.mark.parametrize("block_rows", [0, -1])
def test_a_block_has_at_least_one_row(tmp_path, save, X, block_rows):
    with pytest.raises(ValueError, match="block_rows"):
        open_rows(save(tmp_path / "x.npy", X)).blocks(block_rows)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="asks Linux for maps")
@pytest.mark.parametrize("suffix", FORMATS)
def test_no_file_is_ever_mapped(tmp_path, save, X, suffix):
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    assert rows.array is None
    for _ in rows.blocks(7):
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("suffix", FORMATS)
def test_single_rows_are_taken_in_any_order(tmp_path, save, X, suffix):
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    for numbers in ([], [3], [49, 0, 7, 8, 9, 7], np.arange(50)[::-1]):
        found = rows.take(numbers)
        np.testing.assert_array_equal(found, X[np.asarray(numbers, int)])
        assert found.dtype == X.dtype


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", ">i2", "?"])
def test_any_order_of_axes_and_bytes_gives_native_blocks(tmp_path, save, X, suffix, order, dtype):
    X = np.asarray(X * 10).astype(dtype, order=order)
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    assert rows.dtype == X.dtype.newbyteorder("=")
    assert all(block.dtype.isnative for block in rows.blocks(7))
    np.testing.assert_array_equal(gathered(rows), X)
    np.testing.assert_array_equal(rows.in_memory(), X)
    np.testing.assert_array_equal(rows.take([9, 3, 4]), X[[9, 3, 4]])


def test_npy_version_2_is_read(tmp_path, X):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, X, version=(2, 0))
    np.testing.assert_array_equal(gathered(open_rows(tmp_path / "x.npy")), X)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_compressed_npz_is_read(tmp_path, X, order, dtype):
    X = X.astype(dtype, order=order)
    np.savez_compressed(tmp_path / "x.npz", X=X, labels=np.arange(50))
    rows = open_rows(tmp_path / "x.npz")
    assert rows.name == "X"
    np.testing.assert_array_equal(gathered(rows), X)


def test_compressed_npz_holds_one_block_in_memory(tmp_path):
    X = np.zeros((50_000, 32), np.float32)
    X[:, 0] = np.arange(50_000)
    np.savez_compressed(tmp_path / "x.npz", X=X)
    rows = open_rows(tmp_path / "x.npz")
    tracemalloc.start()
    total = sum(float(block[:, 0].sum(dtype=np.float64)) for block in rows.blocks(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == np.arange(50_000).sum()
    assert peak < X.nbytes / 8


def test_bfloat16_is_widened_exactly(tmp_path):
    bits = np.array([[0x3F80, 0xC000, 0x0080], [0x7F80, 0x0001, 0x4049]], np.uint16)
    header = b'{"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}'
    data = len(header).to_bytes(8, "little") + header + bits.tobytes()
    (tmp_path / "x.safetensors").write_bytes(data)
    rows = open_rows(tmp_path / "x.safetensors")
    assert rows.dtype == np.float32
    assert rows.array is None
    expected = [[1, -2, 2.0**-126], [np.inf, 2.0**-133, 3.140625]]
    np.testing.assert_array_equal(gathered(rows, 1), np.float32(expected))


def test_bfloat16_agrees_with_torch(tmp_path, X):
    torch = pytest.importorskip("torch")
    halves = torch.from_numpy(X).to(torch.bfloat16)
    pytest.importorskip("safetensors.torch").save_file({"w": halves}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        gathered(open_rows(tmp_path / "x.safetensors")), halves.float().numpy()
    )


def test_a_tensor_is_chosen_by_name_and_found_at_its_place(tmp_path, X):
    from safetensors.numpy import save_file

    tensors = {"a": X, "b": X[:9].astype(np.float16), "c": X[:, :1].astype(np.int8), "bias": X[0]}
    save_file(tensors, tmp_path / "x.safetensors", {"by": "a test"})
    for name in "abc":
        rows = open_rows(tmp_path / "x.safetensors", column=name)
        assert rows.name == name
        np.testing.assert_array_equal(gathered(rows), tensors[name])


def test_an_array_of_an_archive_is_chosen_by_name(tmp_path, X):
    np.savez(tmp_path / "x.npz", queries=X, documents=2 * X)
    np.testing.assert_array_equal(gathered(open_rows(tmp_path / "x.npz", "documents")), 2 * X)


def test_the_only_part_that_can_be_rows_is_found(tmp_path, X):
    np.savez(tmp_path / "x.npz", X=X, ids=np.arange(50), names=np.array(["a", "b"]))
    table = pa.table({"id": range(50), "v": fixed_lists(X), "tags": [["a"]] * 50})
    pq.write_table(table, tmp_path / "x.parquet")
    assert open_rows(tmp_path / "x.npz").name == "X"
    assert open_rows(tmp_path / "x.parquet").name == "v"


LISTS = {
    "list": lambda X: pa.array(list(X)),
    "large_list": lambda X: pa.array(list(X), pa.large_list(pa.float32())),
    "fixed_size_list": fixed_lists,
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("start", [0, 13])
def test_lists_of_every_kind_are_read_slices_too(tmp_path, X, kind, suffix, start):
    table = pa.table({"v": LISTS[kind](X), "id": range(50)}).slice(start, 30)
    if suffix == ".parquet":
        pq.write_table(table, tmp_path / "x.parquet", row_group_size=11)
    else:
        with pa.ipc.new_file(str(tmp_path / f"x{suffix}"), table.schema) as writer:
            writer.write_table(table, max_chunksize=11)
    rows = open_rows(tmp_path / f"x{suffix}")
    assert rows.shape == (30, 6)
    np.testing.assert_array_equal(gathered(rows), X[start : start + 30])


def test_what_pandas_and_polars_write_is_read(tmp_path, X):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pd.DataFrame({"v": list(X), "id": range(50)}).to_parquet(tmp_path / "pandas.parquet")
    frame = pl.DataFrame({"id": range(50), "v": X})
    frame.write_parquet(tmp_path / "array.parquet")
    frame.write_ipc(tmp_path / "array.arrow", compression="zstd")
    frame.with_columns(pl.col("v").arr.to_list()).write_parquet(tmp_path / "list.parquet")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(gathered(open_rows(path)), X, err_msg=path.name)


def test_an_arrow_stream_is_read(tmp_path, X):
    table = pa.table({"id": range(50), "v": fixed_lists(X)})
    with pa.ipc.new_stream(str(tmp_path / "x.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=8)
    rows = open_rows(tmp_path / "x.arrow")
    assert rows.shape == (50, 6)
    np.testing.assert_array_equal(gathered(rows), X)


def test_arrow_holds_one_record_batch_in_memory(tmp_path):
    X = np.random.default_rng(3).normal(size=(20_000, 16)).astype(np.float32)
    table = pa.table({"id": range(20_000), "v": fixed_lists(X)})
    for new in (pa.ipc.new_file, pa.ipc.new_stream):
        with new(str(tmp_path / "x.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
        rows, peak, before = open_rows(tmp_path / "x.arrow"), 0, pa.total_allocated_bytes()
        for _block in rows.blocks(1000):
            peak = max(peak, pa.total_allocated_bytes() - before)
        assert peak < X.nbytes / 5


@pytest.mark.parametrize("row_group_size", [60_000, 1000])
def test_parquet_holds_a_few_blocks_in_memory_however_large_the_row_groups(
    tmp_path, row_group_size
):
    X = np.random.default_rng(2).normal(size=(60_000, 64)).astype(np.float32)
    pq.write_table(
        pa.table({"v": fixed_lists(X)}), tmp_path / "x.parquet", row_group_size=row_group_size
    )
    rows, peak = open_rows(tmp_path / "x.parquet"), 0
    before = pa.total_allocated_bytes()
    for block in rows.blocks(512):
        peak = max(peak, pa.total_allocated_bytes() - before)
        assert len(block) <= 512
    assert peak < X.nbytes / 5


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_other_columns_are_not_even_read(tmp_path, X, suffix):
    path, text = tmp_path / f"x{suffix}", "unread" * 100
    table = pa.table({"text": [text] * 50, "v": fixed_lists(X)})
    if suffix == ".parquet":
        pq.write_table(table, path, use_dictionary=False, compression="none")
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    data = path.read_bytes()
    first = data.index(text.encode())
    # Lengths before and between the texts are ruined: whoever decodes the column trips over it.
    path.write_bytes(data[: first - 4] + b"\xff" * 20_000 + data[first - 4 + 20_000 :])
    np.testing.assert_array_equal(gathered(open_rows(path)), X)


def test_other_columns_of_a_compressed_file_are_not_decompressed(tmp_path, X):
    path, table = tmp_path / "x.feather", pa.table({"text": ["unread"] * 50, "v": fixed_lists(X)})
    pytest.importorskip("pyarrow.feather").write_feather(
        table, str(path), chunksize=25, compression="lz4"
    )
    data, magic = path.read_bytes(), b"\x04\x22\x4d\x18"
    first, second = data.split(magic)[:4], data.split(magic)[4:]
    assert len(second) == 3  # offsets, texts and vectors of the second batch
    second[1] = b"\xff" * 8 + second[1][8:]
    path.write_bytes(magic.join(first + second))
    np.testing.assert_array_equal(gathered(open_rows(path)), X)


def test_importing_the_readers_imports_no_optional_library():
    # pandas, which scikit-learn imports, imports pyarrow as well, but can do without.
    code = (
        "import sys; sys.modules['pyarrow'] = None; import isotropy.io; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("suffix", TABLES)
def test_without_pyarrow_the_extra_is_named(tmp_path, save, X, monkeypatch, suffix):
    path = save(tmp_path / f"x{suffix}", X)
    for module in ("pyarrow", "pyarrow.parquet", "pyarrow.dataset"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"isotropy\[io\]"):
        open_rows(path)
