"""Loss of the distance to an isotropic Gaussian, along random directions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from isotropy.losses._base import (
    RowRegularizer,
    bibtex,
    centred,
    full_precision,
    nothing,
    spacing,
    unit_rows,
)
from isotropy.metrics.sliced import N_SLICES, epps_pulley, random_directions

__all__ = ["SlicedEppsPulley", "sliced_epps_pulley"]

Scale = Literal["unit", "standard", "none"]


@full_precision
def sliced_epps_pulley(
    X: Tensor,
    *,
    scale: Scale = "unit",
    n_slices: int = N_SLICES,
    random_state: int = 0,
) -> Tensor:
    r"""SIGReg: mean Epps-Pulley distance of the rows to N(0, I) along random directions.

    Parameters
    ----------
    X : tensor of shape (n, d)
    scale : {"unit", "standard", "none"}, default="unit"
        "unit" scales rows to length sqrt(d), for embeddings compared by cosine: uniform directions
        are then nearly Gaussian along every slice. "standard" centres the rows and divides them
        by the root of their mean variance: the number of `isotropy.metrics.sliced_epps_pulley`,
        blind to mean and scale. "none" takes the rows as they are, as LeJEPA does.
    n_slices : int, default=128
        How many directions, 1 or more.
    random_state : int, default=0
        Seed of the directions.

    Returns
    -------
    tensor, scalar
        From 0, the ideal; about 1.06 / n for n Gaussian rows, so that few rows never get 0. The
        term of LeJEPA is n times this: its weight divided by n is the weight here. 0 for fewer
        than two rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `scale` is unknown, or `X` has fewer than two dimensions.

    Notes
    -----
    O(n d n_slices). Bounded, with bounded gradients.

    References
    ----------
    Balestriero & LeCun 2025, "LeJEPA"; Epps & Pulley 1983.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import sliced_epps_pulley
    >>> rows = torch.randn(500, 16, generator=torch.manual_seed(0))
    >>> (sliced_epps_pulley(rows) < 0.01 < sliced_epps_pulley(rows + 1)).item()
    True
    """
    if scale not in ("unit", "standard", "none"):
        raise ValueError(f"scale must be 'unit', 'standard' or 'none', got {scale!r}.")
    if len(X) < 2:
        return nothing(X)
    d = X.shape[1]
    if scale == "unit":
        X = unit_rows(X) * d**0.5
    elif scale == "standard":
        size = X.detach().square().sum(1).mean()
        X = centred(X)
        variance = X.square().sum(1).mean() / d
        spread = variance > (4 * spacing(X)) ** 2 * size / d
        X = X * torch.where(spread, variance, 1).rsqrt()
    value = epps_pulley(X @ _directions(d, n_slices, random_state).to(X)).mean()
    return torch.where(spread, value, nothing(X)) if scale == "standard" else value


@torch.compiler.assume_constant_result
def _directions(d: int, n_slices: int, random_state: int) -> Tensor:
    return torch.from_numpy(random_directions(d, n_slices, random_state))


class SlicedEppsPulley(RowRegularizer):
    """SIGReg as a module: `sliced_epps_pulley` of the rows along new directions at every step.

    Parameters
    ----------
    scale : {"unit", "standard", "none"}, default="unit"
        What is done to the rows first, see `sliced_epps_pulley`.
    n_slices : int, default=128
        How many directions, 1 or more.
    random_state : int, default=0
        Seed of the first directions; each forward pass in training takes the next. Evaluation
        takes the first, so that its values compare.
    queue : int, default=0
        Rows of past batches that take part, see `RowRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`; all take the same directions.

    Raises
    ------
    ValueError
        Where `queue` is no number of rows; where `scale` is unknown, when called.

    Notes
    -----
    Cost and source as of `sliced_epps_pulley`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import SlicedEppsPulley
    >>> rows = torch.randn(500, 16, generator=torch.manual_seed(0))
    >>> (SlicedEppsPulley()(rows) < 0.01).item()
    True
    """

    citation = bibtex(
        "balestriero2025lejepa",
        "Randall Balestriero and Yann LeCun",
        "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
        2025,
        "2511.08544",
    )

    def __init__(
        self,
        scale: Scale = "unit",
        n_slices: int = N_SLICES,
        random_state: int = 0,
        *,
        queue: int = 0,
        gather: bool = False,
    ) -> None:
        super().__init__(queue=queue, gather=gather)
        self.scale, self.n_slices, self.random_state = scale, n_slices, random_state
        self._step = 0

    def measure(self, X: Tensor) -> Tensor:
        seed = self.random_state
        if self.training:
            seed, self._step = seed + self._step, self._step + 1
        return sliced_epps_pulley(X, scale=self.scale, n_slices=self.n_slices, random_state=seed)
