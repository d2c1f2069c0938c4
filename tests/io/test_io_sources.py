"""Rows from what other tools keep: vectors files, chunked stores, shards, tables, databases."""

from __future__ import annotations

import json
import os
import shutil
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotropy import Moments, Whitening
from isotropy.io import FileError, RowWriter, open_rows
from isotropy.jobs import correct

DATA = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)


def gathered(rows, block_rows=7, start=0):
    blocks = list(rows.blocks(block_rows, start=start))
    assert all(0 < len(block) <= block_rows for block in blocks)
    assert all(block.dtype == rows.dtype for block in blocks)
    return np.concatenate([np.empty((0, rows.shape[1]), rows.dtype), *blocks])


def refusal(source, column=None):
    with pytest.raises(FileError) as caught:
        list(open_rows(source, column).blocks(16))
    line = str(caught.value)
    assert "\n" not in line
    return line


# -- what each library writes ------------------------------------------------------------------


def fvecs(path, X):
    width = np.full((len(X), 1), X.shape[1], "<i4").view("<f4")
    np.hstack([width, X.astype("<f4")]).tofile(path)


def bvecs(path, X):
    width = np.full((len(X), 1), X.shape[1], "<i4").view("u1").reshape(len(X), 4)
    np.hstack([width, X.astype("u1")]).tofile(path)


def words(path, X, header=True, ends="\n"):
    lines = [f"{len(X)} {X.shape[1]}\n"] if header else []
    lines += [f"w{i} " + " ".join(map(repr, row.tolist())) + ends for i, row in enumerate(X)]
    path.write_text("".join(lines))


def word2vec(path, X, ends=b"\n"):
    with open(path, "wb") as file:
        file.write(f"{len(X)} {X.shape[1]}\n".encode())
        for i, row in enumerate(X):
            file.write(f"w{i} ".encode() + row.astype("<f4").tobytes() + ends)


def hdf5(path, X, **options):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("group/vector", data=X, **options)
        file["label"] = np.arange(len(X))


def zarr(path, X, **options):
    array = pytest.importorskip("zarr").create_array(
        str(path), shape=X.shape, dtype=X.dtype, chunks=(16, X.shape[1]), **options
    )
    array[:] = X


def lance(path, X):
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    table = pa.table({"id": np.arange(len(X)), "vector": lists})
    pytest.importorskip("lance").write_dataset(table, str(path), max_rows_per_file=20)


def saved_dataset(path, X):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"id": list(range(len(X))), "vector": list(X)})
    data.save_to_disk(str(path), num_shards=3)


def folder(path, X):
    path.mkdir()
    path.joinpath("_SUCCESS").touch()
    for i, start in enumerate(range(0, len(X), 4)):  # thirteen: part-10 comes after part-9
        np.save(path / f"part-{i}.npy", X[start : start + 4])


