"""What means of their own do for search across languages whose truth is known.

No encoder of many languages is at hand, so languages are made: MiniLM's rows of sentences (their
128 leading components), for each language moved by a shift of its own, and in later worlds also
turned a little, scaled along the principal axes, and with noise for each sentence. Sentences that
are translations of one another are copies of the same row. Corrections learn from sentences that
are none of those searched for, others in each language, unless a line says "same sentences".

"translation first" is the share of queries that find their translation first in another language's
index, mean of all pairs of languages. In one index of all languages, "own language" is the share of
the ten rows found that are of the query's language (chance: the share of such rows), and
"translations found" that of its three translations among the first three. "languages apart" is the
distance of translations from their mean, as a share of the spread of sentences: 0 where every
language says the same in the same row.
"""

import argparse
from pathlib import Path

import numpy as np
from _common import report
from _encoders import encoded
from _sets import collections
from scipy.linalg import expm

from isotropy import ConceptErasure, GroupMeanRemoval, GroupWhitening, MeanRemoval, Whitening
from isotropy.ranking import unit

LANGUAGES, DIMS, ASKED = 4, 128, 400
TEXTS = ("agnews", "banking77", "searchsnippets", "stackoverflow", "tweet", "trec", "cisi")


def sentences(data, cache):
    """Rows in another order, in their leading components."""
    sets = {c.name: c for c in collections(data)}
    parts = [next(iter(encoded("mean 6", sets[name], data, cache).values())) for name in TEXTS]
    rows = np.concatenate(parts).astype(float)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    apart = rows - rows.mean(0)
    axes = np.linalg.svd(apart, full_matrices=False)[2][:DIMS]
    return rows @ axes.T / apart.std() / np.sqrt(DIMS)


def worlds(rng):
    """Name to what each language does to rows, and how large its noise is."""
    shifts = rng.normal(size=(LANGUAGES, DIMS))
    shifts *= 1.0 / np.linalg.norm(shifts, axis=1, keepdims=True)
    turns = rng.normal(size=(LANGUAGES, DIMS, DIMS)) * 0.3 / np.sqrt(DIMS)
    turns = [expm((turn - turn.T) / 2) for turn in turns]
    scales = [np.diag(np.exp(s)) for s in rng.normal(size=(LANGUAGES, DIMS)) * 0.5]
    eye = [np.eye(DIMS)] * LANGUAGES
    yield "shift", list(zip(eye, shifts, strict=True)), 0.0
    yield "shift and noise", list(zip(eye, shifts, strict=True)), 0.5
    yield "shift and scales", list(zip(scales, shifts, strict=True)), 0.0
    yield "shift, turn and noise", list(zip(turns, shifts, strict=True)), 0.5


def spoken(rows, language, noise, rng):
    turn, shift = language
    return rows @ turn + shift + noise * rng.normal(size=rows.shape) * rows.std(0)


def corrections():
    """Name to a corrector, and whether it is told the language when rows are corrected."""
    yield "none", None, False
    yield "one mean", MeanRemoval(), False
    yield "one whitening 1", Whitening(), False
    yield "language erased", ConceptErasure(), False
    yield "language erased, centred", ConceptErasure(), False
    yield "own means", GroupMeanRemoval(), True
    yield "own means, language guessed", GroupMeanRemoval(), False
    yield "own means, shared whitening 1", GroupWhitening(1.0), True
    yield "own means, own whitening 1", GroupWhitening(1.0, own=True), True


def corrected(name, corrector, told, learnt, known, rows, codes):
    if corrector is None:
        return rows
    if isinstance(corrector, ConceptErasure):
        corrector.fit(learnt, known)
    elif isinstance(corrector, GroupMeanRemoval):
        corrector.fit(learnt, groups=known)
    else:
        corrector.fit(learnt)
    found = corrector.transform(rows, **({"groups": codes} if told else {}))
    return found - corrector.mean_ if name.endswith("centred") else found


def measured(rows, codes, sentence):
    rows = unit(rows)
    scores = (rows @ rows.T).round(9)
    np.fill_diagonal(scores, -np.inf)
    first = []
    for a in range(LANGUAGES):
        for b in set(range(LANGUAGES)) - {a}:
            found = scores[np.ix_(codes == a, codes == b)].argmax(1)
            first.append((sentence[codes == b][found] == sentence[codes == a]).mean())
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return {
        "translation first, %": round(100 * float(np.mean(first)), 1),
        "translations found, %": round(
            100 * float((sentence[order[:, : LANGUAGES - 1]] == sentence[:, None]).mean()), 1
        ),
        "own language in 10, %": round(100 * float((codes[order] == codes[:, None]).mean()), 1),
    }


def apart(rows, codes):
    """Distance of translations from their mean; 0 where all languages agree."""
    stacked = np.stack([rows[codes == k] for k in range(LANGUAGES)])
    middle = stacked.mean(0)
    return float(np.sqrt(np.square(stacked - middle).mean() / middle.var(0).mean()))


options = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
options.add_argument("--data", type=Path, required=True)
options.add_argument("--cache", type=Path, required=True)
options.add_argument("--quick", action="store_true", help="one world; writes no file")
chosen = options.parse_args()
base = sentences(chosen.data, chosen.cache / "rows")
asked, others = base[:ASKED], np.array_split(base[ASKED:], LANGUAGES)
sentence, codes = np.tile(np.arange(ASKED), LANGUAGES), np.repeat(np.arange(LANGUAGES), ASKED)
lines = []
for world, languages, noise in list(worlds(np.random.default_rng(1)))[
    : 1 if chosen.quick else None
]:
    rng = np.random.default_rng(2)
    rows = np.concatenate([spoken(asked, one, noise, rng) for one in languages])
    known = np.repeat(np.arange(LANGUAGES), [len(some) for some in others])
    learnt = np.concatenate(
        [spoken(some, one, noise, rng) for some, one in zip(others, languages, strict=True)]
    )
    tried = [(name, c, told, learnt, known) for name, c, told in corrections()]
    tried.append(("own means, same sentences", GroupMeanRemoval(shrinkage=0), True, rows, codes))
    for name, corrector, told, fitted, groups in tried:
        found = corrected(name, corrector, told, fitted, groups, rows, codes)
        lines.append(
            {
                "world": world,
                "setting": name,
                **measured(found, codes, sentence),
                "languages apart": f"{apart(found, codes):.2g}",
            }
        )
title = (
    f"{LANGUAGES} made languages, {len(base) - ASKED:,} sentences to learn from, {DIMS} dimensions"
)
report(
    "languages",
    title,
    lines,
    write=not chosen.quick,
    chance=round(100 * (ASKED - 1) / (LANGUAGES * ASKED - 1), 1),
)
