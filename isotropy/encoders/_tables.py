"""The table of tokens inside a model, corrected in a copy that loads without this library."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.base import clone

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector, RankWarning, Whitening
from isotropy.correctors.base import told_elsewhere, warn_user
from isotropy.encoders._counts import Scheme, checked_counts, token_weights
from isotropy.encoders._fitting import Fitted, check_learns, given, is_fitted
from isotropy.export.parts import parts_of

__all__ = ["TiedTableWarning", "correct_tokens"]


class TiedTableWarning(UserWarning):
    """The corrected table is also the output table of a language model.

    Examples
    --------
    >>> import warnings
    >>> from isotropy.encoders import TiedTableWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", TiedTableWarning)
    """


@dataclass
class _Table:
    """A model's table of tokens.

    `left` marks rows that no text can reach; `written` makes the copy with other rows. A table of
    fixed width belongs to a transformer, which knows its axes.
    """

    rows: np.ndarray
    left: np.ndarray
    written: Callable[[np.ndarray], Any]
    fixed: bool = False


def correct_tokens(
    model: Any,
    corrector: Fitted | str | os.PathLike[str] | None = None,
    *,
    counts: Any = None,
    weights: Scheme | np.ndarray | None = None,
    n_components: int | None = None,
) -> Any:
    """Correct the table of tokens inside a model, in a copy of it.

    Rows of tokens are cut to `n_components`, corrected, and multiplied by `weights`. What comes out
    is a model of the same class: it saves, loads and encodes as any other, without this library.

    Parameters
    ----------
    model : SentenceTransformer, StaticEmbedding, model2vec StaticModel or PreTrainedModel
        A static model, or a transformer, whose input table is meant.
    corrector : corrector, AffineMap, path or None, default=None
        An unfitted one is fitted to the table; a fitted one, or its file, is used as it is. None
        leaves rows as they are, but for `weights` and `n_components`.
    counts : array of shape (n tokens,), optional
        How often each token occurs (`token_counts`). Statistics are then those of running text,
        where "the" counts a million times and a rare name once, as in Zipfian whitening. Without
        them every token of the vocabulary counts the same.
    weights : {"sif", "zipf", "uniform"} or array of shape (n tokens,), optional
        What rows are multiplied by in the end: a scheme of `token_weights` for these counts with
        its defaults, or the weights themselves, as for "idf".
    n_components : int, optional
        Keep the leading principal directions of the (counted) rows, about their mean, before the
        corrector. Static models only.

    Returns
    -------
    model
        A copy. The user's own stays as it was.

    Raises
    ------
    TypeError
        If `model` is of no such kind.
    ValueError
        If counts or weights do not fit the table, the table has no row that can be corrected or
        varies along fewer than `n_components` directions, a transformer's table would become
        narrower or turned, or a module behind the table needs the old width.

    Warns
    -----
    TiedTableWarning
        If the output table of a language model is the same matrix and so changes too.

    See Also
    --------
    token_counts, token_weights, perplexity

    Notes
    -----
    Rows of zeros, the padding token's, and rows beyond the tokenizer's vocabulary take no part:
    they stay as they are, or are zero where the width changes. A vocabulary that model2vec has
    quantized is unfolded: one row a token. For static models, `Whitening` to 256 dimensions with
    counts and ``weights="sif"`` is the best of those measured (``benchmarks/static.py``). Fit is
    n d^2 for n tokens: seconds.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.encoders import correct_tokens
    >>> from model2vec import StaticModel
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordLevel({"cat": 0, "sat": 1}))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> table = np.array([[5.0, 1.0], [1.0, 1.0]], dtype=np.float32)
    >>> model = StaticModel(table, tokenizer)
    >>> corrected = correct_tokens(model, MeanRemoval(), counts=[1, 3])
    >>> corrected.encode(["cat", "sat"]).tolist(), model.encode("cat").tolist()
    ([[3.0, 0.0], [-1.0, 0.0]], [5.0, 1.0])
    """
    table = _table_of(model)
    n, d = table.rows.shape
    known = None if counts is None else checked_counts(counts, n)
    factors = _factors(weights, known, n)
    left = table.left | ~table.rows.any(axis=1)
    if left.all():
        raise ValueError(f"The table of {type(model).__name__} has no row that can be corrected.")
    if table.fixed and n_components is not None:
        raise ValueError(
            f"n_components={n_components!r} would narrow the input table of a transformer, whose "
            f"layers are {d} wide. Leave it out; only tables of static models can be cut."
        )
    rows = table.rows[~left]
    seen = None if known is None else known[~left]
    if n_components is not None:
        rows = _cut(rows, seen, n_components)
    if corrector is not None:
        rows, fitted = _applied(given(corrector), rows, seen)
        if table.fixed:
            _check_keeps_axes(fitted, d, rows.shape[1])
    new = np.zeros((n, rows.shape[1]), dtype=table.rows.dtype)
    if rows.shape[1] == d:
        new[left] = table.rows[left]
    new[~left] = rows if factors is None else rows * factors[~left, None]
    return table.written(new)


def _factors(weights: Any, counts: np.ndarray | None, n: int) -> np.ndarray | None:
    if weights is None:
        return None
    if isinstance(weights, str):
        if counts is None:
            raise ValueError(
                f"weights={weights!r} follow from counts: give them (token_counts), or give the "
                "weights themselves."
            )
        if weights == "idf":
            raise ValueError(
                "weights='idf' need counts of texts, and how many texts there are: give "
                "token_weights(..., 'idf', n_texts=...) in their place."
            )
        return token_weights(counts, weights)  # type: ignore[arg-type]
    factors = np.asarray(weights, dtype=np.float64)
    if factors.shape != (n,) or not np.isfinite(factors).all():
        raise ValueError(
            f"weights must be a scheme or {n} finite numbers, one a token, got shape "
            f"{factors.shape}."
        )
    return factors


def _applied(
    corrector: Fitted, rows: np.ndarray, counts: np.ndarray | None
) -> tuple[np.ndarray, Fitted]:
    """Corrected rows, and the corrector, fitted to these rows where it was not before."""
    if not is_fitted(corrector):
        check_learns(corrector, weighted=counts is not None, asked=False)
        if counts is not None and not counts.any():
            raise ValueError("counts are zero for every row that can be corrected.")
        more = {} if counts is None else {"sample_weight": counts}
        corrector = clone(corrector).fit(rows, **more)
    apply = corrector.apply if isinstance(corrector, AffineMap) else corrector.transform
    return np.asarray(apply(rows)), corrector


def _cut(rows: np.ndarray, counts: np.ndarray | None, n_components: int) -> np.ndarray:
    """The leading principal directions of the counted rows, as columns."""
    cut = Whitening(power=0.0, n_components=n_components)
    with told_elsewhere(RankWarning):
        found, _ = _applied(cut, rows, counts)
    if found.shape[1] < n_components:
        raise ValueError(
            f"n_components={n_components} is more than the {found.shape[1]} directions that the "
            "rows of the table vary along (the counted ones, with counts). Take fewer."
        )
    return found


def _check_keeps_axes(corrector: Fitted, d: int, k: int) -> None:
    """Layers above an input table know its axes: a map may scale and project, but not turn."""
    name = type(corrector).__name__
    if k != d:
        raise ValueError(
            f"{name} makes {k} columns of {d}: the layers of a transformer need {d}. Take a "
            "corrector that keeps the width, such as Whitening(method='zca')."
        )
    if isinstance(corrector, AffineMap | AffineCorrector):
        matrix = parts_of(corrector)[0].matrix
        values = np.linalg.eigvalsh(matrix + matrix.T)
        if values[0] < -1e-3 * np.abs(values).max():
            raise ValueError(
                f"{name} turns the axes of the table, which the layers of a transformer know. "
                "Take one that leaves them in place, such as MeanRemoval(), ComponentRemoval() or "
                "Whitening(method='zca')."
            )


# -- where models keep their tables ----------------------------------------------------------------


def _table_of(model: Any) -> _Table:
    if isinstance(getattr(model, "embedding", None), np.ndarray):
        return _static_model(model)
    if hasattr(model, "state_dict"):
        for finder in (_static_embedding, _transformer):
            found = finder(model)
            if found is not None:
                return found
    raise TypeError(
        "model must be a SentenceTransformer or StaticEmbedding of sentence-transformers, a "
        "StaticModel of model2vec, or a model of transformers with an input table, got "
        f"{type(model).__name__}."
    )


def _static_model(model: Any) -> _Table:
    """model2vec's: one row a token, or shared rows with a place and a weight for each token."""
    rows, places, weights = (
        _raised(model.embedding),
        getattr(model, "token_mapping", None),
        getattr(model, "weights", None),
    )
    rows = rows if places is None else rows[places]
    if weights is not None:
        rows = rows * np.asarray(weights, dtype=rows.dtype)[:, None]
    kept = model.embedding.dtype if model.embedding.dtype.kind == "f" else rows.dtype

    def written(new: np.ndarray) -> Any:
        new = new.astype(kept)
        made = copy.deepcopy(model, {id(model.embedding): new})  # the old rows are not copied
        made.embedding, made.token_mapping, made.weights = new, None, None
        if "hidden_dim" in made.config:
            made.config["hidden_dim"] = new.shape[1]
        return made

    return _Table(rows, np.zeros(len(rows), dtype=bool), written)


