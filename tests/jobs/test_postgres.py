"""PostgreSQL: rows are read in one snapshot, and every row gets the correction of its vector."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from isotropy import MeanRemoval, Moments, Whitening
from isotropy.io import FileError, open_rows
from isotropy.jobs import correct, stream_moments

psycopg = pytest.importorskip("psycopg")

N, D, K = 500, 8, 5
DATA = np.random.default_rng(2).normal(size=(N, D)).astype(np.float32) + 1


@pytest.fixture(scope="module")
def fitted():
    return Whitening(n_components=K).fit(DATA)


@pytest.fixture(scope="module")
def other():
    return MeanRemoval().fit(DATA[:, :D] * 3)


@pytest.fixture
def base(postgres):
    """The URL of an empty database; a lock that is not to be had ends the test."""
    run(postgres, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres


@pytest.fixture
def url(base):
    run(base, f"CREATE TABLE items (id bigint PRIMARY KEY, name text, v vector({D}), r real[])")
    fill(base, "items", np.random.default_rng(0).permutation(N))
    return base


def fill(url, table, ids, columns="id, name, v, r"):
    with (
        psycopg.connect(url, autocommit=True) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for i in ids:
            text = as_text(DATA[i])
            copy.write_row([int(i), f"n{i}", text, "{" + text[1:-1] + "}"])


def as_text(row):
    return "[" + ",".join(map(repr, row.tolist())) + "]"


def run(url, text, values=None):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '10s'")
        connection.execute(text, values)


def query(url, text):
    with psycopg.connect(url) as connection:
        return connection.execute(text).fetchall()


def column_of(url, column, table="items", order="id"):
    """The vectors of a column, in order; NaN where there is none."""
    found = query(url, f"SELECT {column}::real[] FROM {table} ORDER BY {order}")
    width = max((len(row) for (row,) in found if row), default=0)
    return np.array([row or [np.nan] * width for (row,) in found])


def agree(url, corrector, source="v", target="white", table="items", order="id"):
    """Whether each row has the correction of the vector that it has."""
    source, target = (column_of(url, c, table, order) for c in (source, target))
    np.testing.assert_allclose(target, corrector.transform(source), rtol=1e-5, atol=1e-5)


def said(*args, **options):
    """The one line that a refusal is."""
    with pytest.raises(FileError) as caught:
        (open_rows if isinstance(args[0], str) else correct)(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_moments_and_correction_of_a_table(url, fitted):
    moments = stream_moments(f"{url}#public.items", column="v")
    np.testing.assert_allclose(moments.mean, DATA.mean(0, dtype=float), rtol=1e-12)
    written = correct(fitted, f"{url}#items", column="v", new_column="white")
    assert written.shape == (N, K) and not written.missed
    agree(url, fitted)
    # Nothing of the job is left, no table, no lock, but a comment that says whose the column is.
    ((told,),) = query(url, "SELECT description FROM pg_description WHERE objsubid = 5")
    assert told.startswith("Written by isotropy apply (job")
    assert correct(fitted, f"{url}#items", column="v", new_column="white").found == N
    assert query(url, "SELECT count(*) FROM pg_class WHERE relname LIKE 'isotropy%'") == [(0,)]
    assert query(url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


# -- Reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["v", "r"])
def test_columns_of_vectors_are_read_by_key(url, column):
    rows = open_rows(f"{url}#items", column)
    assert rows.shape == (N, D) and rows.dtype == np.float32
    for start in (0, 123, N):
        blocks = [np.empty((0, D), np.float32), *rows.blocks(64, start=start)]
        np.testing.assert_array_equal(np.concatenate(blocks), DATA[start:])


def test_a_table_is_written_to_files_too(url, fitted, tmp_path):
    for output, name in (
        (tmp_path / "x.parquet", "x.parquet"),
        (f"{tmp_path}/out/", "out/rows.npy"),
    ):
        assert correct(fitted, f"{url}#items", output, column="v").shape == (N, K)
        found = np.concatenate(list(open_rows(tmp_path / name).blocks()))
        np.testing.assert_allclose(found, fitted.transform(DATA), rtol=1e-5, atol=1e-6)


KEYS = {
    "uuid": "md5(i::text)::uuid",
    "bytea": "sha256(i::text::bytea)",
    "char(9)": "md5(i::text)::char(9)",
    "text": "md5(i::text)",
    'text COLLATE "C"': "CASE WHEN i % 2 = 0 THEN 'Ä' ELSE 'a' END || i",
    "numeric": "i / 7.0",
    "double precision": "sin(i)",
    "date": "'2000-01-01'::date + i",
    "timestamptz": "'epoch'::timestamptz + i * interval '1 second'",
    "interval": "i * interval '1 hour'",
    "inet": "'10.0.0.0'::inet + i",
    "boolean": "i > 0",
    "low": "(i - 3)::low",
    "mood": "(enum_range(NULL::mood))[i + 1]",
}


# The others are read by the same words.
USUAL = ("uuid", "bytea", "char(9)", "low", "mood")


@pytest.mark.parametrize(
    "kind", [kind if kind in USUAL else pytest.param(kind, marks=pytest.mark.slow) for kind in KEYS]
)
def test_every_type_that_postgresql_sorts_is_a_key(base, fitted, kind):
    n = {"boolean": 2, "mood": 3}.get(kind, 40)
    run(
        base,
        "CREATE TYPE mood AS ENUM ('sad', 'Ok', 'a b'); "
        "CREATE DOMAIN low AS int CHECK (VALUE < 90)",
    )
    run(base, f"CREATE TABLE items (k {kind} PRIMARY KEY, v vector(2))")
    run(
        base,
        f"INSERT INTO items SELECT {KEYS[kind]}, ARRAY[i, -i]::vector(2) "
        f"FROM generate_series(0, {n - 1}) i",
    )
    corrector = MeanRemoval().fit(np.eye(2))
    read = np.concatenate(list(open_rows(f"{base}#items").blocks(7)))
    assert sorted(read[:, 0]) == list(range(n))
    again = np.concatenate(list(open_rows(f"{base}#items").blocks(7, start=1)))
    np.testing.assert_array_equal(again, read[1:])
    for found in (0, n):  # the same again, now with two columns to choose from
        assert correct(corrector, f"{base}#items", new_column="white").found == found
    agree(base, corrector, order="k")


@pytest.mark.parametrize(
    "key, told",
    [
        ("PRIMARY KEY (name, id)", "name = n37, id = 37"),
        ("UNIQUE (id)", "id = 37"),  # not null by itself, below
        ("CHECK (id >= 0)", "ctid = (0,38)"),
    ],
)
def test_keys_of_several_columns_other_keys_and_none(base, fitted, key, told):
    run(base, f"CREATE TABLE items (id int NOT NULL, name text, v vector({D}), r real[], {key})")
    fill(base, "items", range(N))
    read = np.concatenate(list(open_rows(f"{base}#items", "v").blocks(64)))
    assert sorted(map(tuple, read)) == sorted(map(tuple, DATA))
    correct(fitted, f"{base}#items", column="v", new_column="white")
    agree(base, fitted)
    run(
        base,
        "DROP TABLE items; CREATE TABLE items "
        f"(id int NOT NULL, name text, v vector({D}), r real[], {key})",
    )
    fill(base, "items", range(N))
    run(base, "ALTER TABLE items ADD COLUMN s real[]; UPDATE items SET s = r")
    run(base, "VACUUM FULL items")
    run(base, "UPDATE items SET s[3] = 'NaN' WHERE id = 37")
    with pytest.raises(ValueError, match=told.partition(",")[0].split(" = ")[0]):
        correct(fitted, f"{base}#items", column="s", new_column="w")


def test_rows_that_are_none_are_named_by_their_key(url, fitted):
    run(url, "UPDATE items SET r[3] = 'NaN' WHERE id = 37")
    with pytest.raises(ValueError, match=r"row 37 .*\(id = 37\)"):
        Moments().update(open_rows(f"{url}#items", "r"))
    assert "the row with id = 37 holds NaN" in said(
        fitted, f"{url}#items", column="r", new_column="w"
    )
    for value, problem in (
        ("'{1,2}'", "holds 2 numbers, others 8"),
        ("'{1,2,3,4,5,6,7,NULL}'", "holds a NULL"),
        ("'{}'", "holds 0 numbers"),
        ("'{{1,2,3,4},{1,2,3,4}}'", "is an array of 2 axes"),
    ):
        run(url, f"UPDATE items SET r = {value} WHERE id = 37")
        with pytest.raises(FileError, match=f"id = 37.*{problem}"):
            Moments().update(open_rows(f"{url}#items", "r"))
        assert f"id = 37 {problem}" in said(fitted, f"{url}#items", column="r", new_column="w")


def test_names_of_any_letters(base, fitted):
    schema, table, column = 'Odd "schema".x', "täble #1 'q' 100%", 'the "v" %s column'
    quoted = [psycopg.sql.Identifier(name).as_string(None) for name in (schema, table, column)]
    run(
        base,
        "CREATE SCHEMA {0}; "
        "CREATE TABLE {0}.{1} (id int PRIMARY KEY, name text, {2} vector(8), r real[])".format(
            *quoted
        ),
    )
    names = [quoted[2]]
    fill(base, ".".join(quoted[:2]), range(20), f"id, name, {names[0]}, r")
    place = f"{base}#" + '"Odd ""schema"".x".' + "\"täble #1 'q' 100%25\""
    assert open_rows(place, column).shape == (20, D)
    encoded = f"{base}#Odd%20%22schema%22%2Ex.t%C3%A4ble%20%231%20'q'%20100%25"
    assert open_rows(encoded, column).shape == (20, D)
    new = 'neue "Spalte" %(x)s {t}'
    correct(fitted, place, column=column, new_column=new)
    target = psycopg.sql.Identifier(new).as_string(None)
    agree(base, fitted, quoted[2], target, ".".join(quoted[:2]))


def test_what_is_wrong_with_a_table_is_one_line(url, fitted):
    assert "names no table" in said(url)
    assert "names no table" in said(f"{url}#a.b.c")
    assert "no table 'nothing'" in said(f"{url}#nothing")
    assert "near it: 'items'" in said(f"{url}#Items")
    assert "several columns" in said(f"{url}#items")
    assert "is of type text" in said(f"{url}#items", "name")
    assert "no column 'x'" in said(f"{url}#items", "x")
    run(url, "CREATE VIEW seen AS SELECT * FROM items")
    assert "is a view" in said(f"{url}#seen", "v")
    for bad, told in (
        ("id", "type bigint"),
        ("v", "is the one that is read"),
        ("x" * 64, "at most 63 bytes"),
        ("a\tb", "no name of a column"),
    ):
        assert told in said(fitted, f"{url}#items", column="v", new_column=bad, overwrite=True)


def test_a_password_is_told_nowhere(url, fitted):
    for place in (
        "postgresql://me:s3cretword@127.0.0.1:1/base#t",
        "postgresql://me:s3cret%23word@127.0.0.1:1/base#t",
        "postgresql://me:s3cret#word@127.0.0.1:1/base#t",
        "postgresql://127.0.0.1:1/base?user=me&password=s3cretword#t",
        "postgresql://127.0.0.1:1/base?password=s3cretword#t",
        "postgresql://me:s3cretword/x@127.0.0.1:1/base#t",
    ):
        told = said(place)
        assert "s3cret" not in told and "word@" not in told, told
    place = f"{url}&password=s3cretword#items"
    assert "s3cret" not in str(correct(fitted, place, column="v", new_column="w"))
    assert "s3cret" not in str(open_rows(place, "v").fingerprint())
    run(url, "CREATE TABLE void (id int PRIMARY KEY, v vector)")
    assert "s3cret" not in said(place.replace("#items", "#void"))
    assert "holds no vector" in said(place.replace("#items", "#void"))


def test_any_change_of_a_row_is_another_fingerprint(url):
    """A transaction that ends after a younger one too, which the newest number would not show."""
    seen = [open_rows(f"{url}#items", "v").fingerprint()]
    with psycopg.connect(url) as late:
        late.execute("UPDATE items SET v = '[1,2,3,4,5,6,7,8]' WHERE id = 1")
        run(url, "UPDATE items SET v = '[1,2,3,4,5,6,7,8]' WHERE id = 2")
        seen.append(open_rows(f"{url}#items", "v").fingerprint())
        late.commit()
    seen.append(open_rows(f"{url}#items", "v").fingerprint())
    run(url, "DELETE FROM items WHERE id = 3")
    seen.append(open_rows(f"{url}#items", "v").fingerprint())
    run(url, "VACUUM FULL items")
    assert open_rows(f"{url}#items", "v").fingerprint() == seen[-1]
    run(
        url,
        "CREATE TABLE copied (LIKE items INCLUDING ALL); INSERT INTO copied SELECT * FROM items",
    )
    run(url, "DROP TABLE items; ALTER TABLE copied RENAME TO items")
    seen.append(open_rows(f"{url}#items", "v").fingerprint())
    assert len({str(mark) for mark in seen}) == len(seen)


def test_a_table_that_changes_is_not_gone_on_with(url):
    rows = open_rows(f"{url}#items", "v")
    run(url, "INSERT INTO items SELECT 1000, 'new', v FROM items WHERE id = 0")
    with pytest.raises(FileError, match="held 500 vectors"):
        Moments().update(rows)


# -- Writing: whose the column is ----------------------------------------------------------------


@pytest.fixture
def before_batch(monkeypatch):
    """Something that happens after a batch was read and before it is written."""
    from isotropy.jobs.outputs import postgres_rows

    monkeypatch.setattr(postgres_rows, "_BATCH_BYTES", 1)  # 64 rows
    write, acts, sizes = postgres_rows.Correction._write, {}, []

    def hooked(self, part, todo):
        sizes.append(len(todo))
        acts.get(len(sizes), lambda: None)()
        return write(self, part, todo)

    monkeypatch.setattr(postgres_rows.Correction, "_write", hooked)

    def at(number, act):
        acts[len(sizes) + number] = act
        return sizes

    return at


def killed(url, corrector, before_batch, **options):
    """A job that is killed before its fourth batch."""

    def kill():
        raise KeyboardInterrupt

    before_batch(4, kill)
    with pytest.raises(KeyboardInterrupt):
        correct(corrector, f"{url}#items", column="v", new_column="white", **options)


def again(url, corrector, **options):
    return correct(corrector, f"{url}#items", column="v", new_column="white", **options)


def test_a_stopped_job_goes_on_and_writes_no_row_twice(url, fitted, before_batch):
    killed(url, fitted, before_batch)
    assert query(url, "SELECT count(*) FROM items WHERE white IS NOT NULL") == [(192,)]
    written = again(url, fitted)
    assert written.found == 192 and written.shape == (N, K)
    agree(url, fitted)


def test_what_another_job_wrote_meanwhile_is_not_kept(url, fitted, before_batch):
    mild = (
        Whitening(0.5, n_components=K).fit(DATA)
        if False
        else Whitening(n_components=K).fit(DATA[:250])
    )
    killed(url, fitted, before_batch)
    with pytest.raises(FileError, match="not finished, of another job"):
        again(url, mild)
    again(url, mild, overwrite=True)
    agree(url, mild)
    with pytest.raises(FileError, match="has a column 'white' already"):
        again(url, fitted)
    again(url, fitted, overwrite=True)
    agree(url, fitted)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE items DROP COLUMN white",
        "ALTER TABLE items DROP COLUMN white; ALTER TABLE items ADD COLUMN white vector(5)",
        "CREATE TABLE x AS SELECT id, name, v, r FROM items; DROP TABLE items; "
        "ALTER TABLE x RENAME TO items",
        "UPDATE items SET v = '[9,8,7,6,5,4,3,2]' WHERE id % 3 = 0",
        "INSERT INTO items SELECT id - 1000, name, v FROM items; "
        "DELETE FROM items WHERE id % 7 = 0",
        "UPDATE items SET v = NULL WHERE id % 5 = 0",
        "UPDATE items SET white = NULL WHERE id % 2 = 0",
    ],
)
@pytest.mark.parametrize("rewritten", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_whatever_happened_between_two_runs_rows_end_right(
    url, fitted, before_batch, change, rewritten
):
    killed(url, fitted, before_batch)
    run(url, change)
    if rewritten:
        run(url, "VACUUM FULL items")
    new = "ADD COLUMN white" in change  # nobody knows whose that is
    if new:
        with pytest.raises(FileError, match="already"):
            again(url, fitted)
    written = again(url, fitted, overwrite=new)
    assert not written.missed
    run(url, "DELETE FROM items WHERE v IS NULL AND white IS NULL")
    agree(url, fitted)


def test_a_column_that_is_there_is_refused_unless_told_to_overwrite_it(url, fitted):
    run(url, "ALTER TABLE items ADD white vector(5), ADD thin vector(4), ADD any_size vector")
    run(url, "UPDATE items SET white = '[1,2,3,4,5]'; COMMENT ON COLUMN items.white IS 'mine'")
    with pytest.raises(FileError, match="has a column 'white' already"):
        again(url, fitted)
    assert query(url, "SELECT DISTINCT white::text FROM items") == [("[1,2,3,4,5]",)]
    again(url, fitted, overwrite=True)
    agree(url, fitted)
    assert (
        query(
            url, "SELECT obj_description('items'::regclass), col_description('items'::regclass, 5)"
        )[0][1]
        == "mine"
    )
    assert again(url, fitted, overwrite=True).found == N
    assert "vector(4)" in said(
        fitted, f"{url}#items", column="v", new_column="thin", overwrite=True
    )
    correct(fitted, f"{url}#items", column="v", new_column="any_size", overwrite=True)
    agree(url, fitted, target="any_size")


def test_one_job_at_a_time_writes_a_column(url, fitted, before_batch, monkeypatch):
    from isotropy.jobs.outputs import postgres

    monkeypatch.setattr(postgres, "_OWNER_WAIT", 0.1)
    told = []
    before_batch(
        2, lambda: told.append(said(fitted, f"{url}#items", column="v", new_column="white"))
    )
    again(url, fitted)
    assert "another job writes it (server process" in told[0]
    agree(url, fitted)


def test_a_column_made_anew_while_it_is_written_is_noticed(url, fitted, before_batch):
    before_batch(
        4,
        lambda: run(
            url, "ALTER TABLE items DROP COLUMN white; ALTER TABLE items ADD white vector(5)"
        ),
    )
    with pytest.raises(FileError, match="made anew meanwhile"):
        again(url, fitted)


# -- Writing beside others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE items SET v = '[9,8,7,6,5,4,3,2]' WHERE id % 3 = 0",
        "UPDATE items SET name = name || 'x'",
        "INSERT INTO items SELECT id - 1000, name, v FROM items",
        "DELETE FROM items WHERE id % 7 = 0",
        "VACUUM FULL items",  # moves rows that one transaction wrote
        "DELETE FROM items WHERE id % 2 = 0; VACUUM FULL items",
        "CREATE INDEX other ON items (name); CLUSTER items USING other",
    ],
)
def test_rows_that_others_change_meanwhile_end_right(url, fitted, before_batch, change):
    def act():
        for one in change.split("; "):
            run(url, one)

    before_batch(3, act)
    written = again(url, fitted)
    assert not written.missed
    agree(url, fitted)


def test_a_row_that_another_transaction_holds_is_not_waited_for(url, fitted, before_batch):
    with psycopg.connect(url) as holder:
        change = "UPDATE items SET v = '[9,8,7,6,5,4,3,2]' WHERE id = 3"
        before_batch(1, lambda: holder.execute(change))
        before_batch(9, holder.commit)
        assert again(url, fitted).changed >= 1
    agree(url, fitted)


def test_rows_that_were_not_corrected_are_counted(url, fitted, before_batch, monkeypatch):
    from isotropy.jobs.outputs import postgres_rows

    monkeypatch.setattr(postgres_rows, "_PASSES", 2)
    with psycopg.connect(url) as holder:
        before_batch(1, lambda: holder.execute("SELECT * FROM items WHERE id < 3 FOR UPDATE"))
        written = again(url, fitted)
    assert written.missed == 3 and "3 rows were locked or changed by others" in str(written)
    # It is not finished, so the same command goes on.
    assert again(url, fitted).missed == 0
    agree(url, fitted)


def test_the_command_ends_with_1_where_rows_were_missed(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from isotropy import jobs
    from isotropy.cli.app import app
    from isotropy.jobs.outputs import Written

    MeanRemoval().fit(np.eye(3)).save(tmp_path / "c.safetensors")
    np.save(tmp_path / "x.npy", np.eye(3))
    monkeypatch.setattr(jobs, "correct", lambda *args, **options: Written((3, 3), "w", missed=2))
    words = ["apply", tmp_path / "c.safetensors", tmp_path / "x.npy", "-o", tmp_path / "y.npy"]
    found = CliRunner().invoke(app, list(map(str, words)))
    assert found.exit_code == 1 and "2 rows were locked or changed" in found.output


def test_rows_end_right_under_load(url, fitted, monkeypatch):
    from isotropy.jobs.outputs import postgres_rows

    monkeypatch.setattr(postgres_rows, "_BATCH_BYTES", 1)
    stop, failures = threading.Event(), []

    def others(seed):
        rng = np.random.default_rng(seed)
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                for turn in range(400):
                    if stop.is_set():
                        return
                    i, text = int(rng.integers(N)), as_text(rng.normal(size=D))
                    connection.execute("UPDATE items SET v = %s WHERE id = %s", [text, i])
                    if turn % 3 == 0:
                        new = [1000 * seed + turn, text]
                        connection.execute("INSERT INTO items (id, v) VALUES (%s, %s)", new)
                    if turn % 4 == 0:
                        connection.execute(
                            "DELETE FROM items WHERE id = %s", [int(rng.integers(N))]
                        )
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=others, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    threading.Timer(0.7, stop.set).start()
    written = again(url, fitted)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    if written.missed:
        again(url, fitted)
    else:
        again(url, fitted, overwrite=True)  # what came after the last look
    agree(url, fitted)


@contextmanager
def held(url, statement, seconds):
    """Another transaction that has said something and stays open for a while."""
    holder = psycopg.connect(url)
    holder.execute(statement)
    timer = threading.Timer(seconds, holder.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        holder.close()


def test_nobody_waits_behind_the_new_column(url, fitted):
    waits, done = [], threading.Event()

    def reader():
        with psycopg.connect(url, autocommit=True) as connection:
            while not done.is_set():
                started = time.monotonic()
                connection.execute("SELECT count(*) FROM items")
                waits.append(time.monotonic() - started)
                time.sleep(0.02)

    thread = threading.Thread(target=reader)
    with held(url, "SELECT 1 FROM items", 1.2):
        thread.start()
        again(url, fitted)
    done.set()
    thread.join()
    agree(url, fitted)
    assert 0.2 < max(waits) < 1


def test_a_table_that_stays_locked_is_left_as_it_was(url, fitted, monkeypatch):
    from isotropy.jobs.outputs import postgres_rows

    monkeypatch.setattr(postgres_rows, "_WAIT", 0.0)
    with held(url, "SELECT 1 FROM items", 30):
        told = said(fitted, f"{url}#items", column="v", new_column="white")
    assert "held by an open transaction (server process" in told and "Nothing was written" in told
    assert len(query(url, "SELECT * FROM items LIMIT 1")[0]) == 4


# -- Writing: kinds of tables, columns, roles ----------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["vector", "vector(8)", "halfvec(8)", "real[]", "double precision[]"]
)
def test_the_new_column_is_of_the_type_of_the_old_one(base, fitted, kind):
    run(
        base,
        f"CREATE DOMAIN embedding AS {kind}; CREATE TABLE items (id int PRIMARY KEY, v embedding)",
    )
    run(
        base,
        f"INSERT INTO items SELECT i, ARRAY[1,2,i,4,sin(i),6,cos(i),8]::real[]::{kind} "
        "FROM generate_series(1, 30) i",
    )
    again(base, fitted)
    named = {"vector": "vector(5)", "vector(8)": "vector(5)", "halfvec(8)": "halfvec(5)"}
    (found,) = query(
        base,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'items'::regclass AND attname = 'white'",
    )
    assert found == (named.get(kind, kind),)
    rows, width = open_rows(f"{base}#items", "white"), 2e-3 if "half" in kind else 1e-6
    assert rows.shape == (30, K)
    wanted = fitted.transform(np.concatenate(list(open_rows(f"{base}#items", "v").blocks())))
    np.testing.assert_allclose(np.concatenate(list(rows.blocks())), wanted, rtol=width, atol=width)
    assert again(base, fitted, overwrite=True).found == 30


def test_limits_of_pgvector_are_told(base):
    run(base, "CREATE TABLE items (id int PRIMARY KEY, v vector(2100))")
    run(
        base,
        "INSERT INTO items SELECT i, array_fill(i::real, ARRAY[2100])::vector "
        "FROM generate_series(1, 3) i",
    )
    wide = MeanRemoval().fit(np.random.default_rng(0).normal(size=(4, 2100)))
    assert "Indexes of pgvector take vector of 2,000 numbers at most" in str(again(base, wide))


def test_how_much_the_table_grew_is_told(url, fitted, monkeypatch):
    from isotropy.jobs.outputs.postgres import PostgresOutput

    sizes = iter([10**7, 3 * 10**7])
    monkeypatch.setattr(PostgresOutput, "_size", lambda self: next(sizes))
    assert "The table grew from 10.0 to 30.0 MB" in str(again(url, fitted))


def test_partitions_are_tables_of_their_own(base, fitted):
    run(
        base,
        "CREATE TABLE items (id int, name text, v vector(8), r real[], PRIMARY KEY (id)) "
        "PARTITION BY RANGE (id); "
        "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (100); "
        "CREATE TABLE high PARTITION OF items FOR VALUES FROM (100) TO (1000)",
    )
    fill(base, "items", range(N))
    assert again(base, fitted).shape == (N, K)
    agree(base, fitted)


@pytest.fixture
def role(url):
    """The URL of a role that may read and update the table, and nothing else."""
    run(url, "DROP ROLE IF EXISTS modest")
    run(
        url,
        "CREATE ROLE modest LOGIN; GRANT SELECT, UPDATE ON items TO modest; "
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; "
        "GRANT USAGE ON SCHEMA public, extensions TO modest",
    )
    yield url.replace("postgres:@", "modest:@")
    run(url, "DROP OWNED BY modest; DROP ROLE modest")


def test_a_role_that_may_not_create_is_told_the_way_out(url, role, fitted):
    told = said(fitted, f"{role}#items", column="v", new_column="white")
    assert 'ADD COLUMN "white" vector(5), and run this again with --overwrite' in told
    run(url, "ALTER TABLE items ADD COLUMN white vector(5)")
    again(role, fitted, overwrite=True)
    agree(url, fitted)
    run(url, "REVOKE UPDATE ON items FROM modest")
    assert "may not UPDATE" in said(
        fitted, f"{role}#items", column="v", new_column="white", overwrite=True
    )


# -- Servers that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["new.white := null", "new.white := old.v"])
def test_what_a_trigger_changes_is_not_called_written(url, other, change):
    run(
        url,
        f"ALTER TABLE items ADD COLUMN white vector({D}); CREATE FUNCTION meddle() RETURNS trigger "
        f"AS $$ BEGIN {change}; RETURN new; END $$ LANGUAGE plpgsql; CREATE TRIGGER m BEFORE "
        "UPDATE ON items FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    told = said(other, f"{url}#items", column="v", new_column="white", overwrite=True)
    assert "a trigger of the table (m) changes what is written" in told


def test_a_lost_connection_loses_no_row_and_writes_none_twice(url, fitted, before_batch):
    run(url, "CREATE TABLE log (id bigint)")
    run(
        url,
        "CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN INSERT INTO log VALUES (new.id); "
        "RETURN new; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER t AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note()",
    )
    before_batch(
        4,
        lambda: run(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        ),
    )
    told = said(fitted, f"{url}#items", column="v", new_column="white")
    assert "192 rows of column 'white' are written; run the same again" in told
    assert again(url, fitted).found == 192
    assert query(url, "SELECT count(*), count(DISTINCT id) FROM log") == [(N, N)]
    agree(url, fitted)


@pytest.mark.parametrize("state, words", [("53100", "could not extend file"), ("57014", "timeout")])
def test_a_server_that_gives_up_is_one_line(url, fitted, state, words):
    run(
        url,
        f"CREATE FUNCTION stop() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION '{words}\nof it' "
        f"USING ERRCODE = '{state}'; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER t BEFORE UPDATE ON items FOR EACH ROW WHEN (old.id = 77) "
        "EXECUTE FUNCTION stop()",
    )
    told = said(fitted, f"{url}#items", column="v", new_column="white")
    assert f"stopped ({words} of it). 0 rows of column 'white' are written" in told
    run(url, "DROP TRIGGER t ON items")
    again(url, fitted)
    agree(url, fitted)


def test_the_command_reads_and_writes_a_table(url, tmp_path):
    from typer.testing import CliRunner

    from isotropy.cli.app import app

    runner, file = CliRunner(), tmp_path / "c.safetensors"
    made = runner.invoke(app, ["fit", f"{url}#items", "--column", "v", "-o", str(file)])
    assert made.exit_code == 0, made.output
    done = runner.invoke(app, ["apply", str(file), f"{url}#items", "--column", "v", "--as", "w"])
    assert done.exit_code == 0, done.output
    assert "500 rows" in done.output
    assert query(url, "SELECT count(*) FROM items WHERE w IS NOT NULL") == [(N,)]
    assert os.path.exists(file)
