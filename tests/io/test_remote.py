"""Files on web servers, in S3's and other stores: read by ranges, whatever the connection does."""

from __future__ import annotations

import io
import json
import pickle
import sys
import time

import numpy as np
import pytest

import isotropy
from isotropy import MeanRemoval, Moments
from isotropy.io import FileError, RowWriter, open_rows
from isotropy.jobs import correct, stream_moments
from isotropy.jobs.fit import save

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

from servers import WebServer  # noqa: E402

X = np.random.default_rng(5).normal(size=(3000, 32)).astype(np.float32) + 2


@pytest.fixture(scope="module")
def web_server():
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def web(web_server, monkeypatch):
    """A web server with `x.npy` on it, and no faults; pauses between tries are short."""
    monkeypatch.setattr("isotropy.storage.remote._WAIT", 0.001)
    file = io.BytesIO()
    np.save(file, X)
    web_server.files = {"x.npy": file.getvalue()}
    web_server.faults, web_server.requests = {}, []
    web_server.ranges = web_server.tags = True
    return web_server


@pytest.fixture(scope="session")
def s3_server():
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """The URL of an empty bucket; the environment says where it is."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "s3cret-0f-s0meone",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("isotropy.storage.remote._WAIT", 0.001)
    system = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if system.exists("rows"):
        system.rm("rows", recursive=True)
    system.mkdir("rows")
    return "s3://rows"


@pytest.fixture
def memory():
    yield "memory://here"
    system = fsspec.filesystem("memory")
    if system.exists("/here"):
        system.rm("/here", recursive=True)


def upload(path, url):
    system, key = fsspec.url_to_fs(url)
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                system.put_file(str(file), f"{key}/{file.relative_to(path)}")
    else:
        system.put_file(str(path), key)


# -- Every format, from any place ---------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".parquet", ".arrow", ".h5"])
def test_every_format_is_read_and_written_elsewhere_as_here(memory, tmp_path, save, suffix):
    local = save(tmp_path / f"x{suffix}", X)
    upload(local, f"{memory}/x{suffix}")
    here, there = open_rows(local), open_rows(f"{memory}/x{suffix}")
    assert (there.shape, there.dtype, there.name) == (here.shape, here.dtype, here.name)
    np.testing.assert_array_equal(there.in_memory(), X)
    np.testing.assert_array_equal(np.concatenate(list(there.blocks(700, start=900))), X[900:])
    np.testing.assert_array_equal(there.take([5, 2900, 5]), X[[5, 2900, 5]])
    fitted = MeanRemoval().fit(X)
    correct(fitted, there, f"{memory}/y{suffix}")
    np.testing.assert_allclose(
        open_rows(f"{memory}/y{suffix}").in_memory(), fitted.transform(X), atol=1e-6
    )


def test_compressed_texmex_and_word_files_are_read_elsewhere(memory, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=X)
    lines = [f"w{i} " + " ".join(map(repr, row.tolist())) for i, row in enumerate(X[:50])]
    (tmp_path / "x.vec").write_text("50 32\n" + "\n".join(lines))
    with RowWriter(tmp_path / "x.fvecs", shape=X.shape) as out:
        out.write(X)
    for name, wanted in (("x.npz", X), ("x.fvecs", X), ("x.vec", X[:50])):
        upload(tmp_path / name, f"{memory}/{name}")
        np.testing.assert_array_equal(open_rows(f"{memory}/{name}").in_memory(), wanted)


def test_folders_patterns_and_lists_elsewhere_are_one(memory, tmp_path):
    for part in range(11):
        np.save(tmp_path / f"part-{part}.npy", X[part * 100 : part * 100 + 100])
    np.save(tmp_path / "_hidden.npy", X)
    upload(tmp_path, f"{memory}/rows")
    names = [f"{memory}/rows/part-{part}.npy" for part in range(11)]
    for source in (f"{memory}/rows", f"{memory}/rows/", f"{memory}/rows/part-*.npy", names):
        rows = open_rows(source)
        np.testing.assert_array_equal(rows.in_memory(), X[:1100])
        assert "row 7 of memory://here/rows/part-10.npy" in rows.locate(1007)
    mixed = open_rows([names[0], tmp_path / "part-1.npy"])
    np.testing.assert_array_equal(mixed.in_memory(), X[:200])
    assert open_rows(f"{memory}/rows").fingerprint() == open_rows(f"{memory}/rows").fingerprint()


def test_a_zarr_array_elsewhere_is_read(memory, tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save(str(tmp_path / "x.zarr"), X)
    upload(tmp_path / "x.zarr", f"{memory}/x.zarr")
    rows = open_rows(f"{memory}/x.zarr")
    np.testing.assert_array_equal(rows.in_memory(), X)
    before = open_rows(f"{memory}/x.zarr").fingerprint()
    zarr.save(str(tmp_path / "y.zarr"), X + 1)
    upload(tmp_path / "y.zarr", f"{memory}/x.zarr")
    assert open_rows(f"{memory}/x.zarr").fingerprint() != before


def test_rows_elsewhere_travel_to_other_processes(web):
    rows = pickle.loads(pickle.dumps(open_rows(f"{web.url}/x.npy")))
    np.testing.assert_array_equal(rows.in_memory(), X)


# -- A web server, and its faults ---------------------------------------------------------------


def test_only_the_ranges_that_are_needed_are_fetched(web):
    rows = open_rows(f"{web.url}/x.npy")
    np.testing.assert_array_equal(rows.take([2000, 2001]), X[2000:2002])
    assert sum(size for _, _, size in web.requests) < 20_000 < X.nbytes


def test_a_connection_that_breaks_off_is_gone_on_with_from_what_came(web, monkeypatch):
    monkeypatch.setattr("isotropy.io.remote._PIECE", 2**16)
    rows = open_rows(f"{web.url}/x.npy?token=planted")
    web.requests.clear()
    web.faults["x.npy"] = ["", "break", "busy", "", "break"]
    np.testing.assert_array_equal(rows.in_memory(), X)
    pieces = -(-X.nbytes // 2**16)
    assert pieces < len(web.requests) <= pieces + 3


def test_a_busy_server_is_asked_again_and_then_given_up(web):
    web.faults["x.npy"] = ["busy", "busy", "", "busy"]
    assert open_rows(f"{web.url}/x.npy").shape == X.shape
    rows = open_rows(f"{web.url}/x.npy")
    web.faults["x.npy"] = ["busy"] * 50
    with pytest.raises(FileError, match=r"could not be reached after 6 tries .*503") as caught:
        rows.in_memory()
    assert "\n" not in str(caught.value)


def test_a_server_that_sends_whole_files_is_read_if_small_and_refused_if_large(web, monkeypatch):
    web.ranges = False
    np.testing.assert_array_equal(open_rows(f"{web.url}/x.npy").in_memory(), X)
    monkeypatch.setattr("isotropy.io.remote._MOST_HELD", 1000)
    web.requests.clear()
    with pytest.raises(FileError, match=r"sends no parts of files.* fetch it first"):
        open_rows(f"{web.url}/x.npy")


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changes_on_the_server_is_refused(web, tags):
    web.tags = tags
    rows = open_rows(f"{web.url}/x.npy")
    other = bytearray(web.files["x.npy"])
    other[5000:5004] = b"\1\1\1\1"
    web.files["x.npy"] = bytes(other) if tags else bytes(other) + b"more"
    with pytest.raises(FileError, match="changed since it was opened"):
        Moments().update(rows)
    web.files["x.npy"] = web.files["x.npy"][:9000]
    with pytest.raises(FileError, match="changed since it was opened"):
        rows.in_memory()
    del web.files["x.npy"]
    with pytest.raises(FileError, match="no such file"):
        rows.in_memory()


def test_of_a_file_that_holds_no_corrector_only_the_head_is_fetched(web, tmp_path, save):
    save(tmp_path / "x.safetensors", X)
    web.files["x.safetensors"] = (tmp_path / "x.safetensors").read_bytes()
    with pytest.raises(ValueError, match="nothing that isotropy saved"):
        isotropy.load(f"{web.url}/x.safetensors?token=pl4nted")
    assert sum(size for _, _, size in web.requests) < 1000


def test_what_cannot_be_read_there_is_one_line(web):
    def said(url, kind=FileError):
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            open_rows(url)
        assert time.monotonic() - began < 5
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in said(f"{web.url}/y.npy")
    web.faults["x.npy"] = ["forbidden"] * 9
    assert "may not be read" in said(f"{web.url}/x.npy?token=planted")
    web.faults.clear()
    web.files["empty.npy"] = b""
    assert "empty (0 bytes)" in said(f"{web.url}/empty.npy")
    assert "could not be reached" in said("http://127.0.0.1:1/x.npy")
    web.files["x.xyz"] = b"some"
    assert "names no supported format" in said(f"{web.url}/x.xyz?name=x.npy")
    assert "Did you mean https://" in said("htps://host/x.npy")
    assert "no such file" in said("memory://nothing/")
    assert "no file matches" in said("memory://nothing/*.npy")
    with pytest.raises(ValueError, match="URLs"):
        open_rows("x.npy", storage_options={"anon": True})
    with pytest.raises(FileError, match="a web server is only read"):
        correct(MeanRemoval().fit(X), X_rows(web), f"{web.url}/y.npy")


def X_rows(web):
    return open_rows(f"{web.url}/x.npy")


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ImportError, match=r"pip install 'isotropy\[remote\]' gcsfs"):
        open_rows("gs://bucket/x.npy")


def test_the_hub_of_hugging_face_goes_through_its_own_file_system(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def info(self, path, *args, **kwargs):
        asked.append(path)
        raise PermissionError("Unauthorized: hf_abcdefghijklmnopqrstuv is no token")

    monkeypatch.setattr(hub.HfFileSystem, "info", info)
    with pytest.raises(FileError, match=r"may not be read .* HF_TOKEN") as caught:
        open_rows("hf://datasets/someone/set/x.npy")
    assert asked == ["datasets/someone/set/x.npy"]
    assert "hf_abc" not in str(caught.value)


# -- S3 -----------------------------------------------------------------------------------------


def test_rows_of_a_bucket_are_read_fitted_corrected_and_written(bucket, tmp_path):
    for part in range(3):
        np.save(tmp_path / f"p{part}.npy", X[part * 1000 : part * 1000 + 1000])
    upload(tmp_path, f"{bucket}/in")
    rows = open_rows(f"{bucket}/in/")
    np.testing.assert_array_equal(rows.in_memory(), X)
    fitted = MeanRemoval().fit_moments(stream_moments(f"{bucket}/in/*.npy"))
    fitted.save(f"{bucket}/corrector.safetensors")
    loaded = isotropy.load(f"{bucket}/corrector.safetensors")
    np.testing.assert_array_equal(loaded.mean_, fitted.mean_)
    wanted = fitted.transform(X)
    correct(loaded, rows, f"{bucket}/y.npy")
    np.testing.assert_allclose(open_rows(f"{bucket}/y.npy").in_memory(), wanted, atol=1e-6)
    with pytest.raises(FileError, match="is an input too"):
        correct(loaded, rows, f"{bucket}/in/p1.npy", overwrite=True)


def test_a_folder_of_a_bucket_is_gone_on_with_where_it_was_stopped(bucket, tmp_path, monkeypatch):
    for part in range(3):
        np.save(tmp_path / f"p{part}.npy", X[part * 1000 : part * 1000 + 1000])
    upload(tmp_path, f"{bucket}/in")
    fitted = MeanRemoval().fit(X)

    def stop(done):
        if done > 1500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        correct(fitted, f"{bucket}/in/", f"{bucket}/out/", progress=stop)
    assert correct(fitted, f"{bucket}/in/", f"{bucket}/out/").found == 1000
    found = open_rows(f"{bucket}/out/").in_memory()
    np.testing.assert_allclose(found, fitted.transform(X), atol=1e-6)
    with pytest.raises(FileError, match="input"):
        correct(fitted, f"{bucket}/in/", f"{bucket}/in/")


def test_a_folder_elsewhere_is_held_to_the_laws_of_outputs(memory, tmp_path):
    for part in range(2):
        np.save(tmp_path / f"p{part}.npy", X[part * 1000 : part * 1000 + 1000])
    upload(tmp_path, f"{memory}/in")
    fitted, other = MeanRemoval().fit(X), MeanRemoval(0.5).fit(X)
    source, output = f"{memory}/in", f"{memory}/out/"
    assert correct(fitted, source, output).found == 0
    assert correct(fitted, source, output).found == 2000
    with pytest.raises(FileError, match="say --overwrite"):
        correct(other, source, output)
    correct(other, source, output, overwrite=True)
    wanted = other.transform(X[:2000])
    np.testing.assert_allclose(open_rows(output).in_memory(), wanted, atol=1e-6)
    system = fsspec.filesystem("memory")
    system.pipe("/here/out/p1.npy", b"another's")
    with pytest.raises(FileError, match=r"changed since this job wrote them .p1.npy"):
        correct(other, source, output)
    assert system.cat("/here/out/p1.npy") == b"another's"
    assert correct(other, source, output, overwrite=True).found == 1000
    np.testing.assert_allclose(open_rows(output).in_memory(), wanted, atol=1e-6)
    system.rm("/here/in/p1.npy")
    with pytest.raises(FileError, match=r"not among what is read now .p1.npy"):
        correct(other, source, output)
    correct(other, source, output, overwrite=True)
    assert open_rows(output).shape == (1000, 32)
    np.save(tmp_path / "mine.npy", X)
    upload(tmp_path / "mine.npy", f"{memory}/out/mine.npy")
    with pytest.raises(FileError, match=r"this job did not write .mine.npy"):
        correct(other, source, output)
    with pytest.raises(FileError, match="exists; say --overwrite"):
        correct(other, source, f"{memory}/out/mine.npy")
    for inside in ("new.npy", "sub/new.npy"):
        with pytest.raises(FileError, match="an input too, or would be read"):
            correct(other, source, f"{memory}/in/{inside}")


def test_a_command_does_not_write_what_it_reads_elsewhere(memory, tmp_path):
    with RowWriter(tmp_path / "x.safetensors", shape=X.shape) as writer:
        writer.write(X)
    upload(tmp_path / "x.safetensors", f"{memory}/x.safetensors")
    url = f"{memory}/x.safetensors"
    from isotropy.cli import main

    with pytest.raises(SystemExit):
        main(["fit", url, "-o", url, "--overwrite"])
    assert open_rows(url).shape == X.shape


def test_a_job_that_is_killed_elsewhere_is_gone_on_with(memory, tmp_path, monkeypatch):
    from isotropy.jobs.outputs import remote

    for part in range(3):
        np.save(tmp_path / f"p{part}.npy", X[part * 1000 : part * 1000 + 1000])
    fitted, real = MeanRemoval().fit(X), remote.RemoteFolder._save_record

    def killed(folder):
        if folder.record["p1.npy"]["mark"]:
            raise KeyboardInterrupt
        real(folder)

    monkeypatch.setattr(remote.RemoteFolder, "_save_record", killed)
    with pytest.raises(KeyboardInterrupt):
        correct(fitted, tmp_path, f"{memory}/out/")
    monkeypatch.undo()
    assert correct(fitted, tmp_path, f"{memory}/out/").shape == X.shape
    np.testing.assert_allclose(open_rows(f"{memory}/out/").in_memory(), fitted.transform(X))


def test_a_job_that_fails_leaves_nothing_elsewhere(memory, tmp_path):
    bad = X.copy()
    bad[1234, 5] = np.nan
    np.save(tmp_path / "x.npy", bad)
    upload(tmp_path / "x.npy", f"{memory}/x.npy")
    with pytest.raises(ValueError, match="1234"):
        correct(MeanRemoval().fit(X), f"{memory}/x.npy", f"{memory}/y.npy")
    assert fsspec.filesystem("memory").find("/here") == ["/here/x.npy"]


def test_shards_elsewhere_are_written_to_a_folder_here(memory, tmp_path):
    for part in range(2):
        np.save(tmp_path / f"p{part}.npy", X[part * 1000 : part * 1000 + 1000])
    upload(tmp_path, f"{memory}/in")
    fitted = MeanRemoval().fit(X)
    correct(fitted, f"{memory}/in", f"{tmp_path}/out/")
    assert sorted(path.name for path in tmp_path.glob("out/*.npy")) == ["p0.npy", "p1.npy"]
    assert correct(fitted, f"{memory}/in", f"{tmp_path}/out/").found == 2000


def test_a_checkpointed_fit_over_a_bucket_resumes_and_refuses_other_rows(
    bucket, tmp_path, monkeypatch
):
    np.save(tmp_path / "x.npy", X)
    upload(tmp_path / "x.npy", f"{bucket}/x.npy")

    def save_and_stop(*state):
        save(*state)
        raise KeyboardInterrupt

    options = {"checkpoint": tmp_path / "c", "every": 0.0}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("isotropy.jobs.fit.rows_at_a_time", lambda rows: 500)
        patched.setattr("isotropy.jobs.fit.save", save_and_stop)
        stream_moments(f"{bucket}/x.npy", **options)
    assert (tmp_path / "c").exists()
    moments = stream_moments(f"{bucket}/x.npy", **options)
    assert moments.n_rows == 3000
    np.testing.assert_allclose(moments.mean, X.mean(0, dtype=float), rtol=1e-12)
    np.save(tmp_path / "x.npy", X + 1)
    upload(tmp_path / "x.npy", f"{bucket}/x.npy")
    with pytest.raises(ValueError, match="checkpoint of other rows"):
        stream_moments(f"{bucket}/x.npy", **options)


def test_what_is_wrong_with_a_bucket_is_one_line_soon(bucket, monkeypatch):
    def said(url, **options):
        began = time.monotonic()
        with pytest.raises(FileError) as caught:
            open_rows(url, **options)
        assert time.monotonic() - began < 5
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in said(f"{bucket}/nothing.npy")
    assert "no such file" in said("s3://no-such-bucket/x.npy")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "AWS_ACCESS_KEY_ID" in said(f"{bucket}/x.npy", storage_options={"profile": None})


def test_the_command_works_on_urls(bucket, tmp_path, monkeypatch, capsys):
    from isotropy.cli import main

    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    upload(tmp_path / "x.npy", f"{bucket}/x.npy")

    def run(*args):
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        out, err = capsys.readouterr()
        assert "s3cret" not in out + err and "Traceback" not in err
        return stop.value.code or 0, out + err

    url = f"{bucket}/x.npy"
    assert run("fit", url, "-o", f"{bucket}/c.safetensors")[0] == 0
    code, told = run("apply", f"{bucket}/c.safetensors", url, "-o", f"{bucket}/y.npy", "--json")
    assert code == 0 and json.loads(told)["file"] == f"{bucket}/y.npy"
    assert run("score", f"{bucket}/y.npy")[0] == 0
    code, told = run("apply", f"{bucket}/c.safetensors", url, "-o", url)
    assert (code == 2 and "input" in told) or "read too" in told
    code, told = run("score", f"{bucket}/no.npy")
    assert code == 2 and told.count("\n") == 1
    assert not list(tmp_path.glob("s3*"))
    system = fsspec.filesystem("s3")
    assert not [key for key in system.find("rows") if b"s3cret" in system.cat_file(key)]


def test_storage_options_are_used_and_shown_nowhere(bucket, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    upload(tmp_path / "x.npy", f"{bucket}/x.npy")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    options = {"key": "AKIAABCDEFGHIJKLMNOP", "secret": "pl4nted-s3cret"}
    rows = open_rows(f"{bucket}/x.npy", storage_options=options)
    np.testing.assert_array_equal(rows.in_memory(), X)
    stream_moments(rows, checkpoint=tmp_path / "c")
    with pytest.raises(FileError) as caught:
        open_rows(f"{bucket}/no.npy", storage_options=options)
    for shown in (repr(rows.path), str(rows.fingerprint()), str(caught.value), rows.locate(0)):
        assert "pl4nted" not in shown and "AKIA" not in shown
    assert b"pl4nted" not in (tmp_path / "c").read_bytes()


@pytest.mark.parametrize(
    "url", ["file://{}", "local://{}", "simplecache::file://{}", "simplecache::{}"]
)
def test_a_file_of_this_machine_has_one_name(tmp_path, url):
    np.save(tmp_path / "x.npy", X)
    fitted, place = MeanRemoval().fit(X), url.format(tmp_path / "x.npy")
    before = (tmp_path / "x.npy").read_bytes()
    for source, output in ((place, tmp_path / "x.npy"), (tmp_path / "x.npy", place)):
        with pytest.raises(FileError, match="name it by its path"):
            correct(fitted, source, output, overwrite=True)
    assert (tmp_path / "x.npy").read_bytes() == before


def test_an_input_behind_a_cache_is_an_input(memory):
    with fsspec.open("memory://cached/x.npy", "wb") as file:
        np.save(file, X)
    for source, output in (("simplecache::", ""), ("", "simplecache::")):
        with pytest.raises(FileError, match="is an input too"):
            correct(
                MeanRemoval().fit(X),
                f"{source}memory://cached/x.npy",
                f"{output}memory://cached/x.npy",
                overwrite=True,
            )


def test_a_command_never_replaces_what_it_reads_elsewhere(memory, capsys):
    from isotropy.cli import main

    url = f"{memory}/x.safetensors"
    with RowWriter(url, shape=X.shape) as writer:
        writer.write(X)
    with pytest.raises(SystemExit):
        main(["fit", url, "-o", url, "--overwrite"])
    assert "is an input too" in capsys.readouterr().err
    assert open_rows(url).shape == X.shape