def _static_embedding(model: Any) -> _Table | None:
    from torch import nn

    first = _first(model)
    bag = getattr(first, "embedding", None)
    if not isinstance(bag, nn.EmbeddingBag):
        return None
    rows = _from_torch(bag.weight)
    left = _beyond(first.tokenizer, len(rows)) | _padding(bag, len(rows))

    def written(new: np.ndarray) -> Any:
        if new.shape[1] != rows.shape[1]:
            _check_next(model, new.shape[1])
        made = copy.deepcopy(model, _shared(model, bag.weight, new))
        table = _first(made)
        table.embedding.embedding_dim = table.embedding_dim = new.shape[1]
        return made

    return _Table(rows, left, written)


def _transformer(model: Any) -> _Table | None:
    first = _first(model)
    body = getattr(first, "auto_model", first)
    table: Any = getattr(body, "get_input_embeddings", lambda: None)()
    if getattr(table, "weight", None) is None or table.weight.ndim != 2:
        return None
    rows = _from_torch(table.weight)
    left = _padding(table, len(rows))
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None:
        left |= _beyond(tokenizer, len(rows))

    def written(new: np.ndarray) -> Any:
        made = copy.deepcopy(model, _shared(model, table.weight, new))
        head: Any = getattr(body, "get_output_embeddings", lambda: None)()
        if getattr(head, "weight", None) is table.weight:
            warn_user(
                f"The output table of {type(body).__name__} is its input table: what it says about "
                "the next token changes too. perplexity() of both models tells by how much.",
                TiedTableWarning,
            )
        return made

    return _Table(rows, left, written, fixed=True)


