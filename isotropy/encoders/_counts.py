"""How often tokens occur in texts, and what weights follow from that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any, Literal

import numpy as np

from isotropy.encoders._texts import at_least_one, checked_texts
from isotropy.io.texts import read_texts

__all__ = ["token_counts", "token_weights"]

Scheme = Literal["uniform", "zipf", "sif", "idf"]
SCHEMES: tuple[Scheme, ...] = ("uniform", "zipf", "sif", "idf")
Ids = Callable[[list[str]], list[list[int]]]
"""From texts to the ids of their tokens, no special ones added and nothing cut off."""


def token_counts(
    tokenizer: Any,
    texts: Iterable[str] | str | os.PathLike[str],
    *,
    column: str | None = None,
    n_tokens: int | None = None,
    per_text: bool = False,
    batch_size: int = 1000,
) -> np.ndarray:
    """How often each token occurs in texts: the counts of an embedding table's rows.

    Parameters
    ----------
    tokenizer : tokenizer or model
        One of transformers or tokenizers, or what has one: a SentenceTransformer, its
        StaticEmbedding, a model2vec StaticModel. It stays as it is; texts are never cut.
    texts : iterable of str, str or path-like
        Read once, `batch_size` at a time; or a file that `isotropy.io.texts.read_texts` reads.
    column : str, optional
        Of a file: the column with the texts.
    n_tokens : int, optional
        Rows of the table, where it has more of them than the tokenizer has tokens.
    per_text : bool, default=False
        Count a token once for each text that has it, as "idf" of `token_weights` wants it.
    batch_size : int, default=1000
        Texts that go through the tokenizer together.

    Returns
    -------
    ndarray of int64, shape (n_tokens,)
        By token id. Special tokens are not added; one that a text spells out counts.

    Raises
    ------
    TypeError
        If `tokenizer` is none, and has none.
    ValueError
        If a text is no string, or `n_tokens` is below the tokenizer's own number.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from isotropy.encoders import token_counts
    >>> tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "sat": 2}, "[UNK]"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> token_counts(tokenizer, ["cat sat", "cat cat", ""]).tolist()
    [0, 3, 1]
    """
    ids_of, known = _ids_of(tokenizer)
    size = known if n_tokens is None else at_least_one(n_tokens=n_tokens)
    if size < known:
        raise ValueError(f"n_tokens must be at least {known}, the tokenizer's own, got {size}.")
    if column is not None and not isinstance(texts, str | os.PathLike):
        raise ValueError(f"column={column!r} is for texts in a file; leave it out.")
    if isinstance(texts, str | os.PathLike):
        texts = read_texts(texts, column)
    counts, rest = np.zeros(size, dtype=np.int64), checked_texts(texts)
    batch_size = at_least_one(batch_size=batch_size)
    while part := list(islice(rest, batch_size)):
        ids = ids_of(part)
        found = chain.from_iterable(map(set, ids) if per_text else ids)
        counts += np.bincount(np.fromiter(found, dtype=np.int64), minlength=size)
    return counts


def _ids_of(tokenizer: Any) -> tuple[Ids, int]:
    """What turns texts into ids, and how many ids there are."""
    rust = _rust_tokenizer(tokenizer)
    if rust is not None:

        def by_rust(texts: list[str]) -> list[list[int]]:
            return [found.ids for found in rust.encode_batch(texts, add_special_tokens=False)]

        return by_rust, 1 + max(rust.get_vocab().values(), default=-1)
    if callable(tokenizer) and hasattr(tokenizer, "__len__"):
        return lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"], len(tokenizer)
    raise TypeError(
        "tokenizer must be one of transformers or tokenizers, or a model that has one, got "
        f"{type(tokenizer).__name__}."
    )


def _rust_tokenizer(tokenizer: Any) -> Any:
    """A copy of the fast tokenizer that neither cuts nor pads; None where there is none."""
    for name in ("tokenizer", "backend_tokenizer"):  # a model's, then that of transformers'
        tokenizer = getattr(tokenizer, name, tokenizer)
    if not (hasattr(tokenizer, "encode_batch") and hasattr(tokenizer, "to_str")):
        return None
    copied = type(tokenizer).from_str(tokenizer.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def token_weights(
    counts: Any, scheme: Scheme = "sif", *, a: float = 1e-3, n_texts: float | None = None
) -> np.ndarray:
    """A weight for each token, by how often it occurs.

    Parameters
    ----------
    counts : array of shape (n,)
        Of each token, such as `token_counts` gives; any scale, but for "idf". Where none are known
        and tokens stand by falling frequency, ``1 / np.arange(2, n + 2)`` is Zipf's law.
    scheme : {"sif", "idf", "zipf", "uniform"}, default="sif"
        With p = counts / total: "sif" is a / (a + p), 1 for a token never seen; "zipf" is p, the
        weights of moments in Zipfian whitening; "idf" is that of BM25,
        log(1 + (N - n + 0.5) / (n + 0.5)), for n of N texts that have the token; "uniform" is 1.
    a : float, default=1e-3
        Of "sif", above 0: the share of a token whose weight is one half.
    n_texts : float, optional
        N of "idf", which needs it; counts are then those of texts (``per_text=True``).

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        If counts are negative, not finite or all zero, the scheme is unknown, `a` is not above 0,
        or `n_texts` is missing or below a count.

    References
    ----------
    Arora, Liang & Ma 2017 (SIF); Yokoi et al. 2024, arXiv 2411.00680 (Zipfian whitening);
    Robertson & Zaragoza 2009 (BM25).

    Examples
    --------
    >>> from isotropy.encoders import token_weights
    >>> token_weights([999, 1, 0], a=0.001).round(3).tolist()
    [0.001, 0.5, 1.0]
    >>> token_weights([3, 1, 0], "zipf").tolist()
    [0.75, 0.25, 0.0]
    """
    known = checked_counts(counts)
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {SCHEMES}, got {scheme!r}.")
    if scheme == "uniform":
        return np.ones_like(known)
    share = known / known.sum()
    if scheme == "zipf":
        return share
    if scheme == "sif":
        if isinstance(a, bool | str) or not 0 < a < np.inf:
            raise ValueError(f"a must be a number above 0, got {a!r}.")
        return a / (a + share)
    if n_texts is None or not known.max() <= n_texts < np.inf:
        raise ValueError(
            "n_texts must be the number of texts that were counted, at least the largest count "
            f"({known.max():g}; count with per_text=True), got {n_texts!r}."
        )
    return np.log1p((n_texts - known + 0.5) / (known + 0.5))


def checked_counts(counts: Any, n: int | None = None) -> np.ndarray:
    """Counts in float64, of `n` tokens where that is known; an error for what cannot be counts."""
    known = np.asarray(counts, dtype=np.float64)
    if known.ndim != 1 or (n is not None and len(known) != n):
        raise ValueError(
            f"counts must be one number a token{'' if n is None else f', {n} of them'}, got shape "
            f"{known.shape}."
            + (" token_counts(..., n_tokens=) gives as many as a table has." if n else "")
        )
    if not np.isfinite(known).all() or (known < 0).any():
        raise ValueError("counts must be finite and not negative.")
    if not known.any():
        raise ValueError("counts are all zero: no token was seen. Count texts of this tokenizer.")
    return known
