"""Scorecards of every layer of a transformer, of any modality, in one pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from isotropy._optional import require
from isotropy._render import html_table, number, text_table
from isotropy.encoders._layers import pool
from isotropy.encoders._models import check_device, load, modes_kept
from isotropy.moments import Moments
from isotropy.scoring import Scorecard, score

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LayerProfile", "layer_profile"]

METRIC_NAMES = ("mean_cosine", "isoscore", "effective_rank", "top_variance_share")
LEVELS = ("token", "pooled")
_WAITING = 2**22
"""Numbers of a layer that wait at most."""


@dataclass(frozen=True, repr=False)
class LayerProfile:
    """Moments and scorecards by layer; `layer_profile` makes it.

    Parameters
    ----------
    model : str
        What was profiled.
    token : tuple of Moments
        Of all token vectors; one a hidden state, 0 the embeddings that enter the first layer.
    pooled : tuple of Moments
        Of the mean vectors of each item, likewise.
    metrics : tuple of str
        What scorecards show.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import Moments
    >>> from isotropy.encoders import LayerProfile
    >>> layers = tuple(Moments(order=4).update(np.eye(3) + k) for k in (0, 1))
    >>> profile = LayerProfile("a model", layers, layers, ("mean_cosine",))
    >>> len(profile), round(profile.scorecards("pooled")[1]["mean_cosine"], 3)
    (2, 0.833)
    """

    model: str
    token: tuple[Moments, ...]
    pooled: tuple[Moments, ...]
    metrics: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.token)

    def scorecards(self, level: str = "token") -> list[Scorecard]:
        """A scorecard of each layer, of its tokens or of pooled items.

        Parameters
        ----------
        level : {"token", "pooled"}, default="token"
            Of which rows.

        Returns
        -------
        list of Scorecard
            One a hidden state.

        Raises
        ------
        ValueError
            If `level` is neither.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> from isotropy.encoders import LayerProfile
        >>> layers = (Moments(order=4).update(np.eye(3)),)
        >>> profile = LayerProfile("a model", layers, layers, ("mean_cosine",))
        >>> profile.scorecards()[0]["mean_cosine"]
        0.0
        """
        if level not in LEVELS:
            raise ValueError(f"level must be one of {LEVELS}, got {level!r}.")
        return [score(moments, list(self.metrics)) for moments in getattr(self, level)]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and numbers.

        Returns
        -------
        dict
            "model", and for "token" and "pooled" a list of dictionaries by layer.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import Moments
        >>> from isotropy.encoders import LayerProfile
        >>> layers = (Moments(order=4).update(np.eye(3)),)
        >>> LayerProfile("a model", layers, layers, ("mean_cosine",)).to_dict()["token"]
        [{'layer': 0, 'rows': 3, 'dims': 3, 'mean_cosine': 0.0}]
        """
        return {
            "model": self.model,
            **{
                level: [
                    {"layer": k, "rows": card.shape[0], "dims": card.shape[1], **card}
                    for k, card in enumerate(self.scorecards(level))
                ]
                for level in LEVELS
            },
        }

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["layer", *(f"{name} ({level})" for level in LEVELS for name in self.metrics)]
        cards = [self.scorecards(level) for level in LEVELS]
        rows = [
            [str(k), *(number(card[name]) for card in pair for name in self.metrics)]
            for k, pair in enumerate(zip(*cards, strict=True))
        ]
        return header, rows

    def _caption(self) -> str:
        return (
            f"{self.model}: {self.token[0].n_rows:,} tokens, {self.pooled[0].n_rows:,} items, "
            f"{len(self) - 1} layers"
        )

    def __str__(self) -> str:
        return f"{self._caption()}\n{text_table(*self._cells())}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption=self._caption())


