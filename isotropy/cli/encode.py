"""``isotropy encode``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isotropy.cli._files import stamps, tell, writing
from isotropy.cli._options import (
    AsJson,
    BatchSize,
    Device,
    Layer,
    MaxLength,
    Overwrite,
    TextColumn,
    layer_of,
)
from isotropy.encoders._layers import POOLINGS

__all__ = ["encode"]


def encode(
    texts: Annotated[
        Path, typer.Argument(help="Texts: .txt (a line each), .csv, .tsv, .jsonl, .parquet.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Embeddings file to write.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Hub name, folder, or 'minilm' (bundled).")
    ] = "minilm",
    layer: Layer = "output",
    pooling: Annotated[
        str | None,
        typer.Option(help=f"For inner layers: {', '.join(POOLINGS)}; {POOLINGS[0]} by default."),
    ] = None,
    column: TextColumn = None,
    batch_size: BatchSize = 64,
    max_length: MaxLength = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts with a sentence encoder, at any layer."""
    from isotropy.encoders import encode_blocks
    from isotropy.io import RowWriter
    from isotropy.io.texts import read_texts

    lines = list(read_texts(texts, column=column))
    if not lines:
        raise ValueError(f"{texts}: holds no text; nothing was written.")
    RowWriter(output, shape=(len(lines), 1))  # refuses a suffix before texts are encoded
    plan = [model, layer, pooling, column, max_length, stamps(texts, model)]
    with writing(output, plan, texts, overwrite=overwrite):
        blocks = encode_blocks(
            model,
            lines,
            layer=layer_of(layer),
            pooling=pooling,
            batch_size=batch_size,
            max_length=max_length,
            device=device,
            progress=sys.stderr.isatty(),
        )
        first = next(blocks)
        n, d = len(lines), first.shape[1]
        with RowWriter(output, shape=(n, d), dtype=first.dtype) as writer:
            writer.write(first)
            for block in blocks:
                writer.write(block)
    tell(
        {"rows": n, "n_features": d, "file": str(output)},
        as_json,
        "{rows:,} texts encoded in {n_features} dimensions. Written to {file}",
    )
