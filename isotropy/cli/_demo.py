"""The demo: real text, a real encoder, and one table from before to after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from isotropy import ComponentRemoval, MeanRemoval, RankWarning, Whitening
from isotropy.correctors.base import told_elsewhere
from isotropy.encoders import encode
from isotropy.io import RowWriter
from isotropy.io.texts import documentation_sentences
from isotropy.report import report
from isotropy.scoring import Comparison, compare

LAYERS: dict[str, int | str] = {"layer 3": 3, "output": "output"}
SHOWN = {
    "mean_cosine": "mean cosine",
    "cosine_spread": "spread of cosines",
    "isoscore": "IsoScore",
    "effective_rank": "effective rank",
    "top_variance_share": "top variance share",
    "uniformity": "uniformity",
}


def correctors() -> dict[str, Any]:
    """What the demo tries, from mild to strong."""
    return {
        "centred": MeanRemoval(),
        "top 3 out": ComponentRemoval(3),
        "half ZCA": Whitening("zca", power=0.5),
        "ZCA": Whitening("zca"),
    }


def run(folder: Path, n_sentences: int) -> None:
    """Write embeddings, corrected embeddings, correctors and scores to `folder`; print a table."""
    from rich.console import Console

    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    texts = documentation_sentences(n_sentences)
    console.print(f"{len(texts):,} sentences of Python's own documentation, encoded by MiniLM.")
    (folder / "sentences.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    console.print("Correctors learn from every other sentence, and are scored on the rest.")
    tables: dict[str, Comparison] = {}
    for name, layer in LAYERS.items():
        vectors = encode("minilm", texts, layer=layer, progress=console.is_terminal)
        # LayerNorm leaves a direction without variance: nothing to act on here.
        with told_elsewhere(RankWarning):
            fitted = {key: each.fit(vectors[::2]) for key, each in correctors().items()}
        tables[name] = compare(vectors[1::2], fitted, metrics="all", refit=False)
        _write(folder, name.replace(" ", "-"), vectors, fitted["half ZCA"])
        title = f"MiniLM, {name}"
        page = report(vectors, correctors(), texts=texts, title=title)
        page.save(folder / f"{name.replace(' ', '-')}.report.html")
    scores = {name: json.loads(table.to_json()) for name, table in tables.items()}
    (folder / "scores.json").write_text(json.dumps(scores, indent=2), encoding="utf-8")
    console.print(_table(tables))
    console.print("ZCA is whitening, half ZCA of power 0.5; floor: what isotropic rows would get.")
    console.print(_example(folder))
    console.print(f"Written to {folder}{os.sep}: {', '.join(sorted(os.listdir(folder)))}")


def _write(folder: Path, name: str, vectors: np.ndarray, corrector: Any) -> None:
    """The embeddings, what the corrector makes of them, and the corrector."""
    corrector.save(folder / f"{name}.corrector.safetensors")
    for suffix, rows in (("", vectors), (".corrected", corrector.transform(vectors))):
        path = folder / f"{name}{suffix}.npy"
        with RowWriter(path, shape=rows.shape, dtype=rows.dtype) as out:
            out.write(rows)


def _table(tables: dict[str, Comparison]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    cards = next(iter(tables.values())).scorecards
    for column in (*cards, "floor"):
        table.add_column(column, justify="right")
    for layer, comparison in tables.items():
        table.add_row(f"[bold]{layer}[/bold]")
        for metric, title in SHOWN.items():
            scores = [card.scores[metric] for card in comparison.scorecards.values()]
            values = [*(score.value for score in scores), scores[0].floor]
            table.add_row(f"  {title}", *map(_number, values))
        table.add_section()
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _example(folder: Path) -> str:
    """The share of pairs of unrelated sentences that a reader would call similar."""
    shares = []
    for name in ("layer-3", "layer-3.corrected"):
        rows = np.load(folder / f"{name}.npy")[:500]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        shares.append((cosines > 0.5).mean())
    return (
        f"Pairs of the first 500 sentences that score over 0.5 at layer 3: {shares[0]:.1%} before, "
        f"{shares[1]:.1%} after half ZCA."
    )
