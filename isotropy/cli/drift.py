"""``isotropy drift``."""

from __future__ import annotations

from typing import Annotated

import typer

from isotropy.cli._files import rows_or_moments
from isotropy.cli._options import AsJson, Column

__all__ = ["drift"]


def drift(
    reference: Annotated[str, typer.Argument(help="Embeddings, or Moments that were saved.")],
    new: Annotated[str, typer.Argument(help="Embeddings, or Moments that were saved.")],
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Have embeddings moved since the reference, beyond what chance does?"""
    from isotropy import scoring
    from isotropy.scoring.scorecard import to_json

    found = scoring.drift(rows_or_moments(reference, column), rows_or_moments(new, column))
    typer.echo(to_json(found.to_dict(), 2) if as_json else str(found))
