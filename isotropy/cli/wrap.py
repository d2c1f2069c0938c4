"""``isotropy wrap``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isotropy.cli._correctors import CORRECTOR_HELP, corrector_or_file
from isotropy.cli._files import tell
from isotropy.cli._options import AsJson, BatchSize, Device, Model, TextColumn

__all__ = ["wrap"]


def wrap(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new.")],
    texts: Annotated[
        Path | None, typer.Option(help="Texts to fit on: .txt, .csv, .tsv, .jsonl, .parquet.")
    ] = None,
    corrector: Annotated[
        str,
        typer.Option("--corrector", "-c", help="A corrector file, or " + CORRECTOR_HELP),
    ] = "whitening:power=0.5",
    queries: Annotated[
        Path | None, typer.Option(help="Queries, to fit statistics of their own to.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(help="Scale embeddings to length one; by default as the encoder does."),
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="Prompt to fit with.")] = None,
    column: TextColumn = None,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Put a correction inside a sentence encoder, and save it as one that loads anywhere."""
    from isotropy import encoders
    from isotropy.io.texts import read_texts
    from isotropy.storage.whole import check_folder

    chosen = corrector_or_file(corrector)
    check_folder(output)
    encoder = encoders.wrap(
        model,
        None if texts is None else list(read_texts(texts, column=column)),
        chosen,
        queries=None if queries is None else list(read_texts(queries, column=column)),
        normalize=normalize,
        prompt_name=prompt_name,
        batch_size=batch_size,
        device=device,
        progress=sys.stderr.isatty(),
    )
    encoders.save(encoder, output)
    fitted: Any = encoder.isotropy_corrector
    tell(
        {
            "corrector": type(fitted).__name__,
            "n_features_in": fitted.n_features_in_,
            "n_features_out": fitted._n_features_out,
            "folder": str(output),
        },
        as_json,
        "{corrector}, {n_features_in} -> {n_features_out} dimensions, is inside the encoder in "
        "{folder}",
    )
