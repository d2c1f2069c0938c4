"""``isotropy check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._files import tell
from isotropy.cli._options import AsJson, TextColumn

__all__ = ["check"]


def check(
    encoder: Annotated[Path, typer.Argument(help="Folder that `wrap` wrote.")],
    corrector: Annotated[
        Path | None,
        typer.Option("--corrector", "-c", help="Corrector file, where the folder has none."),
    ] = None,
    texts: Annotated[Path | None, typer.Option(help="Texts to compare on.")] = None,
    column: TextColumn = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="In lengths of an embedding; by default as its numbers allow."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a saved encoder gives what its corrector gives; exit code 1 if not."""
    from isotropy import encoders
    from isotropy.io.texts import read_texts

    lines = None if texts is None else list(read_texts(texts, column=column))
    found = encoders.check(encoder, corrector, lines, tolerance=tolerance)
    tell(
        {
            "verdict": "agree" if found.holds else "DISAGREE",
            "largest_difference": found.largest,
            "tolerance": found.tolerance,
            "texts": found.n_texts,
        },
        as_json,
        "The encoder and its corrector {verdict}: largest difference {largest_difference:.1e} of "
        "the length of an embedding, over {texts} texts.",
    )
    if not found.holds:
        raise typer.Exit(1)
