"""Arguments and options that several commands share; their help follows from the tables."""

from __future__ import annotations

from typing import Annotated

import typer

from isotropy.cli._correctors import CORRECTOR_HELP

__all__ = [
    "AsJson",
    "AsMarkdown",
    "BatchSize",
    "Column",
    "Correctors",
    "Device",
    "Embeddings",
    "Layer",
    "MaxLength",
    "MetricNames",
    "Model",
    "Overwrite",
    "TextColumn",
    "layer_of",
    "metric_names",
]

Embeddings = Annotated[
    str,
    typer.Argument(
        help="Embeddings: a file ({FORMATS}), a folder or 'pattern' of files, a Zarr or "
        "Lance folder, any of them by a URL (s3://, https://, ...), or postgresql://...#table."
    ),
]
Column = Annotated[
    str | None,
    typer.Option(help="Column, tensor or member that holds the vectors, where there are several."),
]
TextColumn = Annotated[
    str | None, typer.Option("--column", help="Column of the texts, where there are several.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in the place of a table.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what is at the output, whoever wrote it."),
]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
MetricNames = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        help="Names, separated by commas, or 'all'. `isotropy score --list` explains them: "
        "{METRICS}.",
    ),
]
Correctors = Annotated[
    list[str] | None,
    typer.Option("--corrector", "-c", help="Repeat for several. " + CORRECTOR_HELP),
]
Model = Annotated[str, typer.Argument(help="Hub name, folder, or 'minilm' (bundled).")]
Layer = Annotated[
    str,
    typer.Option(help="'output' (as the encoder gives it), 'last', 'first-last-avg', or a number."),
]
BatchSize = Annotated[int, typer.Option(min=1)]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Tokens to keep.")]
Device = Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda', ...")]


def layer_of(text: str) -> str | int:
    """A layer by its number or its name."""
    return int(text) if text.lstrip("-").isdigit() else text


def metric_names(text: str | None) -> str | list[str] | None:
    """What `--metrics` says: names, "all", or None for the usual ones."""
    return text if text is None or text == "all" else [name.strip() for name in text.split(",")]
