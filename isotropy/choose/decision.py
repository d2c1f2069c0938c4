"""From what the evidence says, or from the mean cosine where there is none, to a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isotropy.choose.candidates import POWERS, Candidate
from isotropy.choose.evidence import Verdict
from isotropy.choose.report import AutoReport

__all__ = ["SPECTRUM", "Decision", "by_evidence", "by_mean_cosine"]

SPECTRUM = "mean cosine of the rows"
_CONE = 0.2
_WIDTH = 1.96  # of a 95 % interval, in standard errors to either side


@dataclass(frozen=True)
class Decision:
    """The candidate that is taken, and the report that says why."""

    option: Candidate
    report: AutoReport


def by_evidence(
    options: Sequence[Candidate], labels: Verdict | None, free: Verdict | None, note: str = ""
) -> Decision | None:
    """What labels say; with texts or views beside, their choice if labels find it good.

    None where there is neither. A `note` is told first.
    """
    verdict = labels or free
    if verdict is None:
        return None
    agreed = labels is not None and free is not None and bool(labels.good[free.pick])
    pick = free.pick if agreed and free is not None else verdict.pick
    gaps = verdict.values - verdict.values[0]
    reason = (
        f"{options[pick].name}: the {verdict.name} goes from {verdict.values[0]:.3f} to "
        f"{verdict.values[pick]:.3f} ({gaps[pick]:+.3f}, standard error "
        f"{verdict.errors[pick]:.3f})."
        if pick
        else f"No correction: none of {len(options) - 1} candidates is better than the raw rows "
        f"by the {verdict.name}."
    )
    table = [
        {
            "corrector": option.name,
            "value": float(value),
            "difference": float(gap),
            "low": float(gap - _WIDTH * error),
            "high": float(gap + _WIDTH * error),
            "chosen": index == pick,
        }
        for index, (option, value, gap, error) in enumerate(
            zip(options, verdict.values, gaps, verdict.errors, strict=True)
        )
    ]
    return Decision(options[pick], AutoReport(verdict.name, f"{note} {reason}".strip(), table))


def by_mean_cosine(
    options: Sequence[Candidate], cosine: float, *, own: bool, note: str = ""
) -> Decision:
    """None below 0.2, else of a power that is twice the mean cosine, 1 at most.

    `own` are a user's candidates: as far along them as the power would be. A `note` says what was
    given and of no use.
    """
    pick = 0
    if cosine >= _CONE and len(options) > 1:
        wanted = min(1.0, 2 * cosine)
        nearest = min(range(len(POWERS)), key=lambda k: abs(POWERS[k] - wanted))
        pick = max(1, round(wanted * (len(options) - 1))) if own else 1 + nearest
    told = f"the mean cosine of the rows is {cosine:.2f}"
    if pick:
        told += ", so they lie in a cone. Without texts or labels this is a rule of thumb"
        told += "." if note else "; pass texts to choose by what they say."
    elif np.isfinite(cosine):
        told += f", below {_CONE}."
    else:
        told = "there are too few rows to have a mean cosine."
    reason = f"{options[pick].name if pick else 'No correction'}: {told}"
    table = [
        {
            "corrector": option.name,
            "value": None,
            "difference": None,
            "low": None,
            "high": None,
            "chosen": index == pick,
        }
        for index, option in enumerate(options)
    ]
    return Decision(options[pick], AutoReport(SPECTRUM, f"{note} {reason}".strip(), table))
