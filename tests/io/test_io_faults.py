"""Files that change, lie or ask for too much: one line that names the file, never a crash."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from isotropy import Moments
from isotropy.io import FileError, open_rows

X = np.random.default_rng(0).normal(size=(1500, 16)).astype(np.float32)


def fvecs(path, X):
    width = np.full((len(X), 1), X.shape[1], "<i4").view("<f4")
    np.hstack([width, X]).tofile(path)


def words(path, X):
    lines = [f"{len(X)} {X.shape[1]}", *(f"w {' '.join(map(str, row))}" for row in X.tolist())]
    path.write_text("\n".join(lines) + "\n")


def word2vec(path, X):
    with open(path, "wb") as file:
        file.write(f"{len(X)} {X.shape[1]}\n".encode())
        for row in X:
            file.write(b"w " + row.tobytes() + b"\n")


def stream(path, X):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])})
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=100)


def parquet(path, X):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])})
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=200)


def arrow(path, X):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=100)


def hdf5(path, X):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("v", data=X, chunks=(min(100, len(X)), X.shape[1]))


def safetensors(path, X):
    from safetensors.numpy import save_file

    save_file({"v": X}, path)


KINDS = {
    "x.npy": np.save,
    "x.npz": np.savez,
    "compressed.npz": np.savez_compressed,
    "x.safetensors": safetensors,
    "x.fvecs": fvecs,
    "x.vec": words,
    "x.bin": word2vec,
    "x.parquet": parquet,
    "x.arrow": arrow,
    "stream.arrow": stream,
    "x.h5": hdf5,
}


def cut(path):
    os.truncate(path, path.stat().st_size // 3)


def emptied(path):
    os.truncate(path, 0)


def grow(path):
    with open(path, "ab") as file:
        file.write(bytes(4096))


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.replace(other, path)


@pytest.mark.parametrize("change", [cut, emptied, grow, replaced, os.unlink])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_changes_in_mid_read_is_told(tmp_path, name, change):
    """Where files were mapped, a cut one ended the process: the test run itself."""
    path = tmp_path / name
    KINDS[name](path, X)
    rows = open_rows(path)
    with pytest.raises(FileError, match=name):
        for number, block in enumerate(rows.blocks(50)):
            if number == 1:
                change(path)
            block.sum()
    with pytest.raises(FileError, match=name):
        Moments().update(rows)
    with pytest.raises(FileError, match=name):
        rows.take([5, 1400])


FEW = """
    import os, resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
    from isotropy import Moments
    from isotropy.io import open_rows
    for folder in sys.argv[1:]:
        rows = open_rows(folder)
        assert len(rows) == 2 * {count}, (folder, len(rows))
        found = Moments(order=1).update(rows)
        assert found.n_rows == 2 * {count}
        assert rows.take([0, len(rows) - 1]).shape == (2, 16)
