"""The corrections that are tried, no correction first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from isotropy.affine import Normalize
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.components import ComponentRemoval
from isotropy.correctors.mean import MeanRemoval
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.correctors.whitening import Whitening
from isotropy.moments import Moments

__all__ = ["POWERS", "Candidate", "candidates", "check_candidates", "fitted", "untouched"]

POWERS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_REMOVED = (1, 2, 3, 5, 8, 12, 16, 24)


@dataclass(frozen=True)
class Candidate:
    """A correction that is tried.

    Parameters
    ----------
    name : str
        "none" for no correction.
    corrector : affine corrector
        A clone of its own, fitted by `fitted`.
    by_strength : bool
        Whether it stands in the order of strength, so that texts may choose it.
    """

    name: str
    corrector: AffineCorrector
    by_strength: bool = True


def check_candidates(given: Any, normalize: Normalize) -> None:
    """Refuse what cannot be tried beside the others: it must follow from the same moments."""
    for place, one in enumerate(given or ()):
        told = f"candidates[{place}]"
        if not isinstance(one, AffineCorrector) or not one._moments_suffice:
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
    given: Sequence[AffineCorrector] | None,
    *,
    n_components: int | None,
    normalize: Normalize,
    n_features: int,
    labelled: bool,
) -> list[Candidate]:
    """All that are tried, unfitted, no correction first; the user's own are cloned."""
    tried: list[AffineCorrector] = []
    by_strength = len(POWERS) if given is None else len(given)
    if given is not None:
        tried += [clone(one) for one in given]
    else:
        tried += [TaperedWhitening(power, n_components=n_components) for power in POWERS]
        if labelled and n_components is None:
            tried += [ComponentRemoval(k) for k in _REMOVED if k <= n_features // 8]
    found = [Candidate("none", untouched(n_components, normalize))]
    for place, one in enumerate(tried):
        one.set_params(normalize=normalize)
        found.append(Candidate(_named(one), one, place < by_strength))
    return found


def untouched(n_components: int | None, normalize: Normalize) -> AffineCorrector:
    """No correction, as a corrector; of fewer dimensions those in which rows are longest."""
    if n_components is None:
        return MeanRemoval(0.0, normalize=normalize)
    return Whitening(power=0.0, mean_strength=0.0, n_components=n_components, normalize=normalize)


def fitted(options: Sequence[Candidate], moments: Moments) -> list[Candidate]:
    """The same ones, each solved from the moments."""
    for option in options:
        option.corrector.fit_moments(moments)
    return list(options)


def _named(one: AffineCorrector) -> str:
    """As it is called, with what tells it from others: its strength, and what is not default."""
    usual = type(one)().get_params()
    told = [
        f"{name}={value!r}"
        for name, value in one.get_params().items()
        if name not in ("normalize", "random_state")
        and (value != usual[name] or (name in ("power", "n_components") and value is not None))
    ]
    return f"{type(one).__name__}({', '.join(told)})"
