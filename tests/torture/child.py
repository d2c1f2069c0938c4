"""The command in a forked process, which something befalls at a chosen call or moment."""

from __future__ import annotations

import mmap
import os
import select
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Blow", "Child", "Outcome", "in_child", "run"]

# Calls of C functions that change or read something outside of the process.
_CHANGES = frozenset(
    (
        *("write", "writelines", "flush", "fsync", "fdatasync", "replace", "rename", "link"),
        *("unlink", "remove", "rmdir", "mkdir", "open", "close", "chmod", "fchmod", "truncate"),
        *("ftruncate", "pwrite", "utime", "flock", "lockf", "sendall", "send", "create_dataset"),
    )
)
_READS = frozenset(
    (
        *("read", "readinto", "pread", "preadv", "stat", "lstat", "fstat", "scandir", "listdir"),
        *("recv", "frombuffer"),
    )
)
_OF_DATABASE = frozenset(
    ("execute", "copy", "write_row", "fetchmany", "fetchone", "fetchall", "commit", "close")
)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Blow(NamedTuple):
    """What befalls a process: `act` is called in it, before its k-th call that counts."""

    k: int
    act: Callable[[], object]
    reads: bool = False
    """Whether calls that read count too, or only those that write."""


class Outcome(NamedTuple):
    """How a process ended."""

    code: int | None
    """Exit code; minus the signal that ended it; None if it hung and was killed."""
    said: str
    told: str
    seconds: float
    calls: tuple[int, int]
    """Calls that counted: those that write, and all."""


class Child:
    """A started command."""

    def __init__(
        self,
        args: Iterable[str],
        blow: Blow | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        self._out, self._err = os.memfd_create("out"), os.memfd_create("err")
        self._count = mmap.mmap(-1, 16)
        self._started = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none falls between fork and command
        self.pid = os.fork()
        if self.pid == 0:
            _become(list(args), blow, before, self._out, self._err, self._count)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._watch = os.pidfd_open(self.pid)

    def wait(self, timeout: float) -> bool:
        """Whether it has ended within `timeout` seconds."""
        return bool(select.select([self._watch], [], [], timeout)[0])

    def end(self, timeout: float = 60.0) -> Outcome:
        """Wait for the end; a process that hangs is killed."""
        hung = not self.wait(timeout)
        if hung:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        code = None if hung else os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self._started
        texts = [_text(fd) for fd in (self._out, self._err)]
        calls = struct.unpack("qq", self._count[:])
        os.close(self._watch)
        self._count.close()
        return Outcome(code, texts[1], texts[0], seconds, (calls[0], calls[1]))


def run(
    args: Iterable[str],
    blow: Blow | None = None,
    before: Callable[[], object] | None = None,
    after: tuple[float, Callable[[int], object]] | None = None,
) -> Outcome:
    """Run the command to its end; `after` names seconds, and what is done with its pid then."""
    child = Child(args, blow, before)
    if after is not None and not child.wait(after[0]):
        after[1](child.pid)
    return child.end()


def in_child(function: Callable[[], Any]) -> Any:
    """What `function` returns (JSON-able) in a process of its own: libraries keep their threads."""
    import json

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            answer = {"found": function()}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(write, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"error": "the process that looked has died"}


def _become(
    args: list[str], blow: Blow | None, before: Any, out: int, err: int, count: mmap.mmap
) -> None:
    """Be the command, from here to the end of the process."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(out, 1)
        os.dup2(err, 2)
        tempfile.tempdir = None  # the environment says anew
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = _command(args, blow, before, count)
    except KeyboardInterrupt:  # outside of the command: between two of ours
        code = 130
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(code)


def _command(args: list[str], blow: Blow | None, before: Any, count: mmap.mmap) -> int:
    from isotropy.cli.app import main

    if before is not None:
        before()
    hook = _Hook(blow, count)
    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        main(args)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # as Python itself would tell it
        import traceback

        traceback.print_exc()
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return 0


class _Hook:
    """Counts calls that matter, and lets the blow fall before the k-th."""

    def __init__(self, blow: Blow | None, count: mmap.mmap) -> None:
        self.blow, self.count = blow, count
        self.writes = self.all = 0

    def __call__(self, frame: Any, event: str, arg: Any) -> None:
        kind = _kind(frame, event, arg)
        if kind is None:
            return
        self.all += 1
        self.writes += kind
        struct.pack_into("qq", self.count, 0, self.writes, self.all)
        if self.blow is None or (self.all if self.blow.reads else self.writes) < self.blow.k:
            return
        if not (kind or self.blow.reads):
            return
        act, self.blow = self.blow.act, None
        sys.setprofile(None)
        act()
        sys.setprofile(self)


def _kind(frame: Any, event: str, arg: Any) -> int | None:
    """1 for a call that writes, 0 for one that reads, None for all others."""
    if frame.f_code.co_name == "__del__":  # where Python itself swallows what is raised
        return None
    if event == "c_call":
        name = getattr(arg, "__name__", "")
        return 1 if name in _CHANGES else 0 if name in _READS else None
    if event == "call":
        code = frame.f_code
        if "psycopg" in code.co_filename and code.co_name in _OF_DATABASE:
            return 1
        if code.co_name == "write" and "isotropy" in code.co_filename:
            return 1
    return None


def _text(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb") as file:
        return file.read().decode(errors="replace")
