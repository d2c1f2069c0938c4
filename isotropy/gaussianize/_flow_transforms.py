"""The parts of the flows, as nflows transforms; imported only where torch and nflows are wanted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from nflows.transforms import (
    AdditiveCouplingTransform,
    CompositeTransform,
    PiecewiseRationalQuadraticCouplingTransform,
)
from nflows.transforms.base import Transform
from torch import nn

REACH = 20.0
"""Conditioners see their input cut off at so many standard deviations: beyond the data the map is
then affine, which keeps it finite and its inverse exact however far out a row lies."""

_MASK_LEVELS = 256


class Conditioner(nn.Module):
    """One hidden layer whose last layer starts at zero, so that a coupling starts as identity.

    Its parameters come from `generator`: the global random state is not touched.
    """

    def __init__(
        self, n_in: int, n_out: int, hidden: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(n_in, 1))

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))

        self.hidden_features = hidden  # nflows' splines scale their logits by it
        self.w1, self.b1 = uniform(hidden, n_in), uniform(hidden)
        self.w2 = nn.Parameter(torch.zeros(n_out, hidden))
        self.b2 = nn.Parameter(torch.zeros(n_out))
        # 256 levels: a byte decides on a unit, and random bytes are cheap.
        self.kept = round(_MASK_LEVELS * (1 - dropout))
        self.masks: MaskSource | None = None
        self.products: torch.dtype | None = None  # type of the products in training

    @property
    def scale(self) -> float:
        """What the units that dropout keeps are multiplied by."""
        return _MASK_LEVELS / self.kept if self.training else 1.0

    def mask(self, n: int) -> torch.Tensor | None:
        """Which hidden units to keep, (n, hidden), or None for all."""
        if not self.training or self.kept == _MASK_LEVELS or self.masks is None:
            return None
        return self.masks.draw(n, self.hidden_features, self.kept)

    def forward(self, x: torch.Tensor, context: Any = None) -> torch.Tensor:
        hidden = torch.addmm(self.b1, x.clamp(-REACH, REACH), self.w1.t()).relu()
        mask = self.mask(len(x))
        if mask is not None:
            hidden = hidden * mask
        return torch.addmm(self.b2, hidden, self.w2.t(), alpha=self.scale)


class MaskSource:
    """Dropout masks from a generator of their own; on the CPU numpy's, which is much faster."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.bytes = np.random.Generator(np.random.SFC64(seed))
        self.generator = torch.Generator(device).manual_seed(seed)

    def draw(self, n: int, width: int, kept: int) -> torch.Tensor:
        if self.device.type == "cpu":
            drawn_here = np.frombuffer(self.bytes.bytes(n * width), np.uint8) < kept
            return torch.from_numpy(drawn_here.reshape(n, width))
        drawn = torch.empty(n, width, dtype=torch.uint8, device=self.device)
        return drawn.random_(generator=self.generator) < kept


