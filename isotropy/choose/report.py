"""What was looked at, and what it said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["AutoReport"]


@dataclass(frozen=True)
class AutoReport:
    """What `AutoCorrector` looked at, and why it chose what it chose.

    Parameters
    ----------
    criterion : str
        What the candidates were judged by.
    reason : str
        The choice in a sentence or two.
    candidates : list of dict
        Least correction first: "corrector", "value", "difference" (to no correction), "low" and
        "high" (95 % interval of the difference), "chosen". Where there was no evidence but the mean
        cosine, "value" to "high" are None.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AutoCorrector
    >>> X = np.random.default_rng(0).normal(size=(400, 16))
    >>> report = AutoCorrector().fit(X).report_
    >>> report.criterion, len(report.candidates), report.candidates[0]["chosen"]
    ('mean cosine of the rows', 9, True)
    """

    criterion: str
    reason: str
    candidates: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = [self.reason, "", f"Criterion: {self.criterion}."]
        for entry in self.candidates:
            mark = ">" if entry["chosen"] else " "
            if entry["value"] is None:
                lines.append(f"{mark} {entry['corrector']}")
                continue
            low, high = entry["low"], entry["high"]
            lines.append(
                f"{mark} {entry['corrector']:<30} {entry['value']:8.4f}  "
                f"{entry['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
            )
        return "\n".join(lines)
