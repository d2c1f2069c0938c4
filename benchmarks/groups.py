"""What means of their own do for sources in one index and for genres: search, similarity, gaps.

Cranfield and CISI in one index, each asked by its own queries: how many of the ten rows found are
of the other collection, and nDCG@10, beside two separate indexes. STS-B's genres: Spearman over all
pairs, and what is left of the genre. Brown's genres, 1,000 sentences: the genre alone, since there
is no task. Rows of MiniLM's layers are kept in ``--cache``.
"""

import argparse
from pathlib import Path

import numpy as np
from _common import report
from _encoders import encoded
from _sets import collections

from isotropy import ConceptErasure, GroupMeanRemoval, GroupWhitening, MeanRemoval, TaperedWhitening
from isotropy.encoders import encode
from isotropy.metrics import group_gap
from isotropy.ranking import first, ndcg, spearman, unit

ENCODERS = ("mean 1", "mean 3", "mean 5", "mean 6", "cls 6")
SOURCES = ("cranfield", "cisi")


def maps(D, Q, of_rows, of_queries):
    """Name to corrected rows and queries."""

    def both(corrector, **known):
        return corrector.transform(D), corrector.transform_queries(Q, **known)

    yield "none", (D, Q)
    yield "one mean", both(MeanRemoval().fit(D))
    yield "one mean, queries theirs", both(MeanRemoval().fit(D, queries=Q))
    erased = ConceptErasure().fit(D, of_rows)
    yield "source erased", both(erased)
    queries = {"groups": of_rows, "queries": Q, "query_groups": of_queries}
    grouped = {
        "own means": (GroupMeanRemoval(), {"groups": of_rows}),
        "own means, queries theirs": (GroupMeanRemoval(), queries),
        "own means, shared whitening .5": (GroupWhitening(0.5), queries),
        "own means, own whitening .5": (GroupWhitening(0.5, own=True), queries),
    }
    for name, (corrector, known) in grouped.items():
        found = corrector.fit(D, **known)
        asked = found.transform_queries(Q, groups=of_queries)
        yield name, (found.transform(D, groups=of_rows), asked)
    guessed = GroupMeanRemoval().fit(D, **queries)
    yield "own means, sources guessed", (guessed.transform(D), guessed.transform_queries(Q))
    tapered = TaperedWhitening(0.5).fit(D, queries=Q)
    yield "tapered .5, queries theirs", both(tapered)


def searched(D, Q, judged, allowed=None):
    """nDCG@10 of each query and the rows it found; only rows that are `allowed` count."""
    scores = unit(Q) @ unit(D).T
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    found = first(scores.round(9), 10)
    gains = [
        ndcg([item.get(int(row), 0.0) for row in rows], list(item.values()))
        for rows, item in zip(found, judged, strict=True)
    ]
    return 100 * np.array(gains), found


def search(name, sets, data, cache):
    parts = [encoded(name, sets[source], data, cache) for source in SOURCES]
    D, Q = (np.concatenate([p[k] for p in parts]).astype(float) for k in ("documents", "queries"))
    of_rows, of_queries = (
        np.repeat(SOURCES, [len(p[k]) for p in parts]) for k in ("documents", "queries")
    )
    shift = len(parts[0]["documents"])
    judged = [
        {row + k * shift: gain for row, gain in item.items()}
        for k, source in enumerate(SOURCES)
        for item in sets[source].tasks["search"].judged
    ]
    for setting, (Y, R) in maps(D, Q, of_rows, of_queries):
        gains, found = searched(Y, R, judged)
        apart = searched(Y, R, judged, of_queries[:, None] == of_rows)[0]
        gap = group_gap(Y, of_rows)
        yield {
            "encoder": name,
            "setting": setting,
            "wrong source, %": round(
                100 * float((of_rows[found] != of_queries[:, None]).mean()), 1
            ),
            **{
                f"nDCG@10 {source}": round(float(gains[of_queries == source].mean()), 1)
                for source in SOURCES
            },
            **{
                f"separate {source}": round(float(apart[of_queries == source].mean()), 1)
                for source in SOURCES
            },
            "between sources, %": round(100 * gap.variance.value, 1),
            "probe, %": round(100 * gap.probe.value, 1),
            "own source in 10-NN, %": round(100 * gap.neighbors.value, 1),
        }


