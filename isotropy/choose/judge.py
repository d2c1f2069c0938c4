"""Which candidate labels choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isotropy.choose.candidates import Candidate
from isotropy.choose.kinds import Kind, risk_of
from isotropy.choose.labels import Labels, SaysNothingError
from isotropy.choose.report import Risk
from isotropy.rows import Rows

__all__ = ["Verdict", "judge"]

_DRAWS = 100
_SHUFFLES = 20
_SURE = 4.0
_FLOOR = 1e-3
_HARM = 0.005  # half a point, which counts as hurt in what was measured


@dataclass(frozen=True)
class Verdict:
    """What labels say of the candidates.

    Parameters
    ----------
    name : str
        Of the figure, or of several.
    task : str or None
        What the labels stand for.
    evidence : dict
        How many labels of each kind there were.
    values : ndarray of shape (n,)
        Of the candidates, larger for better; of several kinds the weighted mean.
    errors : ndarray of shape (n,)
        Standard errors of the differences to the first, which is no correction.
    pick : int
        The one that is chosen.
    reason : str
        The choice in a sentence or two.
    risk : Risk
        How often a choice by as many labels did harm; of several kinds the one that did most.
    """

    name: str
    task: str | None
    evidence: dict[str, Any]
    values: np.ndarray
    errors: np.ndarray
    pick: int
    reason: str
    risk: Risk


@dataclass(frozen=True)
class _Told:
    """What one kind says: values of the candidates, and errors of their gains."""

    kind: Kind
    values: np.ndarray
    errors: np.ndarray

    @property
    def gains(self) -> np.ndarray:
        found: np.ndarray = self.values - self.values[0]
        return found


def judge(
    options: Sequence[Candidate],
    rows: Rows,
    labels: Labels,
    tolerance: float,
) -> Verdict:
    """The candidate whose gain is surely the largest: by its value less `tolerance` errors.

    Parameters
    ----------
    options : sequence of Candidate
        Fitted; the first is no correction.
    rows : Rows
        Of X, as they came.
    labels : Labels
    tolerance : float
        In standard errors of the gain, from resampled labels. No correction is taken where no
        candidate gains more than that.

    Returns
    -------
    Verdict

    Raises
    ------
    SaysNothingError
        If no kind says anything of the rows: too few labels, or labels in no better agreement with
        any candidate than when they are shuffled.

    Notes
    -----
    **Several kinds**: gains are averaged with weights that are the inverse of their usual standard
    errors, so that each kind counts in its own standard errors. A candidate is out where the gain
    by any kind, less `tolerance` errors, is a loss of over half a point: what one task gains must
    not be paid for by another.

    Tried and left out, since each hurt more or gained less: the best value alone; the least
    correction within an error of the best; gains shrunk towards those of other encoders and texts;
    the choice without labels where labels are not sure of another.
    """
    notes, told = list(labels.notes), []
    for kind in labels.kinds:
        try:
            told.append(_said(kind, options, rows))
        except SaysNothingError as nothing:
            notes.append(str(nothing))
    if not told:
        raise SaysNothingError(" ".join(notes))
    values, errors = _averaged(told)
    harmless = np.all([one.gains - tolerance * one.errors >= -_HARM for one in told], axis=0)
    harmless[0] = True
    pick, why = _picked(options, told, values, errors, harmless, tolerance)
    return Verdict(
        _named(told),
        Labels(tuple(one.kind for one in told)).task,
        {one.kind.labels: one.kind.size for one in told},
        values,
        errors,
        pick,
        " ".join([*notes, why]),
        max((risk_of(one.kind) for one in told), key=lambda risk: risk.hurt / risk.cells),
    )


def _said(kind: Kind, options: Sequence[Candidate], rows: Rows) -> _Told:
    X = rows.take(kind.rows).astype(np.float64)
    seen = [kind.seen(option.corrector, X) for option in options]
    draw = np.random.default_rng(0)
    draws = np.concatenate(
        [np.arange(kind.size)[None], draw.integers(0, kind.size, (_DRAWS, kind.size))]
    )
    found = np.array([kind.resampled(one, draws) for one in seen])
    orders = [draw.permutation(kind.size) for _ in range(_SHUFFLES)]
    by_chance = [max(kind.shuffled(one, order) for one in seen) for order in orders]
    best, usual, spread = found[:, 0].max(), np.mean(by_chance), np.std(by_chance)
    if best <= max(by_chance) or best - usual < _SURE * spread:
        raise SaysNothingError(
            f"The {kind.labels} say nothing of the rows: the {kind.name} is {best:.3f}, and "
            f"{usual:.3f} when labels are shuffled."
        )
    return _Told(kind, found[:, 0], (found - found[0])[:, 1:].std(1))


def _averaged(told: Sequence[_Told]) -> tuple[np.ndarray, np.ndarray]:
    usual = [np.sqrt(np.mean(one.errors**2)) for one in told]
    weights = 1 / np.maximum(_FLOOR, usual)
    weights /= weights.sum()
    values = weights @ np.array([one.values for one in told])
    return values, np.sqrt(weights**2 @ np.array([one.errors**2 for one in told]))


def _picked(
    options: Sequence[Candidate],
    told: Sequence[_Told],
    values: np.ndarray,
    errors: np.ndarray,
    harmless: np.ndarray,
    tolerance: float,
) -> tuple[int, str]:
    gains = values - values[0]
    low = np.where(harmless, gains - tolerance * errors, -np.inf)
    pick, best = int(low.argmax()), int(values.argmax())
    name = _named(told)
    if pick:
        why = (
            f"{options[pick].name}: the {name} goes from {values[0]:.3f} to {values[pick]:.3f} "
            f"({gains[pick]:+.3f}, standard error {errors[pick]:.3f})."
        )
    else:
        why = f"No correction: no other is surely better than {values[0]:.3f} by the {name}."
    if best != pick:
        why += f" {options[best].name} has {values[best]:.3f}, but " + (
            f"its gain has a standard error of {errors[best]:.3f}, so it is less sure."
            if harmless[best] or len(told) == 1
            else f"it may do harm by the {_worst(told, best)}."
        )
    return pick, why


def _named(told: Sequence[_Told]) -> str:
    names = " and ".join(one.kind.name for one in told)
    return names if len(told) == 1 else f"weighted mean of {names}"


def _worst(told: Sequence[_Told], option: int) -> str:
    return min(told, key=lambda one: one.gains[option] / max(_FLOOR, one.errors[option])).kind.name
