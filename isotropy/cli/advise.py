"""``isotropy advise``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from isotropy.cli._files import check_suffix, read_pairs, rows_or_moments, stamps, writing
from isotropy.cli._options import AsJson, Column, Embeddings, Overwrite

__all__ = ["advise"]


def advise(
    embeddings: Embeddings,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Judged pairs: .csv or .tsv with two row numbers (from 0) and a score."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the corrector it chose here.")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep so many.")] = None,
    column: Column = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Which correction suits these embeddings? "None" is an answer, and there is a reason."""
    from isotropy.choose import AutoCorrector
    from isotropy.scoring.scorecard import to_json

    auto = AutoCorrector(n_components=dimensions)
    found = rows_or_moments(embeddings, column)
    sources = (embeddings, pairs)
    if output is not None:
        check_suffix(output, ".safetensors")
    plan = ["advise", dimensions, column, stamps(*sources)]
    with writing(output, plan, *sources, overwrite=overwrite) if output else nullcontext():
        if hasattr(found, "blocks"):
            auto.fit(found, **_evidence(pairs))
        elif pairs is not None:
            raise ValueError(f"{embeddings}: holds moments; --pairs needs the rows.")
        else:
            auto.fit_moments(found)
        if output is not None:
            auto.save(output)
    report = auto.report_
    if as_json:
        told = {
            "chosen": auto.chosen_,
            "reason": report.reason,
            "criterion": report.criterion,
            "candidates": report.candidates,
            "file": None if output is None else str(output),
        }
        typer.echo(to_json(told, 2))
        return
    typer.echo(str(report) + ("" if output is None else f"\nWritten to {output}"))


def _evidence(pairs: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if pairs is not None:
        found["pairs"], found["pair_scores"] = read_pairs(pairs)
    return found
