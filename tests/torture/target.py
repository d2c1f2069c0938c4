"""What is asked of every kind of place that a job writes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from torture import formats
from torture.child import in_child
from torture.count import Count, compare, corrected
from torture.world import World

__all__ = ["Target", "count_each", "count_whole", "rows_at"]

Found = np.ndarray | None


def rows_at(path: Path) -> Found:
    """The rows of a file that was written, by a slow reader; None if it cannot be read."""
    found = in_child(lambda: formats.read(path).tolist())
    return None if "error" in found else np.array(found["found"], float)


def count_whole(world: World, found: Callable[[], Found]) -> Count | str:
    """All rows that are read against what one place holds; a text if what is read is damaged."""
    read = world.read()
    if isinstance(read, str):
        return read
    return compare(found(), corrected(world.corrector, np.concatenate(read)))


def count_each(world: World, found: Callable[[str], Found]) -> Count | str:
    """The rows of each file that is read against what the place of its name holds."""
    read = world.read()
    if isinstance(read, str):
        return read
    total = np.zeros(3, int)
    for path, rows in zip(world.files(), read, strict=True):
        total += compare(found(path.name), corrected(world.corrector, rows))
    return Count(*total.tolist())


class Target:
    """One place to write to."""

    name: str
    slow = False
    """Whether a server has to be started for it."""

    def make(self, world: World) -> None:
        """Lay out what the job reads."""
        raise NotImplementedError

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        """The command's arguments."""
        raise NotImplementedError

    def count(self, world: World) -> Count | str:
        """Rows against the slow reference; a text if what is read is damaged."""
        raise NotImplementedError

    def products(self, world: World) -> set[str]:
        """What may lie in the world's folder that was not there before."""
        raise NotImplementedError

    def kept(self, world: World) -> list[Path]:
        """Files of a job that is under way, or finished."""
        return [path for path in world.out.rglob("*") if path.is_file()]

    def strays(self, world: World, before: set[str]) -> list[str]:
        """What lies about at the end."""
        return sorted(world.listing() - before - self.products(world))
