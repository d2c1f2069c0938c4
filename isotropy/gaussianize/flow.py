"""Gaussianization by a normalizing flow."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from isotropy._optional import require
from isotropy.gaussianize.base import Gaussianizer
from isotropy.storage.state import check_arrays

__all__ = ["FlowGaussianizer"]

# Layers and hidden units by default. The wide one-hidden-layer net decides on text embeddings.
_PRESETS = {"affine": (12, 1024), "spline": (4, 256), "bert-flow": (6, 32)}
_UNITS_PER_COLUMN = 8


class FlowGaussianizer(Gaussianizer):
    """Whiten, then learn an invertible map to a standard Gaussian by maximum likelihood.

    Needs ``pip install 'isotropy[flow]'`` (torch and nflows). A higher density is not a better
    similarity: compare on your own task before use.

    Parameters
    ----------
    preset : {"affine", "spline", "bert-flow"}, default="affine"
        Affine couplings with a rotation after every second; rational-quadratic spline couplings
        with the same; or additive couplings after a learned invertible linear map each, as in
        BERT-flow (Li et al. 2020), where the linear maps alone change volumes.
    n_layers : int or None, default=None
        Couplings: 12, 4 and 6 by preset.
    hidden : int or None, default=None
        Units of each coupling's hidden layer: 1024, 256 and 32 by preset, and no more than 8 for
        each column.
    dropout : float, default=0.6
        Share of hidden units dropped in training, from 0 to below 1, in steps of 1/256.
    scale_bound : float, default=0.5
        Log-scales of each affine coupling stay within plus or minus this.
    learning_rate : float, default=2e-3
        Peak of AdamW's; a short rise, then half a cosine down to 0 at `max_iter`.
    weight_decay : float, default=1.0
        AdamW's, decoupled from the gradient.
    batch_size : int, default=512
    max_iter : int, default=60
        Epochs. The learning rate falls over this many, so choose it for the time you have.
    early_stopping : bool, default=True
        Keep the best epoch on the held-out rows, and stop after `n_iter_no_change` without a
        better one. Otherwise the last epoch is kept.
    n_iter_no_change : int, default=10
    volume_weight : float, default=1.0
        Weight of log|det| in the loss: 1 is maximum likelihood, less contracts the rows.
    n_components : int or float or None, default=None
        As in `Whitening`: directions kept; by default all of the numerical rank.
    validation_fraction : float, default=0.1
        Share of the distinct rows that is held out, up to 0.5; 10 rows at least.
    device : str, default="auto"
        Where to train and to map numpy rows: "cpu", "cuda:1"; "auto" takes a GPU if there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the matrix products of affine couplings in training; sums, weights and gains stay
        in float32. "auto" takes bfloat16 where the device computes in it: faster, for the same
        gain.
    progress : bool, default=False
        Show a progress bar on standard error.
    random_state : int, RandomState or None, default=None
        With a number, two fits on the CPU are equal.

    Attributes
    ----------
    gain_ : float
        Held-out log density over that of the Gaussian of full covariance, in nats per row. Early
        stopping has seen the same rows, and both densities share a whitening by all rows.
    falls_back_ : bool
        Whether the gain is not positive, and the whitening alone is used.
    history_ : list of dict
        Of each epoch: training gain (with dropout), held-out gain, seconds so far.
    n_iter_ : int
        Epochs run.
    whitening_ : AffineMap
    eigenvalues_ : ndarray of shape (k,)
        Variances of the directions kept.
    moments_ : Moments or None

    Notes
    -----
    Maps run in float32 for float32 rows and in float64 for float64 rows, the way back always in
    float64. Beyond 20 standard deviations a coupling goes on as an affine map. A single
    column has nothing to couple: the whitening is used.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import FlowGaussianizer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=1000)
    >>> X = np.column_stack([x, x**2 + 0.3 * rng.normal(size=1000)])
    >>> flow = FlowGaussianizer(hidden=32, dropout=0, random_state=0).fit(X)
    >>> bool(flow.gain_ > 0.5)
    True
    """

    def __init__(
        self,
        preset: Literal["affine", "spline", "bert-flow"] = "affine",
        *,
        n_layers: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.6,
        scale_bound: float = 0.5,
        learning_rate: float = 2e-3,
        weight_decay: float = 1.0,
        batch_size: int = 512,
        max_iter: int = 60,
        early_stopping: bool = True,
        n_iter_no_change: int = 10,
        volume_weight: float = 1.0,
        n_components: int | float | None = None,
        validation_fraction: float = 0.1,
        device: str = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.preset = preset
        self.n_layers = n_layers
        self.hidden = hidden
        self.dropout = dropout
        self.scale_bound = scale_bound
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.volume_weight = volume_weight
        self.n_components = n_components
        self.validation_fraction = validation_fraction
        self.device = device
        self.precision = precision
        self.progress = progress
        self.random_state = random_state

    _not_saved = Gaussianizer._not_saved | {"flow_"}

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.preset not in _PRESETS:
            raise ValueError(f"preset must be one of {sorted(_PRESETS)}, got {self.preset!r}.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"precision must be 'auto', 'float32' or 'bfloat16', got {self.precision!r}."
            )
        for name in ("n_layers", "hidden", "batch_size", "max_iter", "n_iter_no_change"):
            value = getattr(self, name)
            if value is None and name in ("n_layers", "hidden"):
                continue
            if isinstance(value, str | bool) or value is None or value != int(value) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
        for name, low, high in (
            ("dropout", 0, 1),
            ("weight_decay", 0, np.inf),
            ("volume_weight", 0, np.inf),
        ):
            value = getattr(self, name)
            if isinstance(value, str) or value is None or not low <= value < high:
                raise ValueError(f"{name} must be from {low} to below {high}, got {value!r}.")
        for name in ("learning_rate", "scale_bound"):
            value = getattr(self, name)
            if isinstance(value, str) or value is None or not 0 < value < np.inf:
                raise ValueError(f"{name} must be a positive number, got {value!r}.")

    def _start(self) -> None:
        self.flow_: Any = None

    def _learn(
        self,
        Z: np.ndarray,
        weights: np.ndarray,
        held: np.ndarray,
        held_weights: np.ndarray,
        seed: int,
        first: bool,
    ) -> float:
        if Z.shape[1] < 2:
            return 0.0
        maps = _flow_map()
        start = self.flow_
        if start is None:
            start = maps.FlowMap(self._shape(Z.shape[1], seed))
        device = maps.best_device(self.device)
        how = maps.Training(
            batch_size=int(self.batch_size),
            epochs=int(self.max_iter),
            learning_rate=float(self.learning_rate),
            weight_decay=float(self.weight_decay),
            volume_weight=float(self.volume_weight),
            patience=int(self.n_iter_no_change) if self.early_stopping else None,
            device=device,
            products=maps.products_in(self.precision, device),
            progress=self.progress,
        )
        self.flow_, history, gain = start.trained(Z, weights, held, held_weights, how, seed)
        self.history_ = self.history_ + history
        self.n_iter_ = len(self.history_)
        return gain

    def _shape(self, features: int, seed: int) -> dict[str, Any]:
        n_layers, hidden = _PRESETS[self.preset]
        return {
            "preset": self.preset,
            "features": features,
            "n_layers": int(self.n_layers or n_layers),
            "hidden": int(self.hidden or min(hidden, _UNITS_PER_COLUMN * features)),
            "dropout": float(self.dropout),
            "bound": float(self.scale_bound),
            "seed": seed,
        }

    def _forward(self, Z: Any) -> tuple[Any, Any]:
        return self.flow_.forward(Z, _flow_map().best_device(self.device))

    def _backward(self, Y: Any) -> Any:
        return self.flow_.inverse(Y, _flow_map().best_device(self.device))

    def _learned_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if self.flow_ is None:
            return {}, {}
        return self.flow_.shape, self.flow_.arrays()

    def _restore_learned(
        self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        self.flow_ = None
        if not info:
            return
        if info["features"] != self.eigenvalues_.size:
            raise ValueError(
                f"{path}: its flow takes {info['features']} columns, not as many as "
                "its whitening gives."
            )
        flow = _flow_map().FlowMap(info)
        check_arrays(path, arrays, {name: a.shape for name, a in flow.arrays().items()})
        flow.load_arrays(arrays)
        self.flow_ = flow


def _flow_map() -> Any:
    require("torch", extra="flow")
    require("nflows", extra="flow")
    from isotropy.gaussianize import _flow_map

    return _flow_map
