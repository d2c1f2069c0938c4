"""One try: a command that something befalls, run again until it ends well, then counted."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torture.child import Blow, Child, Outcome, run
from torture.count import Count
from torture.target import Target
from torture.world import World

__all__ = ["Job", "Record"]

# Out of memory while a thread starts: the C library ends the process, Python waits for ever.
_BEYOND_US = (
    "cannot allocate memory for thread-local data",
    "Exception ignored in thread started by",
    "Exception ignored in sys.unraisablehook",
)


@dataclass
class Record:
    """What a try found."""

    fault: str
    target: str
    tries: int = 1
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    strays: int = 0
    tracebacks: int = 0
    exits: int = 0
    """Wrong ends: another exit code, more than one line, a crash, a hang, no way out."""
    struck: int = 1
    """Whether the fault had any effect: the process was ended, refused, or was disturbed."""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text[:2000])

    def add(self, count: Count) -> None:
        self.lost += count.lost
        self.doubled += count.doubled
        self.stale += count.stale
        if any(count):
            self.note(f"rows: {count}")

    @property
    def clean(self) -> bool:
        found = asdict(self)
        names = ("lost", "doubled", "stale", "strays", "tracebacks", "exits")
        return not any(found[name] for name in names)


class Job:
    """A command in a world; every end of it is judged.

    Parameters
    ----------
    target, world : what is written, and where
    fault : str
        Its name.
    calls, seconds
        Of a run that nothing befell.
    """

    def __init__(
        self, target: Target, world: World, fault: str, calls: tuple[int, int], seconds: float
    ) -> None:
        self.target, self.world, self.rng = target, world, world.rng
        self.calls, self.seconds = calls, seconds
        self.record = Record(fault, target.name)
        self.heal: list[Callable[[], object]] = []
        self.flags: list[str] = []
        self.spoilt: list[Path] = []
        self.ends: list[str] = []
        self.before = world.listing()

    # -- running -------------------------------------------------------------------------------

    def start(self, blow: Blow | None = None, before: Any = None, corrector: Any = None) -> Child:
        return Child([*self.target.command(self.world, corrector), *self.flags], blow, before)

    def run(
        self,
        blow: Blow | None = None,
        before: Callable[[], object] | None = None,
        after: tuple[float, Callable[[int], object]] | None = None,
        corrector: Path | None = None,
        ends: tuple[int, ...] = (),
    ) -> Outcome:
        """Run the command once; `ends` are signals that may end it."""
        args = [*self.target.command(self.world, corrector), *self.flags]
        return self.judge(run(args, blow, before, after), ends)

    def judge(self, outcome: Outcome, ends: tuple[int, ...] = ()) -> Outcome:
        """Count what is wrong with how a process ended."""
        said = outcome.said + outcome.told
        self.ends.append(f"{outcome.code}: {said.strip()[-300:]}")
        if "Traceback (most recent call last)" in said or "panicked at" in said:
            self.record.tracebacks += 1
            self.record.note(f"traceback: {said[-1500:]}")
        elif wrong := _wrong_end(outcome, ends):
            self.record.exits += 1
            self.record.note(f"{wrong}; said: {said[-600:]}")
        return outcome

    def blow(self, act: Callable[[], object], *, first: int = 1) -> Blow:
        """`act` at a call chosen at random, mostly one that writes."""
        reads = bool(self.rng.random() < 0.3)
        last = max(first + 1, self.calls[reads] + 2)
        return Blow(int(self.rng.integers(first, last)), act, reads)

    def killed(self, number: int = signal.SIGKILL) -> Outcome:
        """Run until a signal of this number ends it, at a call chosen at random."""
        return self.run(self.blow(lambda: os.kill(os.getpid(), number)), ends=(number,))

    # -- to the end ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Run the same command until it ends well, and count."""
        if self._to_the_end() is None and self.heal:
            self.restore()
            self._to_the_end()
        self.count()

    def count(self) -> None:
        """Compare all rows with those wanted, and look for what lies about."""
        counted = self.target.count(self.world)
        if isinstance(counted, str):
            self.record.exits += 1
            self.record.note(f"took damaged rows for whole ones: {counted}")
        else:
            self.record.add(counted)
        strays = self.target.strays(self.world, self.before)
        self.record.strays += len(strays)
        if strays:
            self.record.note(f"strays: {strays[:5]}")

    def restore(self) -> None:
        """Undo what the fault did to the world."""
        while self.heal:
            self.heal.pop()()

    def _to_the_end(self) -> Outcome | None:
        """Run until it ends well, going the ways out that it names; None if it may be refused."""
        for _ in range(6):
            outcome = self.run()
            if outcome.code == 0:
                return outcome
            if outcome.code == 2 and self._way_out(outcome.said):
                continue
            if outcome.code == 2 and self.heal:
                return None
            break
        self.record.exits += 1
        self.record.note(f"no way out: {outcome.code} {outcome.said[-600:]}")
        return outcome

    def _way_out(self, said: str) -> bool:
        """Do what the error says: delete a file of the job's own, or permit to replace."""
        named = re.search(r"error: ([^:]+): ", said)
        path = Path(named.group(1)) if named else Path("/")
        if re.search(r"[Dd]elete it", said) and path.is_file() and self.world.out in path.parents:
            path.unlink()
            return True
        if "choose another name" in said and path in self.spoilt:
            path.unlink()
            return True
        if "overwrite" in said and "--overwrite" not in self.flags:
            self.flags.append("--overwrite")
            return True
        return False


def _wrong_end(outcome: Outcome, ends: tuple[int, ...]) -> str:
    """What is wrong with an end; empty for a good one."""
    code = outcome.code
    if any(text in outcome.said for text in _BEYOND_US):
        return ""
    if code is None:
        return "hung"
    if code == 0 or any(code in (-number, 128 + number) for number in ends):
        return ""
    if code != 2:
        return f"ended with {code}"
    lines = [line for line in outcome.said.splitlines() if line.strip()]
    # Notes are for the user to act on; Lance's own log is not ours.
    lines = [line for line in lines if not line.startswith("isotropy: note: ")]
    lines = [line for line in lines if " WARN  lance" not in line]
    if len(lines) != 1 or not lines[0].startswith("isotropy: error: "):
        return f"refused in {len(lines)} lines"
    return ""


def integers(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(rng.integers(low, high + 1))
