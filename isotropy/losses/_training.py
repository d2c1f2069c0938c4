"""A regularizer beside any loss of sentence-transformers, on the embeddings it computes anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isotropy.losses._base import Regularizer

__all__ = ["RegularizedLoss"]

Schedule = int | Callable[[int], float] | None


class RegularizedLoss(nn.Module):
    """A loss of sentence-transformers and a weighted regularizer of the same embeddings.

    Nothing is encoded twice: the regularizer takes the embeddings that the loss has computed. With
    a loss that caches gradients it takes those of the whole batch, of any size, in the same memory.

    Parameters
    ----------
    model : SentenceTransformer
        The one that `loss` holds.
    loss : nn.Module
        Any loss of sentence-transformers, ``MatryoshkaLoss`` and the cached ones included. Of
        Matryoshka's widths the regularizer takes the widest.
    regularizer : Regularizer
        One of `isotropy.losses`, or any module that makes a scalar of rows (n, d).
    weight : float, default=1.0
        May be negative: less isotropy, as I-STAR does.
    schedule : int or callable, optional
        Steps over which the weight rises from 0, or a function of the step (batches of training
        so far, from 0) that gives a factor of the weight.
    columns : {"each", "together"}, default="each"
        Regularize each column of the dataset (anchors, positives, ...) alone and take the mean, or
        their rows together, where a pair that belongs together counts as any other. Each column
        has its own running moments. A regularizer of two views takes the first two columns.

    Returns
    -------
    dict of str to tensor
        From a call with features and labels: ``base_loss`` (or the terms that the loss gives
        itself) and ``regularizer``, the weighted term. `SentenceTransformerTrainer` trains on their
        sum and logs each.

    Examples
    --------
    >>> from isotropy.losses import MeanCosine, RegularizedLoss
    >>> from sentence_transformers import losses  # doctest: +SKIP
    >>> loss = RegularizedLoss(model, losses.CoSENTLoss(model), MeanCosine())  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        regularizer: nn.Module,
        weight: float = 1.0,
        schedule: Schedule = None,
        columns: Literal["each", "together"] = "each",
    ) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise TypeError(f"loss must be a loss of sentence-transformers, got {loss!r}.")
        if not isinstance(regularizer, nn.Module):
            raise TypeError(
                f"regularizer must be a module such as MeanCosine(), got {regularizer!r}."
            )
        if columns not in ("each", "together"):
            raise ValueError(f"columns must be 'each' or 'together', got {columns!r}.")
        check_weight(weight, schedule)
        self.model, self.loss = model, loss
        self.regularizers = nn.ModuleList([regularizer])
        self.weight, self.schedule, self.columns = weight, schedule, columns
        self._step = 0

    @property
    def regularizer(self) -> nn.Module:
        """The regularizer, of the first column where each has its own."""
        return self.regularizers[0]

    def forward(
        self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Both terms of a batch."""
        features = list(sentence_features)
        training = self.model.training
        weight = self.weight * factor_at(self.schedule, self._step)
        self._step += training
        # A trainer sets the model to evaluation, not the loss.
        self.regularizers.train(training)
        if weight == 0:
            return _terms(self.loss(features, labels))
        cached = _with_gradient_cache(self.loss)
        if cached is not None:
            found: list[Tensor] = []
            with _replaced(cached, self._beside(cached.calculate_loss, weight, found)):
                terms = _terms(self.loss(features, labels))
            term = torch.stack(found).sum() if found else None
        else:
            with _embeddings_of(self.model) as captured:
                terms = _terms(self.loss(features, labels))
            rows = _columns(captured, len(features))
            term = weight * self._measure(rows) if rows else None
        if term is None:
            raise RuntimeError(
                f"{type(self.loss).__name__} did not embed with the model that RegularizedLoss was "
                "given: both must hold the same SentenceTransformer."
            )
        return {**terms, "regularizer": term}

    def _measure(self, columns: list[Tensor]) -> Tensor:
        if getattr(self.regularizer, "n_views", 1) == 2:
            if len(columns) < 2:
                raise ValueError(
                    f"{type(self.regularizer).__name__} takes two views of the same rows, the "
                    "dataset has one column of texts."
                )
            value: Tensor = self.regularizer(*columns[:2])
            return value
        if self.columns == "together":
            columns = [torch.cat(columns)]
        while len(self.regularizers) < len(columns):
            self.regularizers.append(_afresh(self.regularizer))
        values = [r(X) for r, X in zip(self.regularizers, columns, strict=False)]
        return torch.stack(values).mean()

    def _beside(
        self, calculate_loss: Callable[..., Tensor], weight: float, found: list[Tensor]
    ) -> Callable[..., Tensor]:
        """`calculate_loss` that adds the regularizer's gradient to those which it caches."""

        def run(reps: list[list[Tensor]], *args: Any, **kwargs: Any) -> Tensor:
            base = calculate_loss(reps, *args, **kwargs)
            term = weight * self._measure([torch.cat(parts) for parts in reps])
            if kwargs.get("with_backward"):
                term.backward()
            found.append(term.detach())
            return base

        return run

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of this loss."""
        schedule: Any = self.schedule
        if callable(schedule):
            schedule = getattr(schedule, "__name__", type(schedule).__name__)
        return {
            "loss": self.loss,
            "regularizer": repr(self.regularizer),
            "weight": self.weight,
            "schedule": schedule,
            "columns": self.columns,
        }

    @property
    def citation(self) -> str:
        """The regularizer's paper, for the model card."""
        return str(getattr(self.regularizer, "citation", ""))


def check_weight(weight: float, schedule: Schedule) -> None:
    """Refuse what is no weight, or no schedule of one."""
    if not isinstance(weight, (int, float)) or not -float("inf") < weight < float("inf"):
        raise ValueError(f"weight must be a finite number, got {weight!r}.")
    if schedule is None or callable(schedule):
        return
    if isinstance(schedule, bool) or not isinstance(schedule, int) or schedule < 1:
        raise ValueError(
            "schedule must be a number of steps, at least 1, over which the weight rises, or a "
            f"function of the step, got {schedule!r}."
        )


def factor_at(schedule: Schedule, step: int) -> float:
    """What the weight is multiplied with at a step."""
    if schedule is None:
        return 1.0
    return float(schedule(step)) if callable(schedule) else min(1.0, step / schedule)


def _terms(loss: Any) -> dict[str, Tensor]:
    return dict(loss) if isinstance(loss, dict) else {"base_loss": loss}


def _afresh(regularizer: nn.Module) -> nn.Module:
    """A copy that has seen nothing."""
    if isinstance(regularizer, Regularizer):
        past, regularizer._past = regularizer._past, None
        copy = deepcopy(regularizer)
        regularizer._past = past
        return copy
    return deepcopy(regularizer)


def _with_gradient_cache(loss: nn.Module) -> Any:
    """The module in `loss` that computes its gradients by `calculate_loss`, if any."""
    for module in loss.modules():
        if hasattr(module, "calculate_loss") and getattr(module, "uses_gradient_cache", True):
            return module
    return None


@contextmanager
def _replaced(module: nn.Module, calculate_loss: Callable[..., Tensor]) -> Iterator[None]:
    """Put `calculate_loss` in the place of the module's own, which may be decorated already."""
    before = vars(module).get("calculate_loss")
    vars(module)["calculate_loss"] = calculate_loss
    try:
        yield
    finally:
        del vars(module)["calculate_loss"]
        if before is not None:
            vars(module)["calculate_loss"] = before


@contextmanager
def _embeddings_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """What the model embeds meanwhile."""
    captured: list[Tensor] = []

    def capture(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, dict) and "sentence_embedding" in output:
            captured.append(output["sentence_embedding"])

    handle = model.register_forward_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


def _columns(captured: list[Tensor], n_columns: int) -> list[Tensor]:
    """The rows of each column of the dataset, of the widest embeddings.

    A loss may embed columns one by one, or several in one batch, column below column.
    """
    width = max((rows.shape[-1] for rows in captured), default=0)
    widest = [rows for rows in captured if rows.shape[-1] == width]
    if len(widest) == n_columns:
        return widest
    rows = torch.cat(widest) if widest else torch.empty(0)
    if n_columns and len(rows) and not len(rows) % n_columns:
        return list(rows.chunk(n_columns))
    return widest
