"""Two jobs in one process: side by side in two threads, and in turn.

Prints seconds of one job alone, of two in turn, of two side by side, the ratio of the last two,
and that of a job beside the user's own products of matrices to the sum of both; with BLAS as it is
set, and on one thread.

    python benchmarks/side_by_side.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

SIZES = {"small": (1_000, 64), "medium": (50_000, 384)}
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def seconds(*works):
    threads = [threading.Thread(target=work) for work in works]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def jobs(folder, n, d):
    import numpy as np

    from isotropy import Whitening, drift
    from isotropy.jobs import stream_moments

    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    np.save(Path(folder) / "rows.npy", X)
    A = np.random.default_rng(1).normal(size=(max(128, d), max(128, d)))
    fitted = Whitening().fit(X[: max(1000, d + 1)])
    made = {
        "fit": lambda: Whitening().fit(X),
        "stream": lambda: stream_moments(Path(folder) / "rows.npy"),
        "transform": lambda: fitted.transform(X),
    }
    if n <= 1000:
        made["drift"] = lambda: drift(X[: n // 2], X[n // 2 :])

    def own():
        B = A
        for _ in range(20):
            B = A @ B / 128

    return made, own


def measured(repeats):
    found = []
    for size, (n, d) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            made, own = jobs(folder, n, d)
            for name, job in made.items():
                job(), own()
                rows = []
                for _ in range(repeats):
                    alone, mine = seconds(job), seconds(own)
                    in_turn, beside = seconds(job) + seconds(job), seconds(job, job)
                    rows.append((alone, in_turn, beside, mine, seconds(job, own)))
                alone, in_turn, beside, mine, with_own = (
                    median(r) for r in zip(*rows, strict=True)
                )
                found.append(
                    {
                        "size": size,
                        "job": name,
                        "alone": alone,
                        "in turn": in_turn,
                        "side by side": beside,
                        "ratio": beside / in_turn,
                        "beside own numpy": with_own / (alone + mine),
                    }
                )
    return found


def _cell(value):
    return f"{value:9.3f}" if isinstance(value, float) else f"{value:10}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help="here, with BLAS as it is")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.repeats)))
        return
    results = {}
    for threads, env in (("as it is", {}), ("one", ONE)):
        command = [sys.executable, __file__, "--measure", "--repeats", str(options.repeats)]
        clean = {name: value for name, value in os.environ.items() if name not in ONE} | env
        done = subprocess.run(command, env=clean, capture_output=True, text=True, check=True)
        results[threads] = json.loads(done.stdout)
        for row in results[threads]:
            cells = (
                f"{value:9.3f}" if isinstance(value, float) else f"{value:10}"
                for value in row.values()
            )
            print(f"{threads:10}", *cells, flush=True)
    load = os.getloadavg()[0]
    out = Path(__file__).parent / "results" / "side_by_side.json"
    out.write_text(json.dumps({"cores": os.cpu_count(), "load": load, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