"""


def many(tmp_path, name, count):
    """A folder of so many files, links to few: each has its own name, as shards have."""
    folder = tmp_path / name
    folder.mkdir()
    suffix = os.path.splitext(name)[1]
    for i in range(count):
        if i % 50_000 == 0:
            first = folder / f"part-{i}{suffix}"
            KINDS[name](first, X[:2])
        else:
            os.link(first, folder / f"part-{i}{suffix}")
    return str(folder)


def read_under_a_limit(folders, limit, count):
    code = textwrap.dedent(FEW).format(limit=limit, count=count)
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


SHARDS = ["x.npy", "x.fvecs", "x.safetensors", "x.parquet", "x.arrow", "x.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit of POSIX")
def test_more_shards_than_files_may_be_open(tmp_path):
    read_under_a_limit([many(tmp_path, name, 120) for name in SHARDS], 80, 120)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDS)
def test_a_hundred_thousand_shards_under_256_open_files(tmp_path, name):
    read_under_a_limit([many(tmp_path, name, 100_000)], 256, 100_000)


# -- what was never written, or lies elsewhere ---------------------------------------------------


def unwritten_chunks(file, h5py, other):
    file.create_dataset("v", (100, 4), "f4", chunks=(10, 4))[:50] = 1


def unwritten_contiguous(file, h5py, other):
    file.create_dataset("v", (100, 4), "f4")


def virtual(file, h5py, other):
    layout = h5py.VirtualLayout((100, 4), "f4")
    layout[:50] = h5py.VirtualSource(str(other), "v", (50, 4))
    file.create_virtual_dataset("v", layout)


def external(file, h5py, other):
    file.create_dataset("v", (10, 4), "f4", external=[(str(other), 0, 160)])


def linked(file, h5py, other):
    file["v"] = h5py.ExternalLink(str(other), "v")


@pytest.mark.parametrize(
    "write", [unwritten_chunks, unwritten_contiguous, virtual, external, linked]
)
def test_hdf5_that_reads_as_zeros_or_reads_other_files_is_refused(tmp_path, write):
    h5py = pytest.importorskip("h5py")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["v"] = np.ones((50, 4), "f4")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file, h5py, other)
    for column in (None, "v"):
        with pytest.raises(FileError, match=r"x\.h5: "):
            open_rows(tmp_path / "x.h5", column)


def test_compact_and_empty_datasets_of_hdf5_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        kept = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kept.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 2))
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_FLOAT, space, kept).write(
            space, space, np.ones((3, 2), "f4")
        )
        file.create_dataset("none", (0, 4), "f4", chunks=(10, 4), maxshape=(None, 4))
    assert open_rows(tmp_path / "x.h5", "v").in_memory().tolist() == [[1, 1]] * 3
    assert open_rows(tmp_path / "x.h5", "none").shape == (0, 4)


# -- checksums -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("start", [0, 1000])
def test_a_flipped_bit_in_an_archive_is_refused_before_the_last_rows(tmp_path, save, order, start):
    path = tmp_path / "x.npz"
    save(path, np.asarray(X, order=order))
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].compress_size
    data = bytearray(path.read_bytes())
    data[size - 20_000 if save is np.savez else size // 2] ^= 1
    path.write_bytes(data)
    seen = 0
    with pytest.raises(FileError, match=r"x\.npz: "):
        for block in open_rows(path).blocks(100, start=start):
            seen += len(block)
    assert seen < len(X) - start


def test_a_flipped_bit_in_a_page_of_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    from isotropy.io import RowWriter

    path = tmp_path / "x.parquet"
    with RowWriter(path, shape=X.shape) as out:
        out.write(X)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"x\.parquet: "):
        Moments().update(open_rows(path))


# -- memory that a header asks for ----------------------------------------------------------------


def npy_header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def bomb_npy(path):
    path.write_bytes(npy_header((10, 2**40)) + bytes(40))


def bomb_npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_header((10, 2**40)) + bytes(40))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24  # the size that the directory tells
    data[at : at + 4] = struct.pack("<I", 2**32 - 10)
    path.write_bytes(data)


def bomb_fortran(path):
    """One byte stands for a thousand: zeros, 300 MB of them, that must be read whole."""
    header = npy_header((2**20, 75)).replace(b"': False", b"': True ")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", header + bytes(300 * 2**20))


def bomb_safetensors(path):
    path.write_bytes(struct.pack("<Q", 2**62) + b"{" + bytes(100))


def bomb_fvecs(path):
    path.write_bytes(struct.pack("<i", 2**20 - 1) + bytes(100))


def bomb_words(path):
    path.write_bytes(b"99999999999 65536\n" + b"w " + bytes(100))


def bomb_hdf5(path):
    with pytest.importorskip("h5py").File(path, "w") as file:
        data = file.create_dataset("v", (4, 2**28), "f4", chunks=(1, 2**28), compression="gzip")
        for row in range(4):
            data.id.write_direct_chunk((row, 0), b"x\x9c\x03\x00\x00\x00\x00\x01")


BOMBS = {
    "x.npy": bomb_npy, "x.npz": bomb_npz, "fortran.npz": bomb_fortran,
    "x.safetensors": bomb_safetensors, "x.fvecs": bomb_fvecs, "x.bin": bomb_words,
    "x.h5": bomb_hdf5,
}  # fmt: skip

LIMITED = """
    import resource, sys
    from isotropy import Moments
    from isotropy.io import open_rows, FileError
    import isotropy.io.formats.hdf5, isotropy.rows.lanes, zipfile
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
    for path in sys.argv[1:]:
        try:
            print(open_rows(path).in_memory().shape)
        except FileError as error:
            assert str(error).startswith(path), error
        else:
            raise SystemExit(path)
"""


def test_more_dimensions_than_memory_squares_are_one_line(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 10**6), np.uint8))
    with pytest.raises(ValueError, match=r"rows of 1,000,000 dimensions need .* Take fewer"):
        Moments().update(open_rows(tmp_path / "x.npy"))


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of Linux")
def test_headers_that_ask_for_more_than_memory_are_one_line(tmp_path):
    for name, write in BOMBS.items():
        write(tmp_path / name)
    code, paths = textwrap.dedent(LIMITED), [str(tmp_path / name) for name in BOMBS]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
