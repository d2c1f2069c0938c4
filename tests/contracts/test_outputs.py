"""The laws of what jobs write, over every kind of output there is."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cases import Payload
from sklearn.exceptions import NotFittedError

from isotropy import MeanRemoval, Whitening
from isotropy.io import FileError, open_rows
from isotropy.jobs import correct
from isotropy.storage import locks
from isotropy.storage.whole import whole_file, whole_folder
from isotropy.tables import OUTPUTS

X = np.random.default_rng(0).normal(size=(300, 6)).astype("f4") + 2
FITTED = Whitening(n_components=4).fit(X)
OTHER = Whitening(n_components=4, power=0.5).fit(X)


class File:
    """One file to one file."""

    def __init__(self, base):
        self.base, self.source, self.output = base, base / "x.npy", base / "out.npy"
        np.save(self.source, X)

    def correct(self, corrector=FITTED, **options):
        return correct(corrector, self.source, self.output, **options)

    def rows(self):
        return open_rows(self.output).in_memory()

    def written(self):
        return [self.output]

    def disturb(self):
        np.save(self.source, X[:-1])


class Folder(File):
    """A folder of shards to a folder."""

    def __init__(self, base):
        self.base, self.source, self.output = base, base / "in", base / "out"
        self.source.mkdir()
        for part in range(3):
            np.save(self.source / f"part-{part}.npy", X[100 * part : 100 * part + 100])

    def correct(self, corrector=FITTED, **options):
        return correct(corrector, self.source, f"{self.output}/", **options)

    def written(self):
        return sorted(self.output.glob("*.npy"))

    def disturb(self):
        np.save(self.source / "part-0.npy", X[:99])


class Lance(File):
    """A column beside the one that is read."""

    def __init__(self, base):
        self.lance, pa = pytest.importorskip("lance"), pytest.importorskip("pyarrow")
        self.base, self.source, self.output = base, base / "x.lance", None
        lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 6)
        table = pa.table({"id": np.arange(300), "v": lists})
        self.lance.write_dataset(table, str(self.source))

    def correct(self, corrector=FITTED, **options):
        return correct(corrector, self.source, new_column="white", **options)

    def rows(self):
        return open_rows(self.source, "white").in_memory()

    def written(self):
        return []

    def disturb(self):
        self.lance.dataset(str(self.source)).delete("id = 3")


KINDS = {"file": File, "folder": Folder, "lance": Lance}
SERVERS = {"postgres", "remote file", "remote folder"}
"""Those that need a server; their laws are tested where it is started."""


@pytest.fixture(params=KINDS)
def job(request, tmp_path):
    return KINDS[request.param](tmp_path)


def holding(base):
    """All that is below a folder."""
    files = (path for path in Path(base).rglob("*") if path.is_file())
    return {str(path.relative_to(base)): path.read_bytes() for path in files}


def test_every_output_is_held_to_the_laws():
    assert {*KINDS, *SERVERS} == set(OUTPUTS)


def test_all_of_it_is_written_and_verified(job):
    told = []
    written = job.correct(progress=told.append)
    assert written.shape == (300, 4) and written.found == written.replaced == written.nulls == 0
    assert "rows counted" in written.verified and "and verified: " in str(written)
    assert told == sorted(told) and told[-1] == 300
    np.testing.assert_allclose(job.rows(), FITTED.transform(X), rtol=1e-4, atol=1e-5)


def test_what_is_finished_is_left_alone(job):
    job.correct()
    before = holding(job.base)
    assert job.correct().found == 300
    assert holding(job.base) == before


def test_what_another_job_wrote_is_replaced_only_when_told(job):
    job.correct()
    before = holding(job.base)
    with pytest.raises(FileError, match="say --overwrite"):
        job.correct(OTHER)
    assert holding(job.base) == before
    job.correct(OTHER, overwrite=True)
    np.testing.assert_allclose(job.rows(), OTHER.transform(X), rtol=1e-4, atol=1e-5)
    assert job.correct(OTHER).found == 300


def test_two_jobs_never_write_to_one_place(job):
    seen = []

    def second(done):
        if not seen:
            with pytest.raises(FileError, match=r"another job writes it .process") as refused:
                job.correct(OTHER, overwrite=True)
            seen.append(str(refused.value))

    job.correct(progress=second)
    assert seen and "\n" not in seen[0]
    np.testing.assert_allclose(job.rows(), FITTED.transform(X), rtol=1e-4, atol=1e-5)


def test_a_source_that_changes_meanwhile_is_told(job):
    seen = []

    def disturbed(done):
        if done == 300 and not seen:
            seen.append(job.disturb())

    with pytest.raises(FileError, match=r"changed (while|meanwhile)"):
        job.correct(progress=disturbed)


def test_a_bad_row_is_named_and_nothing_of_it_is_written(job):
    bad = MeanRemoval().fit(X)
    bad.affine_map_.__dict__["apply"] = lambda block, **options: np.full((len(block), 6), np.inf)
    before = holding(job.base)
    with pytest.raises(ValueError, match=r"row 0 .*became NaN or infinite"):
        job.correct(bad)
    assert {k: v for k, v in holding(job.base).items() if "_isotropy.jsonl" not in k} == before


@pytest.mark.parametrize("harm", ["flip", "cut", "replace", "remove"])
def test_damaged_output_never_counts_as_done(job, harm):
    job.correct()
    if not job.written():
        pytest.skip("the table keeps its files by itself")
    path = job.written()[-1]
    data, stat = bytearray(path.read_bytes()), path.stat()
    if harm == "remove":
        path.unlink()
    elif harm == "replace":
        np.save(path, np.zeros((100, 4), "f4"))
    else:
        data[-7] ^= 4
        path.write_bytes(bytes(data) if harm == "flip" else bytes(data[:-9]))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if harm != "remove":
        before = holding(job.base)
        with pytest.raises(FileError, match=r"is not what this job wrote|changed since this job"):
            job.correct()
        assert holding(job.base) == before
    job.correct(overwrite=True)
    np.testing.assert_allclose(job.rows(), FITTED.transform(X), rtol=1e-4, atol=1e-5)


def test_no_code_is_loaded_from_what_lies_in_the_way(job, mark, monkeypatch):
    from isotropy.jobs.outputs import lance

    payload = Payload(mark)
    names = set()
    real = os.replace

    def noted(one, other):
        names.update((Path(one), Path(other)))
        real(one, other)

    monkeypatch.setattr(os, "replace", noted)
    monkeypatch.setattr(lance.LanceOutput, "_remove_old", lambda self: None)
    job.correct()
    names |= {path for path in job.base.rglob("*") if path.is_file()}
    monkeypatch.undo()
    sources = {job.source, *(job.source.rglob("*") if job.source.is_dir() else ())}
    for path in names - sources:
        for body in (pickle.dumps(payload), npy_of(payload)):
            for corrector in (FITTED, OTHER):
                path.parent.mkdir(exist_ok=True, parents=True)
                path.write_bytes(body)
                try:
                    job.correct(corrector, overwrite=True)
                except ValueError as error:
                    assert "\n" not in str(error)
    assert not mark.exists()


def npy_of(thing):
    file = io.BytesIO()
    np.save(file, np.array([thing], object), allow_pickle=True)
    return file.getvalue()


# -- inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["same", "symlink", "hard link", "through a linked folder"])
def test_a_file_that_is_read_is_never_written(tmp_path, way):
    np.save(tmp_path / "x.npy", X)
    output = {
        "same": tmp_path / "x.npy",
        "symlink": tmp_path / "s.npy",
        "hard link": tmp_path / "h.npy",
        "through a linked folder": tmp_path / "linked/x.npy",
    }[way]
    (tmp_path / "s.npy").symlink_to("x.npy")
    os.link(tmp_path / "x.npy", tmp_path / "h.npy")
    (tmp_path / "linked").symlink_to(tmp_path)
    before = (tmp_path / "x.npy").read_bytes()
    with pytest.raises(FileError, match="is an input too"):
        correct(FITTED, tmp_path / "x.npy", output, overwrite=True)
    assert (tmp_path / "x.npy").read_bytes() == before


def test_an_output_that_would_be_read_next_time_is_refused(tmp_path):
    job = Folder(tmp_path)
    (tmp_path / "link").symlink_to(job.source)
    before = holding(tmp_path)
    for source, output in (
        (job.source, job.source / "new.npy"),
        (job.source, f"{job.source}/sub/"),
        (job.source, tmp_path / "link/new.npy"),
        (tmp_path / "link", job.source / "new.npy"),
        (f"{job.source}/*.npy", job.source / "new.npy"),
        (f"{tmp_path}/**/*.npy", job.source / "new.npy"),
        (f"{job.source}/part-?.npy", f"{job.source}/"),
        (job.source, f"{job.source}/"),
    ):
        with pytest.raises(FileError, match=r"read|input"):
            correct(FITTED, source, output, overwrite=True)
        assert holding(tmp_path) == before
    correct(FITTED, [job.source / "part-0.npy"], job.source / "new.npy")  # a list reads no more


def test_the_corrector_s_own_file_is_never_written(tmp_path):
    np.save(tmp_path / "x.npy", X)
    FITTED.save(tmp_path / "c.safetensors")
    with pytest.raises(FileError, match="is an input too"):
        correct(
            FITTED,
            tmp_path / "x.npy",
            tmp_path / "c.safetensors",
            overwrite=True,
            reads=[tmp_path / "c.safetensors"],
        )


def test_what_others_made_of_a_finished_file_is_not_removed(tmp_path):
    job = Folder(tmp_path)
    job.correct()
    np.save(job.output / "part-1.npy", X)
    (job.source / "part-1.npy").unlink()
    (job.source / "part-2.npy").unlink()
    job.correct(overwrite=True)
    assert not (job.output / "part-2.npy").exists()
    np.testing.assert_array_equal(np.load(job.output / "part-1.npy"), X)


def test_all_of_a_folder_lies_in_it(tmp_path, monkeypatch):
    (tmp_path / "here/sub").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    for name in ("here/b.npy", "there/a.npy"):
        np.save(tmp_path / name, X)
    monkeypatch.chdir(tmp_path / "here")
    correct(FITTED, ["sub/../../there/a.npy", "b.npy"], "out/")
    assert {"here/out/there/a.npy", "here/out/here/b.npy"} <= set(holding(tmp_path))


def test_a_folder_with_files_of_others_is_refused(tmp_path):
    job = Folder(tmp_path)
    job.output.mkdir()
    np.save(job.output / "precious.npy", X)
    with pytest.raises(FileError, match=r"did not write \(precious.npy\)"):
        job.correct()
    np.save(job.output / "part-1.npy", X)
    before = holding(tmp_path)
    with pytest.raises(FileError, match=r"part-1.npy, precious.npy"):
        job.correct()
    assert holding(tmp_path) == before
    assert job.correct(overwrite=True).replaced == 1
    np.testing.assert_array_equal(np.load(job.output / "precious.npy"), X)


def test_shards_that_are_no_more_do_not_stay_among_the_others(tmp_path):
    job = Folder(tmp_path)
    job.correct()
    (job.source / "part-2.npy").unlink()
    with pytest.raises(FileError, match=r"not among what is read now \(part-2.npy\)"):
        job.correct()
    job.correct(overwrite=True)
    assert [path.name for path in job.written()] == ["part-0.npy", "part-1.npy"]


def test_a_torn_line_of_the_journal_is_as_if_it_were_not_there(tmp_path):
    job = Folder(tmp_path)
    job.correct()
    journal = job.output / "_isotropy.jsonl"
    (job.source / "part-2.npy").rename(tmp_path / "later.npy")
    (job.output / "part-2.npy").unlink()
    with open(journal, "ab") as file:
        file.write(b'0badbeef {"files": {"part-0.npy": {"plan": "x"')
    assert job.correct().found == 200
    (tmp_path / "later.npy").rename(job.source / "part-2.npy")
    assert job.correct().found == 200
    assert job.correct().found == 300


# -- temporary files -----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fchmod"), reason="no modes here")
def test_a_temporary_file_has_the_mode_of_the_file_it_replaces_from_its_first_byte(tmp_path):
    path, old = tmp_path / "secret", os.umask(0o022)
    try:
        for mode in (0o600, 0o640, 0o444 | 0o200, None):
            path.unlink(missing_ok=True)
            if mode is not None:
                path.write_bytes(b"old")
                path.chmod(mode)
            with whole_file(path) as file:
                assert os.fstat(file.fileno()).st_mode & 0o777 == (mode or 0o644)
                file.write(b"new")
            assert path.stat().st_mode & 0o777 == (mode or 0o644)
    finally:
        os.umask(old)


def test_names_that_do_not_reach_the_disk_are_told(tmp_path, monkeypatch):
    real = os.fsync

    def broken(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(FileError, match="Input/output error"):
        File(tmp_path).correct()


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with whole_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


def test_strays_of_dead_processes_are_swept_and_those_of_others_are_not(tmp_path):
    dead = [tmp_path / ".isotropy-dead.tmp", tmp_path / ".isotropy-x.npy.lock"]
    for path in dead:
        path.write_bytes(b"0")
    (tmp_path / ".isotropy-folder.tmp").mkdir()
    (tmp_path / ".isotropy-folder.tmp/inside").touch()
    kept = [tmp_path / ".other.tmp", tmp_path / "isotropy-x.tmp"]
    for path in kept:
        path.touch()
    (tmp_path / ".isotropy-link.tmp").symlink_to(kept[0])
    with whole_file(tmp_path / "a") as first, whole_folder(tmp_path / "f"):
        locks._swept.clear()
        with whole_file(tmp_path / "b"):
            pass
        first.write(b"1")
        living = [path for path in tmp_path.glob(".isotropy-*.tmp") if not path.is_symlink()]
        assert len(living) == 2
    assert (tmp_path / "a").read_bytes() == b"1" and (tmp_path / "f").is_dir()
    assert not any(path.exists() for path in [*dead, tmp_path / ".isotropy-folder.tmp"])
    assert all(path.exists() for path in kept)


SLOW = """
import sys, time
import numpy as np
from isotropy import MeanRemoval
from isotropy.cli import main
import isotropy.affine as affine
real = affine.AffineMap.apply
def slow(self, *args, **options):
    print("at work", flush=True)
    time.sleep(20)
    return real(self, *args, **options)
