"""Does the choice by task hold on texts, encoders and rows that its record has never seen?

Cells as in `choose.py`, but of none of its kinds: genres and neighbours of sentences (Brown),
halves of paragraphs (WikiText-2), words, captions, headlines, a forum, pixels; by other poolings,
layers beside each other, rows cut, rounded, rescaled or standardized, an untrained network, and
other training. Needs the text collections (``--data``), isotropy[demo], and half an hour of one
core; cells are kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _encoders
import numpy as np
from _cells import said, scores
from _common import report
from _rules import setting_in, side_in
from _sets import Collection, drawn, partners
from choose import _cells, compact, told
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isotropy.choose.record import SIDES, TASKS
from isotropy.evaluate import STS, Clustering, PairClassification, Retrieval, read_task

TOKENS = 48
GENRES = ("MSRvid", "headlines", "deft-forum")
WORDS = ("MEN-TR-3k", "SIMLEX-999", "WS-353-ALL")
_encoders.TRAINED["infonce .05"] = (
    6,
    6.0,
    lambda: _encoders.info_nce(0.05),
    lambda data: [pair for pair in _encoders.scored(data) if pair[2] >= 3.5],
    30,
    1e-4,
)


def _pairs(name: str, rows: list[Any], limit: int = 350) -> Collection:
    some = [rows[k] for k in drawn(len(rows), limit)]
    task = STS(name, *([row[k] for row in some] for k in (0, 1)), [float(row[2]) for row in some])
    return Collection(name, {"texts": list(task.texts)}, {"similarity": task})


def _search(name: str, documents: list[str], queries: list[str], right: list[int]) -> Collection:
    task = Retrieval(name, documents, queries, [{k: 1.0} for k in right])
    return Collection(name, {k: list(v) for k, v in task.parts.items()}, {"search": task})


def _classes(name: str, texts: list[str], labels: list[str], n: int = 600) -> Collection:
    some = drawn(len(texts), n, 7)
    some = [k for k in some if sum(labels[j] == labels[k] for j in some) >= 5]
    task = Clustering(name, [texts[k] for k in some], [labels[k] for k in some])
    return Collection(name, {"texts": list(task.texts)}, {"clusters": task, "classes": task})


def collections(data: Path) -> Iterator[Collection]:
    brown = [x.split("\t") for x in (data / "lm/brown_sentences.tsv").read_text().split("\n") if x]
    place = [k for k in drawn(len(brown) - 1, 1200) if brown[k][1] == brown[k + 1][1]]
    place = [k for k in place if min(len(brown[k][2]), len(brown[k + 1][2])) > 50]
    asked, left = [brown[k][2] for k in place[::2]], [brown[k + 1][2] for k in place]
    yield _search("brown, next sentence", left, asked, list(range(0, len(left), 2)))
    yield _classes("brown, genres", *map(list, zip(*[(x[2], x[0]) for x in brown], strict=True)))
    wiki = (data / "lm/wikitext2/test.txt").read_text("utf-8").split("\n")
    halves = [x.split(" . ") for x in wiki if x.count(" . ") > 2][:600]
    cut = [(" . ".join(x[: len(x) // 2]), " . ".join(x[len(x) // 2 :])) for x in halves]
    yield _search(
        "wikitext, halves", [b for _, b in cut], [a for a, _ in cut[::2]], [*range(0, len(cut), 2)]
    )
    with (data / "cls/trec_train.tsv").open(encoding="utf-8", newline="") as file:
        fine = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    yield _classes("trec, 50 types", [x["text"] for x in fine], [x["fine"] for x in fine])
    with (data / "cls/agnews_test.tsv").open(encoding="utf-8", newline="") as file:
        news = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    some = [x for x in news if len(x["text"]) < 150]
    yield _classes("agnews, short", [x["text"] for x in some], [x["label"] for x in some])
    lines = [
        line.split("\t")
        for part in ("train", "dev")
        for line in (data / f"sts/sts-{part}.csv").read_text("utf-8").split("\n")
        if line
    ]
    for genre in GENRES:
        found = _pairs(genre, [(x[5], x[6], x[4]) for x in lines if x[1] == genre])
        yield found
        if genre == "MSRvid":
            yield partners(found)
    two = read_task(data / "msrp/msr-para-val.tsv")
    assert isinstance(two, PairClassification)
    yield Collection("msrp val", {"texts": list(two.texts)}, {"pairs": two})
    both = (data / f"wordsim/EN-{WORDS[0]}.txt").read_text("utf-8").split("\n")
    yield _pairs(WORDS[0], [row.split()[:3] for row in both if row])


# -- encoders ------------------------------------------------------------------------------------


def _passed(body: Any, texts: list[str]) -> dict[Any, np.ndarray]:
    """By layer: mean, mean without special tokens, last token; and the number of tokens."""
    import torch

    out: dict[Any, np.ndarray] = {}
    for some, batch in _encoders.batches(_encoders.minilm()[0], texts, TOKENS):
        with torch.inference_mode():
            layers = body(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"]
        size = mask.sum(1)
        inner = mask.clone()
        inner[:, 0] = 0
        inner[torch.arange(len(size)), size - 1] = 0
        found = {"tokens": size[:, None].float()}
        for k, state in enumerate(layers):
            found |= {("mean", k): _encoders.pooled(state, mask, "mean")}
            found |= {("inner", k): _encoders.pooled(state, inner, "mean")}
            found |= {("last", k): state[torch.arange(len(size)), size - 1]}
        for name, rows in found.items():
            out.setdefault(name, np.empty((len(texts), rows.shape[1]), np.float32))[some] = rows
    return out


MADE: dict[str, Any] = {  # of what was passed; the second is that of the documents
    "last 6": lambda f, _: f["last", 6],
    "no special 6": lambda f, _: f["inner", 6],
    "2 beside 4": lambda f, _: np.hstack([f["mean", 2], f["mean", 4]]),
    "5 beside 6": lambda f, _: np.hstack([f["mean", 5], f["mean", 6]]),
    "1 to 3": lambda f, _: (f["mean", 1] + f["mean", 2] + f["mean", 3]) / 3,
    "4 to 6": lambda f, _: (f["mean", 4] + f["mean", 5] + f["mean", 6]) / 3,
    "3, 128 dims": lambda f, _: f["mean", 3][:, :128],
    "6, 64 dims": lambda f, _: f["mean", 6][:, :64],
    "3, signs": lambda f, _: np.sign(f["mean", 3]),
    "6, signs": lambda f, _: np.sign(f["mean", 6]),
    "sum 4": lambda f, _: f["mean", 4] * f["tokens"],
    "3, standardized": lambda f, d: (f["mean", 3] - d["mean", 3].mean(0)) / d["mean", 3].std(0),
    "6, one loud": lambda f, _: f["mean", 6] * np.where(np.arange(384) == 7, 20, 1),
}
BODIES = ("untrained", "infonce .05")


def _untrained() -> Any:
    import torch

    torch.manual_seed(0)
    return type(_encoders.minilm()[1])(_encoders.minilm()[1].config).eval()


def encoders(
    collection: Collection, data: Path, cache: Path
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    base, words = collection.of or collection, collection.name in WORDS

    def rows(found: dict[str, Any]) -> dict[str, np.ndarray]:
        if not collection.of:
            return found
        return {part: found[there][some] for part, (there, some) in collection.rows.items()}

    def passed(body: Any) -> dict[str, Any]:
        return {part: _passed(body, texts) for part, texts in base.parts.items()}

    found = passed(_encoders.minilm()[1])
    first = next(iter(found.values()))
    for name, make in MADE.items():
        yield name, rows({part: make(one, first) for part, one in found.items()})
    for name in BODIES:
        body = _untrained() if name == "untrained" else _encoders.trained(name, data, cache)
        yield name, rows({part: one["mean", 6] for part, one in passed(body).items()})
    for size in (50, 400) if not words else ():
        parts = _encoders.latent(
            base.parts, "lsa", min(size, len(next(iter(base.parts.values()))) - 1)
        )
        yield f"lsa {size}", rows(parts)
    if words:
        yield "tokens", {"texts": _encoders.tokens(list(base.parts["texts"]))}


def words(data: Path) -> Iterator[tuple[Collection, str, dict[str, np.ndarray]]]:
    """Word vectors, where the table has both words of enough pairs."""
    for name, stem in (
        ("glove", "glove6B_50d_top5000"),
        ("word2vec", "w2v_gnews_top1000_300d_unit"),
    ):
        listed = (data / f"static_emb/{stem}.ids.txt").read_text("utf-8").split("\n")
        known = {word.strip().lower() for word in listed}
        for kind in WORDS:
            both = (data / f"wordsim/EN-{kind}.txt").read_text("utf-8").lower().split("\n")
            some = [row.split()[:3] for row in both if {*row.split()[:2]} <= known and row]
            if len(some) >= 60:
                found = _pairs(f"{kind}, {name}", some)
                yield found, name, {"texts": _encoders.words(data, name)(found.parts["texts"])}


def pixels() -> Iterator[tuple[Collection, str, dict[str, np.ndarray]]]:
    X, y = load_digits(return_X_y=True)
    some = drawn(len(X), 800)
    X, names = X[some] + 1e-9, [str(k) for k in some]
    task = Clustering("digits", names, [str(k) for k in y[some]])
    found = Collection("digits", {"texts": names}, {"clusters": task, "classes": task})
    yield found, "pixels", {"texts": X}
    yield found, "pixels, PCA 50", {"texts": PCA(50, random_state=0).fit_transform(X)}
    yield found, "pixels, signs", {"texts": np.sign(X - X.mean(0))}


def everything(data: Path, cache: Path) -> Iterator[tuple[Collection, str, dict[str, np.ndarray]]]:
    yield from words(data)
    yield from pixels()
    for collection in collections(data):
        for name, rows in encoders(collection, data, cache):
            yield collection, name, rows
        print(collection.name, flush=True)


def measured(data: Path, cache: Path) -> Iterator[dict[str, Any]]:
    for collection, name, rows in everything(data, cache):
        path = cache / f"{name}__{collection.name}.json"
        if not path.is_file():
            about = {"collection": collection.name, "texts": collection.texts, "encoder": name}
            about |= {"family": "abroad"} | said(collection, rows)
            path.write_text(json.dumps(list(_cells(about, scores(collection, rows)))), "utf-8")
        yield from json.loads(path.read_text("utf-8"))


def tables(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """By task and side. Queries are like the documents in all of these, so their mean is none."""
    for kind in TASKS:
        for side in SIDES:
            some = [one for one in cells if one["kind"] == kind and side_in(one, kind) == side]
            taken = [setting_in(one, one["chosen"][kind], False) for one in some]
            if some:
                yield {"task": kind, "side": side} | told(some, taken)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    cache = chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-"))
    cells = list(measured(chosen.data, cache))
    report(
        "choose_abroad",
        "What AutoCorrector chooses, where its record was not made",
        list(tables(cells)),
        cells=[compact(cell) for cell in cells],
    )


if __name__ == "__main__":
    main()
