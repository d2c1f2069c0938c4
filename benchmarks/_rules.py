"""Rules that choose a setting, judged on cells whose texts and encoder they never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# The share of ten nearest neighbours that full whitening leaves as centring has them. Where most
# stay, directions are used evenly: the encoder was trained to that, and is left alone.
KEPT = "same centred full"
THRESHOLDS = (0.65, 0.68, 0.71, 0.74)
STRONG = ("raw", "centred", "power .25", "power .5", "power .75", "power 1", "origin .25",
          "origin .5", "origin tapered .5", "origin tapered 1")  # fmt: skip
MILD = ("raw", "power .25")
HARM = 20.0  # what a point of harm weighs against a point of regret


def base(encoder: str) -> str:
    """Layers of one trained encoder are one encoder; so are those moved from MiniLM's output."""
    if encoder.startswith("shifted"):
        return "mean 6"
    return encoder.removesuffix(" -1")


def rules(cells: Sequence[dict[str, Any]], own: bool) -> list[tuple[float, str, str]]:
    """Threshold, the setting where fewer neighbours stay, and the one where more do.

    Settings that were not tried in some cell are left out.
    """
    known = set.intersection(*(set(cell["points"]) for cell in cells))

    def named(settings: tuple[str, ...]) -> list[str]:
        found = [f"{one}, own mean" if own and _moves(one) else one for one in settings]
        return [one for one in found if one in known]

    return [
        (limit, low, high) for limit in THRESHOLDS for low in named(STRONG) for high in named(MILD)
    ]


def _moves(setting: str) -> bool:
    """Whether it removes a mean, so that queries may have their own."""
    return setting != "raw" and not setting.startswith("origin")


def follow(rule: tuple[float, str, str], cell: dict[str, Any]) -> str:
    limit, low, high = rule
    return low if cell["evidence"][KEPT] < limit else high


def left_out(cells: Sequence[dict[str, Any]], own: bool = False) -> list[str]:
    """For each cell what the best rule of the cells with other texts and other encoders says."""
    tried = rules(cells, own)
    taken = [[follow(rule, cell) for cell in cells] for rule in tried]
    gain = np.array(
        [
            [
                cell["points"][name] - cell["points"]["raw"]
                for cell, name in zip(cells, one, strict=True)
            ]
            for one in taken
        ]
    )
    cost = -gain + HARM * np.maximum(0, -gain - 0.5)
    texts = np.array([cell["collection"] for cell in cells])
    encoders = np.array([base(cell["encoder"]) for cell in cells])
    found = []
    for k in range(len(cells)):
        others = (texts != texts[k]) & (encoders != encoders[k])
        found.append(taken[int(cost[:, others].mean(1).argmin())][k] if others.any() else "raw")
    return found


def best_rule(cells: Sequence[dict[str, Any]], own: bool = False) -> tuple[float, str, str]:
    """The one of all cells: what would be shipped."""

    def cost(rule: tuple[float, str, str]) -> float:
        gain = np.array(
            [cell["points"][follow(rule, cell)] - cell["points"]["raw"] for cell in cells]
        )
        return float((-gain + HARM * np.maximum(0, -gain - 0.5)).mean())

    return min(rules(cells, own), key=cost)


def _gain(cell: dict[str, Any], name: str) -> float:
    return float(cell["points"][name] - cell["points"]["raw"])
