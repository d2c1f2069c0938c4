"""The corrections that rules, labels and the bench know, each under one name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.mean import MeanRemoval
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.correctors.whitening import Whitening

__all__ = ["SETTINGS", "named", "setting_of"]

SETTINGS: dict[str, Callable[[], AffineCorrector]] = {
    "none": partial(MeanRemoval, 0.0),
    "origin .25": partial(Whitening, power=0.25, mean_strength=0.0),
    "origin .5": partial(Whitening, power=0.5, mean_strength=0.0),
    "origin tapered .5": partial(TaperedWhitening, 0.5, mean_strength=0.0),
    "origin tapered 1": partial(TaperedWhitening, 1.0, mean_strength=0.0),
    "centred": partial(MeanRemoval, 1.0),
    "power .25": partial(TaperedWhitening, 0.25),
    "power .5": partial(TaperedWhitening, 0.5),
    "power .75": partial(TaperedWhitening, 0.75),
    "power 1": partial(TaperedWhitening, 1.0),
    "plain 1": partial(Whitening),
}
"""Name to a maker of the unfitted corrector; no correction first, then from mild to strong.
"origin" removes no mean, so it is a purely linear map."""

_FREE = ("normalize", "n_components", "random_state")


def named(corrector: AffineCorrector) -> str:
    """A corrector as it is made: its strength, and whatever is not the default.

    Parameters
    ----------
    corrector : affine corrector

    Returns
    -------
    str

    Examples
    --------
    >>> named(SETTINGS["origin .25"]())
    'Whitening(power=0.25, mean_strength=0.0)'
    """
    usual = type(corrector)().get_params()
    told = [
        f"{name}={value!r}"
        for name, value in corrector.get_params().items()
        if name not in ("normalize", "random_state") and (value != usual[name] or name == "power")
    ]
    return f"{type(corrector).__name__}({', '.join(_power_first(told))})"


def _power_first(told: list[str]) -> list[str]:
    return sorted(told, key=lambda one: not one.startswith("power="))


def setting_of(corrector: AffineCorrector) -> str | None:
    """The name of the setting that a corrector is, whatever its dimensions and `normalize`.

    Parameters
    ----------
    corrector : affine corrector

    Returns
    -------
    str or None
        None for one that nobody has measured.

    Examples
    --------
    >>> from isotropy import TaperedWhitening
    >>> setting_of(TaperedWhitening(0.5, n_components=64)), setting_of(TaperedWhitening(0.6))
    ('power .5', None)
    """
    mine = _essence(corrector)
    return next((name for name, make in SETTINGS.items() if _essence(make()) == mine), None)


def _essence(corrector: AffineCorrector) -> tuple[type, dict[str, object]]:
    told = corrector.get_params()
    return type(corrector), {name: told[name] for name in told if name not in _FREE}
