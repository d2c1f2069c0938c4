"""``isotropy score``."""

from __future__ import annotations

from typing import Annotated

import typer

from isotropy.cli._files import rows_or_moments
from isotropy.cli._options import AsJson, AsMarkdown, Column, MetricNames, metric_names
from isotropy.tables import METRICS

__all__ = ["score"]


def score(
    embeddings: Annotated[
        str | None,
        typer.Argument(help="Embeddings in any format, or Moments that isotropy saved."),
    ] = None,
    column: Column = None,
    metrics: MetricNames = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
    list_metrics: Annotated[
        bool, typer.Option("--list", help="List the metrics and what they mean, and stop.")
    ] = False,
) -> None:
    """Score embeddings: every metric with its value under isotropy beside it."""
    from isotropy import scoring

    if list_metrics:
        for metric in METRICS.values():
            typer.echo(f"{metric.name:28} {metric.title} [needs {metric.needs}]")
        return
    if embeddings is None:
        raise ValueError("EMBEDDINGS is missing: name a file to score.")
    card = scoring.score(rows_or_moments(embeddings, column), metrics=metric_names(metrics))
    typer.echo(card.to_json() if as_json else card.to_markdown() if markdown else str(card))
