"""How long do small jobs take, by threads, and while other processes keep the processor busy?"""

import json
import multiprocessing
import os
import subprocess
import sys
from typing import Any

import numpy as np
from _common import arguments, parser, report, timed

JOBS = ("drift, 1,000 + 1,000 x 64", "drift, 900 + 900 x 384", "compare two, 2,000 x 64")
JOBS += ("score, 2,000 x 64", "intervals, 2,000 x 64")
GOALS = dict(zip(JOBS, (0.3, 2.0, 0.5, 0.2, None), strict=True))


def measured(repeats: int) -> dict[str, float]:
    """Median seconds of each job in this process."""
    from isotropy import MeanRemoval, Whitening, compare, score
    from isotropy.scoring import drift, intervals

    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 64)) * np.linspace(0.3, 2, 64) + 0.5
    Z = rng.normal(size=(1800, 384)) * np.linspace(0.3, 2, 384) + 0.5
    correctors = {"centred": MeanRemoval(), "half": Whitening("zca", power=0.5)}
    tasks = (
        lambda: drift(X[:1000], X[1000:]),
        lambda: drift(Z[:900], Z[900:]),
        lambda: compare(X, correctors),
        lambda: score(X),
        lambda: intervals(X),
    )
    seconds = timed(dict(zip(JOBS, tasks, strict=True)), repeats)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def in_a_process(repeats: int, threads: int | None) -> dict[str, float]:
    """The same in a process of its own, with so many threads; None takes the libraries' default."""
    settings = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if threads is not None:
        settings |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--inside", str(repeats)]
    done = subprocess.run(command, env=settings, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def busy() -> None:
    """Keep one core at work."""
    while True:
        sum(range(100_000))


def main() -> None:
    """Measure, print, write."""
    chosen = arguments(parser(__doc__ or "", rows=2000, dims=64, repeats=5))
    found = {
        "default": in_a_process(chosen.repeats, None),
        "1 thread": in_a_process(chosen.repeats, 1),
    }
    others = [multiprocessing.Process(target=busy) for _ in range(os.cpu_count() or 1)]
    for other in others:
        other.start()
    try:
        found["default, all cores busy"] = in_a_process(chosen.repeats, None)
        found["1 thread, all cores busy"] = in_a_process(chosen.repeats, 1)
    finally:
        for other in others:
            other.terminate()
    rows: list[dict[str, Any]] = [
        {"what": job, "goal s": GOALS[job]}
        | {f"{how}, median s": round(values[job], 3) for how, values in found.items()}
        for job in JOBS
    ]
    report("small", "Small jobs", rows, write=not chosen.quick)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        print(json.dumps(measured(int(sys.argv[-1]))))
    else:
        main()