SOURCES = {
    "x.fvecs": fvecs,
    "x.vec": words,
    "glove.txt": lambda path, X: words(path, X, header=False),
    "fasttext.vec": lambda path, X: words(path, X, ends=" \n"),
    "x.bin": word2vec,
    "packed.bin": lambda path, X: word2vec(path, X, ends=b""),
    "x.hdf5": hdf5,
    "chunked.h5": lambda path, X: hdf5(path, X, chunks=(16, 3), compression="gzip"),
    "x.zarr": zarr,
    "sharded.zarr": lambda path, X: zarr(path, X, shards=(32, X.shape[1])),
    "x.lance": lance,
    "saved": saved_dataset,
    "folder": folder,
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("block_rows", [1, 7, 16, 1000])
@pytest.mark.parametrize("start", [0, 1, 20, 49, 50])
def test_every_source_gives_its_rows_from_any_row_on(tmp_path, name, block_rows, start):
    path = tmp_path / name
    SOURCES[name](path, DATA)
    rows = open_rows(path)
    assert rows.shape == DATA.shape
    np.testing.assert_array_equal(gathered(rows, block_rows, start), DATA[start:])


@pytest.mark.parametrize("name", SOURCES)
def test_moments_of_every_source_are_those_of_the_rows(tmp_path, name):
    path = tmp_path / name
    SOURCES[name](path, DATA)
    found, wanted = Moments().update(open_rows(path)), Moments().update(DATA)
    assert found.n_rows == 50
    np.testing.assert_allclose(found.scatter, wanted.scatter, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("name", ["x.hdf5", "x.zarr", "x.lance", "folder"])
def test_types_are_kept(tmp_path, name, dtype):
    path = tmp_path / name
    SOURCES[name](path, DATA.astype(dtype))
    rows = open_rows(path)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(gathered(rows), DATA.astype(dtype))


def test_bytes_of_bvecs(tmp_path):
    X = np.arange(60).reshape(10, 6)
    bvecs(tmp_path / "x.bvecs", X)
    rows = open_rows(tmp_path / "x.bvecs")
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(gathered(rows), X)


def test_fvecs_are_written_as_they_are_read(tmp_path):
    path = tmp_path / "x.fvecs"
    with RowWriter(path, shape=DATA.shape) as out:
        out.write(DATA[:30])
        out.write(DATA[30:])
    fvecs(tmp_path / "wanted.fvecs", DATA)
    assert path.read_bytes() == (tmp_path / "wanted.fvecs").read_bytes()


@pytest.mark.parametrize("suffix", [".bvecs", ".vec", ".bin"])
def test_what_is_only_read_says_so(tmp_path, suffix):
    with pytest.raises(FileError, match=r"only read here; write one of .*\.parquet"):
        RowWriter(tmp_path / f"x{suffix}", shape=(1, 2))


def test_a_word_may_hold_spaces_and_any_bytes(tmp_path):
    (tmp_path / "x.txt").write_bytes(b". . . 1 2\nthe 3 4\nna\xefve 5 6\n \xc2\xa0 7 8")
    rows = open_rows(tmp_path / "x.txt")
    assert gathered(rows).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    found = list(rows.words())
    assert found[:2] == [". . .", "the"] and found[2].startswith("na")


def test_hugging_face_datasets_keep_their_selection():
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"id": list(range(50)), "vector": list(DATA)})
    chosen = data.select(range(40, 5, -1))
    rows = open_rows(chosen)
    assert rows.name == "vector"
    np.testing.assert_array_equal(gathered(rows), DATA[40:5:-1])
    np.testing.assert_array_equal(gathered(rows, 16, 3), DATA[40:5:-1][3:])
    with pytest.raises(ValueError, match="choose one"):
        open_rows(datasets.DatasetDict(train=data))


def test_a_folder_of_splits_names_them(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"vector": list(DATA)})
    datasets.DatasetDict(train=data, test=data).save_to_disk(str(tmp_path / "both"))
    line = refusal(tmp_path / "both")
    assert "train" in line and "test" in line
    assert open_rows(tmp_path / "both" / "test").shape == (50, 6)


# -- shards ------------------------------------------------------------------------------------


