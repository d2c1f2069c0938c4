"""Texts in, rows out: of an encoder's output, or of one of its layers."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sized
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isotropy.encoders._layers import POOLINGS, layer_embedder, layer_indices
from isotropy.encoders._models import check_device, check_max_length, known_depth, lent, load
from isotropy.encoders._texts import Embed, at_least_one, checked_texts, encoded_blocks, text_bar

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def encode(
    model: SentenceTransformer | str | os.PathLike[str],
    texts: Iterable[str],
    *,
    layer: str | int = "output",
    pooling: str | None = None,
    batch_size: int = 64,
    max_length: int | None = None,
    device: str = "auto",
    progress: bool = False,
    route: str | None = None,
) -> NDArray[np.float32]:
    """Encode texts with an encoder, or with one of the layers inside it.

    Layers below the one asked for are run, layers above it are not, where the transformer's
    structure allows it (layer 3 of 6 takes half the time). Texts of similar length share a batch.

    Parameters
    ----------
    model : SentenceTransformer, str or path-like
        An encoder, a name on the Hub, or a folder; a plain transformers model gets the pooling
        that sentence-transformers gives it. ``"minilm"`` is the model that
        `bundled_minilm` finds, without a network.
    texts : iterable of str
        The texts, n in number.
    layer : {"output", "last", "first-last-avg"} or int, default="output"
        ``"output"`` is what ``model.encode`` returns, with the encoder's own pooling,
        normalization and any other module. The others are hidden states of its transformer,
        pooled and not normalized. With L layers, an integer from 0 to L is an index into the
        hidden states: 0 is the embeddings that enter the first layer, k the states that leave
        layer k; -1 is the last, -(L + 1) the first. ``"last"`` is L, which stands behind the
        closing norm of transformers that have one. ``"first-last-avg"`` is the mean of the
        hidden states 1 and L, the first and the last layer's, as in BERT-flow and
        BERT-whitening [1]_ [2]_; the embeddings take no part in it.
    pooling : {"mean", "cls", "max", "lasttoken"} or None, default=None
        How the vectors of a text's tokens become one: their mean, the first, the largest value
        in each dimension, or the last. Padding takes no part. None is ``"mean"`` for hidden
        states, and the only choice for ``layer="output"``.
    batch_size : int, default=64
        Texts that go through the model together.
    max_length : int or None, default=None
        Tokens, special ones included, after which a text is cut; by default the encoder's own.
    device : str, default="auto"
        Where to run, such as ``"cpu"`` or ``"cuda:1"``. ``"auto"`` leaves an encoder where it is
        and a loaded one where sentence-transformers puts it.
    progress : bool, default=False
        Show a progress bar on standard error.
    route : {"query", "document"} or None, default=None
        Encode as ``model.encode_query`` or ``model.encode_document`` does, with the prompt and the
        modules that the encoder has for these; by default as ``model.encode`` does. For hidden
        states, with that prompt.

    Returns
    -------
    ndarray of shape (n, d), float32
        A row per text in the order of the texts. A text that gives the transformer no token is
        a row of zeros in its layers.

    Raises
    ------
    ValueError
        If an argument is out of range, `texts` holds something that is not a string, the model
        cannot be loaded, or a layer is asked of an encoder without layers.
    ImportError
        If sentence-transformers is missing (``isotropy[encoders]``), or, for ``"minilm"``, the
        package that carries it (``isotropy[demo]``).

    See Also
    --------
    encode_blocks : The same rows in blocks, for more texts than memory holds.

    Notes
    -----
    The model is handed back as it was: modes, device, length and configuration.

    References
    ----------
    .. [1] Li et al., "On the Sentence Embeddings from Pre-trained Language Models", EMNLP 2020.
    .. [2] Su et al., "Whitening Sentence Representations for Better Semantics and Faster
       Retrieval", arXiv:2103.15316.

    Examples
    --------
    >>> from isotropy.encoders import encode
    >>> encode("minilm", ["A cat sat.", "Markets fell."], layer=3).shape
    (2, 384)
    """
    texts = list(checked_texts(texts))
    (rows,) = encode_blocks(
        model,
        texts,
        layer=layer,
        pooling=pooling,
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        progress=progress,
        route=route,
        block=max(len(texts), 1),
    )
    return rows


def encode_blocks(
    model: SentenceTransformer | str | os.PathLike[str],
    texts: Iterable[str],
    *,
    layer: str | int = "output",
    pooling: str | None = None,
    batch_size: int = 64,
    max_length: int | None = None,
    device: str = "auto",
    progress: bool = False,
    route: str | None = None,
    block: int = 4096,
) -> Iterator[NDArray[np.float32]]:
    """Encode texts as `encode` does, a block of rows at a time.

    Arguments are checked and the model is loaded at the call; texts are taken from the iterable
    as blocks are asked for. Between blocks the model is as it was.

    Parameters
    ----------
    model, texts, layer, pooling, batch_size, max_length, device, progress, route
        As for `encode`.
    block : int, default=4096
        Rows per block. Texts are sorted by length within a block.

    Returns
    -------
    iterator of ndarray of shape (at most block, d), float32
        The rows in order. No texts give one block of shape (0, d).

    Raises
    ------
    ValueError, ImportError
        As for `encode`. A text that is not a string raises at the call where `texts` can be
        looked through, and when it is reached where `texts` is an iterator.

    Examples
    --------
    >>> from isotropy.encoders import encode_blocks
    >>> texts = (f"Sentence {number}." for number in range(5))
    >>> [rows.shape for rows in encode_blocks("minilm", texts, layer=0, block=3)]
    [(3, 384), (2, 384)]
    """
    checked = checked_texts(texts)
    layer = _check_layer(layer, pooling)
    if route not in (None, *_PROMPTS):
        raise ValueError(f"route must be 'query', 'document' or None, got {route!r}.")
    batch_size, block = at_least_one(batch_size=batch_size), at_least_one(block=block)
    if max_length is not None:
        max_length = at_least_one(max_length=max_length)
    depth = None if layer == "output" else known_depth(model)
    if depth is not None:
        layer_indices(layer, depth)  # told before the model is loaded
    where = check_device(device)
    loaded = load(model, where)
    check_max_length(loaded, max_length)
    borrowed = partial(lent, loaded, where, max_length)
    with borrowed():
        embed = _embedder(loaded, layer, pooling, batch_size, route)
    bar = text_bar(len(texts) if isinstance(texts, Sized) else None, progress)
    return encoded_blocks(embed, checked, borrowed, bar, batch_size, block)


_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""The names that sentence-transformers looks for, by route."""


