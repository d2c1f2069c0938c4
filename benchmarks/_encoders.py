"""Encoders to choose for: MiniLM's layers, MiniLM trained on, averages of words, tf-idf.

Rows are kept in a folder, one file an encoder and part of a collection, so that a run that was
broken off goes on where it was.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 64
TOKENS = 2048
# MiniLM's own: layer and pooling.
STATES = {f"mean {layer}": (layer, "mean") for layer in range(7)}
STATES |= {f"cls {layer}": (layer, "cls") for layer in (2, 4, 5, 6)}
STATES |= {f"max {layer}": (layer, "max") for layer in (1, 3, 5, 6)}
WORDS = ("glove", "word2vec", "tokens", "lsa", "lsa chars")
# A trained encoder in a cone without further training: all rows moved by so many of their lengths.
SHIFTED = {"shifted 1.5": 1.5, "shifted 2.5": 2.5}


@cache
def minilm() -> tuple[Any, Any]:
    """Tokenizer and body."""
    from isotropy.encoders._models import load

    model = load("minilm", "cpu")
    return model.tokenizer, model[0].auto_model.eval()


def cut(body: Any, layers: int, shift: float = 0.0) -> Any:
    """A copy with its first layers alone; `shift` moves the last normalization's bias."""
    import torch

    found = copy.deepcopy(body)
    found.encoder.layer = found.encoder.layer[:layers]
    found.config.num_hidden_layers = layers
    if shift:
        bias = found.encoder.layer[-1].output.LayerNorm.bias
        move = np.random.default_rng(0).standard_normal(len(bias))
        with torch.no_grad():
            bias += torch.tensor(shift * move / np.linalg.norm(move), dtype=bias.dtype)
    return found


