"""Language models: how well they tell the next token, and what their output table says of rows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from isotropy.affine import AffineMap
from isotropy.encoders._counts import checked_counts
from isotropy.encoders._models import modes_kept
from isotropy.encoders._texts import at_least_one, checked_texts
from isotropy.io.texts import read_texts
from isotropy.moments import fixed_eigh
from isotropy.rows.arrays import to_numpy

__all__ = ["perplexity", "unembedding_filter"]


def perplexity(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str] | str | os.PathLike[str],
    *,
    max_length: int | None = None,
    batch_size: int = 16,
) -> float:
    """How many tokens a language model wavers between, on average, at each token of texts.

    Of a causal model it is the perplexity of each token given those before it; of a masked one,
    the pseudo-perplexity of each token given all others.

    Parameters
    ----------
    model : PreTrainedModel
        Of transformers, with a language model's head, such as GPT2LMHeadModel or BertForMaskedLM.
    tokenizer : PreTrainedTokenizer
        Its own.
    texts : iterable of str, str or path-like
        Or a file that `isotropy.io.texts.read_texts` reads.
    max_length : int, optional
        Tokens after which a text is cut; by default the model's positions.
    batch_size : int, default=16
        Texts that go through the model together.

    Returns
    -------
    float
        At least 1; smaller is better.

    Raises
    ------
    ValueError
        If no text has a token to be told, or the model gives no logits.

    Notes
    -----
    A masked model runs once a token, since each is masked in turn (Salazar et al. 2020, arXiv
    1910.14659).

    Examples
    --------
    >>> from isotropy.encoders import perplexity
    >>> before = perplexity(model, tokenizer, texts)  # doctest: +SKIP
    >>> after = perplexity(corrected, tokenizer, texts)  # doctest: +SKIP
    """
    import torch

    if isinstance(texts, str | os.PathLike):
        texts = read_texts(texts)
    longest = max_length or getattr(model.config, "max_position_embeddings", None)
    ids = (_cut(tokenizer(text)["input_ids"], longest) for text in checked_texts(texts))
    masked = "MaskedLM" in type(model).__name__
    cases = _each_masked(ids, tokenizer) if masked else _each_next(ids)
    total, n = 0.0, 0
    size = at_least_one(batch_size=batch_size)
    with modes_kept(model), torch.inference_mode():
        model.eval()
        while part := list(islice(cases, size)):
            loss, seen = _batch_loss(model, part)
            total, n = total + loss, n + seen
    if not n:
        raise ValueError("texts hold no token that a language model could be asked for.")
    return math.exp(total / n)


def _cut(ids: list[int], longest: int | None) -> list[int]:
    return ids if longest is None else ids[:longest]


Case = tuple[list[int], list[int]]
"""Tokens, and what should be said at each of them; -100 where nothing is asked."""


def _each_next(texts: Iterator[list[int]]) -> Iterator[Case]:
    for ids in texts:
        if len(ids) > 1:
            yield ids[:-1], ids[1:]


def _each_masked(texts: Iterator[list[int]], tokenizer: Any) -> Iterator[Case]:
    special = set(tokenizer.all_special_ids)
    for ids in texts:
        for place, token in enumerate(ids):
            if token not in special:
                asked = [-100] * len(ids)
                asked[place] = token
                yield [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]], asked


def _batch_loss(model: Any, cases: list[Case]) -> tuple[float, int]:
    """Sum of the losses, and over how many tokens."""
    import torch

    width = max(len(ids) for ids, _ in cases)
    ids = torch.zeros((len(cases), width), dtype=torch.long)
    mask, wanted = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (given, asked) in enumerate(cases):
        ids[row, : len(given)] = torch.tensor(given)
        mask[row, : len(given)] = 1
        wanted[row, : len(asked)] = torch.tensor(asked)
    device = next(model.parameters()).device
    out = model(input_ids=ids.to(device), attention_mask=mask.to(device))
    if not hasattr(out, "logits"):
        raise ValueError(
            f"{type(model).__name__} gives no logits: load it with a language model's head, such "
            "as AutoModelForCausalLM."
        )
    logits, flat = out.logits.float().flatten(0, 1).cpu(), wanted.flatten()
    loss = torch.nn.functional.cross_entropy(logits, flat, ignore_index=-100, reduction="sum")
    return float(loss), int((flat >= 0).sum())


def unembedding_filter(model: Any, keep: float | int = 0.5, *, counts: Any = None) -> AffineMap:
    """A map that takes out of pooled states what a language model writes for frequent tokens.

    It is made of the output table alone (its unembedding), without any text.

    Parameters
    ----------
    model : PreTrainedModel or array of shape (n tokens, d)
        A language model of transformers, or its output table.
    keep : float or int, default=0.5
        How many directions are kept: a number from 1 to d, or a share of them between 0 and 1.
    counts : array of shape (n tokens,), optional
        How often each token occurs. The leading directions of the table so weighted, those that
        frequent tokens are written in, go. Without counts it is EmbedFilter: of the table's
        singular directions the middle ones stay, and as many go at both ends.

    Returns
    -------
    AffineMap
        From d to the kept columns, to be applied to states of the last layer, pooled or not. It
        takes part in `wrap`, exports and files as any other map.

    Raises
    ------
    ValueError
        If the model has no output table, the table is not finite, `keep` lies outside its range, or
        counts do not fit.

    References
    ----------
    Wu et al. 2026, "Your unembedding matrix is secretly a feature lens for text embeddings",
    arXiv 2606.07502, on models of 0.5 billion parameters and more.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.encoders import unembedding_filter
    >>> table = np.array([[9.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    >>> abs(unembedding_filter(table, 1).apply(np.array([[5.0, 7.0, 2.0]]))).tolist()
    [[7.0]]
    """
    table = _output_table(model)
    n, d = table.shape
    count = _kept(keep, d)
    weights = np.ones(n) if counts is None else checked_counts(counts, n)
    _, vectors = fixed_eigh((table * weights[:, None]).T @ table / weights.sum())
    first = (d - count) // 2 if counts is None else d - count
    chosen = vectors[:, first : first + count]
    return AffineMap(np.zeros(d), chosen, inverse=chosen.T)


def _kept(keep: float, d: int) -> int:
    share = isinstance(keep, float) and 0 < keep < 1
    count = max(1, round(keep * d)) if share else keep
    if isinstance(keep, bool | str) or count != int(count) or not 1 <= count <= d:
        raise ValueError(
            f"keep must be an integer from 1 to {d}, or a share between 0 and 1, got {keep!r}."
        )
    return int(count)


def _output_table(model: Any) -> np.ndarray:
    if hasattr(model, "get_output_embeddings"):
        head = model.get_output_embeddings()
        if getattr(head, "weight", None) is None:
            raise ValueError(
                f"{type(model).__name__} has no output table: load it with a language model's "
                "head, such as AutoModelForCausalLM."
            )
        model = head.weight.detach().float()
    table = np.asarray(to_numpy(model), dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(
            f"The output table must be finite numbers of shape (tokens, d), got shape {table.shape}"
            "."
        )
    return table
