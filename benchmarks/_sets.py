"""Small text collections with what people said of them, as tasks of `isotropy.evaluate`."""

from __future__ import annotations

import csv
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
# Collections whose rows came with them: name to the encoders that made them.
QUOTES = {
    "bert, mean": "bert_base_uncased_meanpool",
    "minilm, as published": "all_MiniLM_L6_v2",
    "mpnet": "all_mpnet_base_v2",
}


@dataclass
class Collection:
    """Texts by part, and the tasks that they serve: name of the kind to task.

    Where rows are some of those of another collection (`of`) or of files (`published`, by
    encoder), `rows` has for each part the part there and the numbers of the rows.
    """

    name: str
    parts: dict[str, list[str]]
    tasks: dict[str, Any] = field(default_factory=dict)
    of: Collection | None = None
    rows: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    published: dict[str, Path] = field(default_factory=dict)

    @property
    def texts(self) -> str:
        """Whose texts these are: what is left out together."""
        return self.of.name if self.of else self.name


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


def headlines(data: Path) -> Collection:
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


def bodies(titles: Collection) -> Collection:
    """The same the other way: which title has this article?"""
    asked, judged = titles.parts["queries"], titles.tasks["search"].judged
    place = [next(iter(item)) for item in judged]
    task = Retrieval(
        "agnews-bodies",
        asked,
        [titles.parts["documents"][k] for k in place],
        [{k: 1.0} for k in range(len(asked))],
    )
    rows = {"documents": ("queries", list(range(len(asked)))), "queries": ("documents", place)}
    return _searched(task, rows, of=titles)


def partners(collection: Collection) -> Collection:
    """Which text says the same as this one? Queries and documents are of one kind."""
    task, texts = next(iter(collection.tasks.values())), collection.parts["texts"]
    same = task.same if isinstance(task, PairClassification) else np.asarray(task.scores) >= 4
    pairs = [(a, b) for a, b, s in zip(task.left, task.right, same, strict=True) if s and a != b]
    wanted: dict[str, set[str]] = {}
    taken: set[str] = set()
    for a, b in pairs:
        if b not in wanted and a not in taken:
            wanted.setdefault(a, set()).add(b)
            taken.add(b)
    place = {text: k for k, text in enumerate(texts)}
    documents = [text for text in texts if text not in wanted]
    row = {text: k for k, text in enumerate(documents)}
    judged = [{row[b]: 1.0 for b in found} for found in wanted.values()]
    task = Retrieval(f"{collection.name}, partners", documents, list(wanted), judged)
    rows = {part: ("texts", [place[text] for text in some]) for part, some in task.parts.items()}
    return _searched(task, rows, of=collection)


def quotes(data: Path) -> Collection:
    """Another quote of the same film, by rows that encoders elsewhere made."""
    with (data / "sent_emb/moviequotes718.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    films = [line["movie"] for line in lines]
    known = [k for k, film in enumerate(films) if films.count(film) > 1]
    asked = [k for k in known if films.index(films[k]) == k or k % 2]
    left = [k for k in range(len(films)) if k not in set(asked)]
    judged = [{j: 1.0 for j, row in enumerate(left) if films[row] == films[k]} for k in asked]
    asked = [k for k, item in zip(asked, judged, strict=True) if item]
    judged = [item for item in judged if item]
    task = Retrieval(
        "quotes", [lines[k]["quote"] for k in left], [lines[k]["quote"] for k in asked], judged
    )
    files = {name: data / f"sent_emb/moviequotes718_{stem}.npy" for name, stem in QUOTES.items()}
    return _published(task, left, asked, files)


def bill(data: Path) -> Collection:
    """The piece of a law before or after this one, by ada-002."""
    texts = (data / "sent_emb/financebill_openai_ada002.ids.txt").read_text("utf-8").split("\n")
    n = 187
    asked = list(range(1, n, 3))
    left = [k for k in range(n) if k % 3 != 1]
    judged = [{k: 1.0 for k, row in enumerate(left) if abs(row - query) == 1} for query in asked]
    task = Retrieval("bill", [texts[k] for k in left], [texts[k] for k in asked], judged)
    file = data / "sent_emb/financebill_openai_ada002.npy"
    return _published(task, left, asked, {"ada-002": file})


def _published(task: Any, left: list[int], asked: list[int], files: dict[str, Path]) -> Collection:
    return _searched(task, {"documents": ("", left), "queries": ("", asked)}, published=files)


def _searched(task: Any, rows: dict[str, tuple[str, list[int]]], **more: Any) -> Collection:
    parts = {part: list(texts) for part, texts in task.parts.items()}
    return Collection(task.name, parts, {"search": task}, rows=rows, **more)


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
    pairs = [similarity(data, name, known) for name in STS_SETS]
    pairs.append(paraphrases(data))
    headed = headlines(data)
    return [
        *pairs,
        *(partners(one) for one in pairs if one.name in ("sts12-test", "sts14-test", "msrp")),
        *(labelled(data, name) for name in LABELLED),
        headed,
        bodies(headed),
        search(data, "cranfield"),
        search(data, "cisi"),
        quotes(data),
        bill(data),
    ]
