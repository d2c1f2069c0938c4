"""Small text collections with what people said of them, as tasks of `isotropy.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _common import yes_or_no

from isotropy.evaluate import STS, Clustering, PairClassification, Retrieval, read_task

PAIRS = 600
TEXTS = 900
STS_SETS = ("sts12-test", "sts14-test", "sts15-test", "sts-test")
LABELLED = {
    "banking77": "banking77_test",
    "trec": "trec_train",
    "agnews": "agnews_test",
    "stackoverflow": "stackoverflow20",
    "searchsnippets": "searchsnippets",
    "tweet": "tweet",
}

# Those that encoders trained here are tried on.
TRAINED_ON = (
    "sts14-test", "sts-test", "msrp", "trec", "agnews", "stackoverflow", "searchsnippets", "tweet",
    "agnews-titles", "cranfield",
)  # fmt: skip


@dataclass
class Collection:
    """Texts by part, and the tasks that they serve: name of the kind to task."""

    name: str
    parts: dict[str, list[str]]
    tasks: dict[str, Any] = field(default_factory=dict)


def plain(text: str) -> str:
    """Letters and digits alone: the same text in another tokenisation is the same."""
    return "".join(c for c in text.lower() if c.isalnum())


def drawn(n: int, wanted: int, seed: int = 0) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(n)[:wanted])


def similarity(data: Path, name: str, known: set[str]) -> Collection:
    """Pairs that no encoder here was trained on."""
    task = read_task(data / f"sts/{name}.csv", kind="sts")
    assert isinstance(task, STS)
    fresh = [
        k
        for k, (a, b) in enumerate(zip(task.left, task.right, strict=True))
        if plain(a) not in known or plain(b) not in known
    ]
    some = [fresh[k] for k in drawn(len(fresh), PAIRS)]
    task = STS(
        name,
        [task.left[k] for k in some],
        [task.right[k] for k in some],
        [task.scores[k] for k in some],
    )
    return Collection(name, {"texts": task.texts}, {"similarity": task})


def paraphrases(data: Path) -> Collection:
    """The second half of the corpus; encoders may be trained on the first."""
    task = read_task(data / "msrp/msr-para-train.tsv")
    assert isinstance(task, PairClassification)
    some = drawn(len(task.left) - 1800, PAIRS) + 1800
    task = PairClassification(
        "msrp",
        [task.left[k] for k in some],
        [task.right[k] for k in some],
        [task.labels[k] for k in some],
    )
    return Collection("msrp", {"texts": task.texts}, {"pairs": task})


def search(data: Path, name: str) -> Collection:
    """A part of the documents, and the queries that some of them answer."""
    task = yes_or_no(read_task(data / f"ir/{name}"))
    kept = drawn(len(task.documents), TEXTS)
    place = {int(row): k for k, row in enumerate(kept)}
    judged = [{place[row]: 1.0 for row in item if row in place} for item in task.judged]
    asked = [k for k, item in enumerate(judged) if item]
    task = Retrieval(
        name,
        [task.documents[k] for k in kept],
        [task.queries[k] for k in asked],
        [judged[k] for k in asked],
    )
    return Collection(name, {k: list(v) for k, v in task.parts.items()}, {"search": task})


def titles(data: Path) -> Collection:
    """AG News: which article has this title? Titles end at the first full stop."""
    rows = (data / "cls/agnews_test.tsv").read_text("utf-8").split("\n")[1:-1]
    cut = [row.split("\t")[1].split(". ", 1) for row in rows]
    cut = [one for one in cut if len(one) == 2 and 20 < len(one[0]) < 120 and len(one[1]) > 60]
    cut = [cut[k] for k in drawn(len(cut), TEXTS, 1)]
    asked = list(range(0, len(cut), 3))
    task = Retrieval(
        "agnews-titles",
        [body for _, body in cut],
        [cut[k][0] for k in asked],
        [{k: 1.0} for k in asked],
    )
    return Collection(task.name, {k: list(v) for k, v in task.parts.items()}, {"search": task})


def labelled(data: Path, name: str) -> Collection:
    task = read_task(data / f"cls/{LABELLED[name]}.tsv")
    texts, labels = (
        (task.texts, task.labels)
        if isinstance(task, Clustering)
        else _both(data / f"cls/{LABELLED[name]}.tsv")
    )
    # Labels of fewer than five texts are left out.
    some = drawn(len(texts), TEXTS if name != "tweet" else 1100)
    seen = {str(labels[k]): 0 for k in some}
    for k in some:
        seen[str(labels[k])] += 1
    some = [k for k in some if seen[str(labels[k])] >= 5]
    task = Clustering(name, [texts[k] for k in some], [labels[k] for k in some])
    return Collection(name, {"texts": list(task.texts)}, {"clusters": task, "classes": task})


def _both(path: Path) -> tuple[list[str], list[str]]:
    task = read_task(path, kind="classification")
    side = "train" if path.stem.endswith("train") else "test"
    return getattr(task, f"{side}_texts"), getattr(task, f"{side}_labels")


def training_texts(data: Path) -> set[str]:
    lines = (data / "sts/sts-train.csv").read_text("utf-8").split("\n")
    return {plain(text) for line in lines for text in line.split("\t")[5:7]}


def collections(data: Path) -> list[Collection]:
    known = training_texts(data)
    found = [similarity(data, name, known) for name in STS_SETS]
    found += [paraphrases(data), *(labelled(data, name) for name in LABELLED)]
    found += [titles(data), search(data, "cranfield"), search(data, "cisi")]
    return found
