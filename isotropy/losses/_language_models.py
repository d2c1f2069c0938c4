"""A regularizer of a language model's embedding matrices, in a Hugging Face Trainer."""

from __future__ import annotations

import types
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isotropy.losses._training import Schedule, check_weight, factor_at

__all__ = ["embedding_matrices", "regularize_embeddings"]

Which = Literal["input", "output", "both"]


def embedding_matrices(model: Any, embeddings: Which = "both") -> dict[str, Tensor]:
    """The embedding matrices of a transformers model, each once.

    Parameters
    ----------
    model : PreTrainedModel
        Anything with ``get_input_embeddings`` and ``get_output_embeddings``.
    embeddings : {"input", "output", "both"}, default="both"
        "input" is a row per token at the bottom of the model, "output" a row per token at its
        head. Where they are tied they are one matrix, and "both" gives it once.

    Returns
    -------
    dict of str to tensor of shape (vocabulary, d)
        By name, ``input_embeddings`` and ``output_embeddings``, or ``embeddings`` where tied.

    Raises
    ------
    ValueError
        Where the model has no such matrix.
    """
    if embeddings not in ("input", "output", "both"):
        raise ValueError(f"embeddings must be 'input', 'output' or 'both', got {embeddings!r}.")
    names = ("input", "output") if embeddings == "both" else (embeddings,)
    found: dict[str, Tensor] = {}
    for name in names:
        module = getattr(model, f"get_{name}_embeddings", lambda: None)()
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and not any(weight is other for other in found.values()):
            found[f"{name}_embeddings"] = weight
        elif isinstance(weight, Tensor):
            return {"embeddings": weight}
    if not found:
        raise ValueError(f"{type(model).__name__} has no {embeddings} embeddings to regularize.")
    return found


def regularize_embeddings(
    trainer: Any,
    regularizer: nn.Module,
    weight: float = 1.0,
    *,
    embeddings: Which = "both",
    schedule: Schedule = None,
) -> None:
    """Add a regularizer of the token embeddings to what a Hugging Face ``Trainer`` minimises.

    The representations that degenerate in a language model are rows of its embedding matrix,
    most often tied to the output layer. In training ``weight * regularizer(matrix)`` is added to
    the loss of each step, once however many batches a step gathers; evaluation, and so perplexity,
    is left as it is. The log gains ``regularizer``, the mean weighted term since the last entry.

    Parameters
    ----------
    trainer : transformers.Trainer
    regularizer : Regularizer
        For example ``MeanCosine()``, the cosine regularizer of Gao et al.
    weight : float, default=1.0
        Gao et al. take 1. May be negative.
    embeddings : {"input", "output", "both"}, default="both"
        Tied matrices count once.
    schedule : int or callable, optional
        Steps over which the weight rises from 0, or a function of the step that gives a factor of
        the weight.

    Raises
    ------
    ValueError
        Where the model has no such matrix, or the trainer was given one already.

    Notes
    -----
    Every rank of a data-parallel run computes the same term, so leave ``gather`` of the
    regularizer off. Sharded parameters (ZeRO-3, FSDP) are not whole on any rank, and not supported.
    """
    check_weight(weight, schedule)
    if getattr(regularizer, "gather", False):
        raise ValueError("gather=True is for rows of a batch: every rank holds the whole matrix.")
    if "compute_loss" in vars(trainer):
        raise ValueError("compute_loss of this trainer has been replaced already.")
    embedding_matrices(trainer.model, embeddings)  # so that a wrong one is named before training
    compute_loss, log = trainer.compute_loss, trainer.log
    since_log: dict[str, Any] = {"total": 0.0, "steps": 0}

    def with_regularizer(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        result = compute_loss(model, inputs, *args, **kwargs)
        if not model.training:
            return result
        whole = self.accelerator.unwrap_model(model)
        matrices = embedding_matrices(whole, embeddings).values()
        factor = weight * factor_at(schedule, self.state.global_step)
        term = factor * torch.stack([regularizer(matrix) for matrix in matrices]).sum()
        since_log["total"] = since_log["total"] + term.detach()
        since_log["steps"] += 1
        if _scaled_for_accumulation(self, kwargs.get("num_items_in_batch")):
            term = term / self.current_gradient_accumulation_steps
        if isinstance(result, tuple):
            return result[0] + term.to(result[0]), *result[1:]
        return result + term.to(result)

    def with_term(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs and since_log["steps"]:
            logs = {**logs, "regularizer": float(since_log["total"]) / since_log["steps"]}
            since_log.update(total=0.0, steps=0)
        log(logs, *args, **kwargs)

    trainer.compute_loss = types.MethodType(with_regularizer, trainer)
    trainer.log = types.MethodType(with_term, trainer)


def _scaled_for_accumulation(trainer: Any, n_items: Any) -> bool:
    """Whether the trainer takes the loss as divided by the batches of a step already."""
    said = getattr(trainer, "loss_is_scaled_for_ga", None)
    if said is not None:
        return bool(said)
    by_model = bool(getattr(trainer, "model_accepts_loss_kwargs", False)) and n_items is not None
    return by_model or getattr(trainer, "compute_loss_func", None) is not None
