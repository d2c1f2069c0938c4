"""Texts in, rows out: of an encoder's output, or of one of its layers."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isotropy.encoders._layers import POOLINGS, layer_embedder
from isotropy.encoders._models import check_device, check_max_length, lent, load

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    Embed = Callable[[list[str]], Any]
    Advance = Callable[[int], None]


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
    texts = list(_checked(texts))
    (rows,) = encode_blocks(
        model,
        texts,
        layer=layer,
        pooling=pooling,
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        progress=progress,
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
    block: int = 4096,
) -> Iterator[NDArray[np.float32]]:
    """Encode texts as `encode` does, a block of rows at a time.

    Arguments are checked and the model is loaded at the call; texts are taken from the iterable
    as blocks are asked for. Between blocks the model is as it was.

    Parameters
    ----------
    model, texts, layer, pooling, batch_size, max_length, device, progress
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
    """
    checked = _checked(texts)
    layer = _check_layer(layer, pooling)
    batch_size, block = _at_least_one(batch_size=batch_size), _at_least_one(block=block)
    if max_length is not None:
        max_length = _at_least_one(max_length=max_length)
    where = check_device(device)
    loaded = load(model, where)
    check_max_length(loaded, max_length)
    borrowed = partial(lent, loaded, where, max_length)
    with borrowed():
        embed = _embedder(loaded, layer, pooling, batch_size)
    bar = _bar(len(texts) if isinstance(texts, Sized) else None, progress)
    return _stream(embed, checked, borrowed, bar, batch_size, block)


def _stream(
    embed: Embed,
    texts: Iterator[str],
    borrowed: Callable[[], AbstractContextManager[None]],
    bar: AbstractContextManager[Advance],
    batch_size: int,
    block: int,
) -> Iterator[NDArray[np.float32]]:
    with bar as advance:
        part = list(islice(texts, block))
        if not part:  # the rows of one text, cut to none, have the right width
            with borrowed():
                rows = np.asarray(embed(["text"]), dtype=np.float32)[:0]
            yield rows
        while part:
            with borrowed():
                rows = _encode_block(embed, part, batch_size, advance)
            yield rows
            part = list(islice(texts, block))


def _encode_block(
    embed: Embed, texts: list[str], batch_size: int, advance: Advance
) -> NDArray[np.float32]:
    """Rows of the texts, which go through in batches of similar length, the longest first."""
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    rows: NDArray[np.float32] | None = None
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        found = np.asarray(embed([texts[index] for index in batch]), dtype=np.float32)
        if rows is None:
            rows = np.empty((len(texts), found.shape[1]), dtype=np.float32)
        rows[batch] = found
        advance(len(batch))
    assert rows is not None
    return rows


def _embedder(
    model: SentenceTransformer, layer: str | int, pooling: str | None, batch_size: int
) -> Embed:
    """A function from a batch of texts to an array on the host."""
    if layer == "output":
        return partial(_output, model, batch_size)
    embed = layer_embedder(model, layer, pooling or "mean")
    return lambda texts: embed(texts).cpu().numpy()


def _output(model: SentenceTransformer, batch_size: int, texts: list[str]) -> Any:
    # A transformer whose tokenizer adds no special tokens cannot run on blank texts alone.
    company = [] if any(text.strip() for text in texts) else ["text"]
    rows = model.encode(
        texts + company,
        batch_size=batch_size + len(company),
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return rows[: len(texts)]


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """An iterator over texts that are strings; what is no iterator is looked through at once."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ValueError(
            f"texts must be an iterable of strings, got {type(texts).__name__}. "
            "Put a single text in a list."
        )
    if not isinstance(texts, Iterator):
        for _ in _strings(texts):
            pass
    return _strings(texts)


def _strings(texts: Iterable[str]) -> Iterator[str]:
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"texts must be strings, got {type(text).__name__} ({text!r:.40}) at position "
                f"{position}. Fill or drop such entries first."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"texts must be Unicode, got half a surrogate pair ({error.object[error.start]!r}) "
                f"at position {position}. Was it decoded with errors='surrogateescape'?"
            ) from error
        yield text


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


def _at_least_one(**argument: Any) -> int:
    ((name, value),) = argument.items()
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return number


@contextmanager
def _bar(total: int | None, shown: bool) -> Iterator[Advance]:
    """A bar that counts texts on standard error, as a function that takes how many came."""
    if not shown:
        yield lambda count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Encoding texts", total=total)
        yield lambda count: bar.advance(task, count)
