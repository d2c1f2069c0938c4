"""``isotropy report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._correctors import parse_correctors
from isotropy.cli._files import check_suffix, read_labels, rows_or_moments, tell, writing
from isotropy.cli._options import AsJson, Column, Correctors, Embeddings, Overwrite

__all__ = ["report"]


def report(
    embeddings: Embeddings,
    output: Annotated[Path, typer.Option("--output", "-o", help="An .html page, or .md.")],
    corrector: Correctors = None,
    texts: Annotated[
        Path | None, typer.Option(help="The texts of the rows: shown at points and hubs.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            "-g",
            help="The group of each row, one a line: figures of how far groups stand apart, and a "
            "colour a group. An empty line is a row of no group.",
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Reference embeddings, or Moments, to look for drift.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="An encoder whose layers to show, run on the texts."),
    ] = None,
    column: Column = None,
    title: Annotated[str | None, typer.Option(help="By default the file's name.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page about embeddings: verdict, scores, pictures, hubs."""
    from isotropy import report as library
    from isotropy.io import open_rows
    from isotropy.io.texts import read_texts

    check_suffix(output, ".html", ".htm", ".md")
    # A page that was not touched since may be written anew.
    with writing(output, "report", embeddings, texts, groups, against, overwrite=overwrite):
        correctors = parse_correctors(corrector) if corrector else None
        lines, profile = None if texts is None else list(read_texts(texts)), None
        if model is not None:
            if lines is None:
                raise ValueError("--model needs --texts: its layers are run on them.")
            from isotropy.encoders import layer_profile

            profile = layer_profile(model, lines)
        rows = open_rows(embeddings, column=column)
        made = library.report(
            rows,
            correctors,
            texts=lines,
            groups=None if groups is None else read_labels(groups, rows.shape[0]),
            profile=profile,
            against=None if against is None else rows_or_moments(against),
            title=title or Path(str(rows.path)).name,  # shows no password
        )
        made.save(output)
    tell(
        {"verdict": made.verdict, "file": str(output)},
        as_json,
        "\n".join(made.verdict).replace("{", "{{").replace("}", "}}") + "\nWritten to {file}",
    )
