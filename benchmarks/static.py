"""A static model distilled from MiniLM: PCA and SIF as model2vec has it, and corrections here.

Each token of MiniLM's vocabulary goes through the encoder alone; a text is the mean of its tokens'
rows. Settings were compared on the STS benchmark's train and dev sets; all else is for judging.
STS is Spearman's correlation x 100 over all pairs of a file ("all"); its mean is over sts12 to 15
and the STS benchmark's test set. Classes: accuracy of logistic regression. Search: nDCG@10.
"""

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from _common import report, yes_or_no
from model2vec import StaticModel
from scipy.sparse import csr_matrix

from isotropy import ComponentRemoval, MeanRemoval, TaperedWhitening, Whitening
from isotropy.encoders import bundled_minilm, correct_tokens, token_counts, token_weights
from isotropy.evaluate import Classification, Clustering, read_task
from isotropy.ranking import spearman

CHOSEN_ON = ("sts-train", "sts-dev")
STS = ("sts12-test", "sts13-test", "sts14-test", "sts15-test", "sts-test")
K = 256

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--data", type=Path, default=Path("../shared/data"))
options.add_argument("--table", type=Path, help="where the distilled table is kept (.npy)")
options.add_argument("--quick", action="store_true", help="STS alone; writes no file")


def distilled(encoder, batch=1024):
    """The output of MiniLM for each token alone, between its special tokens."""
    tokenizer, body = encoder.tokenizer, encoder[0].auto_model.eval()
    rows = np.zeros((len(tokenizer), body.config.hidden_size), np.float32)
    for start in range(0, len(rows), batch):
        ids = torch.arange(start, min(start + batch, len(rows)))
        ends = (torch.full_like(ids, k) for k in (tokenizer.cls_token_id, tokenizer.sep_token_id))
        first, last = ends
        with torch.inference_mode():
            states = body(input_ids=torch.stack([first, ids, last], 1)).last_hidden_state
        rows[start : start + len(ids)] = states.mean(1).numpy()
    names = tokenizer.convert_ids_to_tokens(list(range(len(rows))))
    for k, name in enumerate(names):  # tokens that model2vec takes off have a row of zeros here
        if name.startswith("[unused") or k in tokenizer.all_special_ids:
            rows[k] = 0
    return rows


def bags(model, texts):
    """Share of each token in each text, so that rows are a product with the table."""
    ids = model.tokenize(list(texts))
    places = np.repeat(np.arange(len(ids)), [len(x) for x in ids])
    shares = np.repeat([1 / max(1, len(x)) for x in ids], [len(x) for x in ids])
    tokens = np.fromiter((t for x in ids for t in x), np.int64)
    return csr_matrix((shares, (places, tokens)), shape=(len(ids), len(model.embedding)))


def settings(live, counts):
    """name: what is done to the table."""
    rank = np.zeros(len(live))
    rank[live] = 1 / np.arange(2, live.sum() + 2)  # model2vec: frequencies by Zipf's law
    wiki, brown = counts["wikitext2"], counts["brown"]
    sif = {name: token_weights(counts[name]) for name in ("wikitext2", "brown")}

    def ours(corrector, known=wiki, weights=sif["wikitext2"], k=K):
        return {
            "corrector": corrector,
            "counts": known,
            "weights": weights,
            "n_components": k,
        }

    found = {
        "none": {},
        "PCA": {"n_components": K},
        "model2vec: PCA, SIF 1e-4 by rank": {
            "n_components": K,
            "weights": token_weights(rank, a=1e-4),
        },
        "PCA, SIF 1e-3 by rank": {"n_components": K, "weights": token_weights(rank)},
        "PCA, SIF 1e-3 by counts": {"n_components": K, "weights": sif["wikitext2"]},
        "centred by counts": ours(MeanRemoval()),
        "2 directions removed by counts": ours(ComponentRemoval(2)),
        "10 directions removed by counts": ours(ComponentRemoval(10)),
    }
    for power in (0.25, 0.5, 0.75, 1.0):
        found[f"whitened {power:g} by counts"] = ours(Whitening(power=power))
    found |= {
        "whitened 1, 128 dims": ours(Whitening(), k=128),
        "whitened 1, 384 dims": ours(Whitening(), k=None),
        "tapered 1": ours(TaperedWhitening(), k=None),
        "whitened 1, mean and directions of the vocabulary": ours(Whitening(), known=None),
        "whitened 1, idf": ours(
            Whitening(),
            weights=token_weights(counts["texts"], "idf", n_texts=counts["n texts"]),
        ),
        "whitened 1, no SIF": ours(Whitening(), weights=None),
        "whitened 1, counts of Brown": ours(Whitening(), known=brown, weights=sif["brown"]),
        "whitened 0.5, no corpus (rank, SIF 1e-4)": ours(
            Whitening(power=0.5), known=rank, weights=token_weights(rank, a=1e-4)
        ),
    }
    return found


