"""Does a fit from a memory-mapped file, and the way back to disk, hold O(d^2) and a block?

A child process limits its own anonymous memory to less than the file (RLIMIT_DATA; the map of the
file itself does not count), fits, and applies into another map. The plain recipe is tried under
the same limit.
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

CHILD = "--child"


def anonymous_mb():
    """Anonymous memory of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon: this benchmark needs Linux")


class Peak(threading.Thread):
    """The largest anonymous memory seen, every 5 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.mb = threading.Event(), anonymous_mb()

    def run(self):
        while not self.done.wait(0.005):
            self.mb = max(self.mb, anonymous_mb())


def child(path, what, limit_mb):
    from isotropy import Whitening

    X = np.load(path, mmap_mode="r")
    before = anonymous_mb()
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_mb * 2**20),) * 2)
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


def run_child(path, what, limit_mb):
    command = [sys.executable, __file__, CHILD, str(path), what, str(limit_mb)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if CHILD in sys.argv:
    child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    sys.exit()

chosen = arguments(parser(__doc__, rows=400_000, dims=768, repeats=1))
limit = 600.0  # code, libraries and their thread stacks included
with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
    path = Path(folder) / "rows.npy"
    shape = (chosen.rows, chosen.dims)
    X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    for start in range(0, len(X), 16384):
        X[start : start + 16384] = rng.standard_normal(X[start : start + 16384].shape) + 1
    X.flush()
    size = path.stat().st_size / 2**20
    rows = []
    for what in ("isotropy", "recipe"):
        told = run_child(path, what, limit)
        rows.append(
            {
                "what": {"isotropy": "isotropy fit + apply", "recipe": "X - X.mean(0)"}[what],
                "outcome": told["outcome"],
                "file MiB": round(size),
                "limit MiB": round(limit),
                "anonymous MiB before": round(told["before"]),
                "peak MiB": round(told["peak"]),
                "own MiB": round(told["peak"] - told["before"]),
            }
        )
report("memory", f"Memory, {chosen.rows:,} x {chosen.dims} float32 from a memory map", rows)
