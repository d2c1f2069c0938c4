"""Texts and images in one index: what a mean of its own for each modality does to mixed search.

Two small towers are trained together (InfoNCE) on scikit-learn's digits and sentences that tell the
digit, how much ink it takes and how it leans: a text tower on the mean of MiniLM's token vectors,
an image tower on the pixels. The index holds one half of the test items as images, the other half
as sentences, worded as no training sentence was. A query of either kind is about an item of the
same digit, ink and lean. Corrections are learned from the index, without pairs. Towers are shown at
several temperatures and lengths of training: the gap between modalities depends on both.
"""

import argparse

import numpy as np
import torch
from _common import report
from sklearn.datasets import load_digits

from isotropy import GroupMeanRemoval, GroupWhitening, MeanRemoval
from isotropy.encoders import bundled_minilm
from isotropy.metrics import group_gap, modality_gap
from isotropy.ranking import first, ndcg, unit

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
INK = (("thin", "faint", "fine"), ("plain", "regular", "normal"), ("bold", "thick", "heavy"))
LEAN = (
    ("leaning left", "tilted to the left", "that falls to the left"),
    ("standing upright", "straight", "that stands up straight"),
    ("leaning right", "tilted to the right", "that falls to the right"),
)
WORDINGS = (
    "a {ink} {digit} {lean}",
    "this is the {parity} digit {digit}, {ink}, {lean}",
    "somebody wrote a {digit} {lean} with a {ink} pen",
    "handwritten {digit}, {ink} strokes, {lean}",
    "the number {digit} in {ink} ink, {lean}",
    "a scan of a {ink} figure {lean}: {digit}",
)
HELD_OUT = (
    "an {parity} number, {digit}, drawn in {ink} lines, {lean}",
    "picture of {digit} {lean}, written {ink}",
)
SETTINGS = {
    "none": None,
    "one mean for all": MeanRemoval(normalize="both"),
    "own means": GroupMeanRemoval(normalize="both"),
    "own means, shared whitening .5": GroupWhitening(0.5, normalize="both"),
    "own means, shared whitening 1": GroupWhitening(1.0, normalize="both"),
    "own means, own whitening .5": GroupWhitening(0.5, own=True, normalize="both"),
}


def digits():
    """Pixels, and (digit, ink, lean) of each image; ink and lean by terciles within a digit."""
    images, digit = load_digits(return_X_y=True)
    square = images.reshape(-1, 8, 8)
    row, column = np.mgrid[:8, :8] - 3.5
    ink = square.sum((1, 2))
    centered = [(square * axis).sum((1, 2)) / ink for axis in (row, column)]
    lean = -((square * row * column).sum((1, 2)) / ink - centered[0] * centered[1])
    labels = np.stack([digit, digit, digit], 1)
    for k, values in ((1, ink), (2, lean)):
        for d in range(10):
            mine = digit == d
            labels[mine, k] = np.digitize(values[mine], np.quantile(values[mine], [1 / 3, 2 / 3]))
    return torch.tensor(images / 16, dtype=torch.float32), labels


def sentence(label, wordings, rng):
    digit, ink, lean = label
    return rng.choice(wordings).format(
        digit=NAMES[digit],
        parity=("even", "odd")[digit % 2],
        ink=rng.choice(INK[ink]),
        lean=rng.choice(LEAN[lean]),
    )