def known_counts(tokenizer, data):
    wiki = (data / "lm/wikitext2/train.txt").read_text("utf-8").replace("<unk>", " ").split("\n")
    lines = (data / "lm/brown_sentences.tsv").read_text("utf-8").split("\n")
    brown = [line.split("\t")[2] for line in lines if line.count("\t") >= 2]
    wiki = [line for line in wiki if line.strip()]
    return {
        "wikitext2": token_counts(tokenizer, wiki),
        "brown": token_counts(tokenizer, brown),
        "texts": token_counts(tokenizer, wiki, per_text=True),
        "n texts": len(wiki),
    }


def tasks_of(data, quick):
    found = {f"{name}": read_task(data / f"sts/{name}.csv", kind="sts") for name in STS}
    found |= {name: read_task(data / f"sts/{name}.csv", kind="sts") for name in CHOSEN_ON}
    if quick:
        return found
    for name in ("trec", "banking77"):
        task = read_task(data / f"cls/{name}_train.tsv", kind="classification")
        found[name] = _some(task.train_texts, task.train_labels, task.test_texts, task.test_labels)
    task = read_task(data / "cls/stackoverflow20.tsv")
    assert isinstance(task, Clustering)
    order = np.random.default_rng(0).permutation(len(task.texts))
    texts, labels = ([side[k] for k in order] for side in (task.texts, task.labels))
    found["stackoverflow"] = _some(texts[1000:], labels[1000:], texts[:1000], labels[:1000])
    for name in ("cranfield", "cisi"):
        found[name] = yes_or_no(read_task(data / f"ir/{name}"))
    return found


def _some(texts, labels, test_texts, test_labels, n=2000):
    """At most `n` texts to learn from, and to judge by."""
    draw = np.random.default_rng(0)
    learnt, judged = (draw.permutation(len(x))[:n] for x in (texts, test_texts))
    return Classification(
        "some",
        [texts[k] for k in learnt],
        [labels[k] for k in learnt],
        [test_texts[k] for k in judged],
        [test_labels[k] for k in judged],
    )


def scored(task, parts, table):
    rows = {name: np.asarray(bag @ table) for name, bag in parts.items()}
    return task.score(rows).main


def row_of(name, table, tasks, parts):
    found = {key: scored(task, parts[key], table) for key, task in tasks.items()}
    row = {"setting": name}
    row["STS chosen on"] = round(float(np.mean([found[key] for key in CHOSEN_ON])), 2)
    row["STS mean"] = round(float(np.mean([found[key] for key in STS])), 2)
    return row | {key: round(v, 1) for key, v in found.items() if key not in CHOSEN_ON}


def main():
    chosen = options.parse_args()
    if not chosen.data.is_dir():
        raise SystemExit(f"{chosen.data}: no such folder; --data names one with text collections.")
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(bundled_minilm()), device="cpu")
    if chosen.table and chosen.table.is_file():
        rows = np.load(chosen.table)
    else:
        rows = distilled(encoder)
        if chosen.table:
            np.save(chosen.table, rows)
    model = StaticModel(rows, encoder.tokenizer.backend_tokenizer, normalize=True)
    counts = known_counts(model, chosen.data)
    tasks = tasks_of(chosen.data, chosen.quick)
    parts = {
        name: {part: bags(model, texts) for part, texts in task.parts.items()}
        for name, task in tasks.items()
    }
    lines = []
    for name, how in settings(rows.any(1), counts).items():
        made = correct_tokens(model, **how)
        lines.append(row_of(name, made.embedding.astype(np.float64), tasks, parts))
        print(name, lines[-1]["STS chosen on"], lines[-1]["STS mean"], flush=True)
    task = tasks["sts-test"]
    check_encodes(made, task, lines[-1]["sts-test"])
    title = "A static model of MiniLM's vocabulary (30,522 tokens), 256 dimensions unless told"
    report("static", title, lines, write=not chosen.quick)


def check_encodes(model, task, wanted):
    """The corrected model's own rows give what the products gave."""
    with contextlib.redirect_stderr(io.StringIO()):
        left, right = (model.encode(list(side)) for side in (task.left, task.right))
    found = 100 * spearman(np.einsum("ij,ij->i", left, right), task.labels)
    assert abs(found - wanted) < 0.1, (found, wanted)


if __name__ == "__main__":
    main()
