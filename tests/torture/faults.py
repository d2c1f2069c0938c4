"""What befalls a job, each fault a function of the job; `FAULTS` says which targets it suits."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torture import formats, postgres, s3
from torture.child import in_child
from torture.job import Job, integers
from torture.target import Target
from torture.world import World, rows_of

__all__ = ["FAULTS", "Fault", "replace_one"]

_NOBODY = 65534


def _nothing(world: World) -> None:
    """No preparation."""


class Fault(NamedTuple):
    """What befalls a job.

    Parameters
    ----------
    name : str
    strike : callable
        Called with the job; what it leaves undone in ``job.heal`` is undone when the job refuses.
    suits : callable
        Whether a target can meet it.
    prepare : callable
        Called with the world before anything is in it.
    """

    name: str
    strike: Callable[[Job], object]
    suits: Callable[[Target], bool] = lambda target: True
    prepare: Callable[[World], object] = _nothing


def _of_files(target: Target) -> bool:
    return target.name not in ("lance", "postgres", "s3 source")


def _in_server(target: Target) -> bool:
    return target.name == "postgres"


def _in_store(target: Target) -> bool:
    return target.name.startswith("s3")


def _read_from_store(target: Target) -> bool:
    return target.name == "s3 source"


def _on_disk(target: Target) -> bool:
    return target.name not in ("postgres", "s3 file", "s3 folder")


def _here(target: Target) -> bool:
    return _of_files(target) and not _in_store(target)


# -- ended -------------------------------------------------------------------------------------


def _at_a_call(number: int) -> Callable[[Job], object]:
    def strike(job: Job) -> None:
        for _ in range(integers(job.rng, 1, 2)):
            job.killed(number)

    return strike


def _at_a_moment(number: int) -> Callable[[Job], object]:
    def strike(job: Job) -> None:
        for _ in range(integers(job.rng, 1, 2)):
            moment = float(job.rng.uniform(0, 1.2 * job.seconds))
            job.run(after=(moment, lambda pid: os.kill(pid, number)), ends=(number,))

    return strike


# -- starved -----------------------------------------------------------------------------------


def _mount(world: World) -> None:
    """A small disk of its own at `world.out`, where we may mount; else nothing."""
    if os.geteuid() == 0:
        size = "size=4m,mode=755"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(world.out)], capture_output=True
        )
        if done.returncode == 0:
            world.cleanups.append(lambda: subprocess.run(["umount", "-l", str(world.out)]))


def _full_disk(job: Job) -> None:
    out = job.world.out
    if not os.path.ismount(out):
        _small_files(job)
        return
    filler = out / "filler"
    left = integers(job.rng, 0, 16) * 4096
    free = shutil.disk_usage(out).free
    with filler.open("wb") as file:
        file.write(bytes(max(0, free - left)))
    job.run()
    if job.rng.random() < 0.5:
        job.run()
    filler.unlink()


def _small_files(job: Job) -> None:
    most = integers(job.rng, 0, 40_000)
    job.run(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))


def _read_only(job: Job) -> None:
    out = job.world.out
    if not os.path.ismount(out):
        _as_nobody(job, lambda: out.chmod(0o555), lambda: out.chmod(0o755))
        return
    _remount(out, "ro")
    job.run()
    _remount(out, "rw")
    job.run(job.blow(lambda: _remount(out, "ro")))
    _remount(out, "rw")


def _remount(out: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(out)], capture_output=True)


def _no_memory(job: Job) -> None:
    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGESIZE") + room
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    room = integers(job.rng, 0, 2 ** integers(job.rng, 12, 27))
    job.run(before=limit)


def _few_descriptors(job: Job) -> None:
    def limit() -> None:
        most = max(map(int, os.listdir("/proc/self/fd"))) + more
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    more = integers(job.rng, 1, 10)
    job.run(before=limit)


def _as_nobody(job: Job, forbid: Callable[[], object], allow: Callable[[], object]) -> None:
    """Run as somebody who has only the rights that are written down."""
    forbid()
    try:
        if os.geteuid() == 0:
            job.world.give_to(_NOBODY)
            job.run(before=lambda: (os.setgroups([]), os.setgid(_NOBODY), os.setuid(_NOBODY)))
        else:
            job.run()
    finally:
        allow()


def _no_rights(job: Job) -> None:
    world = job.world
    places = [world.corrector, world.out, *world.files(), *job.target.kept(world)]
    if job.rng.random() < 0.5:
        job.killed()
        places = job.target.kept(world) or places
    place = places[integers(job.rng, 0, len(places) - 1)]
    mode = place.stat().st_mode
    less = 0o555 if place.is_dir() else int(job.rng.choice([0, 0o444]))
    _as_nobody(job, lambda: place.chmod(less), lambda: place.exists() and place.chmod(mode))


def _kept_secret(job: Job) -> None:
    """A file that is replaced keeps its rights, from the first byte of the new one."""
    world = job.world
    job.run()
    products = [path for path in job.target.kept(world) if path.suffix != ".json"]
    for path in products:
        path.chmod(0o600)
    job.flags.append("--overwrite") if _knows_overwrite(job) else None
    job.killed()
    shown = [path for path in job.target.kept(world) if path.stat().st_mode & 0o077]
    shown = [path for path in shown if path.suffix not in (".json", ".jsonl", ".ckpt", ".lock")]
    if shown and products:
        job.record.exits += 1
        job.record.note(f"readable by others: {[path.name for path in shown]}")


def _knows_overwrite(job: Job) -> bool:
    from inspect import signature

    from isotropy.cli.apply import apply

    return "overwrite" in signature(apply).parameters and job.target.command(job.world)[0] == (
        "apply"
    )


# -- disturbed ---------------------------------------------------------------------------------


def _some_file(job: Job) -> Path:
    files = job.world.files()
    return files[integers(job.rng, 0, len(files) - 1)]


def _replace(job: Job, path: Path) -> None:
    """Other rows of the same shape take the place of a file."""
    n = len(formats.read(path))
    new = path.with_name(f"new{path.suffix}")
    formats.write(new, rows_of(job.rng, n))
    os.replace(new, path)


def _overwrite(job: Job, path: Path) -> None:
    """Other rows of the same shape are written into a file where it lies."""
    new = path.with_name(f"new{path.suffix}")
    formats.write(new, rows_of(job.rng, len(formats.read(path))))
    content = new.read_bytes()
    new.unlink()
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def _grow(job: Job, path: Path) -> None:
    """More rows are in a file than before."""
    n = len(formats.read(path))
    formats.write(path, rows_of(job.rng, n + integers(job.rng, 1, 80)))


def replace_one(job: Job) -> None:
    """Other rows of the same shape take the place of one of the files."""
    _replace(job, _some_file(job))


def _cut(job: Job, path: Path) -> None:
    """A file loses its end; it comes back when the job refuses it."""
    whole = path.read_bytes()
    os.truncate(path, integers(job.rng, 0, len(whole) - 1))
    job.heal.append(lambda: path.write_bytes(whole))


def _masked(job: Job, path: Path) -> None:
    """Other rows, with the size and the times of the old file."""
    then = path.stat()
    _overwrite(job, path)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))


def _more(job: Job) -> None:
    """After a kill: the folder that is read has another file, in front of the others."""
    job.killed()
    kind = str(job.rng.choice(list(formats.READABLE)))
    formats.write(job.world.source / f"part--1{kind}", rows_of(job.rng, 50))
    job.before.add(f"rows/part--1{kind}")


def _gone(job: Job) -> None:
    """After a kill: the folder that is read has a file less."""
    job.killed()
    _some_file(job).unlink()


def _lance_between(job: Job) -> None:
    """After a kill: rows come to a table, or go, or are replaced."""
    job.killed()
    how = str(job.rng.choice(["append", "delete", "overwrite"]))
    X = rows_of(job.rng, 60)

    def change() -> None:
        import lance

        path = str(job.world.source)
        if how == "delete":
            lance.dataset(path).delete("id % 7 = 3")
        elif how == "append" and "w" in lance.dataset(path).schema.names:
            lance.dataset(path).delete("id < 5")
        else:
            lance.write_dataset(formats.table_of(X), path, mode=how)

    in_child(change)


_CHANGES = {"replaced": _replace, "written over": _overwrite, "grown": _grow, "cut": _cut}


def _while_read(change: Callable[[Job, Path], None]) -> Callable[[Job], object]:
    def strike(job: Job) -> None:
        path, old = _some_file(job), None
        whole = path.read_bytes()
        outcome = job.run(job.blow(lambda: change(job, path), first=1))
        if change is _cut and path.read_bytes() != whole:  # the child's own list of cures is gone
            job.heal.append(lambda: path.write_bytes(whole))
        del outcome, old

    return strike


def _between(change: Callable[[Job, Path], None]) -> Callable[[Job], object]:
    def strike(job: Job) -> None:
        job.killed() if job.rng.random() < 0.8 else job.run()
        change(job, _some_file(job))

    return strike


def _clock(job: Job) -> None:
    """The clock jumps while the job runs, and again before the next run."""
    day = float(job.rng.choice([-1, 1])) * 86400 * integers(job.rng, 1, 4000)

    def jump() -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + day
        time.time_ns = lambda: now_ns() + int(day * 1e9)

    if job.rng.random() < 0.5:
        job.run(before=jump, blow=job.blow(lambda: os.kill(os.getpid(), 9)), ends=(9,))
    else:
        job.run(job.blow(jump))


def _times(job: Job) -> None:
    """The times of files jump: into the future, or far back."""
    job.killed() if job.rng.random() < 0.5 else None
    paths = [*job.world.files(), *job.target.kept(job.world), job.world.corrector]
    for path in paths:
        if job.rng.random() < 0.5:
            moment = time.time() + float(job.rng.choice([-1, 1])) * integers(job.rng, 1, 10**8)
            os.utime(path, (moment, moment))


def _two_at_once(job: Job) -> None:
    first = job.start()
    time.sleep(float(job.rng.uniform(0, 0.5 * job.seconds)))
    second = job.start()
    for child in (first, second):
        job.judge(child.end())


def _another_between(job: Job) -> None:
    """Another corrector's job is run (or begun) after ours was killed."""
    job.killed()
    other = job.world.other
    for _ in range(3):
        blow = job.blow(lambda: os.kill(os.getpid(), 9)) if job.rng.random() < 0.3 else None
        outcome = job.run(blow, corrector=other, ends=(9,))
        if outcome.code != 2 or not job._way_out(outcome.said):
            break


