"""The corrections that are tried, no correction first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from isotropy.affine import Normalize
from isotropy.choose.settings import SETTINGS, named, setting_of
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.whitening import Whitening
from isotropy.moments import Moments

__all__ = ["Candidate", "candidates", "check_candidates", "fitted"]


@dataclass(frozen=True)
class Candidate:
    """A correction that is tried.

    Parameters
    ----------
    name : str
        As the corrector is made; "none" for no correction.
    corrector : affine corrector
        A clone of its own, fitted by `fitted`.
    setting : str or None
        Its name in `SETTINGS`; None where it is not measured.
    """

    name: str
    corrector: AffineCorrector
    setting: str | None


def check_candidates(given: Any, normalize: Normalize) -> None:
    """Refuse what cannot be tried beside the others: it must follow from the same moments."""
    for place, one in enumerate(given or ()):
        told = f"candidates[{place}]"
        if (
            not isinstance(one, AffineCorrector)
            or not one._moments_suffice
            or one._kind_of_moments is not Moments
        ):
            raise ValueError(
                f"{told}: candidates must be affine correctors that follow from moments alone, "
                f"such as Whitening(), got {one!r}."
            )
        if one.get_params().get("normalize", "none") not in ("none", normalize):
            raise ValueError(
                f"{told} has normalize={one.normalize!r}, but all candidates are tried with "
                f"AutoCorrector's, {normalize!r}: give it there."
            )
        if getattr(one, "weight_type", "frequency") != "frequency":
            raise ValueError(
                f"{told} has weight_type={one.weight_type!r}; AutoCorrector takes weights as "
                "frequencies."
            )


def candidates(
    given: Sequence[AffineCorrector] | None, *, n_components: int | None, normalize: Normalize
) -> list[Candidate]:
    """All that may be chosen, unfitted, no correction first; the user's own are cloned."""
    made = {name: make() for name, make in SETTINGS.items()}
    none = made.pop("none")
    tried = list(made.values()) if given is None else [clone(one) for one in given]
    if n_components is not None:
        none = _in_fewer(none, n_components)
        if given is None:
            tried = [_in_fewer(one, n_components) for one in tried]
    for one in (none, *tried):
        one.set_params(normalize=normalize)
    return [Candidate("none", none, "none")] + [
        Candidate(named(one), one, setting_of(one))
        if given is not None
        else Candidate(named(one), one, name)
        for one, name in zip(tried, made if given is None else tried, strict=True)
    ]


def _in_fewer(one: AffineCorrector, n_components: int) -> AffineCorrector:
    """The same in fewer dimensions; one that moves rows keeps those in which they are longest."""
    if "n_components" in one.get_params():
        return one.set_params(n_components=n_components)
    strength = one.get_params()["strength"]
    return Whitening(power=0.0, mean_strength=strength, n_components=n_components)


def fitted(options: Sequence[Candidate], moments: Moments) -> list[Candidate]:
    """The same ones, each solved from the moments."""
    for option in options:
        option.corrector.fit_moments(moments)
    return list(options)
