"""Killed at any time, a fit goes on and counts each row once; folders are written by shards."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from isotropy import ComponentRemoval, Moments, Whitening, load
from isotropy.io import FileError, open_rows
from isotropy.jobs import correct, stream_moments
from isotropy.rows.lanes import prefetch

# One process imports. A line that it reads starts a child by a fork, which takes no time, and the
# next one has it wait for the child: until then the child's number is its own.
CHILDREN = """
import os, sys
from isotropy.jobs import stream_moments
while sys.stdin.readline():
    pid = os.fork()
    if not pid:
        moments = stream_moments(
            sys.argv[1], checkpoint=sys.argv[2], every=0.0, order=4, unit="gram"
        )
        moments.save(sys.argv[3])
        os._exit(0)
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def shards(folder, X, count=7):
    folder.mkdir()
    for i, part in enumerate(np.array_split(X, count)):
        np.save(folder / f"part-{i}.npy", part)


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else None


def same(found, wanted, tol=1e-12):
    assert found.n_rows == wanted.n_rows
    assert found.total_weight == wanted.total_weight
    for name in ("mean", "scatter", "third", "unit_sum", "unit_gram"):
        one, other = getattr(found, name), getattr(wanted, name)
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=0, atol=tol * np.abs(other).max())
    np.testing.assert_allclose(found.fourth or 0, wanted.fourth or 0, rtol=tol)
    assert (found.norm_min, found.norm_max) == (wanted.norm_min, wanted.norm_max)


