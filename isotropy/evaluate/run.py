"""Tasks x correctors: the scores, and whether a difference to the raw embeddings is sure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from isotropy._render import markdown_table, text_table
from isotropy.choose import AutoCorrector
from isotropy.evaluate.tasks import Outcome, Task

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: a row a task and corrector.

    Attributes
    ----------
    rows : list of dict
        "task", "kind", "corrector", "chosen" (by an `AutoCorrector`), "metrics" (x 100, the first
        is the main one), "difference" of the main metric to raw, "low" and "high" of its interval.
    level : float
        Of the intervals, 0.95.
    """

    rows: list[dict[str, Any]]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"level": self.level, "rows": self.rows}

    def _table(self) -> tuple[list[str], list[list[str]]]:
        lines = []
        for row in self.rows:
            metric, value = next(iter(row["metrics"].items()))
            others = ", ".join(
                f"{name} {number:.1f}" for name, number in list(row["metrics"].items())[1:]
            )
            apart = ""
            if row["difference"] is not None:
                apart = f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"
            name = row["corrector"] + (f" = {row['chosen']}" if row["chosen"] else "")
            lines.append([row["task"], metric, name, f"{value:.1f}", apart, others])
        return ["task", "metric x 100", "corrector", "value", "to raw", "others"], lines

    def to_markdown(self) -> str:
        """A Markdown table."""
        return markdown_table(*self._table())

    def __str__(self) -> str:
        return text_table(*self._table())

    __repr__ = __str__


def evaluate(
    model: Any,
    tasks: Sequence[Task],
    correctors: Mapping[str, Any],
    *,
    layer: int | str = "output",
    pooling: str | None = None,
    batch_size: int = 64,
    max_length: int | None = None,
    device: str = "auto",
    refit: bool = True,
    query_mean: bool = False,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score tasks with raw and corrected embeddings, and the sureness of each difference.

    Parameters
    ----------
    model : SentenceTransformer, str, callable or mapping
        An encoder as `isotropy.encoders.encode` takes it; a function of a list of texts; or
        embeddings at hand, as ``{task name: {part: rows}}`` (parts as `Task.parts` names them).
    tasks : sequence of Task
    correctors : mapping of str to corrector or None
        Fitted, without labels, to the first part of each task (documents, training texts). An
        `AutoCorrector` gets the texts too.
    layer, pooling, batch_size, max_length, device, progress
        As in `isotropy.encoders.encode`.
    refit : bool, default=True
        False takes the correctors as fitted already.
    query_mean : bool, default=False
        In retrieval, move queries by their own mean in the place of the documents': the mean of
        the queries of the task, which one must have before the first is answered.
    n_bootstrap : int, default=1000
        Resamples of items (pairs, queries, texts), the same for both sides of a difference.
    level : float, default=0.95
    random_state : int, default=0

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If embeddings do not fit a task, or a corrector cannot be fitted.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}.")
    if isinstance(n_bootstrap, bool) or n_bootstrap < 2:
        raise ValueError(f"n_bootstrap must be an integer of at least 2, got {n_bootstrap!r}.")
    if not tasks:
        raise ValueError("tasks is empty: nothing to evaluate.")
    options = {
        "layer": layer,
        "pooling": pooling,
        "batch_size": batch_size,
        "max_length": max_length,
        "device": device,
        "progress": progress,
    }
    rows: list[dict[str, Any]] = []
    for task in tasks:
        parts = {
            part: _embedded(model, task, part, texts, options) for part, texts in task.parts.items()
        }
        raw = task.score(parts)
        rows.append(_row(task, "raw", None, raw, None))
        draws = np.random.default_rng(random_state).integers(
            0, raw.n_items, size=(int(n_bootstrap), raw.n_items)
        )
        base = np.array([raw.statistic(some) for some in draws])
        for name, corrector in correctors.items():
            if corrector is None:
                continue
            fitted = _fitted(corrector, task, parts) if refit else corrector
            outcome = task.score(_corrected(fitted, parts, query_mean))
            apart = np.array([outcome.statistic(some) for some in draws]) - base
            low, high = np.quantile(apart, [(1 - level) / 2, (1 + level) / 2])
            gap = outcome.main - raw.main, float(low), float(high)
            rows.append(_row(task, name, getattr(fitted, "chosen_", None), outcome, gap))
    return Evaluation(rows, level)


def _row(task: Task, name: str, chosen: Any, outcome: Outcome, gap: Any) -> dict[str, Any]:
    apart, low, high = gap or (None, None, None)
    return {
        "task": task.name,
        "kind": task.kind,
        "corrector": name,
        "chosen": chosen,
        "metrics": outcome.metrics,
        "difference": apart,
        "low": low,
        "high": high,
    }


def _embedded(
    model: Any, task: Task, part: str, texts: Sequence[str], options: dict[str, Any]
) -> np.ndarray:
    if isinstance(model, Mapping):
        try:
            rows = np.asarray(model[task.name][part])
        except KeyError as error:
            raise ValueError(f"no embeddings of {task.name!r}, part {part!r} ({error}).") from None
    elif callable(model) and not hasattr(model, "encode"):
        rows = np.asarray(model(list(texts)))
    else:
        from isotropy.encoders import encode

        rows = encode(model, list(texts), **options)
    if rows.ndim != 2 or len(rows) != len(texts):
        raise ValueError(
            f"{task.name}, part {part!r}: wanted {len(texts)} rows of embeddings, got shape "
            f"{rows.shape}."
        )
    return rows


def _fitted(corrector: Any, task: Task, parts: Mapping[str, np.ndarray]) -> Any:
    fitted = clone(corrector, safe=False)
    part = next(iter(parts))
    if isinstance(fitted, AutoCorrector):
        more: dict[str, Any] = {"texts": list(task.parts[part])}
        if "queries" in parts:
            more["queries"] = parts["queries"]
        return fitted.fit(parts[part], **more)
    return fitted.fit(parts[part])


def _corrected(
    fitted: Any, parts: Mapping[str, np.ndarray], query_mean: bool
) -> dict[str, np.ndarray]:
    found = {}
    for part, rows in parts.items():
        if part == "queries" and query_mean:
            found[part] = _about_own_mean(fitted)(rows)
        else:
            found[part] = np.asarray(fitted.transform(rows))
    return found


def _about_own_mean(fitted: Any) -> Callable[[np.ndarray], np.ndarray]:
    affine = getattr(fitted, "affine_map_", None)
    if affine is None or getattr(fitted, "normalize", "none") in ("before", "both"):
        raise ValueError(
            f"query_mean=True needs an affine corrector that does not normalize before, got "
            f"{type(fitted).__name__}."
        )

    def transform(rows: np.ndarray) -> np.ndarray:
        own = affine.about(np.asarray(rows, np.float64).mean(0))
        return np.asarray(own.apply(rows, normalize=fitted.normalize))

    return transform