def layer_profile(
    model: Any,
    batches: Iterable[Any],
    *,
    metrics: Sequence[str] = METRIC_NAMES,
    batch_size: int = 32,
    max_length: int | None = None,
    device: str = "auto",
) -> LayerProfile:
    """Measure every layer of a transformer in one pass, without keeping its states.

    Parameters
    ----------
    model : PreTrainedModel, SentenceTransformer, str or path-like
        Any model of transformers that gives hidden states: text, vision, audio. Of an
        encoder-decoder the encoder is taken. A name, a folder or a SentenceTransformer is a text
        encoder; ``"minilm"`` is the bundled one. Of a model with two towers (CLIP and its kin), or
        a SentenceTransformer of one, that tower is taken whose batches these are.
    batches : iterable of batches
        What the model's processor makes: dictionaries of tensors with ``input_ids``,
        ``pixel_values`` or ``input_values``, and an ``attention_mask`` where there is padding.
        For a text encoder by name also plain texts; for a SentenceTransformer of images, images.
    metrics : sequence of str, optional
        Metrics that moments suffice for; by default mean cosine, IsoScore, effective rank and the
        share of the first direction.
    batch_size : int, default=32
        Of texts.
    max_length : int, optional
        Tokens of a text that are kept; by default the encoder's own number.
    device : str, default="auto"
        Where the model goes; "auto" leaves it where it is.

    Returns
    -------
    LayerProfile

    Raises
    ------
    ValueError
        Where there are no batches, or the model gives no hidden states.

    Notes
    -----
    Hidden states are those of transformers: the last may stand behind a closing norm. Padding is
    left out, also where a model shortens its input (convolutions of audio models, CANINE); vision
    models have none, and their class token counts as a token. One batch of states is held at a
    time; memory is O(layers d^2).

    References
    ----------
    Ethayarajh 2019; Godey et al. 2024, "Is anisotropy inherent to Transformers?".

    Examples
    --------
    >>> from isotropy.encoders import layer_profile
    >>> profile = layer_profile("minilm", ["A text.", "Another one."])  # doctest: +SKIP
    """
    torch = require("torch", extra="encoders")
    where = check_device(device)
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("batches is empty: there is nothing to measure.")
    batches = chain([first], batches)
    name, bare, batches = _opened(model, batches, first, where, batch_size, max_length)
    if where is not None:
        bare.to(where)
    token: list[_Gathering] = []
    pooled: list[_Gathering] = []
    with modes_kept(bare), torch.inference_mode():
        bare.eval()
        for batch in batches:
            states, given = _states(bare, batch)
            if not token:
                token, pooled = ([_Gathering() for _ in states] for _ in LEVELS)
            for k, state in enumerate(states):
                mask, state = _mask_of(bare, given, state), state.float()
                token[k].add(state[mask])
                pooled[k].add(pool(state, mask, "mean"))
    by_token, by_item = (tuple(layer.moments() for layer in level) for level in (token, pooled))
    return LayerProfile(name, by_token, by_item, tuple(metrics))


class _Gathering:
    """Moments of rows that come in small parts.

    Some parts wait for one another: numpy's threads spin for a while after a product, on cores that
    the model's next layer wants.
    """

    def __init__(self) -> None:
        self.gathered = Moments(order=4)
        self.waiting: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        self.waiting.append(rows.cpu())
        if sum(map(len, self.waiting)) * rows.shape[1] > _WAITING:
            self.moments()

    def moments(self) -> Moments:
        import torch

        if self.waiting:
            self.gathered.update(torch.cat(self.waiting))
            self.waiting = []
        return self.gathered


