"""The demo: real text, a real encoder, and one table from before to after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import ComponentRemoval, MeanRemoval, Whitening
from .._texts import documentation_sentences
from ..encoders import encode
from ..io import RowWriter
from ..metrics import METRICS, Comparison, compare

LAYERS: dict[str, int | str] = {"layer 3": 3, "output": "output"}
SHOWN = (
    "mean_cosine",
    "cosine_spread",
    "isoscore",
    "effective_rank",
    "top_variance_share",
    "uniformity",
)


def correctors() -> dict[str, Any]:
    """What the demo tries, from mild to strong."""
    return {
        "mean removed": MeanRemoval(),
        "top 3 removed": ComponentRemoval(3),
        "whitened by half": Whitening("zca", power=0.5),
        "whitened": Whitening("zca"),
    }


def run(folder: Path, n_sentences: int) -> None:
    """Write embeddings, corrected embeddings, correctors and scores to `folder`; print a table."""
    from rich.console import Console

    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    texts = documentation_sentences(n_sentences)
    console.print(f"{len(texts):,} sentences of Python's own documentation, encoded by MiniLM.")
    (folder / "sentences.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    tables: dict[str, Comparison] = {}
    for name, layer in LAYERS.items():
        vectors = encode("minilm", texts, layer=layer, progress=console.is_terminal)
        tables[name] = compare(vectors, correctors(), metrics="all")
        _write(folder, name.replace(" ", "-"), vectors)
    scores = {name: json.loads(table.to_json()) for name, table in tables.items()}
    (folder / "scores.json").write_text(json.dumps(scores, indent=2), encoding="utf-8")
    console.print(_table(tables))
    console.print(_example(texts, folder))
    console.print(f"Written to {folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")


def _write(folder: Path, name: str, vectors: np.ndarray) -> None:
    """The embeddings, and what whitening by half makes of them, with the fitted corrector."""
    corrector = correctors()["whitened by half"].fit(vectors)
    corrector.save(folder / f"{name}.corrector.safetensors")
    for suffix, rows in (("", vectors), (".corrected", corrector.transform(vectors))):
        path = folder / f"{name}{suffix}.npy"
        with RowWriter(path, shape=rows.shape, dtype=rows.dtype) as out:
            out.write(rows)


def _table(tables: dict[str, Comparison]) -> Any:
    from rich.table import Table

    table = Table(title="Before and after, on the same metrics", title_justify="left")
    table.add_column("embeddings")
    for metric in SHOWN:
        table.add_column(METRICS[metric].title, justify="right", max_width=14)
    for name, comparison in tables.items():
        table.add_section()
        for corrector, card in comparison.scorecards.items():
            values = [f"{card[metric]:.3g}" for metric in SHOWN]
            table.add_row(f"{name}, {corrector}", *values)
    n, d = next(iter(tables.values())).scorecards["raw"].shape
    floors = [METRICS[metric].floor(n, d) for metric in SHOWN]
    table.add_section()
    table.add_row("isotropic rows would get", *("" if f is None else f"{f:.3g}" for f in floors))
    return table


def _example(texts: list[str], folder: Path) -> str:
    """The share of pairs of unrelated sentences that a reader would call similar."""
    lines = []
    for name in ("layer-3", "layer-3.corrected"):
        rows = np.load(folder / f"{name}.npy")[:500]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        lines.append(f"{(cosines > 0.5).mean():.1%}")
    return (
        f"Pairs of the first 500 sentences that score over 0.5 at layer 3: {lines[0]} before, "
        f"{lines[1]} after whitening by half."
    )
