"""What is written is what other libraries read; a file appears whole or not at all."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from cases import FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isotropy import MeanRemoval
from isotropy.io import FileError, RowWriter, open_rows
from isotropy.jobs import correct
from isotropy.storage import locks

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")


def write(path, X, block_rows=7, **options):
    with RowWriter(path, **{"shape": X.shape, "dtype": X.dtype, **options}) as out:
        for start in range(0, len(X), block_rows):
            out.write(X[start : start + block_rows])


def column_of(table, name):
    return np.array(table.column(name).to_pylist(), object)


def by_safetensors(path, name):
    return pytest.importorskip("safetensors.numpy").load_file(path)[name]


def by_h5py(path, name):
    with pytest.importorskip("h5py").File(path) as file:
        return file[name][:]


PEERS = {
    ".h5": by_h5py,
    ".npy": lambda path, name: np.load(path),
    ".npz": lambda path, name: np.load(path)[name],
    ".safetensors": by_safetensors,
    ".parquet": lambda path, name: column_of(pq.read_table(path), name),
    ".arrow": lambda path, name: column_of(pa.ipc.open_file(str(path)).read_all(), name),
    ".feather": lambda path, name: column_of(feather.read_table(str(path)), name),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("column", [None, "vector"])
def test_other_libraries_read_what_was_written(tmp_path, X, suffix, dtype, column):
    X, path = X.astype(dtype), tmp_path / f"x{suffix}"
    write(path, X, column=column)
    read = PEERS[suffix](path, column or "embedding")
    assert read.dtype in (X.dtype, object)
    np.testing.assert_array_equal(read.astype(dtype), X)
    rows = open_rows(path)
    assert rows.dtype == X.dtype
    assert rows.name == (None if suffix == ".npy" else column or "embedding")
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(11))), X)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_rows_come_back_whatever_the_blocks(tmp_path_factory, suffix, data):
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    shape = data.draw(st.tuples(st.integers(0, 9), st.integers(1, 5)))
    X = data.draw(hnp.arrays(dtype, shape))
    path = tmp_path_factory.mktemp("rows") / f"x{suffix}"
    write(path, X, block_rows=data.draw(st.integers(1, 9)))
    rows = open_rows(path)
    assert rows.shape == shape
    back = list(rows.blocks(data.draw(st.integers(1, 9))))
    np.testing.assert_array_equal(np.concatenate([np.empty((0, shape[1]), dtype), *back]), X)


@pytest.mark.parametrize("suffix", FORMATS)
def test_blocks_of_any_type_and_order_are_converted(tmp_path, suffix):
    X = np.arange(24).reshape(8, 3)
    path = tmp_path / f"x{suffix}"
    with RowWriter(path, shape=(8, 3)) as out:
        out.write(X[:2].astype(">f8"))
        out.write(np.asfortranarray(X[2:4]))
        out.write(X[4:4])
        out.write(X[4:6].tolist())
        out.write(np.repeat(X, 2, axis=0)[12::2].astype(bool) * X[6:])
    rows = open_rows(path)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks())), X)


def failing_body(path, X):
    with RowWriter(path, shape=X.shape) as out:
        out.write(X)
        raise KeyboardInterrupt


def too_few(path, X):
    with RowWriter(path, shape=(len(X) + 1, 6)) as out:
        out.write(X)


def too_many(path, X):
    with RowWriter(path, shape=(len(X) - 1, 6)) as out:
        out.write(X[:40])
        out.write(X[40:])


def too_wide(path, X):
    with RowWriter(path, shape=(len(X), 5)) as out:
        out.write(X)


def one_vector(path, X):
    with RowWriter(path, shape=(1, 6)) as out:
        out.write(X[0])


def too_large(path, X):
    with RowWriter(path, shape=X.shape, dtype="float16") as out:
        out.write(X + 70_000)


def texts(path, X):
    with RowWriter(path, shape=X.shape) as out:
        out.write(X.astype(str))


FAILURES = {
    failing_body: (KeyboardInterrupt, None),
    too_few: (ValueError, "51 rows were promised, 50 came"),
    too_many: (ValueError, "49 rows were promised, this block makes 50"),
    too_wide: (ValueError, r"block must have shape \(m, 5\), got \(50, 6\)"),
    one_vector: (ValueError, r"block must have shape \(m, 6\), got \(6,\)"),
    too_large: (ValueError, "beyond the range of float16"),
    texts: (ValueError, "real numbers"),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__)
@pytest.mark.parametrize("old", [None, b"precious"])
def test_a_failed_write_leaves_everything_as_it_was(tmp_path, X, suffix, fail, old):
    path = tmp_path / f"x{suffix}"
    if old is not None:
        path.write_bytes(old)
    error, message = FAILURES[fail]
    with pytest.raises(error, match=message):
        fail(path, X)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {} if old is None else {path.name: old}
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path, suffix):
    import resource

    X = np.random.default_rng(0).normal(size=(500, 1000)).astype(np.float32)
    path, limits = tmp_path / f"x{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, limits[1]))
    try:
        with pytest.raises(FileError, match="could not be written") as caught:
            write(path, X, block_rows=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"{path}: ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_file_is_not_there_before_its_last_row(tmp_path, X, suffix):
    path = tmp_path / f"x{suffix}"
    with RowWriter(path, shape=X.shape) as out:
        out.write(X)
        assert not path.exists()
    assert path.exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_can_be_replaced_by_what_is_made_from_it(tmp_path, save, X, suffix):
    rows = open_rows(save(tmp_path / f"x{suffix}", X))
    with RowWriter(rows.path, shape=rows.shape, like=rows) as out:
        for block in rows.blocks(9):
            out.write(2 * block)
    np.testing.assert_array_equal(np.concatenate(list(open_rows(rows.path).blocks())), 2 * X)


def test_the_bytes_are_on_the_disk_before_the_file_takes_its_place(tmp_path, X, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))
        )
    write(tmp_path / "x.npy", X)
    assert calls == ["fsync", "replace", "fsync"]  # the last is the folder's


def test_a_writer_serves_a_second_time(tmp_path, X):
    out = RowWriter(tmp_path / "x.npy", shape=X.shape)
    for factor in (1, 2):
        with out:
            out.write(factor * X)
        np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), factor * X)


def test_outside_of_its_with_statement_nothing_is_written(tmp_path, X):
    out = RowWriter(tmp_path / "x.npy", shape=X.shape)
    with pytest.raises(ValueError, match="with statement"):
        out.write(X)
    assert os.listdir(tmp_path) == []


def test_infinities_of_the_input_pass_into_a_narrower_type(tmp_path):
    write(tmp_path / "x.npy", np.array([[np.inf, np.nan, -1.0]]), dtype="float16")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), [[np.inf, np.nan, -1.0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (5, 0)}, "shape must be"),
        ({"shape": (-1, 3)}, "shape must be"),
        ({"shape": (5,)}, "shape must be"),
        ({"shape": (5, 3), "dtype": "int8"}, "dtype must be"),
        ({"shape": (5, 3), "dtype": "complex64"}, "dtype must be"),
    ],
)
def test_impossible_promises_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        RowWriter(tmp_path / "x.npy", **options)


def test_places_where_nothing_can_be_written_are_refused(tmp_path, X):
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    for name, said in {
        "missing/x.npy": "folder .* does not exist",
        "folder.npy": "is a folder",
        "pipe.npy": "not a regular file",
        "x.csv": "'.csv' names no format that is written",
        "x" * 300 + ".npy": "could not be written",
    }.items():
        with pytest.raises(FileError, match=said):
            write(tmp_path / name, X)
    assert sorted(os.listdir(tmp_path)) == ["folder.npy", "pipe.npy"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_protected_files_and_folders_are_respected(tmp_path, X):
    path = tmp_path / "x.npy"
    path.touch(mode=0o444)
    with pytest.raises(FileError, match="write-protected"):
        write(path, X)
    tmp_path.chmod(0o555)
    with pytest.raises(FileError, match="could not be written"):
        write(tmp_path / "y.npy", X)
    tmp_path.chmod(0o755)


def test_a_protected_file_is_respected_for_whoever_asks(tmp_path, X, monkeypatch):
    path = tmp_path / "x.npy"
    path.write_bytes(b"precious")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(FileError, match="write-protected"):
        write(path, X)
    assert path.read_bytes() == b"precious"


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path, X):
    (tmp_path / "plain").touch()
    write(tmp_path / "x.npy", X)
    assert (tmp_path / "x.npy").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "x.npy").chmod(0o640)
    write(tmp_path / "x.npy", X)
    assert (tmp_path / "x.npy").stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path, X):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.npy").symlink_to(tmp_path / "elsewhere" / "real.npy")
    write(tmp_path / "x.npy", X)
    assert (tmp_path / "x.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "elsewhere" / "real.npy"), X)


@pytest.mark.parametrize("column", ["v", "ve", "vec", "vect", "é", 'quo"ted'])
def test_numbers_in_safetensors_are_aligned(tmp_path, X, column):
    write(tmp_path / "x.safetensors", X, column=column)
    length = int.from_bytes((tmp_path / "x.safetensors").read_bytes()[:8], "little")
    assert length % 8 == 0  # the numbers follow
    np.testing.assert_array_equal(open_rows(tmp_path / "x.safetensors", column).in_memory(), X)


def test_safetensors_keeps_its_own_name(tmp_path, X):
    with pytest.raises(FileError, match="__metadata__"):
        write(tmp_path / "x.safetensors", X, column="__metadata__")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_without_pyarrow_the_extra_is_named_and_nothing_is_left(tmp_path, X, monkeypatch, suffix):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"isotropy\[io\]"):
        write(tmp_path / f"x{suffix}", X)
    assert os.listdir(tmp_path) == []


def test_what_killed_jobs_left_is_swept_by_one_that_finds_all_written(tmp_path):
    X = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "rows.npy", X)
    corrector, output = MeanRemoval().fit(X), tmp_path / "out"
    for place, parent in ((f"{output}/", output), (tmp_path / "new.npy", tmp_path)):
        correct(corrector, tmp_path / "rows.npy", place)
        (parent / ".isotropy-1.tmp").touch()
        locks._swept.clear()  # as in another process
        found = correct(corrector, tmp_path / "rows.npy", place).found
        assert found == 4 and not list(parent.glob(".isotropy-*"))


@pytest.mark.parametrize("where", ["journal", "place"])
def test_a_folder_that_is_interrupted_while_it_commits_ends_interrupted(
    tmp_path, monkeypatch, where
):
    from isotropy.jobs.journal import Journal
    from isotropy.jobs.outputs import folder
    from isotropy.storage import whole

    monkeypatch.setattr(folder, "_BATCH_FILES", 1)
    X = np.arange(12.0).reshape(4, 3)
    (tmp_path / "rows").mkdir()
    for name in "ab":
        np.save(tmp_path / "rows" / f"{name}.npy", X)
    owner, method = {"journal": (Journal, "add"), "place": (whole._Temporary, "place")}[where]
    real, calls = getattr(owner, method), []

    def interrupted(self, *args):
        real(self, *args)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupted)
    corrector = MeanRemoval().fit(X)
    with pytest.raises(KeyboardInterrupt):
        correct(corrector, tmp_path / "rows", f"{tmp_path}/out/")
    assert correct(corrector, tmp_path / "rows", f"{tmp_path}/out/").found == 4
    assert not list((tmp_path / "out").glob(".isotropy-*"))