def parquet_shards(folder, X, count=5, carried=True):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder.mkdir(exist_ok=True)
    step = -(-len(X) // count)
    for i in range(count):
        part = X[i * step : (i + 1) * step]
        lists = pa.array(list(part), pa.list_(pa.float32()))
        ids = np.arange(i * step, i * step + len(part))
        pq.write_table(pa.table({"id": ids, "v": lists}), folder / f"part-{i}.parquet")


def test_a_pattern_a_list_and_partitions_are_one_whole(tmp_path):
    parquet_shards(tmp_path / "a", DATA)
    for i in range(5):
        (tmp_path / f"a/day={i}").mkdir()
        os.rename(tmp_path / f"a/part-{i}.parquet", tmp_path / f"a/day={i}/x.parquet")
    whole = gathered(open_rows(tmp_path / "a"))
    np.testing.assert_array_equal(whole, DATA)
    np.testing.assert_array_equal(gathered(open_rows(str(tmp_path / "a/**/*.parquet"))), DATA)
    two = [tmp_path / "a/day=3/x.parquet", tmp_path / "a/day=1/x.parquet"]
    np.testing.assert_array_equal(gathered(open_rows(two)), np.r_[DATA[30:40], DATA[10:20]])


def test_shards_without_rows_are_skipped_and_empty_files_are_not(tmp_path):
    parquet_shards(tmp_path, DATA)
    parquet_shards(tmp_path / "none", DATA[:0], 1)
    shutil.move(tmp_path / "none/part-0.parquet", tmp_path / "part-9.parquet")
    assert open_rows(tmp_path).shape == (50, 6)
    (tmp_path / "part-7.parquet").touch()
    line = refusal(tmp_path)
    assert "part-7.parquet" in line and "empty (0 bytes)" in line


def test_a_shard_of_another_dimension_is_named(tmp_path):
    parquet_shards(tmp_path, DATA)
    np.save(tmp_path / "part-6.npy", DATA[:, :4])
    line = refusal(tmp_path)
    assert "part-6.npy" in line and "4 dimensions" in line and "part-0.parquet has 6" in line


def test_a_bad_row_is_named_with_its_shard(tmp_path):
    X = DATA.copy()
    X[37, 2] = np.nan
    parquet_shards(tmp_path / "in", X)
    with pytest.raises(ValueError, match=r"row 37 \(row 7 of .*part-3\.parquet\) is the first bad"):
        Moments().update(open_rows(tmp_path / "in"))
    with pytest.raises(ValueError, match=r"row 37 \(row 7 of .*part-3\.parquet\)"):
        correct(Whitening().fit(DATA), tmp_path / "in", tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_a_pattern_or_folder_without_files_says_so(tmp_path):
    assert "no file matches" in refusal(str(tmp_path / "*.npy"))
    assert "folder without a file" in refusal(tmp_path)
    with pytest.raises(ValueError, match="empty list"):
        open_rows([])


@pytest.mark.parametrize("name", ["x.npy", "x.fvecs", "x.hdf5", "x.vec"])
def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, name):
    path = tmp_path / name
    (np.save if name == "x.npy" else SOURCES[name])(path, DATA)
    rows = open_rows(path)
    with open(path, "ab") as file:
        file.write(b"\0" * 28)
    with pytest.raises(FileError, match="changed while it was in use"):
        Moments().update(rows)


# Text without a first line that says how much there is may end anywhere.
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "glove.txt"])
def test_sources_cut_short_are_refused_or_whole(tmp_path, name):
    path = tmp_path / name
    SOURCES[name](path, DATA)
    target = path
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file() and file.suffix != ".json")
        target = max(files, key=lambda file: (file.stat().st_size, file.name))
    data = target.read_bytes()
    for tenth in range(9):
        target.write_bytes(data[: (len(data) - 1) * tenth // 9])
        assert len(refusal(path)) > len(str(path))


def test_zarr_chunks_that_are_missing_are_no_zeros(tmp_path):
    zarr(tmp_path / "x.zarr", DATA)
    (tmp_path / "x.zarr/c/2/0").unlink()
    assert "1 of 4 chunks are missing" in refusal(tmp_path / "x.zarr")


# -- readers of our own, fuzzed ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.fvecs", "x.vec", "glove.txt", "x.bin"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_never_worse(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / name
    SOURCES[name](path, DATA[:5])
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "set"]))
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        if kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        elif raw:
            raw[at] = (
                raw[at] ^ (1 << (at % 8)) if kind == "flip" else data.draw(st.integers(0, 255))
            )
    path.write_bytes(raw)
    try:
        rows = open_rows(path)
        found = gathered(rows)
    except FileError as error:
        assert "\n" not in str(error)
        return
    assert found.shape == rows.shape
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["x.hdf5", "chunked.h5", "x.zarr", "sharded.zarr", "x.lance", "saved"]
)
def test_flipped_bits_are_refused_or_read_never_worse(tmp_path, name):
    path = tmp_path / name
    SOURCES[name](path, DATA)
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    chance = np.random.default_rng(0)
    for _ in range(40):
        target = files[chance.integers(len(files))]
        data = bytearray(target.read_bytes())
        if not data:
            continue
        whole, at = bytes(data), chance.integers(len(data))
        data[at] ^= 1 << int(chance.integers(8))
        target.write_bytes(data)
        try:
            rows = open_rows(path)
            assert gathered(rows).shape == rows.shape
        except FileError as error:
            assert "\n" not in str(error)
        target.write_bytes(whole)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (struct.pack("<i", -5) + b"\0" * 20, "declares -5 dimensions"),
        (struct.pack("<i", 2**30) + b"\0" * 20, "dimensions"),
        (struct.pack("<i2f", 2, 1, 2) + struct.pack("<i2f", 3, 1, 2), "row 1 declares 3"),
    ],
)
def test_fvecs_headers_are_checked(tmp_path, content, said):
    (tmp_path / "x.fvecs").write_bytes(content)
    assert said in refusal(tmp_path / "x.fvecs")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"3 2\na 1 2\nb 3 4\n", "declares 3 words, 2 lines"),
        (b"2 2\na 1 2\nb 3 x\n", "row 1 is not a word and 2 numbers"),
        (b"2 3\na 1 2\nb 3 4\n", "row 0: 3 fields"),
        (b"hello world\n", "row 0 is not a word and 1 numbers"),
        (b"\n\n", "no word"),
    ],
)
def test_word_vectors_are_checked(tmp_path, content, said):
    (tmp_path / "x.vec").write_bytes(content)
    assert said in refusal(tmp_path / "x.vec")


