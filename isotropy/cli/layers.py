"""``isotropy layers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._options import (
    AsJson,
    BatchSize,
    Device,
    MaxLength,
    MetricNames,
    Model,
    TextColumn,
    metric_names,
)

__all__ = ["layers"]


def layers(
    model: Model,
    data: Annotated[
        Path, typer.Option("--data", help="Texts: .txt (a line each), .csv, .tsv, .jsonl, ...")
    ],
    column: TextColumn = None,
    metrics: MetricNames = None,
    batch_size: BatchSize = 32,
    max_length: MaxLength = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score every layer of a text encoder, its tokens and its pooled texts, in one pass."""
    from isotropy.encoders import layer_profile
    from isotropy.io.texts import read_texts
    from isotropy.scoring.scorecard import to_json

    chosen = metric_names(metrics)
    if isinstance(chosen, str):
        raise ValueError("layers takes a list of metrics, not 'all'.")
    options = {} if chosen is None else {"metrics": chosen}
    profile = layer_profile(
        model,
        read_texts(data, column=column),
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        **options,
    )
    typer.echo(to_json(profile.to_dict(), 2) if as_json else str(profile))
