"""Timing in one run, side by side; tables; JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

RESULTS = Path(__file__).parent / "results"


def parser(
    description: str, *, rows: int, dims: int, repeats: int | None = None
) -> argparse.ArgumentParser:
    """Options of every script; `repeats` where it times."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rows", type=int, default=rows)
    options.add_argument("--dims", type=int, default=dims)
    if repeats is not None:
        options.add_argument("--repeats", type=int, default=repeats)
    options.add_argument(
        "--quick", action="store_true", help="fewer rows, one repeat; prints and writes no file"
    )
    return options


def arguments(options: argparse.ArgumentParser, *, share: int = 10) -> argparse.Namespace:
    """What was chosen; `--quick` takes one row in `share`."""
    chosen = options.parse_args()
    if chosen.quick:
        chosen.rows = max(chosen.dims, chosen.rows // share)
        if "repeats" in chosen:
            chosen.repeats = 1
    return chosen


def cone(n: int, d: int, seed: int = 0, *, mean_cosine: float = 0.5) -> np.ndarray:
    """float32 rows with a falling spectrum whose mean cosine is about the one given."""
    rng = np.random.default_rng(seed)
    scales = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    X = rng.standard_normal((n, d), dtype=np.float32) * scales
    length = np.sqrt(mean_cosine / (1 - mean_cosine) * float(scales @ scales))
    direction = rng.standard_normal(d)
    X += (length * direction / np.linalg.norm(direction)).astype(np.float32)
    return X


def isotropic(n: int, d: int, seed: int = 0) -> np.ndarray:
    """float32 standard Gaussian rows."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def timed(
    tasks: dict[str, Callable[[], Any]], repeats: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each task, in turn, `repeats` times.

    A pause before each lets the threads of the one before go to sleep: OpenBLAS workers spin for
    some 0.1 s after their work, and would take a core from whatever comes next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values() if warm_up else ():
        task()  # first calls fault memory in and start threads
    for _ in range(repeats):
        for name, task in tasks.items():
            time.sleep(0.3)
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], bare: str) -> list[dict[str, Any]]:
    """A row for each task: median and least seconds, and both over those of `bare`.

    "unrest" is the median over the least: far above 1, the machine had other work.
    """
    base = np.median(seconds[bare]), min(seconds[bare])
    return [
        {
            "what": name,
            "median s": round(float(np.median(values)), 3),
            "least s": round(min(values), 3),
            "ratio of medians": round(float(np.median(values) / base[0]), 2),
            "ratio of least": round(min(values) / base[1], 2),
            "unrest": round(float(np.median(values)) / min(values), 2),
        }
        for name, values in seconds.items()
    ]


def machine() -> dict[str, Any]:
    names = ("numpy", "scipy", "scikit-learn", "faiss-cpu", "torch")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    pools = [
        {key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
        for pool in threadpool_info()
    ]
    # OPENBLAS_CORETYPE and its like choose the kernels, so they move every ratio.
    settings = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("OPENBLAS_", "OMP_", "MKL_"))
    }
    return {
        "processor": _processor(),
        "threads": pools,
        "settings": settings,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.machine()


def report(
    name: str, title: str, rows: list[dict[str, Any]], *, write: bool = True, **more: Any
) -> None:
    """Print the rows as a table, and write them with the machine to results/NAME.json."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([str(row.get(key, "")) for key in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    print(f"\n{title}")
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    if not write:
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {"title": title, "rows": rows, "machine": machine(), **more}
    path.write_text(laid_out(told), encoding="utf-8")


def laid_out(told: dict[str, Any]) -> str:
    """JSON with a line for each row of each table, so that a change of one shows as one."""
    parts = []
    for name, value in told.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def yes_or_no(task: Any) -> Any:
    """The retrieval task with relevance as yes or no.

    Cranfield codes the most relevant documents 1 and the least 4: its grades are no gains.
    """
    judged = [{row: 1.0 for row, grade in item.items() if grade > 0} for item in task.judged]
    return replace(task, judged=judged)
