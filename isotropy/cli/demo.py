"""``isotropy demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the files it writes.")
    ] = Path("isotropy-demo"),
    sentences: Annotated[int, typer.Option(min=50, help="How many sentences to take.")] = 3000,
) -> None:
    """Encode real text with a real MiniLM; score, correct, score again, and write the files."""
    from isotropy.cli._demo import run

    run(output, sentences)
