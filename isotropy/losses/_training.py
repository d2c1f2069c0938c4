"""A regularizer beside any loss of sentence-transformers, on the embeddings it computes anyway."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isotropy.losses._base import RowRegularizer, past_of

__all__ = ["RegularizedLoss"]

Schedule = int | Callable[[int], float] | None
Features = Mapping[str, Any]


class RegularizedLoss(nn.Module):
    """A loss of sentence-transformers and a weighted regularizer of the same embeddings.

    Nothing is encoded twice: the regularizer takes the embeddings of each column as the encoder
    gives them to the loss, each column once. With a loss that caches gradients it takes those of
    the whole batch, of any size, in the same memory.

    Parameters
    ----------
    model : SentenceTransformer
        The one that `loss` holds.
    loss : nn.Module
        Any loss of sentence-transformers, the layered ones (``MatryoshkaLoss``,
        ``AdaptiveLayerLoss``) and the cached ones included: of their layers and widths the
        regularizer takes the encoder's own output. Another `RegularizedLoss` adds its term.
    regularizer : Regularizer
        One of `isotropy.losses`, or any module that makes a scalar of rows (n, d). Its parameters
        are trained beside the encoder's.
    weight : float, default=1.0
        May be negative: less isotropy, as I-STAR does.
    schedule : int or callable, optional
        Steps over which the weight rises from 0, or a function of the step (of the optimizer,
        from 0) that gives a factor of the weight. Needs `follow`. Evaluation takes the full
        weight, so that its figures of different steps compare.
    columns : {"each", "together"}, default="each"
        Regularize each column of the dataset (anchors, positives, ...) alone and take the mean, or
        their rows together, where a pair that belongs together counts as any other. Each column
        has its own running moments and past rows. A regularizer of two views takes the first two
        columns.

    Raises
    ------
    TypeError
        Where `loss` or `regularizer` is no module.
    ValueError
        Where another argument is out of its range. When called: where a regularizer of two views
        meets a loss that does not embed the first two columns, or a schedule follows nothing.
    RuntimeError
        When called: where the loss embeds with another model than `model`.

    Notes
    -----
    A call gives a dict of tensors: ``base_loss`` (or the terms that the loss gives itself) and
    ``regularizer``, the weighted term (``regularizer_2`` and so on where the loss has one
    already). `SentenceTransformerTrainer` trains on their sum and logs each. The cost is that of
    the regularizer alone.

    Some losses embed but some of the columns with the model that is trained, and these alone are
    regularized: ``ContrastiveTensionLoss`` (the second; a copy embeds the first),
    ``ContrastiveTensionLossInBatchNegatives`` and ``DenoisingAutoEncoderLoss`` (the first).

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
        check_regularizer(regularizer)
        if columns not in ("each", "together"):
            raise ValueError(f"columns must be 'each' or 'together', got {columns!r}.")
        check_weight(weight, schedule)
        self.model, self.loss, self.regularizer = model, loss, regularizer
        self.weight, self.schedule, self.columns = weight, schedule, columns
        self._step: Callable[[], int] | None = None

    def follow(self, trainer: Any) -> None:
        """Take the step of the schedule from a trainer, so that it goes on where training does.

        Parameters
        ----------
        trainer : SentenceTransformerTrainer or callable
            The trainer of this loss: the step is its ``state.global_step``, of the optimizer,
            which a resumed run continues. For a loop of your own, a function without arguments
            that gives the number of optimizer steps so far. Losses within this one follow too.

        Raises
        ------
        TypeError
            Where `trainer` is neither.

        Examples
        --------
        >>> loss.follow(trainer)  # doctest: +SKIP
        >>> loss.follow(lambda: step)  # doctest: +SKIP
        """
        step = _step_of(trainer)
        for module in self.modules():
            if isinstance(module, RegularizedLoss):
                module._step = step

    def forward(
        self, sentence_features: Iterable[Features], labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Both terms of a batch.

        Parameters
        ----------
        sentence_features : iterable of mappings
            The tokens of each column.
        labels : tensor, optional
            Passed on to the loss.

        Returns
        -------
        dict of str to tensor
            The terms by name; their sum is the loss.

        Raises
        ------
        ValueError
            Where a regularizer of two views meets a loss that does not embed the first two
            columns, or a schedule follows nothing.
        RuntimeError
            Where the loss embeds with another model.

        Examples
        --------
        >>> sum(loss(features, labels).values()).backward()  # doctest: +SKIP
        """
        features = list(sentence_features)
        training = self.model.training
        weight = self.weight * (self._factor() if training else 1.0)
        # A trainer sets the model to evaluation, not the loss.
        self.regularizer.train(training)
        if weight == 0:
            return self._with_term(self.loss(features, labels), torch.zeros(()))
        ids = self._ids(features) if training else None
        cached = _with_gradient_cache(self.loss)
        if cached is not None:
            found: list[Tensor] = []
            beside = self._beside(cached.calculate_loss, weight, ids, found)
            with _replaced(cached, "calculate_loss", beside):
                base = self.loss(features, labels)
            term = found[0] if found else None
        else:
            seen = _Columns(features)
            with _replaced(self.model, "forward", seen.watched(self.model.forward)):
                base = self.loss(features, labels)
            term = weight * self._measure(seen.rows, ids) if seen.rows else None
        if term is None:
            raise RuntimeError(
                f"{type(self.loss).__name__} did not embed with the model that RegularizedLoss was "
                "given: both must hold the same SentenceTransformer."
            )
        return self._with_term(base, term)

    def _factor(self) -> float:
        if self.schedule is not None and self._step is None:
            raise ValueError(
                "A schedule needs the step of the training: loss.follow(trainer), or in a loop of "
                "your own loss.follow(a function that gives the number of optimizer steps so far)."
            )
        return factor_at(self.schedule, self._step() if self._step is not None else 0)

    @staticmethod
    def _with_term(base: Any, term: Tensor) -> dict[str, Tensor]:
        terms = dict(base) if isinstance(base, Mapping) else {"base_loss": base}
        inner = sum(name.startswith("regularizer") for name in terms)
        name = f"regularizer_{inner + 1}" if inner else "regularizer"
        return {**terms, name: term.to(next(iter(terms.values())).device)}

    def _ids(self, features: list[Features]) -> list[Tensor | None] | None:
        wanted = isinstance(self.regularizer, RowRegularizer) and self.regularizer.queue
        return [_ids_of_texts(f) for f in features] if wanted else None

    def _measure(self, rows: dict[int, Tensor], ids: list[Tensor | None] | None) -> Tensor:
        if getattr(self.regularizer, "n_views", 1) == 2:
            if not {0, 1} <= set(rows):
                embedded = [column + 1 for column in rows]
                raise ValueError(
                    f"{type(self.regularizer).__name__} takes two views of the same rows, the "
                    f"first two columns of the dataset. {type(self.loss).__name__} embeds only "
                    f"columns {embedded} with this model."
                )
            return self._value("pairs", rows[0], rows[1])
        known = {column: ids[column] if ids else None for column in rows}
        if self.columns == "each":
            values = [self._value(c, X, ids=known[c]) for c, X in rows.items()]
            return torch.stack(values).mean()
        every = [i for i in known.values() if i is not None]
        together = torch.cat(every) if len(every) == len(rows) else None
        return self._value("together", torch.cat(list(rows.values())), ids=together)

    def _value(self, name: Hashable, *views: Tensor, ids: Tensor | None = None) -> Tensor:
        options = {} if ids is None else {"ids": ids}
        with past_of(self.regularizer, name):
            value: Tensor = self.regularizer(*views, **options)
        return value

    def _beside(
        self,
        calculate_loss: Callable[..., Tensor],
        weight: float,
        ids: list[Tensor | None] | None,
        found: list[Tensor],
    ) -> Callable[..., Tensor]:
        """`calculate_loss` that adds the regularizer's gradient to those which it caches."""

        def run(reps: list[list[Tensor]], *args: Any, **kwargs: Any) -> Tensor:
            base = calculate_loss(reps, *args, **kwargs)
            if not found:  # a layered loss asks again, of other layers
                rows = {column: torch.cat(parts) for column, parts in enumerate(reps)}
                term = weight * self._measure(rows, ids)
                if kwargs.get("with_backward"):
                    term.backward()
                found.append(term.detach())
            return base

        return run

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of this loss.

        Returns
        -------
        dict
            The loss, the regularizer and their options.

        Examples
        --------
        >>> loss.get_config_dict()["weight"]  # doctest: +SKIP
        1.0
        """
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


def check_regularizer(regularizer: Any) -> None:
    """Refuse what is no module."""
    if not isinstance(regularizer, nn.Module):
        raise TypeError(f"regularizer must be a module such as MeanCosine(), got {regularizer!r}.")


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


def _with_gradient_cache(loss: nn.Module) -> Any:
    """The module in `loss` that computes its gradients by `calculate_loss`, if any."""
    for module in loss.modules():
        if hasattr(module, "calculate_loss") and getattr(module, "uses_gradient_cache", True):
            return module
    return None


@contextmanager
def _replaced(module: nn.Module, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Put `function` in the place of a method, which may be decorated already."""
    before = vars(module).get(name)
    vars(module)[name] = function
    try:
        yield
    finally:
        del vars(module)[name]
        if before is not None:
            vars(module)[name] = before


class _Columns:
    """What the model embeds of each column of a batch, the first time it does.

    The model's own method is watched, below the decorators of layered losses, which ask first for
    its full output, and then for layers and widths of the same columns.
    """

    def __init__(self, features: list[Features]) -> None:
        self.features = features
        self.rows: dict[int, Tensor] = {}
        self._gradients = torch.is_grad_enabled()

    def watched(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """`forward` that keeps what it gives."""

        def run(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            if isinstance(output, Mapping) and "sentence_embedding" in output:
                given = args[0] if args else next(iter(kwargs.values()), None)
                if torch.is_grad_enabled() == self._gradients:  # no teacher's pass
                    self._keep(given, output["sentence_embedding"])
            return output

        return run

    def _keep(self, given: Any, embeddings: Tensor) -> None:
        """A column's own features name it; a batch made of several holds the next ones in order."""
        same = [column for column, f in enumerate(self.features) if f is given]
        missing = [c for c in same or range(len(self.features)) if c not in self.rows]
        if same:
            self.rows |= dict.fromkeys(missing[:1], embeddings)
            return
        sizes: list[int] = []
        for column in missing:
            if sum(sizes) < len(embeddings):
                sizes.append(_n_texts(self.features[column]) or len(embeddings) - sum(sizes))
        if sizes and sum(sizes) == len(embeddings):
            self.rows |= dict(zip(missing, embeddings.split(sizes), strict=False))


def _n_texts(features: Features) -> int | None:
    """How many texts the tokens are of, where their shape tells."""
    if "cu_seq_lens_q" in features:  # one row of all tokens
        return len(features["cu_seq_lens_q"]) - 1
    return next((len(v) for v in features.values() if isinstance(v, Tensor) and v.ndim > 1), None)


def _ids_of_texts(features: Features) -> Tensor | None:
    """A number for each text, made of its tokens: the same whenever the text comes again."""
    tokens, mask = features.get("input_ids"), features.get("attention_mask")
    if tokens is None or mask is None or tokens.shape != mask.shape or tokens.ndim != 2:
        return None
    mask = mask.long()
    mixed = (tokens.long() + 1) * 0x9E3779B97F4A7C1 + mask.cumsum(1) * 0x2545F4914F6CDD1D
    mixed = (mixed ^ (mixed >> 29)) * 0x1D8E4E27C47D124F
    return ((mixed ^ (mixed >> 32)) * mask).sum(1)


def _step_of(trainer: Any) -> Callable[[], int]:
    if hasattr(getattr(trainer, "state", None), "global_step"):
        kept = weakref.proxy(trainer)
        return lambda: int(kept.state.global_step)
    if callable(trainer):
        return trainer
    raise TypeError(
        "follow takes a trainer, or a function that gives the number of optimizer steps so far, "
        f"got {trainer!r}."
    )