def batches(tokenizer: Any, texts: list[str], length: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Texts of like length together."""
    import torch

    ids = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    order = np.argsort([len(one) for one in ids], kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(ids[order[stop]]) <= TOKENS:
            stop += 1
        some = order[start:stop]
        width = max(len(ids[k]) for k in some)
        batch = torch.zeros((len(some), width), dtype=torch.long)
        mask = torch.zeros_like(batch)
        for row, k in enumerate(some):
            batch[row, : len(ids[k])] = torch.tensor(ids[k])
            mask[row, : len(ids[k])] = 1
        yield some, {"input_ids": batch, "attention_mask": mask}
        start = stop


def pooled(state: Any, mask: Any, how: str) -> Any:
    if how == "cls":
        return state[:, 0]
    wide = mask[..., None].to(state.dtype)
    if how == "max":
        return (state + (wide - 1) * 1e4).max(1).values
    return (state * wide).sum(1) / wide.sum(1)


def states(body: Any, texts: list[str], wanted: list[tuple[int, str]]) -> dict[Any, np.ndarray]:
    """Rows of each layer and pooling that is wanted."""
    import torch

    out: dict[Any, np.ndarray] = {}
    for some, batch in batches(minilm()[0], texts, LENGTH):
        with torch.inference_mode():
            found = body(**batch, output_hidden_states=True).hidden_states
        for layer, how in wanted:
            rows = pooled(found[layer], batch["attention_mask"], how).numpy()
            out.setdefault((layer, how), np.empty((len(texts), rows.shape[1]), np.float32))
            out[layer, how][some] = rows
    return out


# -- training ------------------------------------------------------------------------------------


def info_nce(temperature: float) -> Callable[..., Any]:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    def loss(a: Any, b: Any, scores: Any) -> Any:
        found = normalize(a) @ normalize(b).T / temperature
        own = torch.arange(len(a))
        return (cross_entropy(found, own) + cross_entropy(found.T, own)) / 2

    return loss


def cosent(a: Any, b: Any, scores: Any) -> Any:
    import torch
    from torch.nn.functional import cosine_similarity

    found = 20 * cosine_similarity(a, b)
    apart = found[:, None] - found[None]
    wrong = scores[:, None] < scores[None]
    return torch.logsumexp(torch.cat([apart[wrong], torch.zeros(1)]), 0)


def scored(data: Path) -> list[tuple[str, str, float]]:
    lines = [x.split("\t") for x in (data / "sts/sts-train.csv").read_text("utf-8").split("\n")]
    return [(x[5], x[6], float(x[4])) for x in lines if len(x) > 6 and x[4]]


def alike(data: Path) -> list[tuple[str, str, float]]:
    """Pairs that say the same: of the STS benchmark, and of the paraphrases' first half."""
    path = data / "msrp/msr-para-train.tsv"
    lines = [x.split("\t") for x in path.read_text("utf-8-sig").split("\n")[1:1501]]
    found = [(x[3], x[4], 1.0) for x in lines if x[0] == "1"]
    return found + [pair for pair in scored(data) if pair[2] >= 4]


def beside(data: Path) -> list[tuple[str, str, float]]:
    """Sentences that follow one another in a text."""
    path = data / "lm/brown_sentences.tsv"
    lines = [x.split("\t") for x in path.read_text("utf-8").split("\n") if x.count("\t") >= 2]
    pairs = pairwise(lines)
    return [
        (a[2], b[2], 1.0)
        for a, b in pairs
        if a[1] == b[1] and min(len(a[2]), len(b[2])) > 40 and max(len(a[2]), len(b[2])) < 160
    ]


def headlines(data: Path) -> list[tuple[str, str, float]]:
    """Titles and articles of AG News that no task holds (its last part)."""
    rows = (data / "cls/agnews_test.tsv").read_text("utf-8").split("\n")[5000:-1]
    both = [row.split("\t")[1].split(". ", 1) for row in rows]
    return [(one[0], one[1], 1.0) for one in both if len(one) == 2 and len(one[1]) > 60]


def distilled(temperature: float) -> Callable[..., Any]:
    """Rows see each other as MiniLM sees them; a common part of all cosines is free."""
    from torch.nn.functional import kl_div, log_softmax, normalize, softmax

    def loss(rows: Any, teacher: Any) -> Any:
        same = -1e4 * _eye(len(rows))
        found = normalize(rows) @ normalize(rows).T / temperature
        wanted = normalize(teacher) @ normalize(teacher).T / 0.05
        return kl_div(
            log_softmax(found + same, 1), softmax(wanted + same, 1), reduction="batchmean"
        )

    return loss


def _eye(n: int) -> Any:
    import torch

    return torch.eye(n)


# name: layers kept, shift of the last bias, loss, pairs, steps, learning rate
TRAINED: dict[str, tuple[int, float, Any, Any, int, float]] = {
    "distilled .01, 4 layers": (4, 0.0, lambda: distilled(0.01), beside, 80, 2e-4),
    "cosent, 6 layers": (6, 0.0, lambda: cosent, scored, 100, 1e-4),
    "infonce .02, 4 layers": (4, 0.0, lambda: info_nce(0.02), beside, 60, 1e-4),
    "cosent, 4 layers": (4, 0.0, lambda: cosent, scored, 80, 1e-4),
    "infonce .01, 6 layers shifted": (6, 6.0, lambda: info_nce(0.01), headlines, 40, 5e-5),
}
BATCH = 32


@cache
def trained(name: str, data: Path, folder: Path) -> Any:
    """The body, trained now or before."""
    import torch
    from torch.nn.functional import normalize

    path = folder / f"{name}.pt"
    layers, shift, loss, pairs, steps, rate = TRAINED[name]
    body = cut(minilm()[1], layers, shift)
    if path.is_file():
        body.load_state_dict(torch.load(path, weights_only=True))
        return body.eval()
    torch.manual_seed(0)
    measure, known = loss(), pairs(data)
    draw = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(body.parameters(), lr=rate)
    body.train()
    start = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / steps)
        some = [known[k] for k in draw.integers(0, len(known), BATCH)]
        texts = [pair[side] for side in (0, 1) for pair in some]
        rows = _rows(body, texts)
        if "distilled" in name:
            with torch.no_grad():
                teacher = _rows(minilm()[1], texts)
            value = measure(rows, teacher)
        else:
            value = measure(rows[:BATCH], rows[BATCH:], torch.tensor([pair[2] for pair in some]))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0 or step == steps - 1:
            unit = normalize(rows.detach())
            cosine = (unit @ unit.T).fill_diagonal_(0).sum() / (len(unit) * (len(unit) - 1))
            print(
                f"{name}: step {step}, loss {value.item():.3f}, mean cosine {cosine:.2f}, "
                f"{time.process_time() - start:.0f} s",
                flush=True,
            )
    torch.save(body.state_dict(), path)
    return body.eval()


