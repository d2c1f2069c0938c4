"""Texts on their way into an encoder: checked, in blocks, in batches, with a bar."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Advance", "Embed", "at_least_one", "checked_texts", "encoded_blocks", "text_bar"]

Embed = Callable[[list[str]], Any]
"""From texts to rows on the host."""

Advance = Callable[[int], None]
"""Takes how many texts are done."""


def encoded_blocks(
    embed: Embed,
    texts: Iterator[str],
    borrowed: Callable[[], AbstractContextManager[None]],
    bar: AbstractContextManager[Advance],
    batch_size: int,
    block: int,
) -> Iterator[NDArray[np.float32]]:
    """Rows of the texts, `block` texts at a time; `borrowed` lends the encoder for each."""
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


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """An iterator over texts that are strings; what is no iterator is looked through at once."""
    if isinstance(texts, Mapping):
        raise ValueError(
            "texts must be an iterable of strings, got a mapping. For texts and images by name "
            "there is wrap_modalities; else pass list(texts.values())."
        )
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


def at_least_one(**argument: Any) -> int:
    ((name, value),) = argument.items()
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return number


@contextmanager
def text_bar(total: int | None, shown: bool) -> Iterator[Advance]:
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