affine.AffineMap.apply = slow
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_no_signal_leaves_a_stray_beyond_the_next_run(tmp_path, number):
    job = File(tmp_path)
    FITTED.save(tmp_path / "c.safetensors")
    args = ["apply", str(tmp_path / "c.safetensors"), str(job.source), "-o", str(job.output)]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"at work\n"
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert b"Traceback" not in err
    assert child.returncode in (128 + number, -number)
    names = {"c.safetensors", "x.npy"}
    if number != signal.SIGKILL:
        assert set(os.listdir(tmp_path)) == names
    locks._swept.clear()
    job.correct()
    assert set(os.listdir(tmp_path)) == names | {"out.npy"}


def test_the_command_says_what_it_verified(tmp_path, capsys):
    from isotropy.cli import main

    job = File(tmp_path)
    FITTED.save(tmp_path / "c.safetensors")
    call = ["apply", str(tmp_path / "c.safetensors"), str(job.source), "-o", str(job.output)]
    with pytest.raises(SystemExit):
        main(call)
    told = capsys.readouterr().out
    assert "300 rows of 4 dimensions written to" in told
    assert "verified: rows counted, source unchanged" in told
    with pytest.raises(SystemExit):
        main([*call, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["found"] == 300 and "checksum of the file" in told["verified"]


def test_what_a_command_wrote_it_may_write_again(tmp_path, capsys):
    from isotropy.cli import main

    np.save(tmp_path / "x.npy", X)
    FITTED.save(tmp_path / "c.safetensors")
    for name, *call in (
        ("f.safetensors", "fit", "x.npy"),
        ("a.safetensors", "advise", "x.npy"),
        ("e.npz", "export", "c.safetensors", "--to", "npz"),
        ("r.md", "report", "x.npy"),
    ):
        path = tmp_path / name
        paths = [str(tmp_path / part) if "." in part else part for part in call]
        for overwrite, code in (([], 0), ([], 0), (None, 2), (["--overwrite"], 0)):
            before = path.read_bytes() if path.exists() else b""
            if overwrite is None:
                path.write_bytes(before + b" ")  # the user's own now
            with pytest.raises(SystemExit) as stop:
                main([*paths, "-o", str(path), *(overwrite or [])])
            told = capsys.readouterr().err
            assert (stop.value.code or 0) == code, told
            if code:
                assert "say --overwrite" in told and path.read_bytes() == before + b" "


def test_a_job_of_a_dead_process_is_taken_over(tmp_path):
    job = File(tmp_path)
    lock = tmp_path / ".isotropy-out.npy.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": time.time()}))
    assert job.correct().shape == (300, 4)
    assert not lock.exists()


