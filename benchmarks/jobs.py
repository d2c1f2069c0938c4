"""What does it cost to write thousands of tiny shards, against fitting them?"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import arguments, cone, parser, report

from isotropy import Whitening
from isotropy.jobs import correct, stream_moments

SHARD = 20


def measured(folder: Path, shards: int, d: int) -> dict[str, float]:
    """Seconds of fitting, applying, and finding all of it done."""
    (folder / "in").mkdir()
    X = cone(shards * SHARD, d)
    for part in range(shards):
        np.save(folder / f"in/part-{part}.npy", X[part * SHARD :][:SHARD])
    seconds, start = {}, time.perf_counter()
    corrector = Whitening().fit_moments(stream_moments(folder / "in"))
    for name in ("fit", "apply", "apply again: all is done"):
        if name != "fit":
            correct(corrector, folder / "in", f"{folder}/out/")
        seconds[name], start = time.perf_counter() - start, time.perf_counter()
    return seconds


def main() -> None:
    """Measure, print, write."""
    chosen = arguments(parser(__doc__ or "", rows=5000 * SHARD, dims=64, repeats=3))
    shards = chosen.rows // SHARD
    found = []
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measured(Path(folder), shards, chosen.dims))
    rows: list[dict[str, Any]] = [
        {
            "what": f"{name}, {shards} shards of {SHARD} x {chosen.dims}",
            "median s": round(float(np.median([run[name] for run in found])), 2),
            "least s": round(min(run[name] for run in found), 2),
            "times fit": round(float(np.median([run[name] / run["fit"] for run in found])), 2),
            "goal": 1.0 if name == "fit" else 3.0,
        }
        for name in found[0]
    ]
    report("jobs", "Tiny shards", rows, write=not chosen.quick)


if __name__ == "__main__":
    main()
