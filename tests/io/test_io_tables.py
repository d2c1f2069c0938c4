"""Lance tables and a real PostgreSQL server: read, written beside, killed and gone on with."""

from __future__ import annotations

import os

import numpy as np
import pytest

from isotropy import Moments, Whitening
from isotropy.io import FileError, open_rows
from isotropy.jobs import correct, stream_moments

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
    with pytest.raises(FileError, match="has a column 'id' already"):
        correct(fitted, table, new_column="id")
    with pytest.raises(ValueError, match="new_column is missing"):
        correct(fitted, table)


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


# -- PostgreSQL --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pgserver = pytest.importorskip("pgserver")
    pytest.importorskip("psycopg")
    pytest.importorskip("pgvector")
    try:
        running = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"the PostgreSQL server does not start here: {error}")
    yield running
    running.cleanup()


@pytest.fixture
def url(server):
    import psycopg

    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS items, isotropy_progress")
        connection.execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text, v vector(8), r real[])"
        )
        with connection.cursor() as cursor, cursor.copy("COPY items FROM STDIN") as copy:
            for i in np.random.default_rng(0).permutation(500):
                text = "[" + ",".join(map(repr, DATA[i].tolist())) + "]"
                copy.write_row([int(i), f"n{i}", text, "{" + text[1:-1] + "}"])
    return url


def query(url, text):
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(text).fetchall()


@pytest.mark.parametrize("column", ["v", "r"])
def test_columns_of_vectors_are_read_by_key(url, column):
    rows = open_rows(f"{url}#items", column)
    assert rows.shape == (500, 8) and rows.dtype == np.float32
    for start in (0, 123, 500):
        blocks = [np.empty((0, 8), np.float32), *rows.blocks(64, start=start)]
        np.testing.assert_array_equal(np.concatenate(blocks), DATA[start:])


def test_moments_and_correction_of_a_table(url, fitted):
    moments = stream_moments(f"{url}#public.items", column="v")
    np.testing.assert_allclose(moments.mean, DATA.mean(0, dtype=float), rtol=1e-12)
    assert correct(fitted, f"{url}#items", column="v", new_column="white").shape == (500, 5)
    found = query(url, "SELECT white::real[] FROM items ORDER BY id")
    white = np.array([row[0] for row in found])
    np.testing.assert_allclose(white, fitted.transform(DATA), rtol=1e-5, atol=1e-6)
    assert query(url, "SELECT count(*) FROM isotropy_progress") == [(0,)]
    # Written again over itself: the same.
    assert correct(fitted, f"{url}#items", column="v", new_column="white").shape == (500, 5)


def test_a_table_is_written_to_files_too(url, fitted, tmp_path):
    for output, name in (
        (tmp_path / "x.parquet", "x.parquet"),
        (f"{tmp_path}/out/", "out/rows.npy"),
    ):
        assert correct(fitted, f"{url}#items", output, column="v").shape == (500, 5)
        found = np.concatenate(list(open_rows(tmp_path / name).blocks()))
        np.testing.assert_allclose(found, fitted.transform(DATA), rtol=1e-5, atol=1e-6)


def test_rows_without_a_vector_are_left_out(url, fitted):
    query_only(url, "UPDATE items SET v = NULL WHERE id % 5 = 0")
    assert open_rows(f"{url}#items", "v").shape == (400, 8)
    correct(fitted, f"{url}#items", column="v", new_column="white")
    assert query(url, "SELECT count(*) FROM items WHERE white IS NULL") == [(100,)]


def query_only(url, text):
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text)


def test_a_lost_connection_loses_no_row_and_writes_none_twice(url, fitted):
    rows = open_rows(f"{url}#items", "v")
    count = []

    def apply(block, first_row):
        count.append(len(block))
        if len(count) == 3:  # the server throws every other connection out
            query_only(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
        return fitted.transform(block)

    def write(function):
        rows.write_column("white", function, (500, 5), np.dtype("f4"), "job", batch_rows=100)

    query_only(url, "CREATE TABLE log (id bigint)")
    query_only(
        url,
        "CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN INSERT INTO log VALUES (new.id); "
        "RETURN new; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER t AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note()",
    )
    try:
        with pytest.raises(FileError, match=r"200 rows of column 'white' are written; run"):
            write(apply)
        assert query(url, "SELECT count(*) FROM items WHERE white IS NOT NULL") == [(200,)]
        write(lambda block, first_row: fitted.transform(block))
        assert query(url, "SELECT count(*), count(DISTINCT id) FROM log") == [(500, 500)]
        assert query(url, "SELECT count(*) FROM items WHERE white IS NULL") == [(0,)]
    finally:
        query_only(url, "DROP TABLE log; DROP FUNCTION note CASCADE")


def test_what_is_wrong_with_a_table_is_one_line(url, fitted):
    def said(address, column=None):
        with pytest.raises(FileError) as caught:
            open_rows(address, column)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "names no table" in said(url)
    assert "no table 'nothing'" in said(f"{url}#nothing")
    assert "several columns" in said(f"{url}#items")
    assert "is of type text" in said(f"{url}#items", "name")
    assert "no column 'x'" in said(f"{url}#items", "x")
    query_only(
        url,
        "DROP TABLE IF EXISTS pair; CREATE TABLE pair (a int, b int, v vector(2), "
        "PRIMARY KEY (a, b))",
    )
    assert "primary key of one column" in said(f"{url}#pair")
    wrong = said("postgresql://me:secret@127.0.0.1:1/base#t")
    assert "secret" not in wrong and "database said" in wrong
    with pytest.raises(FileError, match="of type bigint"):
        correct(fitted, f"{url}#items", column="v", new_column="id")


def test_a_bad_row_of_a_table_is_named_and_nothing_of_its_batch_written(url, fitted):
    query_only(url, "UPDATE items SET r[3] = 'NaN' WHERE id = 37")
    with pytest.raises(ValueError, match="row 37 "):
        Moments().update(open_rows(f"{url}#items", "r"))
    with pytest.raises(ValueError, match="row 37 "):
        correct(fitted, f"{url}#items", column="r", new_column="white")
    assert query(url, "SELECT count(*) FROM items WHERE white IS NOT NULL") == [(0,)]


def test_a_table_that_changes_is_not_gone_on_with(url, tmp_path):
    rows = open_rows(f"{url}#items", "v")
    before = rows.fingerprint()
    query_only(url, "INSERT INTO items SELECT 1000, 'new', v FROM items WHERE id = 0")
    assert open_rows(f"{url}#items", "v").fingerprint() != before
    with pytest.raises(FileError, match="held 500 vectors"):
        Moments().update(rows)


def test_the_command_reads_and_writes_a_table(url, tmp_path):
    from typer.testing import CliRunner

    from isotropy.cli.app import app

    runner, file = CliRunner(), tmp_path / "c.safetensors"
    made = runner.invoke(app, ["fit", f"{url}#items", "--column", "v", "-o", str(file)])
    assert made.exit_code == 0, made.output
    done = runner.invoke(app, ["apply", str(file), f"{url}#items", "--column", "v", "--as", "w"])
    assert done.exit_code == 0, done.output
    assert "500 rows" in done.output
    assert query(url, "SELECT count(*) FROM items WHERE w IS NOT NULL") == [(500,)]
    assert os.path.exists(file)
