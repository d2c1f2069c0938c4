"""Hidden states of the transformer inside an encoder, and their pooling to a row per text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

    Features = dict[str, Any]
    States = dict[int, Tensor]
    Reader = Callable[[Features, Sequence[int]], States]

POOLINGS = ("mean", "cls", "max", "lasttoken")

PROBE = ["A text.", "A text that is longer than the other, so that the other is padded."]
"""What an encoder is tried on, to learn how many layers it has and where to read them."""


def layer_embedder(
    model: SentenceTransformer, layer: str | int, pooling: str
) -> Callable[[list[str]], Tensor]:
    """A function from texts to their hidden states at `layer`, pooled, in float32."""
    import torch

    module = _transformer(model)
    probe = _tokens(model, PROBE)
    recorded = _recorded(module, probe)
    wanted, width = layer_indices(layer, depth=len(recorded) - 1), recorded[0].shape[-1]
    read = _stopping_reader(module, probe, recorded) or _recording_reader(module)

    def embed(texts: list[str]) -> Tensor:
        features = _tokens(model, texts)
        mask = _mask(model, features)
        if mask.numel() == 0:  # a transformer cannot run on texts without a single token
            return torch.zeros(len(texts), width)
        states = read(features, wanted)
        mean = torch.stack([states[index].float() for index in wanted]).mean(dim=0)
        return pool(mean, mask, pooling)

    return embed


def layer_indices(layer: str | int, depth: int) -> tuple[int, ...]:
    """Indices of the hidden states whose mean is `layer`, in a transformer of `depth` layers."""
    if layer == "last":
        return (depth,)
    if layer == "first-last-avg":
        return (1, depth)
    if isinstance(layer, str) or not -depth - 1 <= layer <= depth:
        raise ValueError(
            f"layer={layer!r} is not in this encoder of {depth} layers. Take 'output', 'last', "
            f"'first-last-avg', or a number from 0, the embeddings, to {depth} "
            f"(or from -1, the last, to {-depth - 1})."
        )
    return (layer % (depth + 1),)


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One row per text; a text without tokens gets zeros.

    Parameters
    ----------
    states : tensor of shape (n_texts, n_tokens, n_dimensions)
    mask : bool tensor of shape (n_texts, n_tokens)
        Where a token is, and not padding.
    pooling : {"mean", "cls", "max", "lasttoken"}
    """
    import torch

    tokens = mask[..., None]
    if pooling == "mean":
        rows = states.masked_fill(~tokens, 0.0).sum(dim=1) / tokens.sum(dim=1).clamp(min=1)
    elif pooling == "max":
        rows = states.masked_fill(~tokens, -torch.inf).amax(dim=1)
    else:  # padding may stand on either side
        first = mask.int().argmax(dim=1)
        last = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
        where = first if pooling == "cls" else last
        rows = states[torch.arange(len(states), device=states.device), where]
    return rows.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


def _transformer(model: SentenceTransformer) -> Any:
    """The module that runs the transformer, which is the first where there are layers to read."""
    from torch import nn

    first = model[0]
    if not isinstance(getattr(first, "auto_model", None), nn.Module):
        raise ValueError(
            f"This encoder begins with {type(first).__name__}, which is no text transformer run "
            "by torch, so it has no layers to read. Take layer='output'."
        )
    return first


def _tokens(model: SentenceTransformer, texts: list[str]) -> Features:
    """Token ids as `model.encode` makes them, with the prompt that the model sets by default."""
    prompt = model.prompts.get(model.default_prompt_name or "") or ""
    if hasattr(model, "preprocess"):
        with _padded(model[0]):
            features = model.preprocess(texts, prompt=prompt or None)
    else:  # sentence-transformers before 5.4
        features = model.tokenize([prompt + text for text in texts])
        if prompt:
            older: Any = model
            features["prompt_length"] = older._get_prompt_length(prompt)
    return {
        name: value.to(model.device) if hasattr(value, "to") else value
        for name, value in features.items()
    }


@contextmanager
def _padded(module: Any) -> Iterator[None]:
    """Have a batch padded where it would be packed, for flash attention, into a single row."""
    packs = getattr(module, "can_flatten_inputs", False)
    if packs:
        module.can_flatten_inputs = False
    try:
        yield
    finally:
        if packs:
            module.can_flatten_inputs = True


def _mask(model: SentenceTransformer, features: Features) -> Tensor:
    """Where the tokens are that pooling counts: no padding, nor a prompt the model leaves out."""
    mask: Tensor = features["attention_mask"].bool()
    if all(getattr(module, "include_prompt", True) for module in model):
        return mask
    behind_prompt: Tensor = mask.cumsum(dim=1) > features.get("prompt_length", 0)
    return mask & behind_prompt


@contextmanager
def _recording(module: Any, on: bool) -> Iterator[None]:
    """Let the transformer return all its hidden states, or none."""
    config = module.auto_model.config
    before = config.output_hidden_states
    config.output_hidden_states = on
    try:
        yield
    finally:
        config.output_hidden_states = before


def _recorded(module: Any, features: Features) -> States:
    """All hidden states; the last is the transformer's output, behind a closing norm if any."""
    with _recording(module, True):
        out = module(dict(features))
    states = out.get("all_layer_embeddings")
    if not states or states[0].shape[:2] != features["input_ids"].shape:
        raise ValueError(
            f"{type(module.auto_model).__name__} gives no hidden states, one vector a token, to "
            "read its layers from. Take layer='output'."
        )
    return dict(enumerate([*states[:-1], out["token_embeddings"]]))


def _recording_reader(module: Any) -> Reader:
    return lambda features, wanted: _recorded(module, features)


def _stopping_reader(module: Any, probe: Features, recorded: States) -> Reader | None:
    """A reader that runs no layer beyond the one asked for, if this transformer allows it.

    Which list of modules holds the layers is not declared anywhere. So each list of the right
    length is tried, and one is used whose inputs are the hidden states that were recorded.
    """
    from torch import nn

    for blocks in module.auto_model.modules():
        if isinstance(blocks, nn.ModuleList) and len(blocks) == len(recorded) - 1:
            read = partial(_read_inputs, module, blocks)
            if _agree(read(probe, range(len(recorded))), recorded):
                return read
    return None


def _agree(states: States, recorded: States) -> bool:
    import torch

    return states.keys() == recorded.keys() and all(
        state.shape == recorded[index].shape
        and torch.allclose(state, recorded[index], rtol=1e-4, atol=1e-5)
        for index, state in states.items()
    )


class _Reached(Exception):
    """The deepest layer asked for has been read; the rest of the transformer need not run."""


def _read_inputs(
    module: Any, blocks: nn.ModuleList, features: Features, wanted: Sequence[int]
) -> States:
    """Hidden state `k` as the input of block `k`; the last one as the output of `module`."""
    import torch

    found: States = {}

    def keep(index: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = args[0] if args else kwargs.get("hidden_states")
        if torch.is_tensor(state):
            found[index] = state
        if index == max(wanted):
            raise _Reached

    with ExitStack() as hooks, _recording(module, False), suppress(_Reached):
        for index in set(wanted) - {len(blocks)}:
            hook = blocks[index].register_forward_pre_hook(partial(keep, index), with_kwargs=True)
            hooks.callback(hook.remove)
        found[len(blocks)] = module(dict(features))["token_embeddings"]
    return found
