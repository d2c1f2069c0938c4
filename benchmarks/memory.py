"""Does a fit from a memory-mapped file, and the way back to disk, hold O(d^2) and a block?

A child process measures what data it has mapped once its libraries are loaded, lets itself have
`--spare` MiB more and no further (RLIMIT_DATA, which counts what is reserved, thread stacks and
BLAS buffers too, but not the maps of the files), fits, and applies into another map. The file is
larger than that. The plain recipe is tried under the same limit.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from _common import arguments, parser, report

from isotropy.rows.arrays import blas_threads, block_rows

CHILD = "--child"


def status_mb(name):
    """An entry of this process's status in MiB: RssAnon is held, VmData is reserved."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name}: this benchmark needs Linux")


def expected_mb(d):
    """O(d^2) and a block: for each thread centred rows, a product and its float64 sum; then eigh.

    The eigensolver takes the matrix, its vectors and a workspace of twice their size; the sums and
    the solution hold four more.
    """
    rows_and_sums = blas_threads() * (block_rows(d, 4) * d * 4 + d * d * (4 + 8))
    return (rows_and_sums + 8 * d * d * 8) / 2**20


class Peak(threading.Thread):
    """The largest anonymous memory seen, every 5 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.mb = threading.Event(), status_mb("RssAnon")

    def run(self):
        while not self.done.wait(0.005):
            self.mb = max(self.mb, status_mb("RssAnon"))


def child(path, what, spare_mb):
    from isotropy import Whitening

    X = np.load(path, mmap_mode="r")
    before = status_mb("RssAnon")
    limit = int((status_mb("VmData") + spare_mb) * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak = Peak()
    peak.start()
    try:
        if what == "recipe":
            X = X - X.mean(0)
        else:
            whitening = Whitening(normalize="after").fit(X)
            out = np.lib.format.open_memmap(f"{path}.out.npy", "w+", np.float32, X.shape)
            whitening.affine_map_.apply(X, normalize="after", out=out)
        outcome = "done"
    except MemoryError:
        outcome = "MemoryError"
    peak.done.set()
    print(json.dumps({"outcome": outcome, "before": before, "peak": peak.mb}))


def run_child(path, what, spare_mb):
    command = [sys.executable, __file__, CHILD, str(path), what, str(spare_mb)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main():
    options = parser(__doc__, rows=400_000, dims=768)
    options.add_argument(
        "--spare", type=float, default=200, help="MiB the child may add to its start"
    )
    chosen = arguments(options, share=4)
    size = chosen.rows * chosen.dims * 4 / 2**20
    if size <= chosen.spare:
        options.error(f"the file, {size:.0f} MiB, must be larger than --spare {chosen.spare:.0f}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        path = Path(folder) / "rows.npy"
        shape = (chosen.rows, chosen.dims)
        X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        rng = np.random.default_rng(0)
        for start in range(0, len(X), 16384):
            X[start : start + 16384] = rng.standard_normal(X[start : start + 16384].shape) + 1
        X.flush()
        rows = []
        for what, label in {"isotropy": "isotropy fit + apply", "recipe": "X - X.mean(0)"}.items():
            told = run_child(path, what, chosen.spare)
            rows.append(
                {
                    "what": label,
                    "outcome": told["outcome"],
                    "file MiB": round(size),
                    "spare MiB": round(chosen.spare),
                    "held MiB before": round(told["before"]),
                    "peak MiB": round(told["peak"]),
                    "own MiB": round(told["peak"] - told["before"]),
                    "expected MiB": round(expected_mb(chosen.dims)) if what == "isotropy" else "",
                }
            )
    title = f"Memory, {chosen.rows:,} x {chosen.dims} float32 from a memory map"
    report("memory", title, rows, write=not chosen.quick)


if __name__ == "__main__":
    if CHILD in sys.argv:
        child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()
