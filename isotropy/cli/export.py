"""``isotropy export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._files import stamps, tell, writing
from isotropy.cli._options import AsJson, Overwrite

__all__ = ["export"]


def export(
    corrector: Annotated[Path, typer.Argument(help="A corrector file that `fit` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File, or folder for dense.")],
    to: Annotated[str, typer.Option(help="One of: {TARGETS}.")],
    index: Annotated[
        Path | None, typer.Option(help="For faiss: the index to put the correction before.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(help="Scale rows to length one after; by default as the corrector does."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a fitted corrector in the format of what will run it."""
    from isotropy import load
    from isotropy.export import write

    estimator = load(corrector)
    plan = [to, normalize, stamps(corrector, index)]
    with writing(output, plan, corrector, index, overwrite=overwrite):
        file, *queries = map(str, write(estimator, to, output, normalize=normalize, index=index))
    told = {"corrector": type(estimator).__name__, "format": to, "file": file}
    if queries:
        told["queries"] = queries[0]
    also = ", and for queries to {queries}," if queries else ""
    tell(told, as_json, "{corrector} written to {file}" + also + " for {format}")
