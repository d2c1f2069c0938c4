"""A file that cannot be rows is one clear line, never another exception and never garbage."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from cases import FORMATS

from isotropy.io import FileError, open_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def refusal(path, column=None):
    """The one line that opening the file and reading all of it ends in."""
    with pytest.raises(FileError) as caught:
        list(open_rows(path, column).blocks(16))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert line.count(str(path)) == 1
    return line


def fixed_lists(X):
    return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])


def write_compressed_npz(path, X):
    np.savez_compressed(path, X=X)


def write_stream(path, X):
    table = pa.table({"v": fixed_lists(X)})
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=10)


OTHERS = {"compressed.npz": write_compressed_npz, "stream.arrow": write_stream}


@pytest.mark.parametrize("tenth", range(10))  # the last lacks one byte
@pytest.mark.parametrize("name", [*(f"x{suffix}" for suffix in FORMATS), *OTHERS])
def test_a_file_cut_anywhere_is_refused(tmp_path, save, X, name, tenth):
    path = tmp_path / name
    OTHERS.get(name, save)(path, X)
    data = path.read_bytes()
    path.write_bytes(data[: (len(data) - 1) * tenth // 9])
    refusal(path)


def test_an_arrow_stream_cut_between_two_batches_is_refused(tmp_path, X):
    path, table = tmp_path / "x.arrow", pa.table({"v": fixed_lists(X)})
    with open(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    path.write_bytes(path.read_bytes()[:-8])
    assert "mark at its end" in refusal(path)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "content", [b"id,text\n1,hello\n" * 50, b"\x00" * 300, b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x05"]
)
def test_content_of_another_kind_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_empty_and_folder_say_so(tmp_path, suffix):
    assert "no such file" in refusal(tmp_path / f"missing{suffix}")
    (tmp_path / f"empty{suffix}").touch()
    assert "empty" in refusal(tmp_path / f"empty{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    assert "folder" in refusal(tmp_path / f"folder{suffix}")


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n")
    line = refusal(path)
    assert "'.csv'" in line
    assert all(suffix in line for suffix in (*FORMATS, ".fvecs", ".vec"))


def test_the_error_survives_a_process_border():
    error = pickle.loads(pickle.dumps(FileError("x.npy", "is\n  bad.")))
    assert str(error) == "x.npy: is bad."
    assert isinstance(error, ValueError)


SHAPES = {"1-D": (6,), "3-D": (2, 3, 4), "0-D": (), "d of at least 1": (5, 0)}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("said", SHAPES)
def test_arrays_that_are_no_rows_are_refused(tmp_path, save, suffix, said):
    path = save(tmp_path / f"x{suffix}", np.ones(SHAPES[said], np.float32))
    assert said in refusal(path)
    if suffix != ".npy":
        assert said in refusal(path, "vector")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", ["c8", "U3", "S3", "M8[s]", "f4,f4", "V4"])
def test_what_is_no_number_is_refused(tmp_path, save, suffix, dtype):
    path = save(tmp_path / f"x{suffix}", np.zeros((4, 3), dtype))
    assert "dtype" in refusal(path)


class Trap:
    """Whoever unpickles this raises."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_objects_are_never_loaded(tmp_path, save, suffix):
    path = save(tmp_path / f"x{suffix}", np.array([[Trap(), Trap()]], dtype=object))
    assert "never loaded" in refusal(path)


def npy_header(shape, descr="<f4"):
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"


def npy(header, body=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    "shape",
    ["(4, 5)", "(1, 5)", "(10**9, 10**9)", "(1000000000000, 1000000000000)", "(-2, 5)", "(2, -5)",
     "(0, 99999999999999999999)", "(99999999999999999999, 1)", "(2.0, 5)", "[2, 5]"],
)  # fmt: skip
def test_a_shape_that_does_not_fit_the_file_is_refused_before_mapping(tmp_path, shape):
    path = tmp_path / "x.npy"
    path.write_bytes(npy(npy_header(shape), bytes(40)))
    refusal(path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "x.npy")
    refusal(tmp_path / "x.npz")


