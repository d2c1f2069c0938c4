"""How far from the best setting is the correction that AutoCorrector chooses?

Cells are data set x layer of MiniLM (0 to 6, and the mean of first and last). Regret is the
distance in points to the best of 24 settings in that cell; hurt are cells worse than raw by over
0.5. Needs the STS files and retrieval collections (``--data``, with folders sts and ir) and
isotropy[demo].
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from _common import report, timed, yes_or_no

from isotropy import AutoCorrector, ComponentRemoval, MeanRemoval, Moments, Whitening
from isotropy.choose import word_dropout
from isotropy.evaluate import STS, read_task
from isotropy.ranking import spearman, unit

SETS = ("sts-train", "sts-dev", "sts-test", "sts12-test", "sts13-test", "sts14-test", "sts15-test")
LAYERS = (*range(7), "first-last")
PAIRS, DRAWS = 200, 5
# Sizes of the subsets of a year, one behind the other in its file (SemEval).
SUBSETS = {
    "sts12-test": (750, 750, 459, 750, 399),
    "sts13-test": (189, 750, 561),
    "sts14-test": (450, 300, 750, 750, 750, 750),
    "sts15-test": (375, 750, 375, 750, 750),
}


def settings():
    """The 24 settings; the first leaves rows alone."""
    found = {"raw": None, "centred": MeanRemoval()}
    found |= {f"top {k} removed": ComponentRemoval(k) for k in (1, 2, 3, 5, 8, 12)}
    for power in (0.25, 0.5, 0.75, 1.0):
        for k in (None, 256, 128, 64):
            found[f"power {power}, {k or 'all'} dims"] = Whitening(power=power, n_components=k)
    return found


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


def at(states, layer):
    return (states[0] + states[6]) / 2 if layer == "first-last" else states[layer]


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


def similarity(data, cache):
    """For each cell: raw, the best of 24, and what each way of choosing gets."""
    cells = []
    for name in SETS:
        task = read_task(data / f"sts/{name}.csv", kind="sts")
        assert isinstance(task, STS)
        states = all_layers(cache, name, task.texts)
        shorter = all_layers(cache, f"{name}-shorter", word_dropout(task.texts))
        for layer in LAYERS:
            X, V = at(states, layer), at(shorter, layer)
            moments = Moments(unit="sums", order=2).update(X)

            def points(fitted, X=X, task=task):
                Y = X if fitted is None else fitted.affine_map_.apply(X.astype(np.float64))
                found = cosines(Y, task.pairs)
                return np.array([100 * spearman(found, task.labels), wmean(found, task)])

            fixed = {
                title: points(None if setting is None else setting.fit_moments(moments))
                for title, setting in settings().items()
            }
            chosen = {
                "embeddings alone": AutoCorrector().fit(X),
                "texts": AutoCorrector().fit(X, texts=task.texts),
                "views (word dropout, InfoNCE)": AutoCorrector(criterion="views").fit(X, views=V),
            }
            cell = {"set": name, "layer": layer, **fixed}
            cell |= {title: points(fitted) for title, fitted in chosen.items()}
            cell["texts chose"] = chosen["texts"].chosen_
            draw = np.random.default_rng(0)
            for title, more in ((f"{PAIRS} pairs", {}), (f"{PAIRS} pairs and texts", None)):
                cell[title] = []
                for _ in range(DRAWS):
                    some = draw.permutation(len(task.pairs))[:PAIRS]
                    fitted = AutoCorrector().fit(
                        X,
                        pairs=task.pairs[some],
                        pair_scores=task.labels[some],
                        **({"texts": task.texts} if more is None else more),
                    )
                    cell[title].append(points(fitted))
            # "all" under the plain name, "wmean" under another.
            for title, values in list(cell.items()):
                if isinstance(values, np.ndarray | list):
                    both = np.atleast_2d(values)
                    plain = both[:, 0].tolist(), both[:, 1].tolist()
                    one = isinstance(values, np.ndarray)
                    cell[title] = plain[0][0] if one else plain[0]
                    if name in SUBSETS:
                        cell[f"{title}, wmean"] = plain[1][0] if one else plain[1]
            cells.append(cell)
        print(name, flush=True)
    return cells


def regrets(cells, titles, way=""):
    """A row a way of choosing; each set's mean beside, which is what leaving it out would show."""
    found = []
    for title in titles:
        regret, hurt, by_set = [], 0, {}
        for cell in cells:
            best = max(cell[setting + way] for setting in settings())
            values = np.atleast_1d(cell[title + way])
            regret += (best - values).tolist()
            by_set.setdefault(cell["set"], []).extend((best - values).tolist())
            hurt += int((values < cell["raw" + way] - 0.5).sum())
        found.append(
            {
                "choice": title,
                "mean regret": round(float(np.mean(regret)), 2),
                "worst": round(max(regret), 1),
                "hurt": f"{hurt} of {len(regret)}",
                **{name: round(float(np.mean(values)), 1) for name, values in by_set.items()},
            }
        )
    return found