class _Coupled(torch.autograd.Function):
    """``y = x exp(s) + t`` with (s, t) = conditioner(seen), and sum s: one step, no graph inside.

    Saves the two products of the hidden layer that autograd would repeat or keep twice. Matrix
    products and the hidden layer are in `products`, all else in the type of the rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        seen: torch.Tensor,
        x: torch.Tensor,
        w1: torch.Tensor,
        b1: torch.Tensor,
        w2: torch.Tensor,
        b2: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
        bound: float,
        products: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cut, w1, w2 = seen.clamp(-REACH, REACH).to(products), w1.to(products), w2.to(products)
        hidden = torch.addmm(b1.to(products), cut, w1.t()).relu_()
        if mask is not None:
            hidden.mul_(mask)
        out = torch.add(b2, hidden @ w2.t(), alpha=scale)
        m = x.shape[1]
        bent = out[:, :m].div_(bound).tanh_()
        stretch = (bent * bound).exp_()
        ctx.save_for_backward(seen, cut, hidden, bent, stretch, x, w1, w2)
        ctx.scale, ctx.bound = scale, bound
        return torch.addcmul(out[:, m:], x, stretch), bent.sum(1) * bound

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad_y, grad_volume = grads
        seen, cut, hidden, bent, stretch, x, w1, w2 = ctx.saved_tensors
        grad_x = grad_y * stretch
        grad_s = torch.addcmul(grad_volume[:, None], grad_x, x)
        grad_out = torch.cat([grad_s * (1 - bent * bent), grad_y], dim=1)
        grad_b2 = grad_out.sum(0)
        grad_out = (grad_out * ctx.scale).to(hidden.dtype)
        grad_w2 = (grad_out.t() @ hidden).to(x.dtype)
        # A unit that relu or dropout silenced is zero, and passes nothing back.
        grad_hidden = torch.ops.aten.threshold_backward(grad_out @ w2, hidden, 0)
        grad_w1 = (grad_hidden.t() @ cut).to(x.dtype)
        grad_b1 = grad_hidden.sum(0, dtype=x.dtype)
        grad_seen = None
        if ctx.needs_input_grad[0]:
            grad_seen = (grad_hidden @ w1).to(x.dtype).masked_fill_(seen.abs() > REACH, 0)
        return grad_seen, grad_x, grad_w1, grad_b1, grad_w2, grad_b2, None, None, None, None


class AffineCoupling(Transform):
    """Affine coupling on contiguous halves; log-scales lie within +-`bound` by a tanh.

    The same map as nflows' ``AffineCouplingTransform`` with this conditioner, in one fused step.
    """

    def __init__(
        self, features: int, flip: bool, hidden: int, dropout: float, bound: float, generator: Any
    ) -> None:
        super().__init__()
        self.flip, self.bound = flip, bound
        changed = features // 2
        self.cut = changed if flip else features - changed
        self.net = Conditioner(features - changed, 2 * changed, hidden, dropout, generator)

    def _halves(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left, right = rows[:, : self.cut], rows[:, self.cut :]
        return (right, left) if self.flip else (left, right)

    def _whole(self, seen: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        return torch.cat([changed, seen] if self.flip else [seen, changed], dim=1)

    def forward(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seen, x = self._halves(inputs)
        net = self.net
        products = (net.products if self.training else None) or x.dtype
        weights = net.w1, net.b1, net.w2, net.b2
        y, volume = _Coupled.apply(
            seen, x, *weights, net.mask(len(x)), net.scale, self.bound, products
        )
        return self._whole(seen, y), volume

    def inverse(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seen, y = self._halves(inputs)
        raw, shift = self.net(seen).chunk(2, dim=1)
        s = self.bound * torch.tanh(raw / self.bound)
        return self._whole(seen, (y - shift) * torch.exp(-s)), -s.sum(1)


class SplineCoupling(PiecewiseRationalQuadraticCouplingTransform):
    """nflows' rational-quadratic coupling, the identity at the start and beyond `tail_bound`.

    Its closed-form inverse asserts that a discriminant is not negative, which rounding can break
    (nflows#87); there the element is found by bisection, since the spline rises.
    """

    def __init__(
        self,
        features: int,
        flip: bool,
        hidden: int,
        dropout: float,
        generator: Any,
        *,
        num_bins: int = 8,
        tail_bound: float = 6.0,
    ) -> None:
        changed = features // 2
        mask = torch.zeros(features)
        mask[slice(0, changed) if flip else slice(features - changed, features)] = 1

        def net(n_in: int, n_out: int) -> Conditioner:
            made = Conditioner(n_in, n_out, hidden, dropout, generator)
            with torch.no_grad():  # softplus of this is the slope 1, less nflows' least slope
                slopes = made.b2.view(-1, 3 * num_bins - 1)[:, 2 * num_bins :]
                slopes.fill_(math.log(math.expm1(1 - 1e-3)))
            return made

        super().__init__(mask, net, num_bins=num_bins, tails="linear", tail_bound=tail_bound)

    def _piecewise_cdf(
        self, inputs: torch.Tensor, transform_params: torch.Tensor, inverse: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # nflows scales the parameters in place.
        if not inverse:
            return super()._piecewise_cdf(inputs, transform_params.clone(), inverse=False)
        try:
            found, volume = super()._piecewise_cdf(inputs, transform_params.clone(), inverse=True)
        except AssertionError:
            return self._bisect(inputs, transform_params)
        if torch.isfinite(found).all() and torch.isfinite(volume).all():
            return found, volume
        return self._bisect(inputs, transform_params)

    def _bisect(self, y: torch.Tensor, params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = torch.full_like(y, -self.tail_bound), torch.full_like(y, self.tail_bound)
        outside = y.abs() >= self.tail_bound
        for _ in range(64):
            middle = (low + high) / 2
            below = super()._piecewise_cdf(middle, params.clone(), inverse=False)[0] < y
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        found = torch.where(outside, y, (low + high) / 2)
        return found, -super()._piecewise_cdf(found, params.clone(), inverse=False)[1]


class Rotation(Transform):
    """A fixed rotation, ``y = x Q``, of no volume.

    The inverse solves for it: rounded to float32, Q is orthogonal to seven digits only.
    """

    matrix: torch.Tensor

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.products: torch.dtype | None = None  # type of the product in training

    def forward(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        products = (self.products if self.training else None) or inputs.dtype
        rows = (inputs.to(products) @ self.matrix.to(products)).to(inputs.dtype)
        return rows, inputs.new_zeros(len(inputs))

    def inverse(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.linalg.solve(self.matrix, inputs, left=False)
        return rows, inputs.new_zeros(len(inputs))


class LULinear(Transform):
    """``y = x Q L U + c`` with learned triangular L (unit diagonal) and U, and a fixed rotation Q.

    Glow's mixing step. nflows' own linear transforms call functions that torch deprecated or
    removed; this one solves with ``torch.linalg``. O(d^2) a row; L = U = I at the start.
    """

    rotation: torch.Tensor

    def __init__(self, rotation: torch.Tensor) -> None:
        super().__init__()
        d = len(rotation)
        self.register_buffer("rotation", rotation)
        self.lower, self.upper = nn.Parameter(torch.zeros(d, d)), nn.Parameter(torch.zeros(d, d))
        self.log_diagonal = nn.Parameter(torch.zeros(d))
        self.shift = nn.Parameter(torch.zeros(d))

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        eye = torch.eye(len(self.shift), dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.log_diagonal.exp())

    def forward(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = self._factors()
        rows = inputs @ (self.rotation @ lower @ upper) + self.shift
        return rows, self.log_diagonal.sum().expand(len(inputs))

    def inverse(
        self, inputs: torch.Tensor, context: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = self._factors()
        solve, solve_all = torch.linalg.solve_triangular, torch.linalg.solve
        rows = solve(upper, inputs - self.shift, upper=True, left=False)
        rows = solve(lower, rows, upper=False, left=False, unitriangular=True)
        return solve_all(self.rotation, rows, left=False), -self.log_diagonal.sum().expand(
            len(inputs)
        )


class AdditiveCoupling(AdditiveCouplingTransform):
    """nflows' additive coupling on contiguous halves: it keeps volumes."""

    def __init__(
        self, features: int, flip: bool, hidden: int, dropout: float, generator: Any
    ) -> None:
        changed = features // 2
        mask = torch.zeros(features)
        mask[slice(0, changed) if flip else slice(features - changed, features)] = 1
        super().__init__(
            mask, lambda n_in, n_out: Conditioner(n_in, n_out, hidden, dropout, generator)
        )


def random_rotation(d: int, generator: torch.Generator) -> torch.Tensor:
    """Drawn evenly from the orthogonal matrices, in float64."""
    gaussian = torch.empty(d, d, dtype=torch.float64).normal_(generator=generator)
    Q, R = torch.linalg.qr(gaussian)
    return Q * R.diagonal().sign()


def build_flow(
    preset: str, features: int, n_layers: int, hidden: int, dropout: float, bound: float, seed: int
) -> CompositeTransform:
    """The flow of a preset on `features` >= 2 columns, the identity at the start.

    "affine" and "spline" have a random rotation after every second coupling, so that columns of
    both halves meet; all are undone at the end. "bert-flow" mixes before each coupling.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[Transform] = []
    turned = torch.eye(features, dtype=torch.float64)
    for index in range(n_layers):
        flip = index % 2 == 1
        if preset == "bert-flow":
            parts.append(LULinear(random_rotation(features, generator).float()))
            parts.append(AdditiveCoupling(features, flip, hidden, dropout, generator))
            continue
        if index and index % 2 == 0:
            rotation = random_rotation(features, generator)
            turned = turned @ rotation
            parts.append(Rotation(rotation.float()))
        if preset == "spline":
            parts.append(SplineCoupling(features, flip, hidden, dropout, generator))
        else:
            parts.append(AffineCoupling(features, flip, hidden, dropout, bound, generator))
    if preset != "bert-flow" and n_layers > 2:
        parts.append(Rotation(turned.t().float().contiguous()))
    return CompositeTransform(parts)
