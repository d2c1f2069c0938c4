"""What is asked of every kind of place that a job writes to."""

from __future__ import annotations

from pathlib import Path

from torture.count import Count
from torture.world import World

__all__ = ["Target"]


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
