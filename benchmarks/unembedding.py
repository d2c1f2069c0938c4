"""What a language model's output table says of its states: EmbedFilter, and tied tables corrected.

A small GPT-2 with tied embeddings is trained on WikiText-2, a word a token. First, its pooled last
states on STS: as they are, through `unembedding_filter`, and corrected with a corpus. Then its
perplexity on held-out text when its table is corrected, at both ends since it is tied. The paper's
models are a hundred times larger (arXiv 2606.07502): what is said here holds for this one alone.
"""

import argparse
import logging
import re
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _common import report
from degeneration import held_out, tokens_of
from transformers import GPT2Config, GPT2LMHeadModel

from isotropy import ComponentRemoval, MeanRemoval, Whitening
from isotropy.encoders import correct_tokens, unembedding_filter
from isotropy.evaluate import read_task

STS = ("sts12-test", "sts13-test", "sts14-test", "sts15-test", "sts-test")
DIMS, LAYERS, WORDS, CONTEXT, BATCH = 128, 2, 10_000, 64, 32

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--data", type=Path, default=Path("../shared/data"))
options.add_argument("--steps", type=int, default=400)
options.add_argument("--seeds", type=int, default=1)
options.add_argument("--models", type=Path, help="a folder where trained models are kept")
options.add_argument("--quick", action="store_true", help="20 steps, one seed; writes no file")


def trained(blocks, n_words, steps, seed):
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=n_words, n_positions=CONTEXT, n_embd=DIMS, n_layer=LAYERS, n_head=4,
        bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM",
    )  # fmt: skip
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.05)
    draw, start = np.random.default_rng(seed), time.process_time()
    for step in range(steps):
        some = blocks[draw.integers(0, len(blocks), BATCH)]
        loss = model(input_ids=some, labels=some).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            seconds = time.process_time() - start
            print(f"seed {seed}, step {step}: loss {loss.item():.2f}, {seconds:.0f} s", flush=True)
    return model.eval()


def model_of(chosen, blocks, n_words, seed):
    path = chosen.models / f"gpt2-{chosen.steps}-{seed}" if chosen.models else None
    if path and path.is_dir():
        return GPT2LMHeadModel.from_pretrained(path).eval()
    model = trained(blocks, n_words, chosen.steps, seed)
    if path:
        model.save_pretrained(path)
    return model


def known_words(data):
    """Words as `tokens_of` numbers them: by falling frequency, 0 is any other word."""
    from collections import Counter

    words = Counter((data / "lm/wikitext2/train.txt").read_text("utf-8").split())
    words.pop("<unk>", None)
    return {word: k + 1 for k, (word, _) in enumerate(words.most_common(WORDS - 1))}


def ids_of(text, words):
    found = [words.get(w) or words.get(w.lower()) for w in re.findall(r"\w+|[^\w\s]", text)]
    return [k for k in found if k] or [0]


@torch.inference_mode()
def states(model, texts, words):
    """The last states of each text: their mean, and the last of them."""
    ids = [ids_of(text, words)[:CONTEXT] for text in texts]
    out = {"mean": np.zeros((len(ids), DIMS)), "last": np.zeros((len(ids), DIMS))}
    order = np.argsort([len(x) for x in ids], kind="stable")
    for some in np.array_split(order, max(1, len(ids) // 256)):
        width = max(len(ids[k]) for k in some)
        batch = torch.tensor([ids[k] + [0] * (width - len(ids[k])) for k in some])
        found = model.transformer(batch).last_hidden_state.double().numpy()
        for row, k in enumerate(some):
            out["mean"][k] = found[row, : len(ids[k])].mean(0)
            out["last"][k] = found[row, len(ids[k]) - 1]
    return out


def settings(model, counts, corpus):
    """name: what is done to pooled rows. The last ones learn from states of a corpus."""
    found = {"none": lambda rows: rows}
    for keep in (0.9, 0.75, 0.5, 0.25):
        found[f"EmbedFilter, {keep:g} kept"] = unembedding_filter(model, keep).apply
    for gone in (1, 5, 13, 32, 64):
        by_counts = unembedding_filter(model, DIMS - gone, counts=counts)
        found[f"{gone} directions of frequent tokens removed"] = by_counts.apply
    found["centred on a corpus"] = MeanRemoval().fit(corpus).transform
    found["13 components of a corpus removed"] = ComponentRemoval(13).fit(corpus).transform
    found["whitened on a corpus"] = Whitening().fit(corpus).transform
    return found


def mean_of(runs):
    spread = f" ± {np.std(runs, ddof=1):.2g}" if len(runs) > 1 else ""
    return f"{np.mean(runs):.4g}{spread}"


def main():
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.seeds = 20, 1
    if not chosen.data.is_dir():
        raise SystemExit(f"{chosen.data}: no such folder; --data names one with text collections.")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    blocks, counts = tokens_of(chosen.data / "lm/wikitext2", WORDS, CONTEXT)
    words = known_words(chosen.data)
    tasks = [read_task(chosen.data / f"sts/{name}.csv", kind="sts") for name in STS]
    brown = (chosen.data / "lm/brown_sentences.tsv").read_text("utf-8").split("\n")
    brown = [line.split("\t")[2] for line in brown[:8000] if line.count("\t") >= 2]
    similar, perplexities = {}, {}
    for seed in range(chosen.seeds):
        model = model_of(chosen, blocks["train"], len(counts), seed)
        corpora = states(model, brown, words)
        rows = [states(model, task.texts, words) for task in tasks]
        for pooling, corpus in corpora.items():
            for name, apply in settings(model, counts, corpus).items():
                found = [
                    task.score({"texts": apply(row[pooling])}).main
                    for task, row in zip(tasks, rows, strict=True)
                ]
                similar.setdefault((pooling, name), []).append(float(np.mean(found)))
        tables = {
            "as trained": None,
            "centred": MeanRemoval(),
            "centred by counts": MeanRemoval(),
            "2 directions removed": ComponentRemoval(2),
            "whitened 0.5 (ZCA)": Whitening("zca", power=0.5),
            "whitened (ZCA)": Whitening("zca"),
        }
        for name, corrector in tables.items():
            by = counts if "counts" in name else None
            made = model if corrector is None else correct_tokens(model, corrector, counts=by)
            perplexities.setdefault(name, []).append(held_out(made, blocks["valid"])[0])
    title = (
        f"GPT-2 of {LAYERS} layers, {DIMS} dimensions, {chosen.steps} steps, seeds: {chosen.seeds}"
    )
    lines = [
        {"pooling": pooling, "setting": name, "mean of 5 STS sets": mean_of(runs)}
        for (pooling, name), runs in similar.items()
    ]
    report("unembedding", f"{title}: STS", lines, write=not chosen.quick)
    lines = [{"table": name, "perplexity": mean_of(runs)} for name, runs in perplexities.items()]
    report("unembedding_tied", f"{title}: perplexity", lines, write=not chosen.quick)


if __name__ == "__main__":
    main()