def test_binary_word_vectors_are_checked(tmp_path):
    path = tmp_path / "x.bin"
    word2vec(path, DATA)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    assert "more than the 50 words" in refusal(path)
    path.write_bytes(b"99999999 300\n" + whole)
    assert "declares 99999999 words" in refusal(path)
    path.write_bytes(b"50 6\n" + b"\0" * 5000)
    assert "no word" in refusal(path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/base#items",
        "postgresql://me:s3:c@ret@127.0.0.1:1/base#items",
        "postgresql://127.0.0.1:1/base?password=s3cret#items",
        "postgresql://127.0.0.1:1/base?user=me&password=s3cret&connect_timeout=1#items",
        "postgresql://127.0.0.1:1/base?sslpassword=s3cret",
    ],
)
def test_a_password_is_never_shown(url):
    pytest.importorskip("psycopg")
    with pytest.raises(FileError) as caught:
        open_rows(url)
    shown = f"{caught.value} {caught.value.path}"
    assert "s3" not in shown
    assert "ret" not in shown
    assert "127.0.0.1:1/base" in shown


# -- what tells one content from another ---------------------------------------------------------


def others_of_the_same_size(name, path):
    """Other rows at the same place: the same sizes, and the times as they were."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    times = {file: file.stat().st_mtime_ns for file in files}
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    SOURCES[name](path, DATA[::-1].copy())
    for file, time in times.items():
        if file.exists():
            os.utime(file, ns=(time, time))


@pytest.mark.parametrize("name", SOURCES)
def test_a_fingerprint_tells_other_rows_of_the_same_size_and_time(tmp_path, name):
    path = tmp_path / name
    SOURCES[name](path, DATA)
    before = open_rows(path).fingerprint()
    assert open_rows(path).fingerprint() == before
    assert json.loads(json.dumps(before)) == before
    others_of_the_same_size(name, path)
    assert open_rows(path).fingerprint() != before


def frames(X):
    pa, pd, pl = map(pytest.importorskip, ("pyarrow", "pandas", "polars"))
    ds = pytest.importorskip("pyarrow.dataset")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    table = pa.table({"id": range(len(X)), "vector": lists})
    return {
        "Table": table,
        "RecordBatch": table.to_batches()[0],
        "dataset": ds.dataset([table.slice(0, 20), table.slice(20)]),
        "polars": pl.DataFrame({"id": range(len(X)), "vector": X}),
        "pandas": pd.DataFrame({"id": range(len(X)), "vector": list(X)}),
    }


@pytest.mark.parametrize("kind", ["Table", "RecordBatch", "dataset", "polars", "pandas"])
def test_tables_in_memory_are_opened_by_the_name_of_a_column(kind):
    frame = frames(DATA)[kind]
    for column in (None, "vector"):
        rows = open_rows(frame, column=column)
        np.testing.assert_array_equal(gathered(rows), DATA)
        np.testing.assert_array_equal(gathered(rows, 16, 23), DATA[23:])
        np.testing.assert_array_equal(rows.take([49, 3]), DATA[[49, 3]])
    assert "has no column 'none'; it has 'id', 'vector'" in refusal(frame, "none")
    assert "not lists of numbers" in refusal(frame, "id")
    assert rows.fingerprint() == open_rows(frames(DATA)[kind]).fingerprint()
    assert rows.fingerprint() != open_rows(frames(DATA[::-1].copy())[kind]).fingerprint()


def test_a_dataset_of_files_is_read_and_told_when_it_changes(tmp_path):
    ds = pytest.importorskip("pyarrow.dataset")
    parquet_shards(tmp_path, DATA)
    rows = open_rows(ds.dataset(tmp_path))
    np.testing.assert_array_equal(gathered(rows), DATA)
    with open(tmp_path / "part-3.parquet", "ab") as file:
        file.write(b"more")
    with pytest.raises(FileError):
        gathered(rows)


def test_frames_of_numbers_are_rows_and_ids_are_carried_along(tmp_path):
    pd, pq = pytest.importorskip("pandas"), pytest.importorskip("pyarrow.parquet")
    np.testing.assert_array_equal(gathered(open_rows(pd.DataFrame(DATA))), DATA)
    correct(Whitening().fit(DATA), frames(DATA)["pandas"], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == list(range(50))


# -- names ---------------------------------------------------------------------------------------


def test_folders_that_a_pattern_names_are_read_and_what_is_no_data_is_not(tmp_path):
    for i, name in enumerate(["day=1", "day=2", "day=10"]):
        (tmp_path / name / "inner").mkdir(parents=True)
        np.save(tmp_path / name / "x.npy", DATA[10 * i : 10 * i + 5])
        np.save(tmp_path / name / "inner" / "x.npy", DATA[10 * i + 5 : 10 * i + 10])
    np.save(tmp_path / "z.npy", DATA[30:])
    no_data = ["_tmp.npy", ".hidden.npy", "day=1/_tmp.npy", "day=1/.isotropy-1.tmp", "_tmp/x.npy",
               ".hidden/x.npy", "day=2/_temporary/x.npy", "_SUCCESS"]  # fmt: skip
    for name in no_data:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no rows")
    parts = [[10 * i + 5, 10 * i] for i in range(3)]  # inner/ comes before x.npy
    wanted = np.concatenate([DATA[i : i + 5] for part in parts for i in part] + [DATA[30:]])
    listed = [tmp_path / name for name in ("day=1", "day=2", "day=10", "z.npy")]
    patterns = [f"{tmp_path}/*", f"{tmp_path}/**", f"{tmp_path}/**/*.npy"]
    for source in (tmp_path, listed, *patterns):
        np.testing.assert_array_equal(gathered(open_rows(source)), wanted)
    (tmp_path / "_tmp.npy").unlink()
    np.save(tmp_path / "_tmp.npy", DATA)
    np.testing.assert_array_equal(gathered(open_rows(f"{tmp_path}/_*.npy")), DATA)


def test_tables_among_files_are_parts_too(tmp_path):
    zarr(tmp_path / "1.zarr", DATA[:20])
    np.save(tmp_path / "2.npy", DATA[20:30])
    (tmp_path / "3").mkdir()
    zarr(tmp_path / "3" / "x.zarr", DATA[30:])
    for source in (tmp_path, f"{tmp_path}/*", f"{tmp_path}/**", [f"{tmp_path}/{i}" for i in
                   ("1.zarr", "2.npy", "3/x.zarr")]):  # fmt: skip
        np.testing.assert_array_equal(gathered(open_rows(source)), DATA)


def test_what_was_learned_is_never_read_as_data(tmp_path):
    from isotropy.jobs import stream_moments

    folder = tmp_path / "rows"
    folder.mkdir()
    np.save(folder / "x.npy", DATA)
    stream_moments(folder, checkpoint=tmp_path / "fit.safetensors")
    shutil.move(tmp_path / "fit.safetensors", folder)
    Whitening().fit(DATA).save(folder / "whitening.safetensors")
    correct(Whitening().fit(DATA), folder / "x.npy", f"{tmp_path}/out/")
    shutil.copy(tmp_path / "out" / "_isotropy.jsonl", folder)
    for source in (folder, f"{folder}/*"):
        np.testing.assert_array_equal(gathered(open_rows(source)), DATA)
    assert "what isotropy learned" in refusal(folder / "whitening.safetensors")