def _embedder(
    model: SentenceTransformer,
    layer: str | int,
    pooling: str | None,
    batch_size: int,
    route: str | None,
) -> Embed:
    """A function from a batch of texts to an array on the host."""
    if layer == "output":
        call = model.encode if route is None else getattr(model, f"encode_{route}")
        return partial(_output, call, batch_size)
    embed = layer_embedder(model, layer, pooling or "mean")
    known = [name for name in _PROMPTS.get(route or "", ()) if name in model.prompts]
    prompt = str(model.prompts[known[0]] or "") if known else ""
    return lambda texts: embed([prompt + text for text in texts]).cpu().numpy()


def _output(call: Any, batch_size: int, texts: list[str]) -> Any:
    # A transformer whose tokenizer adds no special tokens cannot run on blank texts alone.
    company = [] if any(text.strip() for text in texts) else ["text"]
    rows = call(
        texts + company,
        batch_size=batch_size + len(company),
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return rows[: len(texts)]


def _check_layer(layer: str | int, pooling: str | None) -> str | int:
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)} or None, got {pooling!r}.")
    if layer == "output" and pooling is not None:
        raise ValueError(
            f"pooling={pooling!r} cannot replace the encoder's own, which makes its output. "
            "Leave it out, or take layer='last'."
        )
    if layer in ("output", "last", "first-last-avg"):
        return layer
    if not isinstance(layer, str | bool):
        try:
            return operator.index(layer)
        except TypeError:
            pass
    raise ValueError(
        f"layer must be 'output', 'last', 'first-last-avg' or an integer, got {layer!r}."
    )
