"""``isotropy evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._correctors import parse_correctors
from isotropy.cli._options import (
    AsJson,
    AsMarkdown,
    BatchSize,
    Correctors,
    Device,
    Layer,
    MaxLength,
    Model,
    layer_of,
)

__all__ = ["evaluate"]

_TRIED = ["auto-corrector", "mean-removal", "whitening:power=0.5", "whitening"]


def evaluate(
    model: Model,
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="A task: pairs with scores or labels, labelled texts, or a folder with "
            "corpus.jsonl, queries.jsonl and qrels.tsv. Repeat for several.",
        ),
    ],
    corrector: Correctors = None,
    kind: Annotated[str | None, typer.Option(help="One of: {TASKS}.")] = None,
    layer: Layer = "output",
    queries: Annotated[
        str, typer.Option(help="Correct queries about their 'own-mean', or 'as-documents'.")
    ] = "own-mean",
    batch_size: BatchSize = 64,
    max_length: MaxLength = None,
    device: Device = "auto",
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Do corrections help on real tasks? Scores, and intervals of the difference to raw."""
    from isotropy import evaluate as library
    from isotropy.scoring.scorecard import to_json

    correctors = parse_correctors(corrector or _TRIED)
    found = library.evaluate(
        model,
        [library.read_task(path, kind) for path in data],
        correctors,
        layer=layer_of(layer),
        queries=queries,
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        progress=sys.stderr.isatty(),
    )
    typer.echo(
        to_json(found.to_dict(), 2) if as_json else found.to_markdown() if markdown else str(found)
    )