@pytest.mark.parametrize(
    "kind", ["npy", *(pytest.param(k, marks=pytest.mark.slow) for k in ("folder", "parquet"))]
)
def test_killed_again_and_again_it_ends_with_the_same_moments(tmp_path, kind):
    X = np.random.default_rng(0).normal(size=(60_000, 48)).astype(np.float32) + 3
    source = tmp_path / "x"
    if kind == "folder":
        shards(source, X)
    elif kind == "npy":
        source = tmp_path / "x.npy"
        np.save(source, X)
    else:
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        source = tmp_path / "x.parquet"
        lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 48)
        pq.write_table(pa.table({"v": lists}), source, row_group_size=7000)
    checkpoint, result = tmp_path / "fit.ckpt", tmp_path / "moments.safetensors"
    command = [sys.executable, "-c", CHILDREN, str(source), str(checkpoint), str(result)]
    chance, kills = random.Random(kind), 0
    seen = []
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, bufsize=1) as children:
        for _ in range(40):
            before = stamp(checkpoint)
            children.stdin.write("\n")
            child = int(children.stdout.readline())
            if len(seen) < 6 and kills < 25:
                # Killed while it works: some blocks after it began, or when nothing is left to do.
                limit = time.monotonic() + 30  # a slow machine gets on too
                while kills % 3 and stamp(checkpoint) == before and not result.exists():
                    assert time.monotonic() < limit
                    time.sleep(0.001)
                time.sleep(chance.uniform(0.0, 0.05))
                os.kill(child, signal.SIGKILL)
            children.stdin.write("\n")
            code = int(children.stdout.readline())
            if checkpoint.exists():
                from isotropy.storage.state import load_state

                seen.append(load_state(checkpoint)[0]["next_row"])  # whole whenever it was killed
            if code == 0:
                break
            kills += 1
        children.stdin.close()
    assert code == 0 and kills  # how many depends on how fast the machine is
    assert seen == sorted(seen) and seen[-1] == 60_000
    same(Moments.load(result), Moments.from_rows(X, unit="gram", order=4))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    X = np.random.default_rng(0).normal(size=(500, 4))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X)
    path = tmp_path / "fit.ckpt"
    first = stream_moments(tmp_path / "x.npy", checkpoint=path)
    same(stream_moments(tmp_path / "x.npy", checkpoint=path), first)
    with pytest.raises(ValueError, match="checkpoint of other rows"):
        stream_moments(tmp_path / "y.npy", checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of other options"):
        stream_moments(tmp_path / "x.npy", checkpoint=path, order=2)
    with pytest.raises(ValueError, match="checkpoint of other weights"):
        stream_moments(tmp_path / "x.npy", np.ones(500), checkpoint=path)
    np.save(tmp_path / "x.npy", X[:400])
    with pytest.raises(ValueError, match="changed since"):
        stream_moments(tmp_path / "x.npy", checkpoint=path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        ValueError, match=r"not a readable safetensors.*if it was a checkpoint, delete it"
    ):
        stream_moments(tmp_path / "x.npy", checkpoint=path)
    Moments.from_rows(X).save(path)
    with pytest.raises(ValueError, match="holds a Moments, not a checkpoint"):
        stream_moments(tmp_path / "x.npy", checkpoint=path)


@pytest.mark.parametrize("every", [-1, float("nan")])
def test_seconds_are_0_or_more(tmp_path, every):
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(ValueError, match="every must be 0 or more seconds"):
        stream_moments(tmp_path / "x.npy", every=every)


def test_progress_is_told_of_every_block_however_often_it_is_saved(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((40_000, 4)))
    for every in (0.0, 1e9):
        told = []
        stream_moments(
            tmp_path / "x.npy", checkpoint=tmp_path / f"{every}", every=every, progress=told.append
        )
        assert len(told) > 1 and told == sorted(told) and told[-1] == 40_000


def test_weights_are_known_by_what_they_are_not_by_their_sums(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    path = tmp_path / "fit.ckpt"
    stream_moments(tmp_path / "x.npy", [1, 2, 3, 4], checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of other weights"):
        stream_moments(tmp_path / "x.npy", [4, 3, 2, 1], checkpoint=path)


def test_a_checkpoint_is_one_job_s_and_no_input(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((400, 4)))
    path = tmp_path / "fit.ckpt"
    (tmp_path / "link").symlink_to(tmp_path / "x.npy")
    os.link(tmp_path / "x.npy", tmp_path / "hard")
    for name in ("x.npy", "link", "hard"):
        with pytest.raises(FileError, match="is an input too"):
            stream_moments(tmp_path / "x.npy", checkpoint=tmp_path / name)

    def second(done):
        with pytest.raises(FileError, match=f"another job writes it .process {os.getpid()} on"):
            stream_moments(tmp_path / "x.npy", checkpoint=path)

    stream_moments(tmp_path / "x.npy", checkpoint=path, progress=second)
    assert sorted(os.listdir(tmp_path)) == ["fit.ckpt", "hard", "link", "x.npy"]


@pytest.mark.parametrize("options", [{}, {"order": 1}, {"unit": "gram", "normalize": True}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("drift", [0.0, 1000.0])
def test_streamed_moments_are_those_of_the_array(tmp_path, options, weighted, drift):
    rng = np.random.default_rng(0)
    # Far mean, and one that wanders: no shift suits all rows.
    X = rng.normal(size=(9000, 5)) + drift * (1 + np.arange(9000)[:, None] // 3000)
    shards(tmp_path / "x", X, 5)
    weights = rng.integers(0, 3, 9000).astype(float) if weighted else None
    told = []
    found = stream_moments(tmp_path / "x", weights, progress=told.append, **options)
    same(found, Moments.from_rows(X, weights, **options), tol=1e-8 if drift else 1e-12)
    assert told[-1] == 9000 and told == sorted(told)


def test_a_large_streamed_job_is_summed_like_one_in_memory(tmp_path):
    # Above the size from which float32 rows are multiplied in float32.
    X = np.random.default_rng(0).normal(size=(70_000, 512)).astype(np.float32)
    X[35_000:] += 50
    np.save(tmp_path / "x.npy", X)
    found, exact = stream_moments(tmp_path / "x.npy", order=2), np.cov(X.T, dtype=np.float64)
    scale = np.abs(exact).max()
    assert np.abs(found.covariance() - exact).max() < 1e-6 * scale


def test_nothing_is_learned_from_a_folder_with_a_bad_row(tmp_path):
    X = np.random.default_rng(0).normal(size=(9000, 5))
    X[[2000, 7777]] = np.nan
    shards(tmp_path / "x", X, 9)
    with pytest.raises(ValueError, match=r"row 2000 \(row 0 of .*part-2\.npy\) is the first bad"):
        stream_moments(tmp_path / "x")


def test_prefetched_items_come_in_order_with_their_error():
    def items():
        yield from range(20)
        raise KeyError("at the end")

    found = []
    with pytest.raises(KeyError, match="at the end"):
        found.extend(prefetch(items()))
    assert found == list(range(20))
    some = prefetch(iter(range(1000)))
    assert [next(some), next(some)] == [0, 1]
    some.close()  # the thread ends with it


# -- writing -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    X = np.random.default_rng(0).normal(size=(350, 6)).astype(np.float32)
    shards(tmp_path / "in", X)
    return X, Whitening(n_components=4).fit(X)


def test_a_folder_is_written_shard_by_shard_and_gone_on_with(tmp_path, folder, monkeypatch):
    X, fitted = folder
    out, calls = tmp_path / "out", []
    real = Whitening.fit(Whitening(n_components=4), X).affine_map_.apply

    def failing(block, **options):
        calls.append(len(block))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(block, **options)

    fitted.affine_map_.__dict__["apply"] = failing
    with pytest.raises(KeyboardInterrupt):
        correct(fitted, tmp_path / "in", f"{out}/")
    written = sorted(path.name for path in out.glob("*.npy"))
    assert written == ["part-0.npy", "part-1.npy", "part-2.npy"]
    times = {name: (out / name).stat().st_mtime_ns for name in written}
    assert correct(fitted, tmp_path / "in", out).shape == (350, 4)
    assert len(calls) == 8  # three, the one that failed, and the four that were left
    assert times == {name: (out / name).stat().st_mtime_ns for name in written}
    found = np.concatenate(list(open_rows(out).blocks()))
    np.testing.assert_allclose(found, real(X), rtol=1e-5, atol=1e-6)
    # Another map is another job.
    other = Whitening(n_components=4, power=0.5).fit(X)
    with pytest.raises(FileError, match=r"another job wrote: .*; say --overwrite"):
        correct(other, tmp_path / "in", out)
    correct(other, tmp_path / "in", out, overwrite=True)
    found = np.concatenate(list(open_rows(out).blocks()))
    np.testing.assert_allclose(found, other.transform(X), rtol=1e-5, atol=1e-6)


def test_a_shard_that_changed_is_written_again(tmp_path, folder):
    X, fitted = folder
    correct(fitted, tmp_path / "in", f"{tmp_path}/out/")
    np.save(tmp_path / "in/part-3.npy", X[:10])
    assert correct(fitted, tmp_path / "in", tmp_path / "out").shape == (310, 4)
    assert open_rows(tmp_path / "out/part-3.npy").shape == (10, 4)


def test_the_folder_that_is_read_is_not_written_to(tmp_path, folder):
    with pytest.raises(FileError, match="lies in the folder that is read"):
        correct(folder[1], tmp_path / "in", tmp_path / "in")
    with pytest.raises(ValueError, match="cannot take a column"):
        correct(folder[1], tmp_path / "in", new_column="white")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/_isotropy.jsonl").write_text("{")
    with pytest.raises(FileError, match="is damaged"):
        correct(folder[1], tmp_path / "in", tmp_path / "out")


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
def test_a_full_disk_leaves_no_half_file(tmp_path):
    code = """
import os, resource, signal, sys, numpy as np
from isotropy import Whitening
from isotropy.io import FileError
from isotropy.jobs import correct
X = np.random.default_rng(0).normal(size=(20000, 16)).astype("f4")
fitted = Whitening().fit(X[:100])
os.chdir(sys.argv[1])
np.save("x.npy", X)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for suffix in sys.argv[2:]:
    try:
        correct(fitted, "x.npy", "out" + suffix)
    except FileError as error:
        print(error)
    assert os.listdir() == ["x.npy"], os.listdir()
"""
    suffixes = [".npy", ".fvecs"]
    for suffix, library in ((".h5", "h5py"), (".parquet", "pyarrow")):
        suffixes += [suffix] if importlib.util.find_spec(library) else []
    command = [sys.executable, "-c", code, str(tmp_path), *suffixes]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for suffix in suffixes:
        assert f"out{suffix}: could not be written" in run.stdout, run.stderr


# -- the command -------------------------------------------------------------------------------


def test_the_command_goes_on_after_a_kill(tmp_path):
    X = np.random.default_rng(0).normal(size=(200_000, 32)).astype(np.float32)
    shards(tmp_path / "x", X, 10)
    command = [sys.executable, "-m", "isotropy", "fit", str(tmp_path / "x")]
    command += ["-c", "component-removal:n_components=3", "-o", str(tmp_path / "c.safetensors")]
    command += ["--checkpoint", str(tmp_path / "fit.ckpt"), "--checkpoint-every", "0", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (tmp_path / "fit.ckpt").exists() and time.monotonic() < limit:
        time.sleep(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "c.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 200_000
    assert not (tmp_path / "fit.ckpt").exists()  # all is in the corrector's file now
    wanted = ComponentRemoval(n_components=3).fit(X)
    found = load(tmp_path / "c.safetensors")
    np.testing.assert_allclose(found.affine_map_.mean, wanted.affine_map_.mean, atol=1e-12)
    np.testing.assert_allclose(found.transform(X[:9]), wanted.transform(X[:9]), atol=1e-5)
