"""A regularizer of a language model's embedding matrices, in a Hugging Face Trainer."""

from __future__ import annotations

import types
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isotropy.losses._base import past_of
from isotropy.losses._training import Schedule, check_regularizer, check_weight, factor_at

__all__ = ["embedding_matrices", "regularize_embeddings"]

Which = Literal["input", "output", "both"]


def embedding_matrices(model: Any, embeddings: Which = "both") -> dict[str, Tensor]:
    """The embedding matrices of a transformers model, each once, adapters included.

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
        By name, ``input_embeddings`` and ``output_embeddings``, or ``embeddings`` where tied. Of
        a model that PEFT has wrapped they are the matrices that it computes with, what LoRA adds
        to them included; one that LoRA changes at one end alone is tied no longer.

    Raises
    ------
    ValueError
        Where the model has no such matrix, or an adapter does not say what it adds to it.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from isotropy.losses import embedding_matrices
    >>> config = GPT2Config(vocab_size=50, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    >>> {name: tuple(m.shape) for name, m in embedding_matrices(GPT2LMHeadModel(config)).items()}
    {'embeddings': (50, 16)}
    """
    if embeddings not in ("input", "output", "both"):
        raise ValueError(f"embeddings must be 'input', 'output' or 'both', got {embeddings!r}.")
    names = ("input", "output") if embeddings == "both" else (embeddings,)
    found: dict[str, Tensor] = {}
    for name in names:
        module = getattr(model, f"get_{name}_embeddings", lambda: None)()
        weight = _matrix(module)
        if isinstance(weight, Tensor) and not any(weight is other for other in found.values()):
            found[f"{name}_embeddings"] = weight
        elif isinstance(weight, Tensor):
            return {"embeddings": weight}
    if not found:
        raise ValueError(f"{type(model).__name__} has no {embeddings} embeddings to regularize.")
    return found


def _matrix(module: Any) -> Any:
    """The matrix that a module computes with: what an adapter of PEFT adds to it included."""
    weight = getattr(module, "weight", None)
    if not hasattr(module, "base_layer") or module.merged or module.disable_adapters:
        return weight
    adapters = list(module.active_adapters)
    if hasattr(module, "get_merged_weights"):
        return module.get_merged_weights(adapters)
    adapters = [name for name in adapters if name in getattr(module, "scaling", adapters)]
    in_parts = getattr(module, "use_dora", {})
    if not hasattr(module, "get_delta_weight") or any(in_parts.get(name) for name in adapters):
        raise ValueError(
            f"The adapter {type(module).__name__} of the embeddings adds no matrix to theirs that "
            "could be regularized: train them by LoRA, or whole (modules_to_save)."
        )
    for name in adapters:
        weight = weight + module.get_delta_weight(name)
    return weight


def _trained_matrices(model: Any, embeddings: Which) -> dict[str, Tensor]:
    """Those that training changes; an error where there are none."""
    matrices = embedding_matrices(model, embeddings)
    trained = {name: matrix for name, matrix in matrices.items() if matrix.requires_grad}
    if not trained:
        raise ValueError(
            f"{' and '.join(matrices)} of {type(model).__name__} are not trained "
            "(requires_grad=False), so a regularizer of them would have no effect. Unfreeze them; "
            "with PEFT, name the embeddings in target_modules or modules_to_save."
        )
    return trained


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
        For example ``MeanCosine()``, the cosine regularizer of Gao et al. Running moments
        (``momentum``) are those of each matrix.
    weight : float, default=1.0
        Gao et al. take 1. May be negative.
    embeddings : {"input", "output", "both"}, default="both"
        Tied matrices count once. Of a model that is trained in part, those that are trained.
    schedule : int or callable, optional
        Steps of the optimizer over which the weight rises from 0, or a function of the step that
        gives a factor of the weight. A resumed run goes on where it was.

    Raises
    ------
    TypeError
        Where `regularizer` is no module.
    ValueError
        Where the model has no such matrix, or none that is trained, or the trainer was given a
        regularizer already. Where `regularizer` cannot be one of a matrix: it compares two views,
        keeps past rows (``queue``), gathers those of other ranks, or has parameters of its own,
        which the trainer's optimizer would not train.

    Notes
    -----
    Every rank of a data-parallel run computes the same term, so leave ``gather`` of the
    regularizer off. Sharded parameters (ZeRO-3, FSDP) are not whole on any rank, and not supported.
    The cost is that of the regularizer on the whole matrix, at each batch.

    References
    ----------
    Gao et al. 2019, "Representation degeneration problem in training natural language generation
    models", section 5.

    Examples
    --------
    >>> from isotropy.losses import MeanCosine, regularize_embeddings
    >>> regularize_embeddings(trainer, MeanCosine(), weight=1.0)  # doctest: +SKIP
    """
    check_weight(weight, schedule)
    _check_for_matrices(regularizer)
    if "compute_loss" in vars(trainer):
        raise ValueError("compute_loss of this trainer has been replaced already.")
    _trained_matrices(trainer.model, embeddings)  # so that a wrong one is named before training
    compute_loss, log = trainer.compute_loss, trainer.log
    since_log: dict[str, Any] = {"total": 0.0, "steps": 0}

    def with_regularizer(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        result = compute_loss(model, inputs, *args, **kwargs)
        if not model.training:
            return result
        whole = self.accelerator.unwrap_model(model)
        values = []
        for name, matrix in _trained_matrices(whole, embeddings).items():
            with past_of(regularizer, name):
                values.append(regularizer(matrix))
        term = weight * factor_at(schedule, self.state.global_step) * torch.stack(values).sum()
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


def _check_for_matrices(regularizer: nn.Module) -> None:
    """Refuse what cannot regularize one matrix that comes whole at each step."""
    check_regularizer(regularizer)
    name = type(regularizer).__name__
    if getattr(regularizer, "n_views", 1) != 1:
        raise ValueError(
            f"{name} compares two views of the same rows, and a matrix of embeddings is one. Take "
            "a regularizer of one view, such as MeanCosine; RegularizedLoss takes two, of pairs."
        )
    if getattr(regularizer, "gather", False):
        raise ValueError("gather=True is for rows of a batch: every rank holds the whole matrix.")
    if getattr(regularizer, "queue", 0):
        raise ValueError(
            "queue is for rows of batches: a matrix comes whole at each step, and past rows would "
            "be its own past copies."
        )
    if any(parameter.requires_grad for parameter in regularizer.parameters()):
        raise ValueError(
            f"{name} has parameters of its own, which the trainer's optimizer would not train: "
            "freeze them (requires_grad_(False))."
        )


def _scaled_for_accumulation(trainer: Any, n_items: Any) -> bool:
    """Whether the trainer takes the loss as divided by the batches of a step already."""
    said = getattr(trainer, "loss_is_scaled_for_ga", None)
    if said is not None:
        return bool(said)
    by_model = bool(getattr(trainer, "model_accepts_loss_kwargs", False)) and n_items is not None
    return by_model or getattr(trainer, "compute_loss_func", None) is not None