def _rows(body: Any, texts: list[str]) -> Any:
    batch = minilm()[0](texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    mask = batch["attention_mask"]
    state = body(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    return pooled(state, mask, "mean")


# -- words ---------------------------------------------------------------------------------------


def words(data: Path, name: str) -> Callable[[list[str]], np.ndarray]:
    """Averages of the vectors of a text's words; a text without any gets the mean of all."""
    stem = {"glove": "glove6B_50d_top5000", "word2vec": "w2v_gnews_top1000_300d_unit"}[name]
    table = np.load(data / f"static_emb/{stem}.npy").astype(np.float64)
    names = (data / f"static_emb/{stem}.ids.txt").read_text("utf-8").split("\n")
    place = {word.strip().lower(): k for k, word in list(enumerate(names))[::-1]}

    def encode(texts: list[str]) -> np.ndarray:
        rows = []
        for text in texts:
            seen = [place[w] for w in _split(text) if w in place]
            rows.append(table[seen].mean(0) if seen else table.mean(0))
        return np.array(rows, np.float32)

    return encode


def _split(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def tokens(texts: list[str]) -> np.ndarray:
    """Averages of MiniLM's table of tokens, without places and normalization."""
    tokenizer, body = minilm()
    table = body.embeddings.word_embeddings.weight.detach().numpy()
    ids = tokenizer(texts, truncation=True, max_length=LENGTH, add_special_tokens=False)
    return np.array([table[one or [0]].mean(0) for one in ids["input_ids"]], np.float32)


def latent(parts: dict[str, list[str]], analyzer: str, size: int = 200) -> dict[str, np.ndarray]:
    """tf-idf in `size` dimensions, learnt from the first part (LSA)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counted = (
        TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+")
        if analyzer == "lsa"
        else TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 4), min_df=2)
    )
    learnt = counted.fit_transform(next(iter(parts.values())))
    model = TruncatedSVD(size, random_state=0).fit(learnt)
    return {
        part: model.transform(counted.transform(texts)).astype(np.float32) + 1e-12
        for part, texts in parts.items()
    }


# -- all of them ---------------------------------------------------------------------------------


FAMILIES = (
    dict.fromkeys(("mean 6", "minilm, as published", "mpnet", "ada-002"), "output")
    | dict.fromkeys(SHIFTED, "output, moved")
    | dict.fromkeys(("cls 6", "max 6", "first-last"), "last layer otherwise")
    | dict.fromkeys(WORDS, "words")
    | {"bert, mean": "inner layer, mean"}
)


def names(collection: Any) -> list[str]:
    """All encoders of a collection; of trained ones also the layer before."""
    if collection.published:
        return list(collection.published)
    trained = [name + end for name in TRAINED for end in ("", " -1")]
    return [*trained, *STATES, "first-last", *SHIFTED, *WORDS]


def family(name: str) -> str:
    if name in FAMILIES:
        return FAMILIES[name]
    if name.removesuffix(" -1") in TRAINED:
        return "trained, layer before" if name.endswith(" -1") else "trained on"
    return "inner layer, mean" if name.startswith("mean") else "inner layer, CLS or maximum"


def base(name: str) -> str:
    """Layers of one trained encoder are one encoder; so is what was moved from MiniLM's output."""
    if name in SHIFTED or name == "minilm, as published":
        return "mean 6"
    return name.removesuffix(" -1")


def encoded(name: str, collection: Any, data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Rows of all parts of a collection; made now, or before."""
    if collection.of or collection.published:
        found = (
            {"": np.load(collection.published[name])}
            if collection.published
            else encoded(name, collection.of, data, cache)
        )
        return {part: found[there][some] for part, (there, some) in collection.rows.items()}
    if name == "first-last":
        first, last = (encoded(f"mean {k}", collection, data, cache) for k in (0, 6))
        return {part: (first[part] + last[part]) / 2 for part in first}
    if name in SHIFTED:
        return _moved(encoded("mean 6", collection, data, cache), SHIFTED[name])
    if name in ("lsa", "lsa chars"):
        return latent(collection.parts, name)
    paths = {part: cache / f"{name}__{collection.name}__{part}.npy" for part in collection.parts}
    if not all(path.is_file() for path in paths.values()):
        for part, texts in collection.parts.items():
            for other, rows in _made(name, texts, data, cache).items():
                _keep(cache / f"{other}__{collection.name}__{part}.npy", rows)
    return {part: np.load(path) for part, path in paths.items()}


def _made(name: str, texts: list[str], data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Rows by this encoder, and by those that come from the same pass."""
    if name in ("glove", "word2vec"):
        return {name: words(data, name)(texts)}
    if name == "tokens":
        return {name: tokens(texts)}
    if name in STATES:
        found = states(minilm()[1], texts, list(STATES.values()))
        return {other: found[place] for other, place in STATES.items()}
    base = name.removesuffix(" -1")
    body = trained(base, data, cache)
    last = len(body.encoder.layer)
    found = states(body, texts, [(last - 1, "mean"), (last, "mean")])
    return {f"{base} -1": found[last - 1, "mean"], base: found[last, "mean"]}


def _keep(path: Path, rows: np.ndarray) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part.npy")
    np.save(part, rows)
    part.replace(path)


def _moved(parts: dict[str, np.ndarray], size: float) -> dict[str, np.ndarray]:
    rows = next(iter(parts.values()))
    move = np.random.default_rng(1).standard_normal(rows.shape[1])
    move *= size * np.sqrt((rows**2).sum(1).mean()) / np.linalg.norm(move)
    return {part: some + move.astype(np.float32) for part, some in parts.items()}
