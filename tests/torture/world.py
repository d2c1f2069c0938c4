"""A folder in which one job runs: its rows, its correctors, and what may lie there at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from torture import formats
from torture.child import in_child, run

__all__ = ["D", "World", "correctors", "rows_of"]

D = 12
SUFFIXES = tuple(formats.READABLE)


def rows_of(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows that no two of are alike."""
    return (rng.normal(size=(n, D)) * np.linspace(0.5, 2, D) + 3).astype(np.float32)


@cache
def correctors() -> tuple[bytes, bytes]:
    """Two fitted correctors, as files."""
    with tempfile.TemporaryDirectory() as name:
        for seed, letter in enumerate("ab"):
            np.save(f"{name}/{letter}.npy", rows_of(np.random.default_rng(seed), 300) * (seed + 1))
            done = run(["fit", f"{name}/{letter}.npy", "-o", f"{name}/{letter}.safetensors"])
            assert done.code == 0, done.said
        return tuple(Path(name, f"{letter}.safetensors").read_bytes() for letter in "ab")  # type: ignore[return-value]


class World:
    """What a try happens in.

    Parameters
    ----------
    rng : Generator
        Decides all sizes, formats and values.
    place : Path
        An empty folder.
    """

    def __init__(self, rng: np.random.Generator, place: Path) -> None:
        self.rng, self.place = rng, place
        self.out, self.source = place / "out", place / "rows"
        self.out.mkdir()
        self.corrector, self.other = place / "c.safetensors", place / "other.safetensors"
        for path, content in zip((self.corrector, self.other), correctors(), strict=True):
            path.write_bytes(content)
        self.url = self.bucket = ""
        (place / "tmp").mkdir(mode=0o777)
        os.environ["TMPDIR"] = str(place / "tmp")  # where jobs keep what they send elsewhere
        self.proxy: Any = None
        self.cleanups: list[Callable[[], object]] = []

    def make_source(self, suffix: str | None = None) -> None:
        """One file (of that suffix), or a folder of some."""
        if suffix is None:
            self.source.mkdir()
            kinds = self.rng.choice(SUFFIXES, self.rng.integers(3, 8))
            for i, kind in enumerate(kinds):
                X = rows_of(self.rng, int(self.rng.integers(40, 160)))
                formats.write(self.source / f"part-{i}{kind}", X)
        else:
            self.source = self.place / f"rows{suffix}"
            formats.write(self.source, rows_of(self.rng, int(self.rng.integers(200, 700))))

    def files(self) -> list[Path]:
        """The files that are read, in their order."""
        return sorted(self.source.iterdir()) if self.source.is_dir() else [self.source]

    def read(self) -> list[np.ndarray] | str:
        """The rows of each file by a slow reader; what it says if one is damaged."""
        found = in_child(lambda: [formats.read(path).tolist() for path in self.files()])
        if "error" in found:
            return str(found["error"])
        return [np.array(rows, np.float64) for rows in found["found"]]

    def listing(self) -> set[str]:
        """Every file and folder that is there."""
        return {str(path.relative_to(self.place)) for path in self.place.rglob("*")}

    def give_to(self, uid: int) -> None:
        """Let another user own all of it."""
        for path in [self.place, *self.place.rglob("*")]:
            os.chown(path, uid, uid)

    def close(self) -> None:
        for cleanup in reversed(self.cleanups):
            cleanup()
        shutil.rmtree(self.place, ignore_errors=True)
