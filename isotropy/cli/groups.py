"""``isotropy groups``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._files import read_labels
from isotropy.cli._options import AsJson, Column, Embeddings

__all__ = ["groups"]


def groups(
    embeddings: Embeddings,
    labels: Annotated[
        Path,
        typer.Option(
            "--groups",
            "-g",
            help="The group of each row, one a line: its source, language or genre. An empty line "
            "is a row of no group.",
        ),
    ],
    column: Column = None,
    n_neighbors: Annotated[int, typer.Option(min=1, help="How many nearest rows count.")] = 10,
    max_rows: Annotated[
        int, typer.Option(min=20, help="Of more rows that many are drawn at random.")
    ] = 4000,
    as_json: AsJson = False,
) -> None:
    """Tell whether groups of embeddings lie apart, beyond chance."""
    from isotropy.io import open_rows
    from isotropy.metrics import group_gap
    from isotropy.scoring.scorecard import to_json

    rows = open_rows(embeddings, column=column)
    found = group_gap(
        rows, read_labels(labels, rows.shape[0]), n_neighbors=n_neighbors, max_rows=max_rows
    )
    typer.echo(to_json(found.to_dict(), 2) if as_json else str(found))
