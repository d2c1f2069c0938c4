"""Every kind of place that a job writes to: how it is asked for, and what must be there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from torture import formats
from torture.child import in_child
from torture.count import Count, corrected, moments_of, same_rows
from torture.postgres import Postgres
from torture.s3 import S3File, S3Folder, S3Source
from torture.target import Target, count_each, count_whole, rows_at
from torture.world import D, World, rows_of

__all__ = ["TARGETS"]


class _File(Target):
    """A file of rows."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.name = f"file {suffix}"

    def make(self, world: World) -> None:
        same = world.rng.random() < 0.5
        world.make_source(self.suffix if same else world.rng.choice([*formats.READABLE, None]))

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        output = world.out / f"rows{self.suffix}"
        return ["apply", str(corrector or world.corrector), str(world.source), "-o", str(output)]

    def count(self, world: World) -> Count | str:
        return count_whole(world, lambda: rows_at(world.out / f"rows{self.suffix}"))

    def products(self, world: World) -> set[str]:
        return {f"out/rows{self.suffix}"}


class _Folder(Target):
    """A folder of files, one for each that is read."""

    name = "folder"

    def make(self, world: World) -> None:
        world.make_source()

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        output = f"{world.out}/all/"
        return ["apply", str(corrector or world.corrector), str(world.source), "-o", output]

    def count(self, world: World) -> Count | str:
        return count_each(world, lambda name: rows_at(world.out / "all" / name))

    def products(self, world: World) -> set[str]:
        names = {f"out/all/{path.name}" for path in world.files()}
        journal = {f"out/all/{path.name}" for path in (world.out / "all").glob("_isotropy.json*")}
        return {*names, *journal, "out/all"}


class _Corrector(Target):
    """A corrector learned from rows."""

    name = "corrector"

    def make(self, world: World) -> None:
        world.make_source(world.rng.choice([*formats.READABLE, None]))

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        return ["fit", str(world.source), "-o", str(world.out / "new.safetensors")]

    def count(self, world: World) -> Count | str:
        read = world.read()
        if isinstance(read, str):
            return read
        try:
            return moments_of(world.out / "new.safetensors", np.concatenate(read))
        except Exception:
            return Count(lost=sum(map(len, read)))

    def products(self, world: World) -> set[str]:
        return {"out/new.safetensors"}


class _Checkpoint(_Corrector):
    """The same, the sums kept in a checkpoint meanwhile."""

    name = "checkpoint"

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        kept = ["--checkpoint", str(world.out / "fit.ckpt"), "--checkpoint-every", "0"]
        return [*super().command(world), *kept]


class _Lance(Target):
    """A column of a Lance table."""

    name = "lance"

    def make(self, world: World) -> None:
        world.source = world.out / "t.lance"
        X = rows_of(world.rng, int(world.rng.integers(200, 700)))

        def make() -> None:
            import lance

            lance.write_dataset(
                formats.table_of(X), str(world.source), max_rows_per_file=100, max_rows_per_group=50
            )

        in_child(make)

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        to = ["--column", "v", "--as", "w"]
        return ["apply", str(corrector or world.corrector), str(world.source), *to]

    def count(self, world: World) -> Count | str:
        def look() -> Any:
            import lance

            table = lance.dataset(str(world.source)).to_table()
            names = [name for name in ("v", "w") if name in table.column_names]
            return [[row or [None] * D for row in table.column(name).to_pylist()] for name in names]

        found = in_child(look)
        if "error" in found:
            return str(found["error"])
        columns = [np.array(rows, float) for rows in found["found"]]
        if len(columns) < 2:
            return Count(lost=len(columns[0]))
        return same_rows(columns[1], corrected(world.corrector, columns[0]))

    def products(self, world: World) -> set[str]:
        return {name for name in world.listing() if name.startswith("out/t.lance/")}


def _all() -> Iterable[Target]:
    from isotropy.io.formats import writable

    yield from map(_File, writable())
    yield from (_Folder(), _Corrector(), _Checkpoint(), _Lance(), Postgres())
    yield from (S3File(), S3Folder(), S3Source())


TARGETS: dict[str, Target] = {target.name: target for target in _all()}
