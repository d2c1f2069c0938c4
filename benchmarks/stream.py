"""What does reading cost a fit? Files of every kind, checkpoints and Dask, against memory.

Then: the memory of a fit at 100,000, 1,000,000 and 4,000,000 rows, and the cost model of the
README against measurements at three sizes.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import arguments, cone, parser, ratios, report, timed
from memory import Peak, status_mb
from sklearn.decomposition import IncrementalPCA

from isotropy import Moments, Whitening
from isotropy.io import RowWriter, open_rows
from isotropy.jobs import stream_moments

CHILD = "--child"
SUFFIXES = (".npy", ".fvecs", ".parquet", ".arrow", ".h5", ".safetensors")


def fit(source, **options):
    moments = stream_moments(source, order=2, unit="none", **options)
    return Whitening().fit_moments(moments)


def written(folder, X):
    for suffix in SUFFIXES:
        with RowWriter(folder / f"x{suffix}", shape=X.shape) as out:
            for start in range(0, len(X), 16384):
                out.write(X[start : start + 16384])
    (folder / "shards").mkdir()
    for i, part in enumerate(np.array_split(X, 16)):
        np.save(folder / f"shards/part-{i}.npy", part)


def rates(options, folder):
    X = cone(options.rows, options.dims)
    written(folder, X)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    tasks = {
        "in memory": lambda: Whitening().fit(X),
        "bare X.T @ X": lambda: X.T @ X,
        "memory map (numpy)": lambda: Whitening().fit(mapped),
        "16 shards .npy": lambda: fit(folder / "shards"),
        ".npy, checkpoint every second": lambda: fit(
            folder / "x.npy", checkpoint=folder / "ckpt", every=1.0
        ),
    }
    tasks |= {suffix: lambda s=suffix: fit(folder / f"x{s}") for suffix in SUFFIXES}
    real = tasks[".npy, checkpoint every second"]
    tasks[".npy, checkpoint every second"] = lambda: (
        (folder / "ckpt").unlink(missing_ok=True),
        real(),
    )
    seconds = timed(tasks, options.repeats)
    rows = ratios(seconds, "in memory")
    for row in rows:
        row["rate"] = round(1 / row["ratio of medians"], 2)
        row["best rate"] = round(1 / row["ratio of least"], 2)
    start = time.perf_counter()
    IncrementalPCA(n_components=None, whiten=True, batch_size=8192).fit(mapped)
    slow = time.perf_counter() - start
    base = np.median(seconds["memory map (numpy)"])
    rows.append(
        {
            "what": "IncrementalPCA, memory map (once)",
            "median s": round(slow, 1),
            "ratio of medians": round(slow / base, 1),
        }
    )
    return rows


def on_dask(options, folder):
    """Two worker processes of one thread each, against this process's two threads."""
    X = cone(4 * options.rows, options.dims)
    np.save(folder / "x.npy", X)
    from distributed import Client, LocalCluster

    from isotropy.jobs.dask import from_rows

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        ) as cluster,
        Client(cluster),
    ):
        given = from_rows(str(folder / "x.npy"))
        tasks = {
            "in process": lambda: Moments(order=2, unit="none").update(X),
            "Dask, 2 workers": lambda: Moments(order=2, unit="none").update(given),
        }
        try:
            import dask.array as da

            svd = given.persist()

            def compressed():
                return da.linalg.svd_compressed(svd - svd.mean(0), 64, compute=True)[1].compute()

            tasks["Dask svd_compressed, 64 components"] = compressed
        except ImportError:
            pass
        found = ratios(timed(tasks, options.repeats), "in process")
        for row in found:
            row["rate"] = round(1 / row["ratio of medians"], 2)
            row["best rate"] = round(1 / row["ratio of least"], 2)
        one, other = (task() for task in list(tasks.values())[:2])
        gap = float(np.abs(one.scatter - other.scatter).max() / np.abs(one.scatter).max())
    return found, gap


def child(path):
    """Anonymous memory that a fit adds, beyond the libraries."""
    small = np.random.default_rng(0).standard_normal((4096, 64), dtype=np.float32)
    Whitening().fit(small)
    rows = open_rows(path)
    if Path(path).suffix == ".parquet":
        next(rows.blocks(64))
    before = status_mb("RssAnon")
    peak = Peak()
    peak.start()
    fit(rows)
    peak.done.set()
    print(json.dumps(round(peak.mb - before, 1)))


def memory(options, folder):
    d = 384
    rng = np.random.default_rng(0)
    block = rng.standard_normal((50_000, d), dtype=np.float32).astype(np.float16)
    found = []
    for n in (100_000, 1_000_000, 4_000_000):
        n = n // 10 if options.quick else n
        for suffix in (".npy", ".parquet"):
            path = folder / f"big{suffix}"
            with RowWriter(path, shape=(n, d), dtype="float16") as out:
                for start in range(0, n, len(block)):
                    out.write(block[: min(len(block), n - start)])
            run = subprocess.run(
                [sys.executable, __file__, CHILD, str(path)], capture_output=True, text=True
            )
            assert run.returncode == 0, run.stderr
            state = 8 * 8 * d * d / 2**20
            found.append(
                {
                    "rows": n,
                    "file": suffix,
                    "GiB": round(path.stat().st_size / 2**30, 2),
                    "MiB added": json.loads(run.stdout),
                    "8 matrices d x d": round(state, 1),
                }
            )
            path.unlink()
    return found


def model(options):
    """Predicted seconds of a pass from the bare product's speed, against the measured ones."""
    X = cone(40_000, 768)
    bare = np.median(timed({"bare": lambda: X.T @ X}, 5)["bare"])
    rate = 2 * X.size * 768 / bare
    found = []
    for n, d in ((400_000, 128), (130_000, 384), (60_000, 1024)):
        n = n // 10 if options.quick else n
        X = cone(n, d)
        one = Moments(order=2, unit="none").update(X[:2000])
        tasks = {
            "pass": lambda X=X: Moments(order=2, unit="none").update(X),
            "merge": lambda one=one: one + one,
        }
        seconds = {name: np.median(values) for name, values in timed(tasks, 5).items()}
        predicted = 2 * n * d * d / rate
        found.append(
            {
                "n x d": f"{n:,} x {d}",
                "predicted s": round(predicted, 3),
                "measured s": round(float(seconds["pass"]), 3),
                "measured / predicted": round(float(seconds["pass"] / predicted), 2),
                "merge ms": round(1000 * float(seconds["merge"]), 1),
            }
        )
    return found, rate


def main():
    options = arguments(parser(__doc__.splitlines()[0], rows=130_000, dims=768, repeats=5))
    folder = Path(tempfile.mkdtemp(prefix="isotropy-"))
    try:
        rows = rates(options, folder)
        report("stream", f"Fit of {options.rows:,} x {options.dims} float32", rows, write=False)
        dasked, gap = on_dask(options, folder)
        report(
            "",
            f"Dask, {4 * options.rows:,} rows (largest relative difference {gap:.1e})",
            dasked,
            write=False,
        )
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        held = memory(options, folder)
        report("", "Memory, d = 384, float16 in the file", held, write=False)
        costs, rate = model(options)
        report(
            "stream",
            f"Cost model at {rate / 1e9:.0f} GFLOP/s",
            costs,
            write=not options.quick,
            rates=rows,
            dask=dasked,
            dask_difference=gap,
            memory=held,
            flops=rate,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if CHILD in sys.argv:
        child(sys.argv[-1])
    else:
        main()
