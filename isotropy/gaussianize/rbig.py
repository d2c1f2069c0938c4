"""Rotation-based iterative Gaussianization: marginals made Gaussian and rotations, in turn."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from isotropy.gaussianize.base import Gaussianizer
from isotropy.moments import fixed_eigh
from isotropy.rows.arrays import in_kind_of, to_numpy
from isotropy.storage.state import check_arrays

__all__ = ["RotationGaussianizer"]

_BLOCK = 4096
_BEYOND = 5


class RotationGaussianizer(Gaussianizer):
    """RBIG: repeat {rotate; make every coordinate Gaussian by its quantiles} on whitened rows.

    Nothing is trained: a layer is a rotation and, for each coordinate, a piecewise linear map of
    its quantiles onto those of N(0, 1). Beyond the outermost knots the map goes on as a line, so
    rows never seen stay finite and have a way back.

    Parameters
    ----------
    max_layers : int, default=100
    n_quantiles : int or None, default=None
        Knots of a coordinate's map; by default (rows)^(1/3), from 5 to 100. More follow the
        marginals closer and fit noise sooner.
    rotation : {"random", "pca"}, default="random"
        Drawn evenly from all rotations, or the principal axes of what the layer before left.
    patience : int, default=5
        Stop after so many layers in a row that reduce the total correlation of the held-out rows
        by no more than `tol`; those layers are dropped.
    tol : float, default=0.0
        In nats per row.
    n_components : int or float or None, default=None
        As in `Whitening`: directions kept; by default all of the numerical rank.
    validation_fraction : float, default=0.1
        Share of the distinct rows that is held out, up to 0.5; 10 rows at least.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    total_correlation_ : ndarray of shape (n_iter_,)
        By how much each layer reduced the total correlation of the training rows, in nats.
    gain_ : float
        Held-out log density over that of the Gaussian of full covariance, in nats per row; the
        stopping rule has seen the same rows.
    falls_back_ : bool
        Whether the gain is not positive, and the whitening alone is used.
    n_iter_ : int
        Layers kept.
    history_ : list of dict
        Of each layer tried: training and held-out reduction.
    whitening_ : AffineMap
    eigenvalues_ : ndarray of shape (k,)
        Variances of the directions kept.

    Notes
    -----
    Laparra, Camps-Valls & Malo 2011, "Iterative Gaussianization: from ICA to Random Rotations".
    A layer reduces the total correlation by the sum of its marginals' negentropies, which is the
    mean gain in log density of the layer. Fit is O(n k (k + log n)) a layer; the rotations take
    k^2 numbers each. `partial_fit` adds layers.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import RotationGaussianizer
    >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
    >>> rbig = RotationGaussianizer(random_state=0).fit(X)
    >>> bool(rbig.gain_ > 0.3)
    True
    >>> bool(np.allclose(rbig.inverse_transform(rbig.transform(X)), X))
    True
    """

    def __init__(
        self,
        max_layers: int = 100,
        *,
        n_quantiles: int | None = None,
        rotation: Literal["random", "pca"] = "random",
        patience: int = 5,
        tol: float = 0.0,
        n_components: int | float | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.max_layers = max_layers
        self.n_quantiles = n_quantiles
        self.rotation = rotation
        self.patience = patience
        self.tol = tol
        self.n_components = n_components
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name, least in (("max_layers", 1), ("patience", 1), ("n_quantiles", 3)):
            value = getattr(self, name)
            if name == "n_quantiles" and value is None:
                continue
            if isinstance(value, str | bool) or value != int(value) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
        if self.rotation not in ("random", "pca"):
            raise ValueError(f"rotation must be 'random' or 'pca', got {self.rotation!r}.")

    def _start(self) -> None:
        k = self.eigenvalues_.size
        self.rotations_ = np.zeros((0, k, k))
        self.knots_: list[np.ndarray] = []
        self.targets_: list[np.ndarray] = []
        self.total_correlation_ = np.zeros(0)

    _not_saved = Gaussianizer._not_saved | {"rotations_", "knots_", "targets_"}

    def _learn(
        self,
        Z: np.ndarray,
        weights: np.ndarray,
        held: np.ndarray,
        held_weights: np.ndarray,
        seed: int,
        first: bool,
    ) -> float:
        rng = np.random.default_rng(seed)
        Z, held = Z.astype(np.float64), held.astype(np.float64)
        gained = 0.0
        if not first and self.n_iter_:
            gained = float(np.average(_log_gain(held, *self._forward(held)), weights=held_weights))
            Z, held = self._forward(Z)[0], self._forward(held)[0]
        layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        reductions: list[tuple[float, float]] = []
        weak = 0
        while len(layers) < self.max_layers and weak < self.patience:
            layer = self._layer(Z, weights, rng)
            Z_next, held_next = _apply(Z, *layer), _apply(held, *layer)
            reductions.append(
                (
                    float(np.average(_log_gain(Z, *Z_next), weights=weights)),
                    float(np.average(_log_gain(held, *held_next), weights=held_weights)),
                )
            )
            Z, held = Z_next[0], held_next[0]
            layers.append(layer)
            step = {"train_reduction": reductions[-1][0], "held_out_reduction": reductions[-1][1]}
            self.history_ = [*self.history_, step]
            weak = 0 if reductions[-1][1] > self.tol else weak + 1
        keep = len(layers) - weak
        self._append(layers[:keep], [there for there, _ in reductions[:keep]])
        return gained + sum(out for _, out in reductions[:keep])

    def _append(
        self, layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]], reduced: list[float]
    ) -> None:
        if layers:
            new = np.stack([rotation for rotation, _, _ in layers])
            self.rotations_ = np.concatenate([self.rotations_, new])
        self.knots_ = self.knots_ + [knots for _, knots, _ in layers]
        self.targets_ = self.targets_ + [targets for _, _, targets in layers]
        self.total_correlation_ = np.concatenate([self.total_correlation_, reduced])
        self.n_iter_ = len(self.rotations_)

    def _layer(
        self, Z: np.ndarray, weights: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotation (k, k), knots (k, q) and their Gaussian targets (q,)."""
        k = Z.shape[1]
        if self.rotation == "pca":
            rotation = fixed_eigh((Z * weights[:, None]).T @ Z / weights.sum())[1]
        else:
            Q, R = np.linalg.qr(rng.standard_normal((k, k)))
            rotation = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
        n = weights.sum() ** 2 / np.square(weights).sum()
        count = self.n_quantiles or int(np.clip(np.cbrt(n), 5, 100))
        # Even steps of the target, out to where a handful of rows is left beyond.
        outermost = -ndtri(min(_BEYOND / n, 0.25))
        targets = np.linspace(-outermost, outermost, count)
        return rotation, _quantiles(Z @ rotation, weights, targets), targets

    # -- applying ----------------------------------------------------------------------------

    def _forward(self, Z: Any) -> tuple[Any, Any]:
        given, Z = Z, to_numpy(Z)
        Y, volume = Z.astype(np.float64), np.zeros(len(Z))
        for start in range(0, len(Z), _BLOCK):
            part = slice(start, start + _BLOCK)
            for layer in zip(self.rotations_, self.knots_, self.targets_, strict=True):
                Y[part], more = _apply(Y[part], *layer)
                volume[part] += more
        return in_kind_of(given, Y), in_kind_of(given, volume)

    def _backward(self, Y: Any) -> Any:
        Z = to_numpy(Y).copy()
        layers = list(zip(self.rotations_, self.knots_, self.targets_, strict=True))
        for rotation, knots, targets in reversed(layers):
            back = np.empty_like(Z)
            for j in range(Z.shape[1]):
                back[:, j] = _piecewise(Z[:, j], targets, knots[j])[0]
            Z = back @ rotation.T
        return in_kind_of(Y, Z)

    def _learned_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {"rotations": self.rotations_}
        for index, (knots, targets) in enumerate(zip(self.knots_, self.targets_, strict=True)):
            arrays[f"knots.{index}"], arrays[f"targets.{index}"] = knots, targets
        return {}, arrays

    def _restore_learned(
        self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        k, n = self.eigenvalues_.size, int(self.n_iter_)
        shapes: dict[str, tuple[int, ...]] = {"rotations": (n, k, k)}
        for index in range(n):
            q = arrays[f"targets.{index}"].size
            shapes |= {f"knots.{index}": (k, q), f"targets.{index}": (q,)}
        check_arrays(path, arrays, shapes)
        self.rotations_ = arrays["rotations"]
        self.knots_ = [arrays[f"knots.{index}"] for index in range(n)]
        self.targets_ = [arrays[f"targets.{index}"] for index in range(n)]


def _quantiles(Z: np.ndarray, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What of each column lies where N(0, 1) has `targets`: (k, q), strictly rising along q."""
    levels = ndtr(targets)
    order = np.argsort(Z, axis=0)
    ranks = np.cumsum(weights[order], axis=0) - 0.5 * weights[order]
    ranks /= weights.sum()
    values = np.take_along_axis(Z, order, axis=0)
    knots = np.stack([np.interp(levels, ranks[:, j], values[:, j]) for j in range(Z.shape[1])])
    # Ties would make a step, which has no slope and no way back: knots keep a distance of a
    # hundredth of what a Gaussian of the same spread would give them.
    spread = np.maximum(knots[:, -1] - knots[:, 0], 1e-3) / (targets[-1] - targets[0])
    least = 0.01 * spread[:, None] * np.diff(targets)
    steps = np.maximum(np.diff(knots, axis=1), least)
    middle = knots.shape[1] // 2
    rising = np.concatenate([np.zeros((len(knots), 1)), np.cumsum(steps, axis=1)], axis=1)
    return rising + (knots[:, middle] - rising[:, middle])[:, None]


def _piecewise(x: np.ndarray, knots: np.ndarray, targets: np.ndarray) -> tuple[Any, Any]:
    """The piecewise linear map of `knots` onto `targets` and its slope at each x.

    The outer lines have the slope of the knots' overall spread, not of the outermost pair: two
    knots that happen to lie close must not throw what lies beyond them far away.
    """
    slopes = np.diff(targets) / np.diff(knots)
    whole = (targets[-1] - targets[0]) / (knots[-1] - knots[0])
    slopes = np.concatenate([[whole], slopes, [whole]])
    index = np.searchsorted(knots, x, side="right")
    anchor = np.maximum(index - 1, 0)
    slope = slopes[index]
    return targets[anchor] + slope * (x - knots[anchor]), slope


def _apply(
    Z: np.ndarray, rotation: np.ndarray, knots: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One layer: rows after it and log|det|."""
    turned, volume = Z @ rotation, np.zeros(len(Z))
    for j in range(turned.shape[1]):
        turned[:, j], slope = _piecewise(turned[:, j], knots[j], targets)
        volume += np.log(slope)
    return turned, volume


def _log_gain(Z: np.ndarray, Y: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Log density of each row by the map to Y over that by the Gaussian on Z."""
    return volume + 0.5 * (np.square(Z).sum(1) - np.square(Y).sum(1))
