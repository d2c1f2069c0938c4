"""Tasks x correctors: the scores, and whether a difference to the raw embeddings is sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from isotropy._render import markdown_table, text_table
from isotropy.choose import AutoCorrector
from isotropy.correctors.base import Corrector
from isotropy.evaluate.task import Outcome, Task

__all__ = ["Evaluation", "evaluate"]

Parts = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: a row a task and corrector.

    Parameters
    ----------
    rows : list of dict
        "task", "kind", "corrector", "chosen" (by an `AutoCorrector`), "metrics" (x 100, the first
        is the main one), "difference" of the main metric to raw, "low" and "high" of its interval.
    level : float
        Of the intervals, as 0.95.

    Examples
    --------
    >>> from isotropy.evaluate import STS, evaluate
    >>> task = STS("two", ["a", "a"], ["b", "c"], [5.0, 3.0])
    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9]])
    >>> evaluate({"two": {"texts": rows}}, [task], {})
    task  metric x 100  corrector  value  to raw  others
    ----------------------------------------------------
    two       spearman        raw  100.0
    """

    rows: list[dict[str, Any]]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """The figures in plain numbers, strings, lists and dicts, as JSON knows them.

        Returns
        -------
        dict

        Examples
        --------
        >>> Evaluation([], 0.95).to_dict()
        {'level': 0.95, 'rows': []}
        """
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
        """A Markdown table of the figures.

        Returns
        -------
        str

        Examples
        --------
        >>> print(Evaluation([], 0.95).to_markdown().splitlines()[0])
        | task | metric x 100 | corrector | value | to raw | others |
        """
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
    queries: str = "own-mean",
    n_bootstrap: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score tasks with raw and corrected embeddings, and the sureness of each difference.

    Parameters
    ----------
    model : SentenceTransformer, str, callable or mapping
        An encoder as `isotropy.encoders.encode` takes it, used as its makers mean it: queries go
        through ``encode_query`` and documents through ``encode_document``, with their prompts and
        routes, all else through ``encode``. Or a function of a list of texts; or embeddings at
        hand, as ``{task name: {part: rows}}`` (parts as `Task.parts` names them).
    tasks : sequence of Task
        At least one.
    correctors : mapping of str to corrector or None
        Fitted, without labels, to the first part of each task (documents, training texts), in a
        retrieval task with its queries beside them. An `AutoCorrector` of no task chooses for the
        kind of each. Any scikit-learn transformer will do.
    layer, pooling, batch_size, max_length, device, progress : optional
        As in `isotropy.encoders.encode`.
    refit : bool, default=True
        False takes the correctors as they are, fitted already, queries included.
    queries : {"own-mean", "as-documents"}, default="own-mean"
        How queries are corrected: about their own mean (`Corrector.transform_queries`), which takes
        the mean of all queries of the task, or like documents.
    n_bootstrap : int, default=1000
        Resamples of items (pairs, queries, texts), the same for both sides of a difference.
    level : float, default=0.95
        Of the intervals, between 0 and 1.
    random_state : int, default=0
        Seed of the resamples.

    Returns
    -------
    Evaluation
        It prints as a table.

    Raises
    ------
    ValueError
        If embeddings do not fit a task, a corrector cannot be fitted, or an option is out of range.

    Notes
    -----
    An interval is that of the paired percentile bootstrap: it holds what another draw of items
    would change, not what another collection would.

    Examples
    --------
    >>> from isotropy import MeanRemoval
    >>> from isotropy.evaluate import Retrieval, evaluate
    >>> rng = np.random.default_rng(0)
    >>> documents = rng.normal(size=(50, 8)) + 3
    >>> rows = {"r": {"documents": documents, "queries": documents[:20] - 6}}
    >>> texts = [str(number) for number in range(50)]
    >>> task = Retrieval("r", texts, texts[:20], [{number: 1.0} for number in range(20)])
    >>> found = evaluate(rows, [task], {"mean": MeanRemoval()}, n_bootstrap=100)
    >>> [round(row["metrics"]["nDCG@10"]) for row in found.rows]
    [41, 100]
    """
    _check(tasks, correctors, queries, n_bootstrap, level)
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
        parts = {part: _embedded(model, task, part, options) for part in task.parts}
        raw = task.score(parts)
        rows.append(_row(task, "raw", None, raw, None))
        draws = np.random.default_rng(random_state).integers(
            0, raw.n_items, size=(int(n_bootstrap), raw.n_items)
        )
        base = np.array([raw.statistic(some) for some in draws])
        for name, corrector in correctors.items():
            if corrector is None:
                continue
            fitted = _fitted(corrector, task, parts, queries) if refit else corrector
            outcome = task.score(_corrected(fitted, task, parts, queries))
            apart = np.array([outcome.statistic(some) for some in draws]) - base
            low, high = np.quantile(apart, [(1 - level) / 2, (1 + level) / 2])
            gap = outcome.main - raw.main, float(low), float(high)
            rows.append(_row(task, name, getattr(fitted, "chosen_", None), outcome, gap))
    return Evaluation(rows, level)


def _check(
    tasks: Sequence[Task],
    correctors: Mapping[str, Any],
    queries: str,
    n_bootstrap: int,
    level: float,
) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}.")
    if isinstance(n_bootstrap, bool) or n_bootstrap < 2:
        raise ValueError(f"n_bootstrap must be an integer of at least 2, got {n_bootstrap!r}.")
    if queries not in ("own-mean", "as-documents"):
        raise ValueError(f"queries must be 'own-mean' or 'as-documents', got {queries!r}.")
    if not tasks:
        raise ValueError("tasks is empty: nothing to evaluate.")
    if "raw" in correctors:
        raise ValueError("correctors: 'raw' names the embeddings without a correction; rename it.")


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


def _embedded(model: Any, task: Task, part: str, options: dict[str, Any]) -> np.ndarray:
    texts = list(task.parts[part])
    if isinstance(model, Mapping):
        try:
            rows = np.asarray(model[task.name][part])
        except KeyError as error:
            raise ValueError(f"no embeddings of {task.name!r}, part {part!r} ({error}).") from None
    elif callable(model) and not hasattr(model, "encode"):
        rows = np.asarray(model(texts))
    else:
        from isotropy.encoders import encode

        rows = encode(model, texts, route=task.routes.get(part), **options)
    if rows.ndim != 2 or len(rows) != len(texts):
        raise ValueError(
            f"{task.name}, part {part!r}: wanted {len(texts)} rows of embeddings, got shape "
            f"{rows.shape}."
        )
    return rows


def _fitted(corrector: Any, task: Task, parts: Parts, queries: str) -> Any:
    fitted = clone(corrector, safe=False)
    more: dict[str, Any] = {}
    if isinstance(fitted, Corrector) and queries == "own-mean":
        asked = [rows for part, rows in parts.items() if _is_query(task, part)]
        more = {"queries": asked[0]} if asked else {}
    if isinstance(fitted, AutoCorrector) and fitted.task is None:
        fitted.task = task.purpose
    return fitted.fit(parts[next(iter(parts))], **more)


def _corrected(fitted: Any, task: Task, parts: Parts, queries: str) -> dict[str, np.ndarray]:
    own = isinstance(fitted, Corrector) and queries == "own-mean"
    return {
        part: np.asarray(
            fitted.transform_queries(rows)
            if own and _is_query(task, part)
            else fitted.transform(rows)
        )
        for part, rows in parts.items()
    }


def _is_query(task: Task, part: str) -> bool:
    return task.routes.get(part) == "query"