def moved(rows, g):
    """Name to rows without what they have of their genre, or without other things."""
    return {
        "none": rows,
        "one mean": MeanRemoval().fit_transform(rows),
        "own means": GroupMeanRemoval().fit_transform(rows, groups=g),
        "genre erased": ConceptErasure().fit_transform(rows, g),
        "tapered .5": TaperedWhitening(0.5).fit_transform(rows),
        "own means, shared whitening .5": GroupWhitening(0.5).fit_transform(rows, groups=g),
    }


def genres(name, sets, data, cache):
    rows = encoded(name, sets["sts-test"], data, cache)["texts"].astype(float)
    task = sets["sts-test"].tasks["similarity"]
    lines = (data / "sts/sts-test.csv").read_text("utf-8").split("\n")
    of = {text: line.split("\t")[0] for line in lines for text in line.split("\t")[5:7]}
    g = np.array([of.get(text, "unknown") for text in task.texts])
    for setting, Y in moved(rows, g).items():
        gap = group_gap(Y, g)
        yield {
            "encoder": name,
            "setting": setting,
            "Spearman": round(100 * spearman(task.cosines({"texts": Y}), task.labels), 1),
            "between genres, %": round(100 * gap.variance.value, 1),
            "probe, %": round(100 * gap.probe.value, 1),
            "own genre in 10-NN, %": round(100 * gap.neighbors.value, 1),
        }


def brown(name, sets, data, cache):
    """The genre of sentences of the Brown corpus, at MiniLM's output."""
    lines = (data / "lm/brown_sentences.tsv").read_text("utf-8").split("\n")
    lines = [line.split("\t") for line in lines if line.count("\t") == 2]
    lines = [lines[k] for k in np.random.default_rng(0).permutation(len(lines))[:1000]]
    path = cache / "output__brown__texts.npy"
    if not path.is_file():
        np.save(path, encode("minilm", [line[2] for line in lines]))
    rows, g = np.load(path).astype(float), np.array([line[0] for line in lines])
    for setting, Y in moved(rows, g).items():
        gap = group_gap(Y, g)
        yield {
            "setting": setting,
            "between genres, %": round(100 * gap.variance.value, 1),
            "by chance": round(100 * gap.variance.floor, 1),
            "probe, %": round(100 * gap.probe.value, 1),
            "largest genre, %": round(100 * gap.probe.floor, 1),
            "own genre in 10-NN, %": round(100 * gap.neighbors.value, 1),
            "10-NN by chance, %": round(100 * gap.neighbors.floor, 1),
        }


options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--data", type=Path, required=True)
options.add_argument("--cache", type=Path, required=True)
options.add_argument("--quick", action="store_true", help="one encoder; writes no file")
options.add_argument("--only", help="one table, by the name of its file")
chosen = options.parse_args()
sets = {c.name: c for c in collections(chosen.data)}
measures = {
    "groups": ("Cranfield and CISI (900 documents each) in one index, MiniLM", search, ENCODERS),
    "groups_genres": ("Genres of STS-B test (600 pairs), MiniLM", genres, ENCODERS),
    "groups_brown": ("Genres of Brown, 1,000 sentences, MiniLM's output", brown, ("mean 6",)),
}
for name, (title, measure, encoders) in measures.items():
    if chosen.only not in (None, name):
        continue
    found = [
        row
        for encoder in (encoders[-2:][:1] if chosen.quick else encoders)
        for row in measure(encoder, sets, chosen.data, chosen.cache / "rows")
    ]
    report(name, title, found, write=not chosen.quick)
