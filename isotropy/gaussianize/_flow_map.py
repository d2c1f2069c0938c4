"""A flow applied to rows, and trained: numpy or torch in, the same out."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isotropy.gaussianize._flow_transforms import (
    REACH,
    Conditioner,
    MaskSource,
    Rotation,
    build_flow,
)
from isotropy.rows.arrays import is_torch

_BLOCK = 4096


@dataclass(frozen=True)
class Training:
    """How to train; the parameters of `FlowGaussianizer` explain each."""

    batch_size: int
    epochs: int
    learning_rate: float
    weight_decay: float
    volume_weight: float
    patience: int | None
    device: str
    products: torch.dtype
    progress: bool


class FlowMap:
    """A flow with the arguments that built it; copies in other types and on devices are kept."""

    def __init__(self, shape: dict[str, Any]) -> None:
        self.shape = shape
        self.module = build_flow(**shape).eval()
        self._copies: dict[tuple[torch.dtype, str], torch.nn.Module] = {}

    def _in(self, dtype: torch.dtype, device: torch.device) -> torch.nn.Module:
        if dtype == torch.float32 and device.type == "cpu":
            return self.module
        key = dtype, str(device)
        if key not in self._copies:
            self._copies[key] = copy.deepcopy(self.module).to(dtype=dtype, device=device).eval()
        return self._copies[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copies": {}}

    def forward(self, Z: Any, device: str) -> tuple[Any, Any]:
        """Rows to (mapped rows, log|det|); gradients flow for torch rows."""
        if is_torch(Z):
            return self._in(Z.dtype, Z.device)(Z)
        parts = [self._numpy(block, device, "forward") for block in _blocks(Z)]
        return np.concatenate([y for y, _ in parts]), np.concatenate([v for _, v in parts])

    def inverse(self, Y: Any, device: str) -> Any:
        """Mapped rows, in float64, to the rows they came from."""
        if is_torch(Y):
            return self._in(Y.dtype, Y.device).inverse(Y)[0]  # type: ignore[operator]
        return np.concatenate([self._numpy(block, device, "inverse")[0] for block in _blocks(Y)])

    @torch.no_grad()
    def _numpy(self, block: np.ndarray, device: str, way: str) -> list[np.ndarray]:
        rows = torch.from_numpy(np.array(block)).to(device)
        if rows.abs().max() > REACH:  # far out, scales add up to more than float32 has digits for
            rows = rows.double()
        out, volume = getattr(self._in(rows.dtype, rows.device), way)(rows)
        return [part.cpu().numpy().astype(block.dtype, copy=False) for part in (out, volume)]

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in self.module.state_dict().items()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        state = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        self.module.load_state_dict(state)

    def trained(
        self,
        Z: np.ndarray,
        weights: np.ndarray,
        held: np.ndarray,
        held_weights: np.ndarray,
        how: Training,
        seed: int,
    ) -> tuple[FlowMap, list[dict[str, float]], float]:
        """A copy that maximizes the likelihood, its history, and its held-out gain in nats."""
        device = torch.device(how.device)
        tensors = [
            torch.as_tensor(np.asarray(a, dtype=np.float32), device=device)
            for a in (Z, weights, held, held_weights)
        ]
        new = FlowMap.__new__(FlowMap)
        new.shape, new._copies = self.shape, {}
        new.module = copy.deepcopy(self.module).to(device)
        history, gain = _train(new.module, *tensors, how=how, seed=seed)
        new.module = new.module.cpu().eval()
        return new, history, gain


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _train(
    module: torch.nn.Module,
    Z: torch.Tensor,
    weights: torch.Tensor,
    held: torch.Tensor,
    held_weights: torch.Tensor,
    *,
    how: Training,
    seed: int,
) -> tuple[list[dict[str, float]], float]:
    n, size = len(Z), min(how.batch_size, len(Z))
    n_batches = -(-n // size)
    steps = how.epochs * n_batches
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(steps))
    order = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    best, best_state, since = -math.inf, None, 0
    start = time.perf_counter()
    with _set_up(module, MaskSource(Z.device, seed), how.products), _bar(how) as advance:
        for epoch in range(how.epochs):
            module.train()
            total = torch.zeros((), dtype=torch.float64, device=Z.device)
            shuffled = torch.randperm(n, generator=order).to(Z.device)
            for part in shuffled.split(size):
                rows, w = Z[part], weights[part]
                Y, volume = module(rows)
                energy = 0.5 * Y.square().sum(1)
                loss = (w * (energy - how.volume_weight * volume)).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    gain = 0.5 * rows.square().sum(1) - energy + volume
                    total += (w * gain).sum().double()
            gain_here = _gain(module, held, held_weights)
            history.append(
                {
                    "epoch": epoch,
                    "train_gain": float(total / weights.sum()),
                    "held_out_gain": gain_here,
                    "seconds": time.perf_counter() - start,
                }
            )
            advance(gain_here)
            if how.patience is None:
                best = gain_here
                if not math.isfinite(gain_here):
                    break
                continue
            if gain_here > best:
                best, since = gain_here, 0
                best_state = copy.deepcopy(module.state_dict())
            else:
                since += 1
                if since >= how.patience or not math.isfinite(gain_here):
                    break
    if best_state is not None:
        module.load_state_dict(best_state)
    return history, best


def _rate(steps: int) -> Any:
    """Learning rate over its peak: a short rise, then half a cosine down."""
    rise = max(1, min(100, steps // 20))

    def at(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return at


@torch.no_grad()
def _gain(module: torch.nn.Module, held: torch.Tensor, weights: torch.Tensor) -> float:
    """Mean log density by the flow over that by N(0, I), in nats per row."""
    module.eval()
    total = 0.0
    for rows, w in zip(held.split(_BLOCK), weights.split(_BLOCK), strict=True):
        Y, volume = module(rows)
        gain = volume.double() + 0.5 * (rows.double().square() - Y.double().square()).sum(1)
        total += float((w.double() * gain).sum())
    return total / float(weights.double().sum())


@contextmanager
def _set_up(module: torch.nn.Module, source: MaskSource, products: torch.dtype) -> Iterator[None]:
    """Give the parts their dropout masks and the type of their products, for the training alone."""
    nets = [part for part in module.modules() if isinstance(part, Conditioner)]
    rotations = [part for part in module.modules() if isinstance(part, Rotation)]
    multiplying: list[Any] = [*nets, *rotations]

    def lend(masks: MaskSource | None, products: torch.dtype | None) -> None:
        for net in nets:
            net.masks = masks
        for part in multiplying:
            part.products = products

    lend(source, products)
    try:
        yield
    finally:
        lend(None, None)


@contextmanager
def _bar(how: Training) -> Iterator[Any]:
    if not how.progress:
        yield lambda gain: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Training", total=how.epochs)
        yield lambda gain: progress.update(
            task, advance=1, description=f"Held-out gain {gain:.1f} nats"
        )


def best_device(device: str) -> str:
    """The device that "auto" means: a GPU where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def products_in(precision: str, device: str) -> torch.dtype:
    """The type of the products in training; "auto" is bfloat16 where the device computes in it."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if torch.device(device).type == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8
    else:
        fast = _cpu_has_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def _cpu_has_bfloat16() -> bool:
    # torch tells by private names, which come and go; without them float32 is safe.
    names = "_is_avx512_bf16_supported", "_is_amx_tile_supported"
    return any(getattr(torch.cpu, name, bool)() for name in names)