def words():
    """From sentences to the mean of their tokens' vectors in MiniLM's input table."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(bundled_minilm()))
    table = model[0].auto_model.get_input_embeddings().weight.detach()
    table = (table - table.mean(0)) / table.std()

    def mean(sentences):
        tokens = model.tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
        return torch.stack([table[ids].mean(0) for ids in tokens])

    return mean


def tower(width, hidden, out=64):
    return torch.nn.Sequential(
        torch.nn.Linear(width, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, out),
    )


def trained(images, labels, embed, steps, temperature, seed):
    """The towers of texts and images after the longest training, and at each step of `steps`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    towers = {"text": tower(384, 256), "image": tower(64, 256)}
    weights = [w for part in towers.values() for w in part.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01)
    vectors = [embed([sentence(x, WORDINGS, rng) for x in labels]) for _ in range(8)]
    for step in range(max(steps) + 1):
        if step in steps:
            yield step, towers
        some = rng.integers(0, len(images), 256)
        texts = torch.nn.functional.normalize(
            towers["text"](vectors[rng.integers(len(vectors))][some])
        )
        pictures = torch.nn.functional.normalize(towers["image"](images[some]))
        logits, right = texts @ pictures.T / temperature, torch.arange(len(some))
        loss = torch.nn.functional.cross_entropy(logits, right)
        loss = loss + torch.nn.functional.cross_entropy(logits.T, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def quality(asked, of_asked, rows, of_rows, itself):
    """Mean nDCG@10 of queries that ask for rows of their label; a row does not find itself."""
    scores = unit(asked) @ unit(rows).T
    if itself is not None:
        scores[np.arange(len(asked)), itself] = -np.inf
    gains = []
    for k, found in enumerate(first(scores.round(9), 10)):
        right = (of_rows == of_asked[k]).astype(float)
        if itself is not None:
            right[itself[k]] = 0
        if right.any():
            gains.append(ndcg(right[found].tolist(), right[right > 0].tolist()))
    return 100 * float(np.mean(gains))


def searched(parts, setting):
    """Figures of one setting: mixed search, search within a modality and across, and gaps."""
    rows = np.concatenate([parts[k]["rows"] for k in ("text", "image")])
    kind = np.repeat(["text", "image"], [len(parts[k]["rows"]) for k in ("text", "image")])
    of_rows = np.concatenate([parts[k]["labels"] for k in ("text", "image")])
    corrector = SETTINGS[setting]
    if corrector is None:

        def apply(X, groups):
            return X
    elif isinstance(corrector, MeanRemoval):
        corrector.fit(rows)

        def apply(X, groups):
            return corrector.transform(X)
    else:
        corrector.fit(rows, groups=kind)

        def apply(X, groups):
            return corrector.transform(X, groups=groups)

    Y = apply(rows, kind)
    asked = {k: apply(parts[k]["queries"], np.repeat(k, len(parts[k]["queries"]))) for k in parts}
    wanted = {k: parts[k]["asked"] for k in parts}
    found = {f"{k} to both": quality(asked[k], wanted[k], Y, of_rows, None) for k in parts}
    figures = {"mixed": np.mean(list(found.values())), **found}
    for a in parts:
        for b in parts:
            mine = kind == b
            figures[f"{a} to {b}"] = quality(asked[a], wanted[a], Y[mine], of_rows[mine], None)
    figures["gap"] = 100 * modality_gap(Y[kind == "text"], Y[kind == "image"]).value
    figures["own modality in 10-NN, %"] = 100 * group_gap(unit(Y), kind).neighbors.value
    return figures


def tower_rows(towers, kind, which, told, images, embed):
    with torch.no_grad():
        given = embed([told[i] for i in which]) if kind == "text" else images[which]
        return unit(towers[kind](given).double().numpy())


def measured(temperature, steps, seed, images, labels, embed):
    """Figures by setting, for towers of one seed and temperature, at each length of training."""
    rng = np.random.default_rng(1000 + seed)
    order = rng.permutation(len(images))
    learnt, tested = order[:900], order[900:]
    code = labels @ [9, 3, 1]
    # A third of the test items are the index's sentences, a third its images, the rest queries.
    thirds = dict(zip(("text", "image", "queries"), np.array_split(tested, 3), strict=True))
    told = {i: sentence(labels[i], HELD_OUT, rng) for i in tested}
    ways = trained(images[learnt], labels[learnt], embed, steps, temperature, seed)
    for step, towers in ways:
        parts = {}
        for kind in ("text", "image"):
            mine, asked = thirds[kind], thirds["queries"]
            parts[kind] = {
                "rows": tower_rows(towers, kind, mine, told, images, embed),
                "labels": code[mine],
                "queries": tower_rows(towers, kind, asked, told, images, embed),
                "asked": code[asked],
            }
        yield step, {setting: searched(parts, setting) for setting in SETTINGS}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--quick", action="store_true", help="one short training; writes no file")
    chosen = options.parse_args()
    temperatures, steps = (0.01, 0.07), (100, 200, 400, 1500)
    if chosen.quick:
        temperatures, steps, chosen.seeds = (0.01,), (100, 400), 1
    (images, labels), embed = digits(), words()
    told = []
    for temperature in temperatures:
        seeds = [
            dict(measured(temperature, steps, seed, images, labels, embed))
            for seed in range(chosen.seeds)
        ]
        for step in steps:
            for setting in SETTINGS:
                each = [found[step][setting] for found in seeds]
                gains = [
                    found[step][setting]["mixed"] - found[step]["none"]["mixed"] for found in seeds
                ]
                told.append(
                    {
                        "temperature": temperature,
                        "steps": step,
                        "setting": setting,
                        **{k: round(float(np.mean([e[k] for e in each])), 1) for k in each[0]},
                        "gain by seed": " ".join(f"{gain:+.1f}" for gain in gains),
                    }
                )
    report(
        "modalities",
        f"Sentences and images of digits in one index, nDCG@10, mean of {chosen.seeds} seeds",
        told,
        write=not chosen.quick,
    )


if __name__ == "__main__":
    main()
