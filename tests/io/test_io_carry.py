"""Ids and texts come back beside the corrected vectors."""

from __future__ import annotations

import os

import numpy as np
import pytest

from isotropy.io import FileError, RowWriter, open_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

N = 50


@pytest.fixture
def table(X):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table(
        {
            "id": pa.array(range(N), pa.uint16()),
            "vector": lists,
            "text": [None if i % 7 == 3 else f"text {i}" * i for i in range(N)],
            "tags": [[str(j) for j in range(i % 4)] for i in range(N)],
            "meta": [{"page": i, "when": None} for i in range(N)],
            "price": pa.array([None, 1.5] * (N // 2)),
        }
    )


def save(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=13)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path), chunksize=13)
    elif path.stem == "stream":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=13)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=13)
    return path


def load(path):
    return pq.read_table(path) if path.suffix == ".parquet" else feather.read_table(str(path))


def double(source, target, block_rows=8, **options):
    rows = open_rows(source, "vector")
    with RowWriter(target, shape=rows.shape, like=rows, **options) as out:
        for block in rows.blocks(block_rows):
            out.write(2 * block)
    return load(target)


SOURCES = ["a.parquet", "a.feather", "a.arrow", "stream.arrow"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", ["b.parquet", "b.feather", "b.arrow"])
@pytest.mark.parametrize("block_rows", [1, 8, 13, 100])
def test_other_columns_are_carried_along_unchanged(tmp_path, table, X, source, target, block_rows):
    written = double(save(table, tmp_path / source), tmp_path / target, block_rows)
    assert written.column_names == table.column_names
    np.testing.assert_array_equal(written["vector"].to_pylist(), 2 * X)
    assert pa.types.is_fixed_size_list(written.schema.field("vector").type)
    for name in set(table.column_names) - {"vector"}:
        assert written[name].type == table[name].type
        assert written[name].to_pylist() == table[name].to_pylist()


def test_another_name_takes_the_place_of_the_old(tmp_path, table):
    source = save(table, tmp_path / "a.parquet")
    written = double(source, tmp_path / "b.parquet", column="whitened")
    assert written.column_names == ["id", "whitened", "text", "tags", "meta", "price"]


def test_a_name_that_is_carried_already_is_refused(tmp_path, table):
    source = save(table, tmp_path / "a.parquet")
    with pytest.raises(FileError, match="'text' is carried along"):
        double(source, tmp_path / "b.parquet", column="text")
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_a_source_of_vectors_alone_needs_no_other_columns(tmp_path, table, X):
    source = save(table.select(["vector"]), tmp_path / "a.parquet")
    np.testing.assert_array_equal(
        double(source, tmp_path / "b.parquet")["vector"].to_pylist(), 2 * X
    )


def test_a_table_without_rows_keeps_its_columns(tmp_path, table):
    for target in ("b.parquet", "b.arrow"):
        source = save(table.slice(0, 0), tmp_path / "a.parquet")
        written = double(source, tmp_path / target)
        assert written.column_names == table.column_names
        assert written.num_rows == 0


def test_a_table_becomes_an_array_under_the_name_of_its_column(tmp_path, table, X):
    rows = open_rows(save(table, tmp_path / "a.parquet"), "vector")
    with RowWriter(tmp_path / "b.npz", shape=rows.shape, like=rows) as out:
        out.write(X)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["vector"], X)


def test_rows_of_another_number_are_refused(tmp_path, table):
    rows = open_rows(save(table, tmp_path / "a.parquet"), "vector")
    with pytest.raises(ValueError, match="like has 50 rows, but shape promises 49"):
        RowWriter(tmp_path / "b.parquet", shape=(49, 6), like=rows)


def with_categories(table):
    """Categories that differ from one row group to the next, as Parquet allows."""
    chunks = [pa.array(list(part)).dictionary_encode() for part in ("ab" * 10, "zb" * 15)]
    return table.append_column("kind", pa.chunked_array(chunks))


@pytest.mark.parametrize("target", ["b.parquet", "b.arrow"])
@pytest.mark.parametrize("source", ["a.parquet", "a.arrow"])
def test_categories_are_carried_along(tmp_path, table, source, target):
    table = with_categories(table)
    if source == "a.arrow":
        table = table.unify_dictionaries()
    written = double(save(table, tmp_path / source), tmp_path / target, 9)
    assert written["kind"].to_pylist() == table["kind"].to_pylist()
    if source == "a.arrow":
        assert pa.types.is_dictionary(written["kind"].type)


def test_pandas_gets_its_index_and_types_back(tmp_path, X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"vector": list(X), "when": pd.date_range("2020", periods=N, tz="UTC")},
        index=pd.Index([f"id{i}" for i in range(N)], name="key"),
    )
    frame.to_parquet(tmp_path / "a.parquet")
    double(tmp_path / "a.parquet", tmp_path / "b.parquet")
    back = pd.read_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(back[["when"]], frame[["when"]])
    np.testing.assert_array_equal(np.stack(back["vector"]), 2 * X)


def test_the_declared_type_of_the_old_column_is_not_passed_on(tmp_path, table):
    notes = {"huggingface": '{"info": {"features": {"vector": "old"}}}', "author": "somebody"}
    source = save(table.replace_schema_metadata(notes), tmp_path / "a.parquet")
    assert double(source, tmp_path / "b.parquet").schema.metadata == {b"author": b"somebody"}


def test_a_damaged_source_is_named_and_nothing_is_written(tmp_path, table):
    text = "unread" * 100
    table = table.select(["vector"]).append_column("text", pa.array([text] * N))
    source = tmp_path / "a.parquet"
    pq.write_table(table, source, use_dictionary=False, compression="none")
    data = source.read_bytes()
    first = data.index(text.encode())
    source.write_bytes(data[: first - 4] + b"\xff" * 20_000 + data[first - 4 + 20_000 :])
    with pytest.raises(FileError, match=r"a\.parquet"):
        double(source, tmp_path / "b.parquet")
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_a_carried_column_that_reaches_outside_of_its_texts_is_found(tmp_path, table):
    column = pa.array([f"{i:077d}" for i in range(N)])
    source = save(table.append_column("broken", column).combine_chunks(), tmp_path / "a.arrow")
    good = np.array([77, 154, 231], np.int32)
    data = source.read_bytes()
    assert data.count(good.tobytes()) > 0
    source.write_bytes(data.replace(good.tobytes(), (good * 10_000).tobytes()))
    with pytest.raises(FileError, match=r"a\.arrow"):
        double(source, tmp_path / "b.parquet")
    assert os.listdir(tmp_path) == ["a.arrow"]


def test_coordinates_are_stored_plainly_and_texts_by_dictionary(tmp_path, table):
    double(save(table, tmp_path / "a.parquet"), tmp_path / "b.parquet")
    group = pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    by_dictionary = {c.path_in_schema: c.has_dictionary_page for c in columns}
    assert not by_dictionary["vector.list.element"]
    assert by_dictionary["text"]


def test_a_column_that_the_format_cannot_hold_is_one_clear_line(tmp_path, table):
    spans = pa.array([(1, 2, 3)] * N, pa.month_day_nano_interval())
    source = save(table.append_column("span", spans), tmp_path / "a.arrow")
    with pytest.raises(FileError, match=r"b\.parquet: could not be written"):
        double(source, tmp_path / "b.parquet")
    assert os.listdir(tmp_path) == ["a.arrow"]