def _first(model: Any) -> Any:
    """The first module of a SentenceTransformer; any other model is its own."""
    is_sequence = hasattr(model, "encode") and hasattr(model, "__getitem__")
    return model[0] if is_sequence else model


def _check_next(model: Any, width: int) -> None:
    """Refuse a new width that a module behind the table could not take."""
    for module in list(model.children())[1:] if _first(model) is not model else ():
        wanted = getattr(module, "in_features", None)
        if wanted is not None:
            if wanted == width:
                return
            raise ValueError(
                f"{type(module).__name__} behind the table needs rows of {wanted} columns, the "
                f"corrected ones have {width}. Keep the width, or take that module off first."
            )


def _raised(rows: np.ndarray) -> np.ndarray:
    """Rows in a type to reckon in: half precision and integers are raised to float32."""
    return rows if rows.dtype.kind == "f" and rows.itemsize >= 4 else rows.astype(np.float32)


def _from_torch(weight: Any) -> np.ndarray:
    if not weight.is_floating_point():
        raise ValueError(
            f"The table holds {weight.dtype}, no numbers that could be corrected: load the model "
            "without quantization."
        )
    whole = weight.detach().cpu()  # numpy has no bfloat16
    return np.asarray((whole.float() if whole.element_size() < 4 else whole).numpy())


def _shared(model: Any, weight: Any, new: np.ndarray) -> dict[int, Any]:
    """What a deep copy puts in the place of the old table, wherever it is used."""
    torch = import_module("torch")
    made = torch.from_numpy(new).to(device=weight.device, dtype=weight.dtype)
    if isinstance(weight, torch.nn.Parameter):
        made = torch.nn.Parameter(made, requires_grad=weight.requires_grad)
    return {id(weight): made}


def _padding(table: Any, n: int) -> np.ndarray:
    left = np.zeros(n, dtype=bool)
    if getattr(table, "padding_idx", None) is not None:
        left[table.padding_idx] = True
    return left


def _beyond(tokenizer: Any, n: int) -> np.ndarray:
    """Rows whose number is no token of the tokenizer."""
    left = np.zeros(n, dtype=bool)
    if hasattr(tokenizer, "get_vocab"):
        left[:] = True
        ids = np.fromiter(tokenizer.get_vocab().values(), dtype=np.int64)
        left[ids[ids < n]] = False
    return left
