"""``python -m torture``: faults by the thousand, from a printed seed; ends in a table."""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from torture import formats
from torture.faults import FAULTS, Fault
from torture.job import Job, Record
from torture.postgres import SERVER
from torture.s3 import STORE
from torture.target import Target
from torture.targets import TARGETS
from torture.world import World, correctors

_SUMS = ("tries", "lost", "doubled", "stale", "strays", "tracebacks", "exits")


def cells(targets: Iterable[str], faults: Iterable[str]) -> list[tuple[Fault, Target]]:
    """Every fault with every target that can meet it."""
    pairs = [(FAULTS[f], TARGETS[t]) for f in faults for t in targets]
    return [(fault, target) for fault, target in pairs if fault.suits(target)]


def attempt(fault: Fault, target: Target, seed: int, number: int, base: Path) -> Record:
    """One try, the same for the same seed and number."""
    name = zlib.crc32(f"{fault.name} {target.name}".encode())
    rng = np.random.default_rng([seed, number, name])
    calls, seconds = _usual(target, base)
    world = _world(rng, base)
    try:
        fault.prepare(world)
        target.make(world)
        job = Job(target, world, fault.name, calls, seconds)
        try:
            fault.strike(job)
            job.finish()
        except Exception as error:
            import traceback

            job.record.exits += 1
            job.record.note(f"the test itself: {traceback.format_exc()[-900:]} {error}")
        if not job.record.clean:
            job.record.notes += [f"end {end}" for end in job.ends]
        return job.record
    finally:
        world.close()


_KNOWN: dict[str, tuple[tuple[int, int], float]] = {}


def _usual(target: Target, base: Path) -> tuple[tuple[int, int], float]:
    """Calls and seconds of a run that nothing befalls."""
    if target.name not in _KNOWN:
        world = _world(np.random.default_rng(7), base)
        try:
            target.make(world)
            job = Job(target, world, "none", (1, 1), 0.1)
            outcome = job.run()
            job.count()
            if not job.record.clean or outcome.code != 0:
                raise SystemExit(f"{target.name} fails without any fault: {job.record.notes}")
        finally:
            world.close()
        _KNOWN[target.name] = outcome.calls, outcome.seconds
    return _KNOWN[target.name]


def _world(rng: np.random.Generator, base: Path) -> World:
    place = Path(tempfile.mkdtemp(dir=base))
    place.chmod(0o755)
    return World(rng, place)


def warm() -> None:
    """Import in this process what the forked ones need; nothing that starts threads of its own."""
    warnings.simplefilter("ignore")
    import contextlib
    import io

    from isotropy.cli.app import main

    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        np.save(f"{name}/x.npy", np.random.default_rng(0).normal(size=(50, 4)))
        ends = [["fit", f"{name}/x.npy", "-o", f"{name}/c.safetensors"]]
        for kind in formats.READABLE:  # somebody else than we may not be able to import
            old = str(formats.write(Path(f"{name}/old{kind}"), np.ones((9, 4), np.float32)))
            ends.append(["apply", f"{name}/c.safetensors", old, "-o", f"{name}/y{kind}"])
        for args in ends:
            with contextlib.suppress(SystemExit):
                main(args)
    import lance  # noqa: F401
    import s3fs  # noqa: F401

    from isotropy.storage import remote

    remote._WAIT = 0.001

    _small_blocks()


def _small_blocks() -> None:
    """Few rows are read and written in several blocks, batches and parts, as many are."""
    from isotropy.jobs import outputs

    for found in pkgutil.iter_modules(outputs.__path__, f"{outputs.__name__}."):
        importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        for size in ("BLOCK_BYTES", "_BATCH_BYTES", "_PART_BYTES"):
            if name.startswith(("isotropy.rows", "isotropy.jobs")) and hasattr(module, size):
                setattr(module, size, 4096)


def table(records: Iterable[Record], by: tuple[str, ...]) -> list[dict[str, object]]:
    """Sums of the records, by fault, target or both."""
    sums: dict[tuple[str, ...], dict[str, object]] = {}
    for record in records:
        told = asdict(record)
        row = sums.setdefault(tuple(told[name] for name in by), {name: told[name] for name in by})
        for name in _SUMS:
            row[name] = int(row.get(name, 0)) + told[name]  # type: ignore[call-overload]
    return list(sums.values())


def shown(rows: list[dict[str, object]]) -> str:
    """A table as text."""
    names = list(rows[0])
    lines = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    texts = [n for n in names if n in ("fault", "target")]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < len(texts) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def torture(
    number: int,
    seed: int,
    targets: Iterable[str],
    faults: Iterable[str],
    only: int | None = None,
    limit: float = 1e9,
    workers: int = 1,
) -> list[Record]:
    """So many tries; each cell in turn, in an order of the seed's."""
    warm()
    correctors()
    pairs = cells(targets, faults)
    order = np.random.default_rng(seed).permutation(len(pairs))
    plan = [(i, *pairs[order[i % len(pairs)]]) for i in range(number)]
    if only is not None:
        plan = [plan[only]]
    if any(target.name == "postgres" for _, _, target in plan):
        SERVER.start()
    if any(target.name.startswith("s3") for _, _, target in plan):
        STORE.start()
    with tempfile.TemporaryDirectory(prefix="torture-") as base:
        Path(base).chmod(0o755)
        until = time.monotonic() + limit
        for _, _, target in plan:
            _usual(target, Path(base))
        pipes = [_worker(plan[i::workers], seed, Path(base), until) for i in range(workers)]
        found = [json.loads(line) for pid, pipe in pipes for line in _read(pid, pipe)]
    return [Record(**one) for one in found]


def _worker(
    plan: list[tuple[int, Fault, Target]], seed: int, base: Path, until: float
) -> tuple[int, int]:
    """A forked process that tries its part of the plan, and writes records into a pipe."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the process that made it
    with os.fdopen(write, "w") as pipe:
        for number, fault, target in plan:
            if time.monotonic() > until:
                break
            record = attempt(fault, target, seed, number, base)
            if not record.clean:
                print(f"--try {number}: {fault.name}, {target.name}", file=sys.stderr)
                for note in record.notes:
                    print(f"    {note}", file=sys.stderr, flush=True)
            print(json.dumps(asdict(record)), file=pipe, flush=True)
    os._exit(0)


def _read(pid: int, pipe: int) -> list[str]:
    with os.fdopen(pipe) as file:
        lines = file.read().splitlines()
    os.waitpid(pid, 0)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="how many tries")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--try", type=int, dest="only", help="only this one of them")
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no try after so many")
    parser.add_argument("--json", type=Path, help="file for the table")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    started = time.monotonic()
    workers = 1 if asked.only is not None else asked.workers
    records = torture(
        asked.faults, asked.seed, asked.target or TARGETS, asked.fault or FAULTS,
        asked.only, asked.seconds, workers,
    )  # fmt: skip
    print(shown(table(records, ("fault",))))
    print(shown(table(records, ("target",))))
    print(shown(table(records, ())), f"in {time.monotonic() - started:.0f} s")
    if asked.json is not None:
        told = {"seed": asked.seed, "cells": table(records, ("fault", "target"))}
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(not all(record.clean for record in records))


if __name__ == "__main__":
    sys.exit(main())
