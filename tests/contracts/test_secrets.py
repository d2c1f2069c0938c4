"""No secret of a URL is shown or written, whatever command is run and whatever goes wrong."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

import isotropy
from isotropy.cli import main
from isotropy.io import FileError, open_rows
from isotropy.jobs import stream_moments
from isotropy.rows.source import MemoryRows, Rows
from isotropy.storage.errors import NoRowsError
from isotropy.storage.secrets import Address, masked, safe_url
from isotropy.tables import COMMANDS

SECRET = "pl4nted/s3cr@t"
FORMS = (SECRET, quote(SECRET, safe=""), quote(SECRET), "s3cr@t", "pl4nted")

URLS = {
    "userinfo": "postgresql://me:{}@127.0.0.1:1/base#items",
    "no user": "postgresql://:{}@127.0.0.1:1/base#items",
    "first parameter": "postgresql://me@127.0.0.1:1/base?password={}#items",
    "later parameter": "postgresql:///base?host=127.0.0.1&port=1&password={}#items",
    "key of a certificate": "postgresql://127.0.0.1:1/base?user=me&sslpassword={}#items",
    "encoded name": "postgresql://127.0.0.1:1/base?p%61ssword={}#items",
    "not a port": "postgresql://127.0.0.1:{}/base#items",
    "token of a web server": "https://{}@127.0.0.1:1/rows.npy",
    "signature of S3": "https://127.0.0.1:1/rows.npy?X-Amz-Credential={0}&X-Amz-Signature={0}",
    "signature of Azure": "https://127.0.0.1:1/c/rows.npy?sv=2024&sig={}",
    "key": "https://127.0.0.1:1/rows.npy?key={}&alt=media",
    "token": "https://127.0.0.1:1/rows.npy?access_token={}",
    "token behind a cache": "simplecache::https://127.0.0.1:1/rows.npy?access_token={}",
}
TEXTS = (
    "host=127.0.0.1 user=me password={} dbname=base",
    "host=127.0.0.1 password='{}'",
    "DefaultEndpointsProtocol=https;AccountName=me;AccountKey={};EndpointSuffix=x",
    "AWS_SECRET_ACCESS_KEY={}",
    "{{'secret': '{}', 'key': '{}'}}",
    '{{"token": "{}"}}',
    "Authorization: Bearer {}",
)


def clean(text):
    assert not [form for form in FORMS if form in str(text)], text


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("coded", [True, False])
def test_no_form_of_a_url_shows_its_secret(name, coded):
    if not coded and name == "token of a web server":
        pytest.skip("a slash ends the host there: nobody can tell it from a path")
    url = URLS[name].format(quote(SECRET, safe="") if coded else SECRET)
    for shown in (safe_url(url), masked(f"no way to '{url}', he said"), repr(Address(url))):
        clean(shown)
        assert "***" in shown
    assert safe_url(safe_url(url)) == safe_url(url)
    clean(masked(f"the word {SECRET!r} is no number, nor is {quote(SECRET)}", url))
    for kind in (FileError, NoRowsError):
        error = kind(url, f"cannot read {url} by {SECRET}")
        for shown in (str(error), repr(error), error.args, error.path, error.problem):
            clean(shown)


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_that_a_library_shows_has_a_secret(text):
    clean(masked(text.format(SECRET, SECRET)))
    assert "127.0.0.1" not in text or "127.0.0.1" in masked(text.format(SECRET, SECRET))


@pytest.mark.parametrize(
    "harmless",
    [
        "postgresql://me@host:5432/base?host=/tmp&port=1#schema.items",
        "https://host:8080/with@2x/rows.npy?v=1",
        "s3://bucket/key=7/token=a/rows.npy",
        "hf://datasets/user/set@main/rows.parquet",
        "zip://rows.npy::s3://bucket/x.zip",
        "abfs://container@account.dfs.core.windows.net/rows.npy",
        "folder/password=3/rows.npy",
        "row 3 of part=4: 5 numbers; keys=3, tokens are 5",
    ],
)
def test_what_is_no_secret_is_shown(harmless):
    assert safe_url(harmless) == harmless
    assert "://" in harmless or masked(harmless) == harmless


def test_what_stands_behind_a_secret_stays():
    for text in ("https://h/x?token=abcdef: not there.", "password=abcdef, says it", "sig=abcdef."):
        once = masked(text)
        assert once == text.replace("abcdef", "***") == masked(once)


def test_an_address_gives_its_secret_to_who_asks_and_to_nobody_else():
    url = f"s3://bucket/x.npy?sig={SECRET}"
    place = Address(url, {"secret": "another", "client": {"token": "a third"}})
    assert place.reveal() == url and pickle.loads(pickle.dumps(place)) == place
    assert {"another", "a third"} <= place.secrets()
    for shown in (str(place), repr(place), f"{place}", json.dumps(str(place))):
        clean(shown)
    assert masked("the keys 'another' and 'a third' are wrong", place).count("***") == 2


def test_secrets_of_the_environment_are_hidden(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "pl4nted0")
    clean(FileError("x", "said pl4nted0"))


def test_an_empty_password_hides_nothing_else():
    url = "postgresql://postgres:@/base#items"
    assert masked(f"{masked(url)}: me@host is lost", url).endswith("@/base#items: me@host is lost")


def test_the_folder_that_we_are_in_is_no_secret(monkeypatch):
    for name in ("PWD", "OLDPWD"):
        monkeypatch.setenv(name, "/home/me/work")
    assert masked("/home/me/work/rows.npy: no such file") == "/home/me/work/rows.npy: no such file"


def test_rows_keep_no_secret_where_it_is_shown():
    class Some(Rows):
        _blocks = MemoryRows._blocks

    rows = Some(f"https://me:{SECRET}@host/x", None, (3, 2), np.dtype("f4"))
    for shown in (rows.path, rows.locate(2), rows.fingerprint(), f"{rows.path}"):
        clean(shown)


# -- Every command, on a real server ------------------------------------------------------------


@pytest.fixture(scope="module")
def base(postgres):
    """The address of a database of its own, for a role that must say its password."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE secrets")
        connection.execute(f"CREATE ROLE me LOGIN SUPERUSER PASSWORD '{SECRET}'")
        rules = Path(connection.execute("SHOW hba_file").fetchone()[0])
        rules.write_text(f"local all me scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    with psycopg.connect(postgres, dbname="secrets", autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, v vector(4))")
        connection.execute("CREATE TABLE nothing (id int PRIMARY KEY, v vector(4))")
        numbers = "ARRAY[random(), random(), random(), random()]::real[]::vector"
        connection.execute(f"INSERT INTO items SELECT i, {numbers} FROM generate_series(1, 60) i")
    return f"postgresql://%s/secrets?host={postgres.partition('host=')[2]}%s"


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args):
        monkeypatch.setattr("sys.argv", ["isotropy", *args])
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        out, err = capfd.readouterr()
        clean(out + err)
        assert "Traceback" not in err
        return stop.value.code or 0, out + err

    yield call
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [form for form in FORMS if form.encode() in content], path