def left_out(cells):
    """The best single setting of the other sets, in each set: what hindsight is worth."""
    names, regret, hurt = [name for name in settings() if name], [], 0
    for name in SETS:
        others = [cell for cell in cells if cell["set"] != name]
        best = max(names, key=lambda s, others=others: sum(cell[s] for cell in others))
        for cell in cells:
            if cell["set"] == name:
                regret.append(max(cell[s] for s in names) - cell[best])
                hurt += cell[best] < cell["raw"] - 0.5
    return {
        "choice": "best single setting of the other sets",
        "mean regret": round(float(np.mean(regret)), 2),
        "worst": round(max(regret), 1),
        "hurt": f"{hurt} of {len(regret)}",
    }


def retrieval(data, cache):
    found = []
    for name in ("cranfield", "cisi"):
        task = yes_or_no(read_task(data / f"ir/{name}"))
        D = all_layers(cache, f"ir-{name}-documents", list(task.documents), 256)
        Q = all_layers(cache, f"ir-{name}-queries", list(task.queries), 256)
        for layer in range(7):
            documents, queries = D[layer].astype(np.float64), Q[layer].astype(np.float64)

            def points(one, other, task=task):
                return task.score({"documents": one, "queries": other}).main

            moments = Moments(unit="sums", order=2).update(documents)
            fixed = {}
            for title, setting in settings().items():
                if setting is None:
                    fixed[title] = points(documents, queries)
                    continue
                affine = setting.fit_moments(moments).affine_map_
                fixed[title] = points(affine.apply(documents), affine.apply(queries))
            auto = AutoCorrector().fit(documents, texts=task.documents, queries=queries)
            alone = AutoCorrector().fit(documents)
            best = max(fixed, key=fixed.__getitem__)
            found.append(
                {
                    "collection": name,
                    "layer": layer,
                    "raw": round(fixed["raw"], 1),
                    "best of 24": round(fixed[best], 1),
                    "which": best,
                    "embeddings alone": round(
                        points(alone.transform(documents), alone.transform(queries)), 1
                    ),
                    "texts": round(points(auto.transform(documents), auto.transform(queries)), 1),
                    "texts, queries' own mean": round(
                        points(auto.transform(documents), auto.transform_queries(queries)), 1
                    ),
                    "chosen": auto.chosen_,
                }
            )
    return found


def seconds():
    X = np.random.default_rng(0).standard_normal((100_000, 768), dtype=np.float32) + 1
    tasks = {
        "Whitening": lambda: Whitening().fit(X),
        "AutoCorrector": lambda: AutoCorrector().fit(X),
    }
    found = {name: float(np.median(values)) for name, values in timed(tasks, 5).items()}
    return round(found["AutoCorrector"] / found["Whitening"], 2)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    cache = chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-"))
    ratio = seconds()
    report("choose_time", "Embeddings alone, 100,000 x 768", [{"AutoCorrector / Whitening": ratio}])
    found = retrieval(chosen.data, cache)
    report("choose_retrieval", "nDCG@10 x 100, fitted on the documents", found)
    for title in ("embeddings alone", "texts", "texts, queries' own mean"):
        gap = [row["best of 24"] - row[title] for row in found]
        worst = min(row[title] - row["raw"] for row in found)
        print(f"{title}: mean regret {np.mean(gap):.2f}, least gain over raw {worst:+.1f}")
    cells = similarity(chosen.data, cache)
    fixed = list(settings())
    mean = {name: np.mean([cell[name] for cell in cells]) for name in fixed}
    hindsight = max(mean, key=mean.__getitem__)
    titles = ["raw", "power 1.0, all dims", hindsight, "embeddings alone"]
    titles += ["views (word dropout, InfoNCE)", "texts"]
    titles += [f"{PAIRS} pairs", f"{PAIRS} pairs and texts"]
    rows = [*regrets(cells, titles), left_out(cells)]
    report("choose", 'Regret in points of Spearman, "all"', rows, cells=cells)
    years = [cell for cell in cells if cell["set"] in SUBSETS]
    report("choose_wmean", 'The same, "wmean", STS12 to 15', regrets(years, titles, ", wmean"))


if __name__ == "__main__":
    main()
