"""``isotropy compare``."""

from __future__ import annotations

import typer

from isotropy.cli._correctors import parse_correctors
from isotropy.cli._files import rows_or_moments
from isotropy.cli._options import (
    AsJson,
    AsMarkdown,
    Column,
    Correctors,
    Embeddings,
    MetricNames,
    metric_names,
)

__all__ = ["compare"]

_COMPARED = ["mean-removal", "component-removal", "whitening:power=0.5", "whitening"]


def compare(
    embeddings: Embeddings,
    corrector: Correctors = None,
    column: Column = None,
    metrics: MetricNames = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Score embeddings before and after several correctors, with the same metrics."""
    from isotropy import scoring

    correctors = parse_correctors(corrector or _COMPARED)
    table = scoring.compare(
        rows_or_moments(embeddings, column), correctors, metrics=metric_names(metrics)
    )
    typer.echo(table.to_json() if as_json else table.to_markdown() if markdown else str(table))