def test_the_right_header_of_that_test_is_read(tmp_path):
    (tmp_path / "x.npy").write_bytes(npy(npy_header("(2, 5)"), bytes(40)))
    assert open_rows(tmp_path / "x.npy").shape == (2, 5)


def test_two_arrays_in_one_npy_are_not_taken_for_one(tmp_path, X):
    with open(tmp_path / "x.npy", "wb") as file:
        np.save(file, X)
        np.save(file, X)
    assert "more than one array" in refusal(tmp_path / "x.npy")


@pytest.mark.filterwarnings("ignore:Reading .* created on Python 2")
@pytest.mark.parametrize(
    "header", ["{", "{'descr': '<f4'}", "(" * 500, "{'descr': <f4L, 'shape': (1,)}", "'\\xff", "1L"]
)
def test_a_broken_npy_header_is_refused(tmp_path, header):
    (tmp_path / "x.npy").write_bytes(npy(header, bytes(40)))
    refusal(tmp_path / "x.npy")


def test_damage_inside_a_compressed_archive_is_found(tmp_path, X):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, X=X)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "not a readable .npz file" in refusal(path)


def test_an_archive_encrypted_or_compressed_by_others_is_refused(tmp_path, save, X):
    data = save(tmp_path / "x.npy", X).read_bytes()
    with zipfile.ZipFile(tmp_path / "lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", data)
    assert "compressed" in refusal(tmp_path / "lzma.npz")
    path = save(tmp_path / "x.npz", X)
    locked = bytearray(path.read_bytes())
    locked[6] |= 1
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(locked)
    assert "encrypted" in refusal(path)


def test_an_archive_without_arrays_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert "no array at all" in refusal(tmp_path / "x.npz")


def test_a_float8_tensor_names_the_way_out(tmp_path):
    header = b'{"w":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]}}'
    data = len(header).to_bytes(8, "little") + header + bytes(6)
    (tmp_path / "x.safetensors").write_bytes(data)
    assert "save it as F16" in refusal(tmp_path / "x.safetensors")


def test_a_column_makes_no_sense_for_npy(tmp_path, save, X):
    assert "no names" in refusal(save(tmp_path / "x.npy", X), "vector")


SEVERAL = {
    ".npz": lambda path, X: np.savez(path, old=X, new=X, ids=np.arange(50)),
    ".safetensors": lambda path, X: pytest.importorskip("safetensors.numpy").save_file(
        {"old": X, "new": X, "ids": np.arange(50)}, path
    ),
    ".parquet": lambda path, X: pq.write_table(
        pa.table({"old": fixed_lists(X), "new": fixed_lists(X), "ids": range(50)}), path
    ),
}


@pytest.mark.parametrize("suffix", SEVERAL)
def test_an_open_choice_lists_what_can_be_chosen(tmp_path, X, suffix):
    path = tmp_path / f"x{suffix}"
    SEVERAL[suffix](path, X)
    line = refusal(path)
    assert "'old'" in line
    assert "'new'" in line
    assert "'ids'" not in line
    line = refusal(path, "vector")
    assert "'vector'" in line
    assert all(f"'{name}'" in line for name in ("old", "new", "ids"))
    assert "'ids'" in refusal(path, "ids")


def save_column(path, lists):
    table = pa.table({"id": range(len(lists)), "v": lists})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=20)
    else:
        pytest.importorskip("pyarrow.feather").write_feather(table, str(path), chunksize=20)
    return path


