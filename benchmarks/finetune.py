"""Fine-tuning MiniLM on few STS labels, with and without a regularizer (isotropy[demo,train]).

CoSENT on 100, 500 and all pairs of the STS benchmark's training set; Spearman on five other sets;
whitening after each, fitted on the training sentences; the paraphrase decision on MSRP, its
threshold found on other pairs. Products are of bfloat16 everywhere.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from _common import report
from datasets import Dataset
from degeneration import mean_and_spread
from scipy.stats import spearmanr
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from transformers.trainer_callback import PrinterCallback

from isotropy import Whitening, score
from isotropy.encoders import bundled_minilm, encode
from isotropy.losses import IsoScoreStar, MeanCosine, RegularizedLoss, SpreadOut

SETS = ("sts12-test", "sts13-test", "sts14-test", "sts15-test", "sts-test")
REGULARIZERS = {
    "none": None,
    "cosine": MeanCosine,
    "spread-out": SpreadOut,
    "IsoScore*": IsoScoreStar,
}
STEPS = {100: 20, 500: 60, 5749: 180}

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--data", type=Path, default=Path("../shared/data"))
options.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 5749])
options.add_argument("--seeds", type=int, default=3)
options.add_argument("--arms", nargs="+", default=["none", "spread-out"])
options.add_argument("--weight", type=float, default=10.0)
options.add_argument("--momentum", type=float)
options.add_argument("--every", type=int, default=4, help="one in so many texts to whiten and tune")
options.add_argument("--name", default="finetune")
options.add_argument("--quick", action="store_true", help="one size, one seed; writes no file")


def sts_pairs(path):
    lines = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]
    lines = [x for x in lines if x[4]]  # some pairs have no score
    return [x[5] for x in lines], [x[6] for x in lines], [float(x[4]) / 5 for x in lines]


def msrp_pairs(path):
    lines = [x.rstrip("\n").split("\t") for x in path.open(encoding="utf-8-sig")][1:]
    return [x[3] for x in lines], [x[4] for x in lines], [int(x[0]) for x in lines]


def cosines(A, B):
    A, B = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (A, B))
    return (A * B).sum(1)


def decision(tuned, tuned_labels, judged, judged_labels):
    """Accuracy and F1 of other pairs at the thresholds that are best for the tuned ones."""
    judged_labels = np.asarray(judged_labels, bool)
    _, at = BinaryClassificationEvaluator.find_best_acc_and_threshold(tuned, tuned_labels, True)
    *_, for_f1 = BinaryClassificationEvaluator.find_best_f1_and_threshold(tuned, tuned_labels, True)
    accuracy = float(((judged >= at) == judged_labels).mean())
    said = judged >= for_f1
    hits = int((said & judged_labels).sum())
    return 100 * accuracy, 100 * 2 * hits / max(1, int(said.sum() + judged_labels.sum()))


def evaluate(model, data, generic):
    """Points of the encoder as it is, and whitened on the training sentences."""
    texts = sorted({text for sets in data.values() for part in sets[:2] for text in part})
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        rows, learned = encode(model, texts), encode(model, generic)
    index = {text: k for k, text in enumerate(texts)}
    found = {}
    for label, corrector in (
        ("as it is", None),
        ("half whitened", Whitening(power=0.5)),
        ("whitened", Whitening()),
    ):
        mapped = rows if corrector is None else corrector.fit(learned).transform(rows)
        at = {
            name: cosines(*(mapped[[index[t] for t in part]] for part in sets[:2]))
            for name, sets in data.items()
        }
        points = {n: 100 * spearmanr(at[n], data[n][2]).statistic for n in SETS}
        accuracy, f1 = decision(
            at["msrp-train"], data["msrp-train"][2], at["msrp-val"], data["msrp-val"][2]
        )
        found[label] = {
            "Spearman": float(np.mean(list(points.values()))),
            **points,
            "MSRP accuracy": accuracy,
            "MSRP F1": f1,
        }
    card = score(rows[:: max(1, len(rows) // 4000)], ["mean_cosine", "isoscore"])
    found["as it is"] |= dict(card)
    return found


def train(size, arm, seed, pairs, chosen):
    torch.manual_seed(seed)
    model = SentenceTransformer(str(bundled_minilm()), device=None)
    drawn = np.random.default_rng(seed).permutation(len(pairs[0]))[:size]
    columns = {
        name: [values[k] for k in drawn]
        for name, values in zip(("sentence1", "sentence2", "score"), pairs, strict=True)
    }
    loss = CoSENTLoss(model)
    if REGULARIZERS[arm] is not None:
        regularizer = REGULARIZERS[arm](momentum=chosen.momentum)
        loss = RegularizedLoss(model, loss, regularizer, chosen.weight)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder,
                max_steps=STEPS.get(size, max(10, size // 30)),
                per_device_train_batch_size=32,
                learning_rate=5e-5,
                warmup_steps=5,
                seed=seed,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                bf16=True,
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=Dataset.from_dict(columns),
            loss=loss,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model.eval()


def main():
    chosen = options.parse_args()
    if chosen.quick:
        chosen.sizes, chosen.seeds = [100], 1
    if not chosen.data.is_dir():
        raise SystemExit(f"{chosen.data}: no such folder; --data names one with sts/ and msrp/.")
    logging.disable(logging.WARNING)
    pairs = sts_pairs(chosen.data / "sts" / "sts-train.csv")
    generic = sorted({*pairs[0], *pairs[1]})[:: chosen.every]
    data = {name: sts_pairs(chosen.data / "sts" / f"{name}.csv") for name in SETS}
    every = msrp_pairs(chosen.data / "msrp" / "msr-para-train.tsv")
    judged = msrp_pairs(chosen.data / "msrp" / "msr-para-val.tsv")
    held = set(zip(*judged[:2], strict=True))
    tuned = [row for row in zip(*every, strict=True) if row[:2] not in held]
    tuned = tuned[:: chosen.every]
    data |= {"msrp-train": tuple(map(list, zip(*tuned, strict=True))), "msrp-val": judged}

    cells = [(0, "untrained", 0)]
    cells += [(n, arm, s) for s in range(chosen.seeds) for n in chosen.sizes for arm in chosen.arms]
    runs = []
    for size, arm, seed in cells:
        model = (
            train(size, arm, seed, pairs, chosen)
            if size
            else SentenceTransformer(str(bundled_minilm()))
        )
        found = evaluate(model, data, generic)
        runs += [
            {"pairs": size, "regularizer": arm, "seed": seed, "then": label, **values}
            for label, values in found.items()
        ]
        print(
            f"{size} pairs, {arm}, seed {seed}: "
            + ", ".join(f"{label} {v['Spearman']:.2f}" for label, v in found.items())
            + f", mean cosine {found['as it is']['mean_cosine']:.3f}",
            flush=True,
        )
    rows = []
    for size, arm in dict.fromkeys((size, arm) for size, arm, _ in cells):
        for label in ("as it is", "half whitened", "whitened"):
            mine = [
                r for r in runs if (r["pairs"], r["regularizer"], r["then"]) == (size, arm, label)
            ]
            row = {"pairs": size, "regularizer": arm, "then": label}
            for name in ("Spearman", "sts-test", "MSRP accuracy", "MSRP F1"):
                row[name] = mean_and_spread([r[name] for r in mine])
            if label == "as it is":
                for name in ("mean_cosine", "isoscore"):
                    row[name] = mean_and_spread([r[name] for r in mine])
            rows.append(row)
    title = (
        f"MiniLM fine-tuned with CoSENT, regularizer of weight {chosen.weight:g}; mean of {SETS}"
    )
    told = {k: str(v) for k, v in vars(chosen).items()}
    report(chosen.name, title, rows, write=not chosen.quick, runs=runs, options=told)


if __name__ == "__main__":
    main()