COMMAND_LINES = {
    "score": [["score", "{url}", "--metrics", "mean_cosine", "--json"]],
    "fit": [
        ["fit", "{url}", "-o", "c.safetensors", "--moments"],
        ["fit", "{url}", "-o", "d.safetensors", "--checkpoint", "d.ckpt", "--json"],
    ],
    "apply": [
        ["apply", "c.safetensors", "{url}", "-o", "out.npy"],
        ["apply", "c.safetensors", "{url}", "-o", "out/", "--json"],
        ["apply", "c.safetensors", "{url}", "--as", "w", "--overwrite"],
        ["apply", "c.safetensors", "{url}", "--as", "w", "--json", "--overwrite"],
    ],
    "compare": [["compare", "{url}", "-c", "mean-removal", "--json"]],
    "report": [["report", "{url}", "-o", "report.html", "-c", "mean-removal"]],
    "advise": [["advise", "{url}", "--json"]],
    "drift": [["drift", "{url}", "{url}", "--json"]],
    "groups": [["groups", "{url}", "--groups", "groups.txt", "--json"]],
    "export": [["export", "c.safetensors", "-o", "m.npz", "--to", "npz"]],
}
# These read texts and models: a URL is refused there, or is no such file.
REFUSED = {
    "encode": [["encode", "{url}", "-o", "e.npy"]],
    "layers": [["layers", "{url}", "{url}"]],
    "wrap": [["wrap", "{url}", "-o", "w", "--texts", "{url}"]],
    "check": [["check", "{url}", "{url}"]],
    "evaluate": [["evaluate", "{url}", "{url}"]],
    "demo": [["demo", "{url}"]],
}


def test_every_command_is_among_those_that_are_searched():
    assert {*COMMAND_LINES, *REFUSED} == set(COMMANDS)


@pytest.mark.parametrize("place", ["userinfo", "parameter"])
def test_no_command_shows_or_writes_the_password(base, run, place, monkeypatch):
    import psycopg

    coded = quote(SECRET, safe="")
    who, more = {"userinfo": (f"me:{coded}@", ""), "parameter": ("me@", f"&password={coded}")}[
        place
    ]
    url = f"{base % (who, more)}#items"
    Path("groups.txt").write_text("one\nother\n" * 30)
    for command, lines in COMMAND_LINES.items():
        for line in lines if place == "userinfo" or command in ("fit", "apply") else []:
            column = [] if command == "export" else ["--column", "v"]
            code, told = run(*(part.format(url=url) for part in line), *column)
            assert code == 0, told
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with psycopg.connect(base % ("me@", "")) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'items'"
        ).fetchall()
        for (table,) in tables:
            clean(connection.execute(f'SELECT t::text FROM "{table}" t').fetchall())


def test_no_failure_shows_the_password(base, run, tmp_path):
    coded = quote(SECRET, safe="")
    good = base % (f"me:{coded}@", "")
    corrector = isotropy.MeanRemoval().fit(np.random.default_rng(0).normal(size=(9, 4)))
    corrector.save(tmp_path / "c.safetensors")
    failing = (
        [url.format(coded) for url in URLS.values()]
        + [URLS[name].format(SECRET) for name in ("userinfo", "not a port", "token")]
        + [
            f"{good}#no_such_table",
            good,
            f"{good}#nothing",
            base % (f"me:x{coded}@", "") + "#items",
        ]
    )
    for url in failing:
        code, told = run("fit", url, "-o", "x.safetensors", "--column", "w")
        assert code == 2 and told.count("\n") == 1, told
    for lines in (*COMMAND_LINES.values(), *REFUSED.values()):
        for line in lines:
            run(*(part.format(url=failing[0]) for part in line))
    run("score", failing[0], failing[0], "-x", failing[0])
    run(failing[0])


def test_no_checkpoint_nor_traceback_holds_the_password(base, tmp_path):
    coded = quote(SECRET, safe="")
    url = base % ("me@", f"&password={coded}") + "#items"
    stream_moments(url, column="v", checkpoint=tmp_path / "ckpt")
    content = (tmp_path / "ckpt").read_bytes()
    assert b"password=***" in content and not [f for f in FORMS if f.encode() in content]
    for wrong in (url.replace("#items", "#no"), *(u.format(coded) for u in URLS.values())):
        try:
            open_rows(wrong)
        except (FileError, ImportError):
            shown = traceback.format_exc()
        clean([line for line in shown.splitlines() if not line.startswith("    ")])