LIST_TYPES = [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 3)]


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
@pytest.mark.parametrize("kind", LIST_TYPES, ids=str)
@pytest.mark.parametrize("row", [0, 19, 33])
def test_nulls_are_named_by_their_row(tmp_path, suffix, kind, row):
    lists = [[np.float16(1), np.float16(2), np.float16(3)] for _ in range(50)]
    without = save_column(tmp_path / f"good{suffix}", pa.array(lists, kind))
    assert sum(len(block) for block in open_rows(without).blocks(16)) == 50
    lists[row] = [np.float16(1), None, np.float16(3)]
    line = refusal(save_column(tmp_path / f"inner{suffix}", pa.array(lists, kind)))
    assert f"row {row} " in line
    lists[row] = None
    line = refusal(save_column(tmp_path / f"outer{suffix}", pa.array(lists, kind)))
    assert f"row {row} is null" in line


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
@pytest.mark.parametrize("row", [1, 19, 33])
@pytest.mark.parametrize("length", [0, 2, 4])
def test_ragged_lists_are_named_by_their_row(tmp_path, suffix, row, length):
    lists = [[1.0, 2.0, 3.0]] * 50
    lists[row] = [0.5] * length
    line = refusal(save_column(tmp_path / f"x{suffix}", pa.array(lists)))
    assert "ragged" in line
    assert f"row {row} holds {length} numbers" in line


def test_ragged_lists_whose_lengths_even_out_are_found(tmp_path):
    lists = pa.array([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0], [1.0, 2.0]])
    assert "row 1 " in refusal(save_column(tmp_path / "x.parquet", lists))


def test_lists_that_do_not_tell_the_dimension_are_refused(tmp_path):
    kind = pa.list_(pa.float32())
    assert "no rows" in refusal(save_column(tmp_path / "none.parquet", pa.array([], kind)))
    lists = pa.array([[], []], kind)
    assert "without a single number" in refusal(save_column(tmp_path / "empty.parquet", lists))


@pytest.mark.parametrize(
    "column",
    [["a", "b"], [1.0, 2.0], [["a"], ["b"]], [[True], [False]], [[[1.0]], [[2.0]]], [None, None]],
    ids=["texts", "numbers", "lists of texts", "lists of bools", "nested lists", "nulls"],
)
def test_columns_that_are_no_lists_of_numbers_are_refused(tmp_path, column):
    path = save_column(tmp_path / "x.parquet", pa.array(column))
    assert "column 'v' is of type" in refusal(path)
    assert "column 'v' is of type" in refusal(path, "v")


def test_two_columns_of_one_name_are_refused(tmp_path, X):
    table = pa.table([fixed_lists(X), fixed_lists(X)], names=["v", "v"])
    pq.write_table(table, tmp_path / "x.parquet")
    assert "several columns of the name 'v'" in refusal(tmp_path / "x.parquet", "v")


def test_damage_inside_a_parquet_page_is_found(tmp_path, X):
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"v": fixed_lists(X)}), path, use_dictionary=False, compression="snappy"
    )
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(data)
    assert "not a readable Parquet file" in refusal(path)


@pytest.mark.parametrize(
    "offsets",
    [[10_000, 10_007, 10_014], [-7, 0, 7], [1, 8, 15]],
    ids=["far beyond", "before", "one beyond"],
)
def test_lists_that_reach_outside_of_their_numbers_are_refused(tmp_path, offsets):
    path, table = tmp_path / "x.arrow", pa.table({"v": [np.ones(7), np.ones(7)]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    good, data = np.array([0, 7, 14], np.int32).tobytes(), path.read_bytes()
    assert data.count(good) == 1
    path.write_bytes(data.replace(good, np.array(offsets, np.int32).tobytes()))
    assert "damaged" in refusal(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_any_changed_byte_gives_rows_or_one_clear_line(tmp_path, save, suffix):
    path = save(tmp_path / f"x{suffix}", np.ones((3, 4), np.float32))
    data = path.read_bytes()
    rng = np.random.default_rng(4)
    for place, byte in zip(rng.integers(len(data), size=150), rng.bytes(150), strict=True):
        path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
        try:
            rows = open_rows(path)
            assert sum(len(block) for block in rows.blocks()) == rows.shape[0]
        except FileError as error:
            assert str(error).startswith(f"{path}: ")
