"""The one map behind every affine corrector: ``y = (x - mean) A + offset``."""

from __future__ import annotations

import copy
import os
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.rows.arrays import (
    is_torch,
    output_dtype,
    raise_on_bad_row,
    spread,
    workers_for,
    working_block,
)
from isotropy.rows.door import as_rows
from isotropy.rows.foreign import of_faiss, of_sklearn
from isotropy.storage.remote import located
from isotropy.storage.state import check_arrays, contiguous, load_state, save_state

if TYPE_CHECKING:
    import torch

__all__ = ["AffineMap"]

Normalize = Literal["none", "before", "after", "both"]
NORMALIZE = ("none", "before", "after", "both")
_ROWS_IN_CACHE = 1024


class AffineMap:
    """An affine map of rows, ``y = (x - mean) A + offset``, with its inverse.

    Parameters
    ----------
    mean : array of shape (d,)
        Subtracted first, in the precision of the rows: the difference is then exact where the rows
        lie near the mean, however far that is from the origin.
    matrix : array of shape (d, k), optional
        A. Without it A is the identity.
    offset : array of shape (k,), optional
        Added last; zero by default.
    inverse : array of shape (k, d), optional
        The (pseudo-)inverse of A, where it is known in a closed form.
    removed : pair of arrays of shapes (d, r) and (r, d), optional
        In the place of `matrix`: A = I - L R, applied in O(n d r).
    center : array of shape (d,), optional
        The mean of the rows that the map was made of, where it is known: what `about` goes by when
        only a share of the mean is subtracted.

    Attributes
    ----------
    n_features_in, n_features_out : int
    mean, offset : ndarray
    matrix : ndarray of shape (d, k)
        A, dense.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AffineMap
    >>> shift = AffineMap(mean=np.array([1.0, 2.0]))
    >>> double = AffineMap(mean=np.zeros(2), matrix=2 * np.eye(2))
    >>> shift.then(double).apply(np.array([[2.0, 2.0]])).tolist()
    [[2.0, 0.0]]
    """

    def __init__(
        self,
        mean: Any,
        matrix: Any = None,
        offset: Any = None,
        *,
        inverse: Any = None,
        removed: tuple[Any, Any] | None = None,
        center: Any = None,
    ) -> None:
        self.mean = _finite("mean", mean, 1)
        self.center = None if center is None else self._row("center", center)
        d = self.mean.size
        if matrix is not None and removed is not None:
            raise ValueError("Give matrix or removed, not both: each is the linear part.")
        self._dense = None if matrix is None else _finite("matrix", matrix, 2)
        self.removed = None
        if removed is not None:
            left, right = (_finite("removed", part, 2) for part in removed)
            if left.shape != right.shape[::-1] or left.shape[0] != d:
                raise ValueError(
                    f"removed must have shapes ({d}, r) and (r, {d}), got {left.shape} and "
                    f"{right.shape}."
                )
            self.removed = (left, right)
        if self._dense is not None and self._dense.shape[0] != d:
            raise ValueError(f"matrix must have {d} rows as mean has, got {self._dense.shape}.")
        k = d if self._dense is None else self._dense.shape[1]
        self.offset = np.zeros(k) if offset is None else _finite("offset", offset, 1)
        if self.offset.shape != (k,):
            raise ValueError(f"offset must have shape ({k},), got {self.offset.shape}.")
        self._cast: dict[tuple[str, str], _NumpyRows] = {}
        self._moved: dict[bytes, AffineMap] = {}
        self._inverse = None if inverse is None else _finite("inverse", inverse, 2)
        if self._inverse is not None and self._inverse.shape != (k, d):
            raise ValueError(f"inverse must have shape ({k}, {d}), got {self._inverse.shape}.")

    @property
    def n_features_in(self) -> int:
        """Dimensions d of the rows that go in.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap(np.ones(3), np.eye(3)[:, :2]).n_features_in
        3
        """
        return self.mean.size

    @property
    def n_features_out(self) -> int:
        """Dimensions k of the rows that come out.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap(np.ones(3), np.eye(3)[:, :2]).n_features_out
        2
        """
        return self.offset.size

    @property
    def matrix(self) -> np.ndarray:
        """The linear part A, dense, of shape (d, k).

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap(np.ones(2)).matrix.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        if self._dense is not None:
            return self._dense
        eye = np.eye(self.n_features_in)
        return eye if self.removed is None else eye - self.removed[0] @ self.removed[1]

    @property
    def bias(self) -> np.ndarray:
        """The constant c of ``y = x A + c``, shape (k,): what a Dense layer wants.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap(np.ones(2), 2 * np.eye(2)).bias.tolist()
        [-2.0, -2.0]
        """
        return self.offset - self.mean @ self.matrix

    # -- applying ----------------------------------------------------------------------------

    def apply(
        self, X: Any, *, normalize: Normalize = "none", out: Any = None, first_row: int = 0
    ) -> Any:
        """Map rows; `normalize` scales them to length one before, after, or both.

        Parameters
        ----------
        X : array of shape (n, d), numpy or torch
            Torch comes back as torch, on its device, and gradients flow. float16 and bfloat16 are
            computed in float32.
        normalize : {"none", "before", "after", "both"}, default="none"
            A zero row stays zero.
        out : ndarray of shape (n, k), optional
            Where to write, for numpy input.
        first_row : int, default=0
            The number that an error gives the first row of `X`.

        Returns
        -------
        array of shape (n, k)
            Of the type of `X`; float64 for integers.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity (numpy input), or X does not have d columns.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap(mean=np.ones(2), matrix=2 * np.eye(2)).apply(np.array([[1.0, 3.0]])).tolist()
        [[0.0, 4.0]]
        """
        check_normalize(normalize)
        if is_torch(X):
            return self._apply_torch(X, normalize)
        X = as_rows(X).in_memory()
        self._check_columns(X.shape[1], self.n_features_in)
        return self._apply_numpy(X, normalize, out, first_row)

    def _check_columns(self, got: int, wanted: int) -> None:
        if got != wanted:
            raise ValueError(f"X has {got} columns, but this map takes {wanted}.")

    def _apply_numpy(
        self, X: np.ndarray, normalize: Normalize, out: Any, first_row: int
    ) -> np.ndarray:
        n, dtype = len(X), output_dtype(X)
        if out is None:
            out = np.empty((n, self.n_features_out), dtype)
        elif out.shape != (n, self.n_features_out):
            raise ValueError(f"out has shape {out.shape}, wanted {(n, self.n_features_out)}.")
        rows = self._in_type(np.promote_types(dtype, np.float32), normalize)
        n_blocks = -(-n // _ROWS_IN_CACHE)
        n_workers = workers_for(n_blocks)
        shape = min(n, _ROWS_IN_CACHE), self.n_features_in
        buffers = [np.empty(shape, rows.dtype) for _ in range(n_workers)]

        def work(worker: int) -> None:
            for index in range(worker, n_blocks, n_workers):
                start = index * _ROWS_IN_CACHE
                stop = min(start + _ROWS_IN_CACHE, n)
                block = working_block(X, start, stop, rows.dtype)
                with np.errstate(over="ignore", invalid="ignore"):
                    finite = rows.write(block, out[start:stop], buffers[worker])
                if not finite:
                    raise_on_bad_row(block, first_row + start)

        spread(work, n_workers)
        return out

    def _in_type(self, dtype: Any, normalize: Normalize) -> _NumpyRows:
        """The map in the type of the rows; kept, since rows may come one by one."""
        key = np.dtype(dtype).str, normalize
        if key not in self._cast:
            self._cast[key] = _NumpyRows(self, dtype, normalize)
        return self._cast[key]

    def _apply_torch(self, X: torch.Tensor, normalize: Normalize) -> torch.Tensor:
        import torch

        from isotropy.rows.torch_map import unit_rows as unit_torch

        if X.ndim != 2:
            raise ValueError(f"X must be 2-D (rows x dimensions), got shape {tuple(X.shape)}.")
        self._check_columns(X.shape[1], self.n_features_in)
        dtype = output_dtype(X)
        y = X.to(torch.promote_types(dtype, torch.float32))

        def like(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(values, dtype=y.dtype, device=y.device)

        if normalize in ("before", "both"):
            y = unit_torch(y)
        shift = like(self.mean)
        rest = self._rest(shift.double().cpu().numpy())
        y = y - shift
        if self._dense is not None:
            y = y @ like(self._dense)
        elif self.removed is not None:
            y = y - (y @ like(self.removed[0])) @ like(self.removed[1])
        y = y + like(rest)
        if normalize in ("after", "both"):
            y = unit_torch(y)
        return y.to(dtype)

    def _rest(self, shift: np.ndarray) -> np.ndarray:
        """What remains to be added once a rounded mean was subtracted."""
        left = shift - self.mean
        if self._dense is not None:
            # No BLAS: its threads would spin on after so small a product, in the way of ours.
            left = np.einsum("i,ij->j", left, self._dense)
        elif self.removed is not None:
            left = left - (left @ self.removed[0]) @ self.removed[1]
        return self.offset + left

    def about(self, mean: Any, *, of: Any = None) -> AffineMap:
        """The same map about another mean: what lies there lands where `of` went.

        For rows of another kind, such as queries beside documents, which must land in the same
        space: ``g(x) = f(x - mean + of)``.

        Parameters
        ----------
        mean : array of shape (d,)
            The mean of the other rows.
        of : array of shape (d,), optional
            The row whose place it takes. By default the `center` of the map; where that is not
            known, what the map subtracts, and where it subtracts nothing, the row that goes to
            zero. A map that neither subtracts nor adds anything then stays as it is.

        Returns
        -------
        AffineMap
            It shares the arrays of the linear part, and its inverse where that is known.

        Raises
        ------
        ValueError
            If `mean` or `of` are not d finite numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> documents = AffineMap(mean=np.array([1.0, 2.0]))
        >>> documents.about([4.0, 4.0]).apply(np.array([[4.0, 5.0]])).tolist()
        [[0.0, 1.0]]
        """
        mean = self._row("mean", mean)
        if of is None:
            if not (self.mean.any() or self.offset.any()):
                return self
            of = self.center
        if of is None:
            of = self.mean if self.mean.any() else -self.offset @ self._way_back()
        of = self._row("of", of)
        key = mean.tobytes() + of.tobytes()
        kept = self._moved.get(key)
        if kept is None:  # kept, since queries may come one by one
            moved = copy.copy(self)
            moved.mean, moved.offset = mean, contiguous(self._rest(of))
            moved._cast, moved._moved = {}, {}
            moved.center = mean
            kept, self._moved = moved, {key: moved}
        return kept

    def _row(self, name: str, values: Any) -> np.ndarray:
        row = _finite(name, values, 1)
        if row.shape != self.mean.shape:
            raise ValueError(f"{name} must have shape {self.mean.shape}, got {row.shape}.")
        return row

    def _way_back(self) -> np.ndarray:
        if self._inverse is not None:
            return self._inverse
        # What was removed leaves rounding, larger in some kernels than in others: no direction.
        matrix = self.matrix
        return np.linalg.pinv(matrix, rcond=16 * max(matrix.shape) * np.finfo(np.float64).eps)

    def inverse(self) -> AffineMap:
        """The map back: exact where A is invertible, else the closest row that maps to the same.

        What a corrector removed is gone: the way back gives it the value it has at the mean.

        Returns
        -------
        AffineMap
            From k to d dimensions. O(d^3) where the inverse is not known.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> double = AffineMap(mean=np.ones(2), matrix=2 * np.eye(2))
        >>> double.inverse().apply(np.array([[0.0, 4.0]])).tolist()
        [[1.0, 3.0]]
        """
        if self._dense is None and self.removed is None:
            return AffineMap(self.offset, offset=self.mean)
        return AffineMap(self.offset, self._way_back(), self.mean, inverse=self.matrix)

    def then(self, other: AffineMap) -> AffineMap:
        """The one map that does this map, and `other` after it.

        Parameters
        ----------
        other : AffineMap
            Takes as many dimensions as this one gives.

        Returns
        -------
        AffineMap

        Raises
        ------
        ValueError
            If the dimensions do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> shift, double = AffineMap(np.ones(2)), AffineMap(np.zeros(2), 2 * np.eye(2))
        >>> shift.then(double).apply(np.array([[1.0, 3.0]])).tolist()
        [[0.0, 4.0]]
        """
        self._check_columns(self.n_features_out, other.n_features_in)
        offset = (self.offset - other.mean) @ other.matrix + other.offset
        return AffineMap(self.mean, self.matrix @ other.matrix, offset)

    # -- files and torch ---------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that make the map, by name.

        Returns
        -------
        dict of ndarray
            "mean" and "offset", and of "center", "matrix", "inverse", "removed_left" and
            "removed_right" those that the map holds; float64, in C order.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> sorted(AffineMap(np.ones(2)).arrays())
        ['mean', 'offset']
        """
        arrays = {"mean": self.mean, "offset": self.offset}
        if self.center is not None:
            arrays["center"] = self.center
        if self._dense is not None:
            arrays["matrix"] = self._dense
        if self._inverse is not None:
            arrays["inverse"] = self._inverse
        if self.removed is not None:
            arrays["removed_left"], arrays["removed_right"] = self.removed
        return arrays

    @classmethod
    def from_arrays(cls, path: Any, arrays: dict[str, np.ndarray]) -> AffineMap:
        """The map that `arrays` made.

        Parameters
        ----------
        path : str or path-like
            What an error names.
        arrays : dict of ndarray
            As `arrays` gives them.

        Returns
        -------
        AffineMap

        Raises
        ------
        ValueError
            If they do not fit one another, or hold NaN or infinity.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> AffineMap.from_arrays("memory", AffineMap(np.ones(2)).arrays())
        AffineMap(2 -> 2)
        """
        check_arrays(path, arrays, {name: a.shape for name, a in arrays.items()})
        arrays = dict(arrays)
        parts = [arrays.pop(name, None) for name in ("removed_left", "removed_right")]
        removed = None if parts[0] is None or parts[1] is None else (parts[0], parts[1])
        try:
            return cls(**arrays, removed=removed)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the arrays of an affine map ({error}).") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileError
            If it cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> from isotropy import AffineMap
        >>> path = os.path.join(tempfile.mkdtemp(), "map.safetensors")
        >>> AffineMap(np.ones(2)).save(path)
        >>> AffineMap.load(path)
        AffineMap(2 -> 2)
        """
        save_state(path, "AffineMap", {}, self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AffineMap:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        AffineMap
            Equal to the one that was saved, to the bit.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else, or was changed; the message says what.

        Examples
        --------
        See `save`.

        >>> from isotropy import AffineMap
        >>> AffineMap.load("no such file")
        Traceback (most recent call last):
        FileNotFoundError: no such file: no such file.
        """
        path = located(path)
        info, arrays = load_state(path)
        if info["class"] != "AffineMap":
            raise ValueError(f"{path}: holds a {info['class']}, not an AffineMap.")
        return cls.from_arrays(path, arrays)

    # -- from other libraries ----------------------------------------------------------------

    @classmethod
    def from_sklearn(cls, estimator: Any) -> AffineMap:
        """The map of a fitted scikit-learn estimator, in float64.

        Parameters
        ----------
        estimator : scikit-learn transformer, affine corrector, or Pipeline of these
            Fitted: StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler, PCA, IncrementalPCA,
            TruncatedSVD, or a corrector with ``normalize="none"``.

        Returns
        -------
        AffineMap
            Of a pipeline, that of its steps in turn.

        Raises
        ------
        ValueError
            If it, or a step of the pipeline, is not an affine map.
        sklearn.exceptions.NotFittedError
            If it is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.decomposition import PCA
        >>> X = np.random.default_rng(0).normal(size=(50, 4))
        >>> pca = PCA(2, whiten=True).fit(X)
        >>> bool(np.allclose(AffineMap.from_sklearn(pca).apply(X), pca.transform(X)))
        True
        """
        steps = getattr(estimator, "steps", [("", estimator)])
        found = [_of_estimator(step) for _, step in steps if step not in (None, "passthrough")]
        if not found:
            raise ValueError("The pipeline has no step, so the width of its rows is not known.")
        return reduce(AffineMap.then, found)

    @classmethod
    def from_faiss(cls, transform: Any) -> AffineMap:
        """The map of a trained faiss transform.

        Parameters
        ----------
        transform : faiss.VectorTransform
            A LinearTransform (PCAMatrix, OPQMatrix, RandomRotationMatrix, ...) or a
            CenteringTransform.

        Returns
        -------
        AffineMap

        Raises
        ------
        ValueError
            If it is another kind, or not trained.
        ImportError
            If faiss is missing (``isotropy[export]``).

        Examples
        --------
        >>> import faiss, numpy as np
        >>> from isotropy import AffineMap
        >>> pca = faiss.PCAMatrix(4, 2)
        >>> pca.train(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
        >>> AffineMap.from_faiss(pca)
        AffineMap(4 -> 2)
        """
        return cls(**of_faiss(transform))

    def to_torch(self, *, normalize: Normalize = "none", device: Any = None) -> torch.nn.Module:
        """The map as a ``torch.nn.Module`` with float32 buffers, differentiable in its input.

        Parameters
        ----------
        normalize : {"none", "before", "after", "both"}, default="none"
            As in `apply`.
        device : torch device, optional

        Returns
        -------
        torch.nn.Module
            Maps tensors of shape (..., d) to (..., k), in their own type.

        Raises
        ------
        ValueError
            If `normalize` is none of the four.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from isotropy import AffineMap
        >>> AffineMap(np.ones(2)).to_torch()(torch.tensor([[1.0, 3.0]])).tolist()
        [[0.0, 2.0]]
        """
        from isotropy.rows.torch_map import AffineModule

        shift = self.mean.astype(np.float32)
        rest = self._rest(shift.astype(np.float64))
        return AffineModule(shift, self.matrix, rest, check_normalize(normalize)).to(device)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept for speed: a pickle is as small as the map."""
        return {**self.__dict__, "_cast": {}, "_moved": {}}

    def __repr__(self) -> str:
        return f"AffineMap({self.n_features_in} -> {self.n_features_out})"


class _NumpyRows:
    """The map in the type of the rows, for blocks that stay in the cache."""

    def __init__(self, affine: AffineMap, dtype: Any, normalize: Normalize) -> None:
        self.dtype: Any = dtype
        self.before = normalize in ("before", "both")
        self.after = normalize in ("after", "both")
        self.shift = affine.mean.astype(dtype)
        rest = affine._rest(self.shift.astype(np.float64))
        # What is left of a mean rounded to this type matters only next to the rounding of a row.
        self.rest = rest.astype(dtype) if rest.any() else None
        self.dense = None if affine._dense is None else affine._dense.astype(dtype)
        self.removed = None
        if affine.removed is not None:
            self.removed = tuple(part.astype(dtype) for part in affine.removed)
        self.moves = bool(self.shift.any())

    def write(self, x: np.ndarray, out: np.ndarray, buffer: np.ndarray) -> bool:
        """Write the mapped rows to `out`; False where something may not be finite."""
        z = buffer[: len(x)]
        if self.before:
            x = np.multiply(x, _inverse_norms(x), out=z)
        if self.moves:
            x = np.subtract(x, self.shift, out=z)
        y = out if out.dtype == self.dtype else np.empty(out.shape, self.dtype)
        if self.dense is not None:
            np.matmul(x, self.dense, out=y)
        elif self.removed is not None:
            np.subtract(x, (x @ self.removed[0]) @ self.removed[1], out=y)
        else:
            y[...] = x
        if self.rest is not None:
            y += self.rest
        if self.after:
            scale = _inverse_norms(y)
            finite = bool(np.isfinite(scale).all())
            y *= scale
        else:
            finite = bool(np.isfinite(np.vdot(y, y)))
        if y is not out:
            out[...] = y
        return finite and (y.size > 0 or bool(np.isfinite(x).all()))


def _inverse_norms(x: np.ndarray) -> np.ndarray:
    """1 / |x| as a column, 0 for a zero row, NaN for a row that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", x, x))
        odd = np.flatnonzero(~((norms > 1e-15) & (norms < 1e18)))
        if odd.size:  # a square may have overflowed or vanished
            wide = x[odd].astype(np.float64)
            largest = np.abs(wide).max(1, initial=0, keepdims=True)
            largest[largest == 0] = 1
            norms[odd] = largest[:, 0] * np.linalg.norm(wide / largest, axis=1)
        norms[~np.isfinite(norms)] = np.nan
        norms[norms < np.finfo(norms.dtype).tiny] = np.inf
    return (1 / norms)[:, None]


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length one, whatever their scale; a zero row stays zero.

    Parameters
    ----------
    x : ndarray of shape (n, d), float32 or float64

    Returns
    -------
    ndarray of shape (n, d)

    Examples
    --------
    >>> import numpy as np
    >>> unit_rows(np.array([[3e200, 4e200], [0.0, 0.0]])).tolist()
    [[0.6000000000000001, 0.8], [0.0, 0.0]]
    """
    return x * _inverse_norms(x)


def _of_estimator(estimator: Any) -> AffineMap:
    if hasattr(estimator, "steps"):
        return AffineMap.from_sklearn(estimator)
    if not hasattr(type(estimator), "_solve"):
        return AffineMap(**of_sklearn(estimator))
    check_is_fitted(estimator)  # one of our correctors
    if estimator.normalize != "none":
        raise ValueError(
            f"A {type(estimator).__name__} with normalize={estimator.normalize!r} is not an affine "
            "map: it scales each row to length one. A corrector without normalization is."
        )
    affine: AffineMap = estimator.affine_map_
    return affine


def check_normalize(normalize: Any) -> Normalize:
    """Refuse anything but the four settings.

    Parameters
    ----------
    normalize : {"none", "before", "after", "both"}

    Returns
    -------
    str
        `normalize`.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> check_normalize("both")
    'both'
    """
    if normalize not in NORMALIZE:
        raise ValueError(f"normalize must be one of {NORMALIZE}, got {normalize!r}.")
    return normalize


def _finite(name: str, values: Any, ndim: int) -> np.ndarray:
    array = np.array(values, np.float64, order="C")  # see `contiguous`
    if array.ndim != ndim:
        raise ValueError(f"{name} must be {ndim}-D, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    return array
