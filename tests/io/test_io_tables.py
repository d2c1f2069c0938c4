"""Lance tables: read, written beside, gone on with."""

from __future__ import annotations

import numpy as np
import pytest

from isotropy import Whitening
from isotropy.io import FileError, open_rows
from isotropy.jobs import correct

DATA = np.random.default_rng(2).normal(size=(500, 8)).astype(np.float32) + 1


@pytest.fixture(scope="module")
def fitted():
    return Whitening(n_components=5).fit(DATA)


# -- Lance -------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(DATA.ravel()), 8)
    base = lancedb.connect(str(tmp_path))
    base.create_table("items", pa.table({"id": np.arange(500), "vector": lists}))
    return tmp_path / "items.lance"


def test_a_lance_table_gets_a_corrected_column(table, fitted):
    lancedb = pytest.importorskip("lancedb")
    assert correct(fitted, table, new_column="white").shape == (500, 5)
    opened = lancedb.connect(str(table.parent)).open_table("items")
    found = opened.to_arrow()
    assert found.column_names == ["id", "vector", "white"]
    white = np.stack(found.column("white").to_numpy())
    assert white.dtype == np.float32
    np.testing.assert_allclose(white, fitted.transform(DATA), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(open_rows(table, "white").shape, (500, 5))
    assert [path.name for path in table.parent.iterdir()] == ["items.lance"]
    # The new column is searched like any other.
    assert len(opened.search(white[3], vector_column_name="white").limit(2).to_list()) == 2


def test_a_lance_column_that_exists_is_refused(table, fitted):
    for overwrite in (False, True):
        with pytest.raises(FileError, match="has a column 'id', which is of type int64"):
            correct(fitted, table, new_column="id", overwrite=overwrite)
    with pytest.raises(ValueError, match="new_column is missing"):
        correct(fitted, table)


@pytest.mark.parametrize("name", ["_rowid", "_row_created_at_version", "a.b", "a`b", "a\nb"])
def test_a_name_that_would_ruin_the_lance_table_is_refused(table, fitted, name):
    with pytest.raises(FileError, match="is no name for a column") as refused:
        correct(fitted, table, new_column=name, overwrite=True)
    assert "\n" not in str(refused.value)
    assert open_rows(table).shape == (500, 8)


def test_a_bad_row_of_lance_leaves_the_table_as_it_was(tmp_path, fitted):
    lance = pytest.importorskip("lance")
    pa = pytest.importorskip("pyarrow")
    X = DATA.copy()
    X[321, 3] = np.inf
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 8)
    path = tmp_path / "x.lance"
    lance.write_dataset(pa.table({"vector": lists}), str(path))
    with pytest.raises(ValueError, match=r"row 321 of .*x\.lance is the first bad one"):
        correct(fitted, path, new_column="white")
    assert lance.dataset(str(path)).schema.names == ["vector"]
    assert [found.name for found in tmp_path.iterdir()] == ["x.lance"]


def test_a_lance_table_that_changed_is_not_written_to(table, fitted):
    lance = pytest.importorskip("lance")
    rows = open_rows(table)
    lance.dataset(str(table)).delete("id = 3")
    assert open_rows(table).shape == (499, 8)
    with pytest.raises(FileError, match="changed since it was opened"):
        correct(fitted, rows, new_column="white")
    assert len(np.concatenate(list(rows.blocks()))) == 500  # the version that was opened


def test_lance_goes_on_with_the_part_that_was_under_way(table, fitted, monkeypatch):
    from isotropy.jobs.outputs import lance as output

    monkeypatch.setattr(output, "_PART_BYTES", 100 * 5 * 4)
    real, calls = output._Parts._save, []

    def failing(self, first, rows):
        calls.append(first)
        if calls == [0, 100, 200]:
            raise KeyboardInterrupt
        real(self, first, rows)

    monkeypatch.setattr(output._Parts, "_save", failing)
    with pytest.raises(KeyboardInterrupt):
        correct(fitted, table, new_column="white")
    (folder,) = table.parent.glob(".isotropy-*.parts")
    with open(folder / "part-100.npy", "r+b") as file:  # what is damaged is not believed
        file.seek(-3, 2)
        file.write(b"!")
    assert correct(fitted, table, new_column="white").shape == (500, 5)
    assert calls == [0, 100, 200, 100, 200, 300, 400]
    white = open_rows(table, "white").in_memory()
    np.testing.assert_allclose(white, fitted.transform(DATA), rtol=1e-5, atol=1e-6)
    assert [path.name for path in table.parent.iterdir()] == ["items.lance"]
    assert correct(fitted, table, column="vector", new_column="white").found == 500


def test_parts_of_lance_that_a_killed_job_left_are_swept(table, fitted, monkeypatch):
    from isotropy.jobs.outputs import lance as output

    monkeypatch.setattr(output.LanceOutput, "_remove_old", lambda self: None)  # killed before it
    correct(fitted, table, new_column="white")
    assert list(table.parent.glob(".isotropy-*.parts"))
    monkeypatch.undo()
    assert correct(fitted, table, column="vector", new_column="white").found == 500
    assert [path.name for path in table.parent.iterdir()] == ["items.lance"]


def test_lance_replaces_a_column_only_when_told(table, fitted):
    lance = pytest.importorskip("lance")
    correct(fitted, table, new_column="white")
    other = Whitening(n_components=5, power=0.5).fit(DATA)
    with pytest.raises(FileError, match="say --overwrite"):
        correct(other, table, column="vector", new_column="white")
    done = correct(other, table, column="vector", new_column="white", overwrite=True)
    assert done.replaced == 1
    found = open_rows(table, "white").in_memory()
    np.testing.assert_allclose(found, other.transform(DATA), rtol=1e-5, atol=1e-6)
    with pytest.raises(FileError, match="is the one that is read"):
        correct(other, table, column="vector", new_column="vector", overwrite=True)
    assert lance.dataset(str(table)).schema.names == ["id", "vector", "white"]


def test_rows_added_to_lance_meanwhile_are_told(table, fitted, monkeypatch):
    lance = pytest.importorskip("lance")
    from isotropy.jobs.outputs import lance as output

    real = output._Parts.write

    def disturbed(self):
        real(self)
        lance.dataset(str(table)).delete("id = 3")

    monkeypatch.setattr(output._Parts, "write", disturbed)
    with pytest.raises(FileError, match="changed meanwhile, its new column is not written"):
        correct(fitted, table, new_column="white")
    assert lance.dataset(str(table)).schema.names == ["id", "vector"]
    monkeypatch.undo()
    assert correct(fitted, table, new_column="white").shape == (499, 5)
    assert [path.name for path in table.parent.iterdir()] == ["items.lance"]
