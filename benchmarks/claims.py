"""Published claims about corrections, tried on what can be run here.

Each row: the claim, the paper's figures, ours, and whether the direction holds. MiniLM's inner
layers stand for untuned encoders, its output for tuned ones. Needs the data folder (``--data``)
and isotropy[demo,flow].
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from _common import report, yes_or_no
from scipy.stats import spearmanr

from isotropy import (
    ClusterRemoval,
    ComponentRemoval,
    ConceptorNegation,
    FlowGaussianizer,
    MeanDirectionRemoval,
    MeanRemoval,
    Moments,
    WeightedRemoval,
    Whitening,
    score,
)
from isotropy.evaluate import read_task
from isotropy.ranking import spearman, unit

# Sizes of the subsets of a year, one behind the other in its file (SemEval).
SUBSETS = {
    "sts12-test": (750, 750, 459, 750, 399),
    "sts13-test": (189, 750, 561),
    "sts14-test": (450, 300, 750, 750, 750, 750),
    "sts15-test": (375, 750, 375, 750, 750),
}


def all_layers(cache, name, texts, length=128):
    """(7, n, d): mean-pooled hidden states of every layer, in one forward pass."""
    path = cache / f"{name}.npy"
    if path.is_file():
        return np.load(path)
    import torch

    from isotropy.encoders._models import load

    model = load("minilm", "cpu")
    tokenizer, body = model.tokenizer, model[0].auto_model.eval()
    order, out = np.argsort([-len(text) for text in texts]), None
    for start in range(0, len(texts), 64):
        some = order[start : start + 64]
        batch = tokenizer(
            [texts[i] for i in some],
            padding=True,
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = body(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None].float()
        pooled = torch.stack([(state * mask).sum(1) / mask.sum(1) for state in states]).numpy()
        if out is None:
            out = np.empty((len(states), len(texts), pooled.shape[2]), np.float32)
        out[:, some] = pooled
    np.save(path, out)
    return out


def wmean(found, task):
    """Spearman of each subset, weighted by size; NaN where the subsets are not known."""
    sizes = SUBSETS.get(task.name)
    if sizes is None:
        return np.nan
    ends = np.cumsum([0, *sizes])
    each = [spearman(found[a:b], task.labels[a:b]) for a, b in pairwise(ends)]
    return 100 * np.average(each, weights=sizes)


def cosines(rows, pairs):
    rows = unit(rows)
    return np.einsum("ij,ij->i", rows[pairs[:, 0]], rows[pairs[:, 1]])


INNER = range(6)


class Claims:
    def __init__(self, data, cache):
        self.data, self.cache, self.rows = data, cache, []

    def add(self, source, claim, paper, ours, holds):
        verdict = {True: "holds", False: "does not hold"}.get(holds, holds)
        row = {"source": source, "claim": claim, "paper": paper, "ours": ours, "here": verdict}
        self.rows.append(row)
        print(" | ".join(row.values()), flush=True)

    def sts(self, name):
        task = read_task(self.data / f"sts/{name}.csv", kind="sts")
        return task, all_layers(self.cache, name, task.texts)


def points(task, rows):
    return 100 * spearman(cosines(rows, task.pairs), task.labels)


def mean(values):
    return float(np.mean(values))


def whitening(claims):
    task, states = claims.sts("sts-test")
    raw = [points(task, X) for X in states]
    full, third = (
        [points(task, Whitening(n_components=k).fit_transform(X)) for X in states]
        for k in (None, 128)
    )
    paper = "BERT-base STS-B 59.0 -> 71.3 (target)"
    claims.add(
        "BERT-whitening",
        "whitening beats raw rows of an untuned encoder",
        paper,
        f"layers 0 to 5: {mean(raw[:6]):.1f} -> {mean(full[:6]):.1f}",
        mean(full[:6]) > mean(raw[:6]),
    )
    claims.add(
        "BERT-whitening",
        "a third of the dimensions is as good as all",
        "71.34 (768) -> 71.43 (256)",
        f"layers 0 to 5: {mean(full[:6]):.1f} (384) -> {mean(third[:6]):.1f} (128)",
        mean(third[:6]) > mean(full[:6]) - 0.5,
    )
    claims.add(
        "BERT-whitening",
        "whitening beats raw rows of a tuned encoder too",
        "SBERT-NLI 77.6 -> 80.8 (256)",
        f"output: {raw[6]:.1f} -> {full[6]:.1f}, 128 dims {third[6]:.1f}",
        max(full[6], third[6]) > raw[6],
    )
    X = states[3]
    close = task.labels >= 4
    white = Whitening().fit_transform(X)

    def apart(rows):
        rows = unit(rows)
        a, b = rows[task.pairs[close, 0]], rows[task.pairs[close, 1]]
        return mean(((a - b) ** 2).sum(1)), score(rows, ["uniformity"])["uniformity"]

    (a0, u0), (a1, u1) = apart(X), apart(white)
    claims.add(
        "SimCSE",
        "whitening improves uniformity and worsens alignment",
        "figure only",
        f"layer 3: uniformity {u0:.2f} -> {u1:.2f}, alignment {a0:.2f} -> {a1:.2f}",
        u1 < u0 and a1 > a0,
    )


def target_or_generic(claims):
    lines = (claims.data / "lm/brown_sentences.tsv").read_text("utf-8").splitlines()
    draw = np.random.default_rng(0).permutation(len(lines))[:6000]
    texts = [lines[i].split("\t")[2] for i in draw]
    brown = all_layers(claims.cache, "brown", texts)
    found = {"all": [], "wmean": []}
    for name in SUBSETS:
        task, states = claims.sts(name)
        for layer in INNER:
            for source in (states[layer], brown[layer]):
                Y = Whitening().fit(source).transform(states[layer])
                found["all"].append(points(task, Y))
                found["wmean"].append(wmean(cosines(Y, task.pairs), task))
    target, generic = ({k: mean(v[i::2]) for k, v in found.items()} for i in (0, 1))
    claims.add(
        "SimCSE, table C.1",
        "fitting on the target is worse than on generic text under 'all', better under 'wmean'",
        "all 64.3 against 66.3, wmean 69.2 against 67.6 (NLI)",
        f"all {target['all']:.1f} against {generic['all']:.1f}, wmean {target['wmean']:.1f} "
        f"against {generic['wmean']:.1f} (Brown; STS12 to 15, layers 0 to 5)",
        target["all"] < generic["all"] and target["wmean"] > generic["wmean"],
    )


def ladder(claims):
    """BERT-flow, table 5."""
    task, states = claims.sts("sts-test")
    X = states[0]
    standard = (X - X.mean(0)) / X.std(0)
    steps = {
        "raw": X,
        "standardized": standard,
        "top 1 removed": ComponentRemoval(1).fit_transform(X),
        "top 10 removed": ComponentRemoval(10).fit_transform(X),
        "standardized, top 6 removed": ComponentRemoval(6).fit_transform(standard),
        "whitened": Whitening().fit_transform(X),
        "flow, 5 epochs": FlowGaussianizer(max_iter=5).fit_transform(X),
    }
    found = {name: points(task, rows) for name, rows in steps.items()}
    claims.add(
        "BERT-flow, table 5",
        "a flow beats standardization and removed components",
        "47.3 raw, 55.5, 51.8, 60.4, 63.5, flow 65.6",
        "layer 0: " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()),
        "holds; whitening does as well"
        if abs(found["whitened"] - found["flow, 5 epochs"]) < 0.5
        else max(found, key=found.get) == "flow, 5 epochs",
    )


def word_pairs(path, place):
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    kept = [
        (place[a.lower()], place[b.lower()], float(s))
        for a, b, s in rows
        if a.lower() in place and b.lower() in place
    ]
    return np.array([row[:2] for row in kept], int).reshape(-1, 2), np.array([r[2] for r in kept])


def word_similarity(claims, X, place):
    found, sizes = {}, 0
    for path in sorted((claims.data / "wordsim").glob("EN-*.txt")):
        pairs, scores = word_pairs(path, place)
        if len(pairs) >= 25:
            found[path.stem] = (pairs, scores)
            sizes += len(pairs)

    def average(rows):
        return mean([100 * spearmanr(cosines(rows, p), s)[0] for p, s in found.values()])

    return average, found, sizes


def words(claims):
    from isotropy.encoders._models import load

    model = load("minilm", "cpu")
    table = model[0].auto_model.get_input_embeddings().weight.detach().numpy()
    vocabulary = model.tokenizer.get_vocab()
    place = {word: row for word, row in vocabulary.items() if word.isalpha()}
    average, sets, count = word_similarity(claims, table, place)
    raw = average(table)
    found = {
        "conceptor": average(ConceptorNegation().fit_transform(table)),
        "top 1": average(ComponentRemoval(1).fit_transform(table)),
        "top 3": average(ComponentRemoval(3).fit_transform(table)),
        "whitened": average(Whitening().fit_transform(table)),
    }
    ours = f"MiniLM input table, {count} pairs: raw {raw:.1f}, " + ", ".join(
        f"{name} {value:.1f}" for name, value in found.items()
    )
    claims.add(
        "Learning to Remove, notebook",
        "removing directions of an input table helps word similarity",
        "40.5 raw, conceptor 53.8, top 1 51.9, top 3 54.9 (Pearson)",
        ours,
        f"in {sum(found[name] > raw for name in found)} of {len(found)}",
    )
    largest = max(sets, key=lambda name: len(sets[name][0]))
    pairs, scores = sets[largest]
    learned = WeightedRemoval(20).fit(table, pairs=pairs, pair_scores=scores)
    others = [value for name, value in sets.items() if name != largest]

    def rest(rows):
        return mean([100 * spearmanr(cosines(rows, p), s)[0] for p, s in others])

    best = max(rest(ComponentRemoval(k).fit_transform(table)) for k in (1, 2, 3, 5, 10, 20))
    value = rest(learned.transform(table))
    claims.add(
        "Learning to Remove",
        "learned weights beat plain removal",
        "beats all-but-the-top (abstract)",
        f"learned on {largest}, other sets: {value:.1f}; best plain removal {best:.1f}",
        value > best if abs(value - best) > 0.5 else "no difference",
    )
    folder = claims.data / "static_emb"
    for stem in ("glove6B_50d_top5000", "w2v_gnews_top1000_300d_unit"):
        X = np.load(folder / f"{stem}.npy").astype(np.float64)
        names = (folder / f"{stem}.ids.txt").read_text("utf-8").splitlines()
        place = {name.lower(): row for row, name in reversed(list(enumerate(names)))}
        average, sets, count = word_similarity(claims, X, place)
        if not sets:
            continue
        d = X.shape[1]
        raw = average(X)
        after = average(ComponentRemoval(max(2, d // 100)).fit_transform(X))
        claims.add(
            "All-but-the-top, table 3",
            "removal helps word similarity of static vectors",
            "GloVe WS 73.8 -> 76.8, word2vec 68.3 -> 69.1",
            f"{stem.split('_top')[0]}, {count} pairs of {len(sets)} sets: {raw:.1f} -> {after:.1f}",
            after > raw,
        )


def zipfian(claims):
    folder = claims.data / "static_emb"
    X = np.load(folder / "glove6B_50d_top5000.npy").astype(np.float64)
    names = (folder / "glove6B_50d_top5000.ids.txt").read_text("utf-8").splitlines()
    place = {name.lower(): row for row, name in reversed(list(enumerate(names)))}
    counts = {}
    for line in (claims.data / "wordfreq/enwiki_vocab_min200.txt").read_text("utf-8").splitlines():
        word, number = line.rsplit(None, 1)
        counts[word] = float(number)
    weights = np.array([counts.get(name.lower(), 200.0) for name in names])
    tables = {
        "raw": X,
        "centred": MeanRemoval().fit_transform(X),
        "whitened": Whitening().fit_transform(X),
        "centred, Zipf": MeanRemoval().fit(X, sample_weight=weights).transform(X),
        "whitened, Zipf": Whitening(weight_type="probability")
        .fit(X, sample_weight=weights)
        .transform(X),
    }
    found = {name: [] for name in tables}
    for file in ("sts-test", *SUBSETS):
        task = read_task(claims.data / f"sts/{file}.csv", kind="sts")
        tokens = [[place[w] for w in text.lower().split() if w in place] for text in task.texts]
        for name, table in tables.items():
            rows = np.array([table[t].mean(0) if t else np.zeros(table.shape[1]) for t in tokens])
            found[name].append(points(task, rows))
    values = {name: mean(v) for name, v in found.items()}
    claims.add(
        "Zipfian whitening, table 8",
        "whitening weighted by word frequency beats the uniform one",
        "GloVe 52.7 raw, 50.9, 58.7, centred Zipf 61.0, whitened Zipf 67.8 (average of 7 sets)",
        "GloVe 6B 50d, 5 sets: " + ", ".join(f"{k} {v:.1f}" for k, v in values.items()),
        max(values, key=values.get) == "whitened, Zipf",
    )


def renormalized(claims):
    task = read_task(claims.data / "cls/trec_test.tsv", "classification")
    train = all_layers(claims.cache, "trec-train", task.train_texts)
    test = all_layers(claims.cache, "trec-test", task.test_texts)
    gains, lengths, told, linear = [], [], [], []
    for layer in range(7):
        value = []
        for corrector in (None, MeanRemoval(), MeanDirectionRemoval(), Whitening()):
            X, Z = train[layer], test[layer]
            if corrector is not None:
                X, Z = corrector.fit(X).transform(X), corrector.transform(Z)
            found = task.score({"train": X, "test": Z}).metrics
            value.append(found["accuracy k-NN"])
            linear.append(found["accuracy"])
        gains.append(value[2] - value[0])
        lengths.append(float(np.linalg.norm(unit(train[layer]).mean(0))))
        told.append(f"{layer}: {value[0]:.1f}/{value[1]:.1f}/{value[2]:.1f}")
    related = float(np.corrcoef(gains, lengths)[0, 1])
    claims.add(
        "Renormalisation R1/R2",
        "removing the mean (R1) or its direction (R2) helps classification, more so for long means",
        "gain correlates with the length of the mean (abstract)",
        f"TREC, k-NN, raw/R1/R2 by layer {'; '.join(told)}; mean gain {mean(gains):+.1f}, "
        f"correlation with |mean| {related:.2f}",
        mean(gains) > 0 and related > 0,
    )
    raw, white = mean(linear[0::4]), mean(linear[3::4])
    claims.add(
        "arXiv 2407.12886",
        "whitening does not help a linear classifier",
        "8 models, 7 sets: not recommended",
        f"TREC, logistic regression, mean of 7 layers: raw {raw:.1f}, whitened {white:.1f}",
        white <= raw + 0.2,
    )


def search(claims):
    told, tempered, better = [], [], []
    for name in ("cranfield", "cisi"):
        task = yes_or_no(read_task(claims.data / f"ir/{name}"))
        D = all_layers(claims.cache, f"ir-{name}-documents", list(task.documents), 256)[6]
        Q = all_layers(claims.cache, f"ir-{name}-queries", list(task.queries), 256)[6]

        def ndcg(corrector, task=task, D=D, Q=Q):
            fitted = corrector.fit(D)
            rows = {"documents": fitted.transform(D), "queries": fitted.transform(Q)}
            return task.score(rows).main

        for k in (128, 64):
            powers = {p: ndcg(Whitening(power=p, n_components=k)) for p in (0, 0.25, 0.5, 0.75, 1)}
            value = ndcg(Whitening(power="tempered", n_components=k))
            tempered.append(max(powers.values()) - value)
            told.append(f"{name} {k} dims: {value:.1f}, grid {max(powers.values()):.1f}")
        raw = task.score({"documents": D, "queries": Q}).main
        soft = {e: ndcg(Whitening("zca", epsilon=e)) for e in (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)}
        best = max(soft, key=soft.get)
        better.append((name, raw, ndcg(Whitening("zca")), best, soft[best]))
    claims.add(
        "Spectral tempering",
        "its exponent comes near the best of a grid, without labels",
        "near the grid's best (abstract)",
        "output, nDCG@10: " + "; ".join(told) + f"; mean distance {mean(tempered):.1f}",
        f"in {sum(gap < 1 for gap in tempered)} of {len(tempered)} (within one point)",
    )
    claims.add(
        "Soft-ZCA",
        "a tuned epsilon helps also after contrastive tuning",
        "code search (abstract)",
        "output, nDCG@10: "
        + "; ".join(
            f"{n} raw {r:.1f}, ZCA {w:.1f}, epsilon {e:g}: {v:.1f}" for n, r, w, e, v in better
        ),
        f"in {sum(row[4] > row[1] for row in better)} of {len(better)}",
    )


def clusters(claims):
    told, wins = [], []
    for layer in (0, 3, 5):
        values = []
        for name in ("sts-test", "sts13-test"):
            task, states = claims.sts(name)
            X = states[layer].astype(np.float64)
            values.append(
                [
                    points(task, rows)
                    for rows in (
                        X,
                        ComponentRemoval(12).fit_transform(X),
                        ClusterRemoval(27, 12).fit_transform(X),
                    )
                ]
            )
        raw, plain, local = np.mean(values, 0)
        wins.append(local > plain)
        told.append(f"layer {layer}: raw {raw:.1f}, 12 removed {plain:.1f}, by cluster {local:.1f}")
    claims.add(
        "Cluster-based removal",
        "removing 12 components in each of 27 clusters beats removing them in all rows",
        "beats all-but-the-top on BERT (abstract)",
        "STS-B test and STS13, " + "; ".join(told),
        bool(np.mean(wins) > 0.5),
    )


def degenerate(claims):
    task, states = claims.sts("sts-test")
    del task
    found = []
    for layer in range(7):
        moments = Moments().update(states[layer])
        found.append(score(moments, ["mean_cosine"])["mean_cosine"])
    claims.add(
        "Ethayarajh 2019",
        "upper layers lie in a narrower cone",
        "BERT .11 (0) to .68 (11), .48 (12)",
        "mean cosine by layer: " + ", ".join(f"{value:.2f}" for value in found),
        "in inner layers; the tuned output has none" if found[5] > found[0] else False,
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    claims = Claims(chosen.data, chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-")))
    for part in (
        whitening,
        target_or_generic,
        ladder,
        words,
        zipfian,
        renormalized,
        search,
        clusters,
        degenerate,
    ):
        part(claims)
    report("claims", "Published claims, here", claims.rows)
    print(json.dumps({row["claim"]: row["here"] for row in claims.rows}, indent=1))


if __name__ == "__main__":
    main()
