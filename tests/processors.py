"""Run the numerical part of the suite as other processors would: kernels, threads, vector units.

Results must hold on any machine, but what BLAS and torch run depends on the processor. OpenBLAS
takes the kernels of the one that OPENBLAS_CORETYPE names, torch those of ATEN_CPU_CAPABILITY; both
are read when the library is loaded, so each setting is a process of its own. What this processor
cannot run is left out, and named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy  # noqa: F401  (its BLAS must be loaded to be asked)
from threadpoolctl import threadpool_info, threadpool_limits

THREADS = "BLAS_THREADS_OF_TESTS"
HERE = Path(__file__).resolve().parent
# What the processor must offer for each kernel.
KERNELS = {
    "Nehalem": {"sse4_2"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
}
NUMERICAL = [
    "test_moments.py",
    "test_ranking.py",
    "rows",
    "correctors",
    "gaussianize",
    "metrics",
    "scoring",
    "choose",
    "search",
    "losses/test_losses.py",
    "contracts",
]
FAST = [
    "test_moments.py",
    "contracts/test_state.py",
    "correctors/test_whitening.py",
    "correctors/test_paired.py",
    "metrics/test_metrics_spectrum.py",
    "metrics/test_metrics_cosine.py",
]


def flags() -> set[str]:
    """What this processor offers, as Linux names it; empty where that is not told."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].partition(":")[2].split()) if lines else set()


def settings(fast: bool) -> list[tuple[str, int, str]]:
    """Kernel, BLAS threads and torch's vector unit ("default": its own choice) of each run."""
    offered, runs = flags(), []
    able = [name for name, needs in KERNELS.items() if needs <= offered]
    for name in KERNELS.keys() - set(able):
        missing = ", ".join(sorted(KERNELS[name] - offered))
        print(f"left out: {name}, for this processor has no {missing}")
    units = ["default", "avx2"] if "avx2" in offered else ["default"]
    for kernel in able:
        for threads in (1, 2, 4):
            # torch's unit does not depend on the kernel: each once with each number of threads.
            runs.append((kernel, threads, units[len(runs) % len(units)]))
    if not fast:
        return runs
    widest = able[-1:] if "SkylakeX" in able else [name for name in able if name == "Haswell"]
    return [run for run in runs if run[:2] == ("Nehalem", 1) or run[:2] in {(k, 2) for k in widest}]


def environment(kernel: str, threads: int, unit: str) -> dict[str, str]:
    """The environment of a run. OpenBLAS starts no more threads than there are cores by itself."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", THREADS)
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    wanted = {name: str(threads) for name in names}
    wanted |= {"OPENBLAS_CORETYPE": kernel, "PYTHONPATH": path}
    env = {k: v for k, v in os.environ.items() if k != "ATEN_CPU_CAPABILITY"}
    return env | wanted | ({} if unit == "default" else {"ATEN_CPU_CAPABILITY": unit})


def take_threads() -> None:
    """Let every BLAS run the threads that were asked for, also where there are fewer cores."""
    import scipy.linalg  # noqa: F401  (it brings a BLAS of its own)

    threadpool_limits(int(os.environ[THREADS]), user_api="blas")


def pytest_configure() -> None:
    """As a plugin (``-p processors``) in the processes that run the tests."""
    take_threads()


def heeded(env: dict[str, str], kernel: str, threads: int) -> bool:
    """Whether every BLAS of such a process took the kernel and the threads it was told."""
    command = [sys.executable, str(Path(__file__)), "--tell"]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    found = set(told.splitlines())
    if found != {f"{kernel} {threads}"}:
        print(f"BLAS took {', '.join(sorted(found))}, not {kernel} {threads}", flush=True)
    return found == {f"{kernel} {threads}"}


def tell() -> None:
    take_threads()
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            print(pool.get("architecture"), pool["num_threads"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="two settings, the core of the tests")
    parser.add_argument("--tell", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help="files or folders; by default all that compute")
    options = parser.parse_args()
    if options.tell:
        tell()
        return 0
    tests = options.tests or [str(HERE / name) for name in (FAST if options.fast else NUMERICAL)]
    red = []
    for kernel, threads, unit in settings(options.fast):
        name = f"{kernel}, {threads} BLAS thread{'s' * (threads > 1)}, torch {unit}"
        env, start = environment(kernel, threads, unit), time.perf_counter()
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "processors", *tests]
        if not heeded(env, kernel, threads) or subprocess.run(command, env=env).returncode:
            red.append(name)
        print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    print(f"red: {'; '.join(red)}" if red else "green under every setting")
    return 1 if red else 0


if __name__ == "__main__":
    raise SystemExit(main())