def _opened(
    model: Any,
    batches: Any,
    first: Any,
    device: str | None,
    batch_size: int,
    max_length: int | None,
) -> tuple[str, Any, Iterator[Any]]:
    """The name, the bare transformer, and its batches."""
    is_name = not hasattr(model, "parameters")
    if not (is_name or hasattr(model, "tokenize") or hasattr(model, "preprocess")):
        if isinstance(first, str):
            raise ValueError(
                "Texts need a tokenizer: pass a SentenceTransformer, a Hub name or a folder, or "
                "batches that the model's own tokenizer makes."
            )
        return type(model).__name__, _encoder_of(model, first), batches
    encoder = load(model, device)
    bare = getattr(encoder[0], "auto_model", None)
    if bare is None:
        kind = type(encoder[0]).__name__
        raise ValueError(f"This encoder begins with {kind}, which has no layers.")
    name = str(model) if is_name else type(bare).__name__
    if isinstance(first, str):
        batches = _tokenized(encoder.tokenizer, batches, batch_size, max_length, encoder)
    elif _is_item(first):
        batches = _preprocessed(encoder, batches, batch_size)
        first = next(batches)
        batches = chain([first], batches)
    return name, _encoder_of(bare, first), batches


def _is_item(first: Any) -> bool:
    """Whether it is an image, say, and no batch."""
    return not hasattr(first, "items") and not hasattr(first, "dtype")


def _preprocessed(encoder: Any, items: Iterator[Any], batch_size: int) -> Iterator[Any]:
    while part := list(islice(items, batch_size)):
        made = encoder.preprocess(part)
        yield {name: value for name, value in made.items() if hasattr(value, "to")}


def _encoder_of(model: Any, first: Any) -> Any:
    """What holds the layers that a batch like the first goes through."""
    if hasattr(model, "text_model") and hasattr(model, "vision_model"):  # CLIP and its kin
        names = [first] if isinstance(first, str) or not hasattr(first, "items") else list(first)
        images, texts = "pixel_values" in names, "input_ids" in names or isinstance(first, str)
        if images == texts:
            raise ValueError(
                f"{type(model).__name__} has two towers: give batches of one at a time, with "
                "input_ids or with pixel_values."
            )
        return model.vision_model if images else model.text_model
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return model.get_encoder()
    return model


def _tokenized(
    tokenizer: Any, texts: Iterator[Any], batch_size: int, max_length: int | None, encoder: Any
) -> Iterator[Any]:
    length = max_length or getattr(encoder, "max_seq_length", None)
    while part := list(islice(texts, batch_size)):
        if not all(isinstance(text, str) for text in part):
            raise ValueError("batches mixes texts with something else.")
        yield tokenizer(
            part,
            padding=True,
            truncation=length is not None,
            max_length=length,
            return_tensors="pt",
        )


def _states(model: Any, batch: Any) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    import torch

    if isinstance(batch, torch.Tensor):
        batch = {getattr(model, "main_input_name", "input_ids"): batch}
    if not hasattr(batch, "items"):
        raise ValueError(f"A batch must be a dictionary of tensors, got {type(batch).__name__}.")
    device = next(model.parameters()).device
    taken = inspect.signature(model.forward).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    given = {
        name: value.to(device) if hasattr(value, "to") else value
        for name, value in batch.items()
        if (name in taken or anything) and name not in ("labels", "output_hidden_states")
    }
    output = model(**given, output_hidden_states=True, return_dict=True)
    states = getattr(output, "hidden_states", None)
    if not states:
        raise ValueError(f"{type(model).__name__} gives no hidden states.")
    if any(state.ndim != 3 for state in states):
        states = tuple(
            state.flatten(2).transpose(1, 2) if state.ndim == 4 else state for state in states
        )
    return states, given


def _mask_of(model: Any, given: dict[str, Any], state: Tensor) -> Tensor:
    """Where the tokens of a hidden state are, and not padding."""
    import torch

    length, mask = state.shape[1], given.get("attention_mask")
    if mask is None:
        return torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)
    mask = mask.bool()
    if mask.shape[1] == length:
        return mask
    if hasattr(model, "_get_feature_vector_attention_mask"):  # convolutions of audio models
        shortened: Tensor = model._get_feature_vector_attention_mask(length, mask)
        return shortened.bool()
    # Each position stands for a stretch of the input (CANINE's molecules).
    stretches = torch.nn.functional.adaptive_max_pool1d(mask.float()[:, None], length)
    return stretches[:, 0] > 0