def test_an_output_may_have_the_longest_name_that_there_is(tmp_path):
    job = File(tmp_path)
    job.output = tmp_path / f"{'n' * 251}.npy"
    assert job.correct().shape == (300, 4)
    assert sorted(holding(tmp_path)) == [job.output.name, "x.npy"]


def test_the_folder_of_the_output_must_be_there(tmp_path):
    job = File(tmp_path)
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    for output in (tmp_path / "none/out.npy", f"{tmp_path}/none/deep/"):
        with pytest.raises(FileError, match="does not exist; make it first"):
            correct(FITTED, job.source, output)
    assert set(os.listdir(tmp_path)) == {"x.npy"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_files_are_never_written_into_a_table(tmp_path, slash):
    job = Lance(tmp_path)
    np.save(tmp_path / "rows.npy", X)
    before = holding(tmp_path)
    for name in ("x.lance", "new.lance") if slash else ("x.lance",):
        with pytest.raises(FileError, match="is a table or dataset"):
            correct(FITTED, tmp_path / "rows.npy", f"{tmp_path / name}{slash}")
    assert holding(tmp_path) == before
    assert len(job.lance.dataset(str(job.source)).to_table()) == 300


def test_a_job_s_own_column_does_not_make_its_next_run_ambiguous(tmp_path):
    job = Lance(tmp_path)
    first = correct(FITTED, job.source, new_column="white")
    again = correct(FITTED, job.source, new_column="white")
    assert (first.found, again.found) == (0, 300)
    with pytest.raises(FileError, match="choose one with column"):
        correct(FITTED, job.source, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("output", "way_out"),
    [
        ("folder", "end it with a slash"),
        ("postgresql://h/b#t", "new column"),
        ("x.vec", "only read"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_the_way_out(tmp_path, output, way_out):
    np.save(tmp_path / "x.npy", X)
    where = output if "://" in output else str(tmp_path / output)
    with pytest.raises(FileError, match=way_out):
        correct(FITTED, tmp_path / "x.npy", where)


def test_what_is_no_fitted_corrector_is_told(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(NotFittedError):
        correct(Whitening(), tmp_path / "x.npy", tmp_path / "y.npy")
    with pytest.raises(TypeError, match=r"isotropy.load\(path\)"):
        correct("half.safetensors", tmp_path / "x.npy", tmp_path / "y.npy")


def test_what_is_replaced_is_told_in_words(tmp_path):
    job = File(tmp_path)
    job.correct(OTHER)
    assert "in the place of what stood there" in str(job.correct(overwrite=True))
