"""Scorecards of layers and embedding matrices in a trainer's log."""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotropy._optional import require
from isotropy.losses._language_models import embedding_matrices
from isotropy.metrics import METRICS
from isotropy.scoring import score

require("transformers", extra="train")

from transformers import TrainerCallback  # noqa: E402

__all__ = ["CollapseWarning", "IsotropyCallback"]

METRIC_NAMES = ("mean_cosine", "isoscore", "effective_rank", "top_variance_share")


class CollapseWarning(UserWarning):
    """Representations have collapsed into few directions, or are about to.

    Examples
    --------
    A training that is to stop there:

    >>> import warnings
    >>> from isotropy.losses import CollapseWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CollapseWarning)
    """


class IsotropyCallback(TrainerCallback):
    """Log how isotropic representations are, at the start and at every evaluation.

    Parameters
    ----------
    trainer : transformers.Trainer or SentenceTransformerTrainer
        The trainer that the callback is added to; its log carries the figures to wherever it
        reports.
    texts : iterable of str, optional
        For an encoder: texts whose embeddings are scored, some hundreds or a few thousand.
    layers : sequence of layers, default=("output",)
        Which layers of an encoder, as in `isotropy.encoders.encode`.
    matrices : mapping of str to callable, optional
        Named matrices to score, each a function of the model that gives a tensor (n, d). By
        default, without texts, the embedding matrices of the model.
    metrics : sequence of str, optional
        Names from `isotropy.metrics.METRICS`; by default mean cosine, IsoScore, effective rank and
        the share of the first direction.
    max_rows : int, default=4096
        Larger matrices are scored on this many rows, the same ones every time.
    budget : float or None, default=0.02
        Share of the training time that this may take: an evaluation is passed over where
        it would be exceeded, and the log says nothing then. None scores at each.

    Warns
    -----
    CollapseWarning
        Once for each representation, where its mean cosine passes 0.95, its effective rank falls
        below a quarter of what it was at the start or below 2, or it holds NaN.

    Raises
    ------
    TypeError
        Where `trainer` is no trainer, or `texts` one string.
    ValueError
        Where there are fewer than two texts, a metric is unknown, or `budget` is not above 0.

    Notes
    -----
    The log's names are ``eval_isotropy_<representation>_<metric>``. They are among the metrics of
    the evaluation too, so ``metric_for_best_model="isotropy_output_isoscore"`` keeps the most
    isotropic model; then every evaluation is scored, whatever the budget. Only the first process
    scores.

    Examples
    --------
    >>> callback = IsotropyCallback(trainer, texts=held_out, layers=[3, "output"])  # doctest: +SKIP
    >>> trainer.add_callback(callback)  # doctest: +SKIP
    """

    def __init__(
        self,
        trainer: Any,
        texts: Iterable[str] | None = None,
        *,
        layers: Sequence[str | int] = ("output",),
        matrices: Mapping[str, Callable[[Any], Tensor]] | None = None,
        metrics: Sequence[str] = METRIC_NAMES,
        max_rows: int = 4096,
        budget: float | None = 0.02,
    ) -> None:
        if not callable(getattr(trainer, "log", None)):
            raise TypeError(f"The first argument must be a trainer, got {trainer!r}.")
        if unknown := sorted(set(metrics) - set(METRICS)):
            raise ValueError(f"No metrics are called {unknown}; there are {sorted(METRICS)}.")
        if budget is not None and not budget > 0:
            raise ValueError(f"budget must be above 0, or None for no limit, got {budget!r}.")
        if isinstance(texts, str):
            raise TypeError("texts must be many texts, got one string.")
        self.texts = None if texts is None else list(texts)
        if self.texts is not None and len(self.texts) < 2:
            raise ValueError(f"texts must be two texts or more, got {len(self.texts)}.")
        self._trainer = weakref.ref(trainer)
        self.layers, self.metrics = tuple(layers), tuple(metrics)
        self.matrices, self.max_rows, self.budget = matrices, max_rows, budget
        self.history: list[dict[str, float]] = []
        self._at_start: dict[str, float] = {}
        self._warned: set[str] = set()
        self._began = self._spent = self._last = self.seconds_at_start = 0.0
        self._step = -1
        self._logs: dict[str, float] = {}

    # -- events --------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score before the first step, which later figures are held against.

        Parameters
        ----------
        args, state, control : TrainingArguments, TrainerState, TrainerControl
            As the trainer gives them.
        **kwargs : dict
            ``model``, which is scored.

        Examples
        --------
        >>> trainer.add_callback(IsotropyCallback(trainer, texts))  # doctest: +SKIP
        """
        self._began, self._spent, self._step = time.perf_counter(), 0.0, -1
        self._run(state, kwargs["model"])
        self.seconds_at_start, self._spent = self._last, 0.0

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score, where the budget allows it or the best model is chosen by a figure of it.

        Parameters
        ----------
        args, state, control : TrainingArguments, TrainerState, TrainerControl
            As the trainer gives them.
        **kwargs : dict
            ``model``, which is scored, and ``metrics``, to which the figures are added.

        Examples
        --------
        >>> trainer.add_callback(IsotropyCallback(trainer, texts))  # doctest: +SKIP
        """
        elapsed = time.perf_counter() - self._began - self._spent
        within = self.budget is None or self._spent + self._last <= self.budget * elapsed
        chosen_by = str(getattr(args, "metric_for_best_model", "")).removeprefix("eval_")
        if within or not self._began or chosen_by.startswith("isotropy_"):
            self._run(state, kwargs["model"])
        if self._step == state.global_step:  # the trainer chooses the best model by these
            (kwargs.get("metrics") or {}).update(self._logs)

    def _run(self, state: Any, model: Any) -> None:
        if not state.is_world_process_zero or state.global_step == self._step:
            return
        self._step, start = state.global_step, time.perf_counter()
        logs: dict[str, float] = {}
        for name, rows in self._representations(model):
            if not np.isfinite(rows).all():
                self._warn(name, "it holds NaN or infinity, so the training has diverged")
                logs |= {f"eval_isotropy_{name}_{metric}": np.nan for metric in self.metrics}
                continue
            card = score(rows, [*dict.fromkeys((*self.metrics, "mean_cosine", "effective_rank"))])
            logs |= {f"eval_isotropy_{name}_{metric}": card[metric] for metric in self.metrics}
            self._watch(name, card["mean_cosine"], card["effective_rank"])
        self._logs = logs
        self.history.append({"step": state.global_step, **logs})
        self._last = time.perf_counter() - start
        self._spent += self._last
        trainer = self._trainer()
        if trainer is not None:
            trainer.log(logs)

    # -- what is scored ------------------------------------------------------------------------

    def _representations(self, model: Any) -> Iterable[tuple[str, np.ndarray]]:
        if self.texts is not None:
            from isotropy.encoders import encode

            for layer in self.layers:
                rows = encode(_bare(model), self.texts, layer=layer)
                yield (f"layer_{layer}" if isinstance(layer, int) else layer), rows
        if self.matrices is not None:
            named = {name: take(_bare(model)) for name, take in self.matrices.items()}
        else:
            named = embedding_matrices(_bare(model)) if self.texts is None else {}
        for name, matrix in named.items():
            yield name, self._rows(matrix)

    def _rows(self, matrix: Tensor) -> np.ndarray:
        matrix = matrix.detach()
        if len(matrix) > self.max_rows:
            chosen = np.random.default_rng(0).choice(len(matrix), self.max_rows, replace=False)
            matrix = matrix[torch.from_numpy(np.sort(chosen)).to(matrix.device)]
        return matrix.float().cpu().numpy()

    def _watch(self, name: str, mean_cosine: float, effective_rank: float) -> None:
        start, reason = self._at_start.setdefault(name, effective_rank), None
        if mean_cosine > 0.95:
            reason = f"any two rows have a cosine of {mean_cosine:.3f} on average"
        elif effective_rank < max(2.0, start / 4):
            reason = f"the effective rank is {effective_rank:.1f}, {start:.1f} at the start"
        elif not np.isfinite(effective_rank):
            reason = "the rows have no spread left"
        if reason is not None:
            self._warn(name, reason)

    def _warn(self, name: str, reason: str) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        warnings.warn(
            f"{name} collapses: {reason}. Lower the learning rate, or train with a regularizer of "
            "isotropy.losses, such as RegularizedLoss with SpreadOut.",
            CollapseWarning,
            stacklevel=2,
        )


def _bare(model: Any) -> Any:
    """The model inside a data-parallel or compiled wrapper."""
    while True:
        inner = getattr(model, "_orig_mod", None) or (
            model.module
            if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel))
            else None
        )
        if inner is None:
            return model
        model = inner