# -- lied to -----------------------------------------------------------------------------------


def _flip(job: Job, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        # Headers and trailers are small beside the numbers, and hit as often.
        ends = [*range(min(300, len(content))), *range(max(0, len(content) - 300), len(content))]
        anywhere = integers(job.rng, 0, len(content) - 1)
        place = int(job.rng.choice(ends)) if job.rng.random() < 0.5 else anywhere
        content[place] ^= 1 << integers(job.rng, 0, 7)
        path.write_bytes(content)


def _flip_input(job: Job) -> None:
    path = _some_file(job)
    whole = path.read_bytes()
    _flip(job, path)
    job.heal.append(lambda: path.write_bytes(whole))
    if _odd(job):  # numbers that are right to the reader, and mean nothing
        job.run()
        job.restore()


def _odd(job: Job) -> bool:
    """Whether the rows read are such that what becomes of them cannot be foretold."""
    read = job.world.read()
    if isinstance(read, str):
        return False
    whole = [part for part in read if part.ndim == 2 and part.shape[1] == read[0].shape[1]]
    if len(whole) < len(read):
        return True
    rows = np.concatenate(whole)
    return not np.isfinite(rows).all() or bool(np.abs(rows).max() > 1e4)


def _flip_corrector(job: Job) -> None:
    path = job.world.corrector
    whole = path.read_bytes()
    _flip(job, path)
    outcome = job.run()
    path.write_bytes(whole)
    if outcome.code == 0:
        counted = job.target.count(job.world)
        if not isinstance(counted, str):
            job.record.add(counted)


def _flip_kept(job: Job) -> None:
    """A bit of what a killed job left (journal, checkpoint, finished files)."""
    job.killed()
    kept = [path for path in job.target.kept(job.world) if job.world.source not in path.parents]
    if kept:
        job.spoilt.append(kept[integers(job.rng, 0, len(kept) - 1)])
        _flip(job, job.spoilt[-1])


def _cut_kept(job: Job) -> None:
    """A file that a killed job left loses its end, or all of it."""
    job.killed()
    kept = [path for path in job.target.kept(job.world) if job.world.source not in path.parents]
    if kept:
        path = kept[integers(job.rng, 0, len(kept) - 1)]
        size = path.stat().st_size
        path.unlink() if job.rng.random() < 0.3 else os.truncate(path, size // 2)
        job.spoilt.append(path)


def _all() -> list[Fault]:
    numbers = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    return [
        *(Fault(f"{number.name} at a call", _at_a_call(number)) for number in numbers),
        *(Fault(f"{number.name} at a moment", _at_a_moment(number)) for number in numbers),
        Fault("full disk", _full_disk, _on_disk, _mount),
        Fault("file size limit", _small_files, _on_disk),
        Fault("read-only", _read_only, _on_disk, _mount),
        Fault("no memory", _no_memory, lambda target: target.name != "lance"),
        Fault("few descriptors", _few_descriptors),
        Fault("no rights", _no_rights, _here),
        Fault("0600 replaced", _kept_secret, lambda t: _here(t) and t.name != "checkpoint"),
        *(Fault(f"{k} while read", _while_read(c), _of_files) for k, c in _CHANGES.items()),
        *(Fault(f"{k} between", _between(c), _of_files) for k, c in _CHANGES.items()),
        Fault("written over, times restored", _between(_masked), _of_files),
        Fault("file more between", _more, lambda target: target.name == "folder"),
        Fault("file gone between", _gone, lambda target: target.name == "folder"),
        Fault("rows changed between", _lance_between, lambda target: target.name == "lance"),
        Fault("clock jumps", _clock),
        Fault("file times jump", _times, _of_files),
        Fault("two at once", _two_at_once),
        Fault("another job between", _another_between, _applies),
        Fault("bit flip: input", _flip_input, _of_files),
        Fault("bit flip: corrector", _flip_corrector, lambda t: _applies(t) and _of_files(t)),
        Fault("bit flip: kept", _flip_kept, _here),
        Fault("cut: kept", _cut_kept, _here),
        Fault("connection cut", postgres.connection_cut, _in_server, postgres.cut_off),
        Fault("connection to store cut", s3.connection_cut, _in_store, s3.cut_off),
        Fault(
            "objects replaced between",
            s3.replaced_between,
            lambda target: target.name == "s3 source",
        ),
        Fault("server restarts", postgres.server_restarts, _in_server),
        Fault("sessions ended", postgres.sessions_ended, _in_server),
        Fault("rows written meanwhile", postgres.written_meanwhile, _in_server),
        Fault("rows, column, table changed between", postgres.written_between, _in_server),
    ]


def _applies(target: Target) -> bool:
    return target.name not in ("corrector", "checkpoint")


FAULTS: dict[str, Fault] = {fault.name: fault for fault in _all()}
