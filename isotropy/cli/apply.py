"""``isotropy apply``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isotropy.cli._files import place, tell
from isotropy.cli._options import AsJson, Column, Embeddings, Overwrite

__all__ = ["apply"]


def apply(
    corrector: Annotated[
        Any, typer.Argument(parser=place, help="A corrector file that `fit` wrote.")
    ],
    embeddings: Embeddings,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write; suffix = format. A folder gets a file for each file read, and the "
            "same command goes on where it was stopped. Without it, --as is a new column of the "
            "Lance or PostgreSQL table.",
        ),
    ] = None,
    column: Column = None,
    new_column: Annotated[
        str | None, typer.Option("--as", help="Name of the corrected column.")
    ] = None,
    queries: Annotated[
        bool,
        typer.Option(
            "--queries",
            help="These are queries: corrected about their own mean, which "
            "the corrector knows if `fit` was given queries.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Correct embeddings with a fitted corrector, block by block."""
    from isotropy import load
    from isotropy.cli._progress import counter
    from isotropy.export.parts import knows_queries
    from isotropy.jobs import correct
    from isotropy.jobs.apply import rows_of

    estimator = load(corrector)
    if queries:
        if not knows_queries(estimator):
            raise ValueError(
                f"{corrector}: was fitted without queries, so it has no map of their own. Fit it "
                "with `isotropy fit --queries`, or leave --queries out."
            )
        estimator = estimator.for_queries()
    if output is None and new_column is None:
        raise ValueError("--output is missing: a file or folder to write; or --as, for tables.")
    rows = rows_of(embeddings, output, column, new_column)
    with counter("apply", rows.shape[0]) as progress:
        written = correct(
            estimator,
            rows,
            output,
            new_column=new_column,
            overwrite=overwrite,
            reads=[corrector],
            progress=progress,
        )
    n, k = written.shape
    told = {"rows": n, "n_features_out": k, "file": written.where, **written._asdict()}
    tell(told, as_json, str(written).replace("{", "{{").replace("}", "}}"))
    if written.missed:
        raise typer.Exit(1)
