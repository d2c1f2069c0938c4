"""What the losses share: rows in full precision, all ranks' rows, running moments, past rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import wraps
from numbers import Real
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Function = TypeVar("Function", bound=Callable[..., Tensor])


def as_rows(X: Tensor) -> Tensor:
    """`X` as a matrix of rows, leading dimensions flattened; half precision becomes float32."""
    if not isinstance(X, Tensor) or not X.is_floating_point():
        kind = X.dtype if isinstance(X, Tensor) else type(X).__name__
        raise TypeError(f"A loss takes a floating-point torch tensor (rows, d), got {kind}.")
    if X.ndim < 2:
        raise ValueError(
            f"A loss takes rows (n, d), got a tensor of shape {tuple(X.shape)}. "
            "x.unsqueeze(0) makes one row of a single vector."
        )
    return X.reshape(-1, X.shape[-1]).to(torch.promote_types(X.dtype, torch.float32))


def full_precision(function: Function) -> Function:
    """Take tensors as rows, and compute in float32 at least, inside ``torch.autocast`` too."""

    @wraps(function)
    def run(X: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rows = as_rows(X)
        given = [as_rows(a) if isinstance(a, Tensor) else a for a in args]
        with torch.autocast(rows.device.type, enabled=False):
            value = function(rows, *given, **kwargs)
            return only_of_finite(value, rows, *(a for a in given if isinstance(a, Tensor)))

    return run  # type: ignore[return-value]


def nothing(*tensors: Tensor) -> Tensor:
    """A zero that gradients pass through: what too few rows give."""
    return torch.stack([(0 * X).sum() for X in tensors]).sum()


def only_of_finite(value: Tensor, *tensors: Tensor) -> Tensor:
    """`value`; NaN, its gradient too, where a tensor holds NaN or infinity.

    Zero rows and rows without spread are left out by comparisons, which NaN would slip through.
    """
    for X in tensors:
        if X.numel():
            least, most = torch.aminmax(X.detach())  # both NaN where an entry is
            finite = torch.isfinite(least) & torch.isfinite(most)
            value = value * torch.where(finite, 1.0, torch.nan).to(value)
    return value


def unit_rows(X: Tensor) -> Tensor:
    """Rows scaled to length one; a zero row stays zero, with no gradient."""
    # Scaled by the largest entry first, so that no square leaves the range of the type.
    largest = X.detach().abs().amax(dim=-1, keepdim=True)
    X = X / torch.where(largest > 0, largest, 1)
    lengths = X.square().sum(dim=-1, keepdim=True)
    return X * torch.where(lengths > 0, torch.where(lengths > 0, lengths, 1).rsqrt(), 0)


def living(U: Tensor) -> Tensor:
    """Which of these unit rows have a direction: all but the zero rows."""
    return (U.detach() != 0).any(dim=1)


def bibtex(key: str, author: str, title: str, year: int, eprint: str = "") -> str:
    """A paper as a model card cites it."""
    fields = {"title": title, "author": author, "year": str(year)}
    if eprint:
        fields |= {"eprint": eprint, "archivePrefix": "arXiv"}
    lines = [f"    {name}={{{value}}}," for name, value in fields.items()]
    return "\n".join(["", f"@misc{{{key},", *lines, "}", ""])


def spacing(X: Tensor) -> float:
    """Distance between 1 and the next number of the type."""
    return float(torch.finfo(X.dtype).eps)


# -- ranks ---------------------------------------------------------------------------------------


class _AllRows(torch.autograd.Function):
    """The rows of all ranks, in order of rank.

    Every rank computes the same loss of them, so the gradient of the own rows needs no message:
    it is taken times the number of ranks, because data-parallel training averages over ranks.
    """

    @staticmethod
    def forward(ctx: Any, X: Tensor) -> Tensor:
        world = dist.get_world_size()
        sizes = [torch.zeros(1, dtype=torch.long, device=X.device) for _ in range(world)]
        dist.all_gather(sizes, torch.tensor([len(X)], device=X.device))
        counts = [int(size) for size in sizes]
        padded = X.new_zeros(max(counts), X.shape[1])
        padded[: len(X)] = X
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        first = sum(counts[: dist.get_rank()])
        ctx.own = slice(first, first + len(X))
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return dist.get_world_size() * gradient[ctx.own]


def rows_of_all_ranks(X: Tensor) -> Tensor:
    """`X` of every rank of the process group, one below the other; `X` itself without a group."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return X
    gathered: Tensor = _AllRows.apply(X)
    return gathered


# -- modules -------------------------------------------------------------------------------------


class Regularizer(nn.Module):
    """A loss of rows: ``regularizer(rows)`` is a scalar to be minimised.

    A new one defines `measure`; an entry in `isotropy.tables.LOSSES` names it.

    Parameters
    ----------
    gather : bool, default=False
        Take the rows of all ranks of ``torch.distributed``: value and gradient are those of one
        process with all rows, given that gradients are averaged over the ranks, as
        ``DistributedDataParallel`` does. Not for a matrix that every rank holds whole.

    Notes
    -----
    Rows of half precision are raised to float32, also inside ``torch.autocast``; rows of any
    leading dimensions are flattened; the gradient has the type of the rows.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import Regularizer
    >>> class UnitLength(Regularizer):
    ...     def measure(self, X):
    ...         return (X.norm(dim=1) - 1).square().mean()
    >>> UnitLength()(torch.full((3, 4), 0.5, dtype=torch.float16))
    tensor(0.)
    """

    n_views = 1
    citation = ""

    def __init__(self, *, gather: bool = False) -> None:
        super().__init__()
        self.gather = gather
        self._pasts: dict[Hashable, Any] = {}
        self._rows_are: Hashable = None

    def forward(self, *views: Tensor) -> Tensor:
        """The loss of rows, or of two views of the same rows where a loss takes two.

        Parameters
        ----------
        *views : tensor of shape (n, d)
            One view or two; further leading dimensions are flattened.

        Returns
        -------
        tensor, scalar
            Of float32, or float64 where the rows are.

        Raises
        ------
        TypeError
            Where a view is no floating-point torch tensor.
        ValueError
            Where a view has fewer than two dimensions.

        Examples
        --------
        >>> import torch
        >>> from isotropy.losses import MeanCosine
        >>> MeanCosine()(torch.eye(4)).item()
        0.0
        """
        return self._measured(self._rows(views))

    def _rows(self, views: tuple[Tensor, ...]) -> list[Tensor]:
        rows = [as_rows(view) for view in views]
        return [rows_of_all_ranks(view) for view in rows] if self.gather else rows

    def _measured(self, rows: list[Tensor]) -> Tensor:
        with torch.autocast(rows[0].device.type, enabled=False):
            return only_of_finite(self.measure(*rows), *rows)

    def measure(self, X: Tensor) -> Tensor:
        """The loss of rows of float32 or float64, which a new loss defines.

        Parameters
        ----------
        X : tensor of shape (n, d)
            The rows. A loss of two views (``n_views = 2``) takes two such tensors.

        Returns
        -------
        tensor, scalar
            What is to be minimised.

        Raises
        ------
        NotImplementedError
            Where a class does not define it.

        Examples
        --------
        >>> import torch
        >>> from isotropy.losses import MeanCosine
        >>> MeanCosine().measure(torch.eye(4)).item()
        0.0
        """
        raise NotImplementedError

    @property
    def _past(self) -> Any:
        return self._pasts.get(self._rows_are)

    @_past.setter
    def _past(self, past: Any) -> None:
        self._pasts[self._rows_are] = past

    def reset(self) -> None:
        """Forget running moments and past rows, of all kinds of rows.

        Examples
        --------
        >>> import torch
        >>> from isotropy.losses import MeanCosine
        >>> regularizer = MeanCosine(momentum=0.9)
        >>> value = regularizer(torch.randn(8, 3))
        >>> regularizer.reset()
        >>> value = regularizer(torch.randn(8, 5))  # rows of another width
        """
        self._pasts.clear()

    def extra_repr(self) -> str:
        options = {
            name: value
            for name, value in vars(self).items()
            if not name.startswith("_") and name != "training" and not isinstance(value, Tensor)
        }
        return ", ".join(f"{name}={value!r}" for name, value in options.items())


@contextmanager
def past_of(regularizer: nn.Module, rows: Hashable) -> Iterator[None]:
    """Let the running moments and past rows within `regularizer` be those of the rows so called.

    One module then serves several kinds of rows: its parameters are shared, its past is not.
    """
    inner = [module for module in regularizer.modules() if isinstance(module, Regularizer)]
    before = [module._rows_are for module in inner]
    for module in inner:
        module._rows_are = rows
    try:
        yield
    finally:
        for module, name in zip(inner, before, strict=True):
            module._rows_are = name


class MomentRegularizer(Regularizer):
    """A `Regularizer` of moments, which can average them over batches.

    Parameters
    ----------
    momentum : float in [0, 1), optional
        Weight of the past in running moments, 0.9 for about ten batches. The value is then that of
        the running moments, the gradient that of the batch's own part in them: moments of
        few rows are noisy, and what is no linear function of them is biased. Only in training;
        evaluation takes the rows alone. Not saved with the weights.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range; when called, where rows of another width follow.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import MeanCosine
    >>> regularizer = MeanCosine(momentum=0.5)  # a MomentRegularizer
    >>> regularizer(torch.eye(4)).item()
    0.0
    >>> regularizer(torch.ones(4, 4)).item() < 1  # the first batch has its share
    True
    """

    def __init__(self, *, momentum: float | None = None, gather: bool = False) -> None:
        super().__init__(gather=gather)
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, got {momentum!r}.")
        self.momentum = momentum

    def _running(self, moments: Any) -> Any:
        """`moments` averaged with the past: their value, with the gradient of the batch."""
        if self.momentum is None or not self.training or not moments.n > 1:
            return moments
        past = self._past
        if past is not None:
            if past.size != moments.size:
                raise ValueError(
                    f"rows of {moments.size} dimensions follow rows of {past.size}: running "
                    "moments belong to one kind of rows. reset() forgets the past."
                )
            moments = moments.follow(past, self.momentum)
        self._past = moments.detached()
        return moments


def _value_of(new: Tensor, gradient_of: Tensor) -> Tensor:
    return new.detach() + (gradient_of - gradient_of.detach())


class UnitMoments(NamedTuple):
    """Mean and second moment of unit rows, with Kish's size of the rows behind them."""

    mean: Tensor
    gram: Tensor | None
    n: Tensor

    @property
    def size(self) -> int:
        return len(self.mean)

    def follow(self, past: UnitMoments, momentum: float) -> UnitMoments:
        """These after `past`."""
        mean = _value_of(torch.lerp(self.mean, past.mean.to(self.mean), momentum), self.mean)
        gram = self.gram
        if gram is not None and past.gram is not None:
            gram = _value_of(torch.lerp(gram, past.gram.to(gram), momentum), gram)
        return UnitMoments(mean, gram, _kish(self.n, past.n, momentum))

    def detached(self) -> UnitMoments:
        gram = None if self.gram is None else self.gram.detach()
        return UnitMoments(self.mean.detach(), gram, self.n)


def _kish(n: Tensor, past: Tensor, momentum: float) -> Tensor:
    """Size of rows that weigh (1 - momentum) / n behind ones that weigh momentum / past."""
    return 1 / (momentum**2 / past.to(n) + (1 - momentum) ** 2 / n)


class Spread(NamedTuple):
    """Mean and covariance (ddof=0) of rows; two views give the covariance between them."""

    means: tuple[Tensor, Tensor]
    covariance: Tensor
    variances: tuple[Tensor, Tensor]
    n: Tensor

    @property
    def size(self) -> int:
        return len(self.means[0])

    @classmethod
    def of(cls, A: Tensor, B: Tensor | None = None) -> Spread:
        B, most = A if B is None else B, max(1, len(A))
        first, second = centred(A), centred(B)
        variances = first.square().sum(0) / most, second.square().sum(0) / most
        n = torch.as_tensor(float(len(A)), device=A.device, dtype=A.dtype)
        means = A.sum(0) / most, B.sum(0) / most
        return cls(means, first.T @ second / most, variances, n)

    def follow(self, past: Spread, momentum: float) -> Spread:
        """These after `past`: the spread of both about their common mean."""
        (a, b), (pa, pb) = self.means, (mean.to(self.covariance) for mean in past.means)
        apart, both = (a - pa, b - pb), momentum * (1 - momentum)
        covariance = torch.lerp(self.covariance, past.covariance.to(self.covariance), momentum)
        covariance = covariance + both * torch.outer(*apart)
        variances = tuple(
            _value_of(torch.lerp(own, old.to(own), momentum) + both * step.square(), own)
            for own, old, step in zip(self.variances, past.variances, apart, strict=True)
        )
        means = (
            _value_of(torch.lerp(a, pa, momentum), a),
            _value_of(torch.lerp(b, pb, momentum), b),
        )
        covariance = _value_of(covariance, self.covariance)
        n = _kish(self.n, past.n, momentum)
        return Spread(means, covariance, variances, n)  # type: ignore[arg-type]

    def detached(self) -> Spread:
        means = self.means[0].detach(), self.means[1].detach()
        variances = self.variances[0].detach(), self.variances[1].detach()
        return Spread(means, self.covariance.detach(), variances, self.n)


def centred(X: Tensor) -> Tensor:
    """Rows less their mean, taken twice: the first mean of rows far from 0 is rounded."""
    X = X - X.detach().mean(0)
    return X - X.mean(0)


class _PastRows(NamedTuple):
    rows: Tensor
    ids: Tensor | None = None

    def below(self, new: _PastRows) -> _PastRows:
        """The new rows, and below them those of these that do not come again."""
        rows = self.rows.to(new.rows)
        if new.ids is None or self.ids is None:
            return _PastRows(torch.cat([new.rows, rows]))
        others = ~torch.isin(self.ids, new.ids)
        ids = torch.cat([new.ids, self.ids[others]])
        return _PastRows(torch.cat([new.rows, rows[others]]), ids)

    def newest(self, n: int) -> _PastRows:
        ids = None if self.ids is None else self.ids[:n]
        return _PastRows(self.rows[:n].detach().clone(), ids)


class RowRegularizer(Regularizer):
    """A `Regularizer` of pairs or shapes of rows, which can keep past rows beside the batch.

    Parameters
    ----------
    queue : int, default=0
        How many rows of past batches to keep and append, without a gradient. Only in training.
        A row that comes again replaces its own past copy, where `forward` is given ``ids``.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `queue` is no number of rows; when called, where rows of another width follow.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import Uniformity
    >>> regularizer = Uniformity(queue=100)  # a RowRegularizer
    >>> X, ids = torch.eye(4), torch.arange(4)
    >>> [round(regularizer(X, ids=ids).item(), 4) for epoch in range(2)]
    [-4.0, -4.0]
    """

    needs_ids = False

    def __init__(self, *, queue: int = 0, gather: bool = False) -> None:
        super().__init__(gather=gather)
        number = isinstance(queue, Real) and not isinstance(queue, bool)
        if not number or not float(queue).is_integer() or queue < 0:
            raise ValueError(f"queue must be a number of rows, 0 or more, got {queue!r}.")
        self.queue = int(queue)

    def forward(self, *views: Tensor, ids: Tensor | None = None) -> Tensor:
        """The loss of rows, past ones appended.

        Parameters
        ----------
        *views : tensor of shape (n, d)
            The rows, one tensor.
        ids : integer tensor of shape (n,), optional
            What each row stands for, the same number whenever it comes again: the index of its
            text in the dataset. Only used with a queue.

        Returns
        -------
        tensor, scalar
            Of float32, or float64 where the rows are.

        Raises
        ------
        TypeError
            Where the rows are no floating-point torch tensor.
        ValueError
            Where they have fewer than two dimensions, or another width than those before, or
            `ids` are not one integer a row, or missing where the loss needs them.

        Examples
        --------
        >>> import torch
        >>> from isotropy.losses import KoLeo
        >>> round(KoLeo(queue=8)(torch.eye(3), ids=torch.arange(3)).item(), 4)  # -log(2) / 2
        -0.3466
        """
        rows = self._rows(views)
        if self.queue and self.training:
            rows = [self._with_past(rows[0], self._ids(ids, views[0]))]
        return self._measured(rows)

    def _ids(self, ids: Tensor | None, X: Tensor) -> Tensor | None:
        if ids is None:
            if self.needs_ids:
                raise ValueError(
                    f"{type(self).__name__} with a queue needs ids=, the index of each row's text "
                    "in the dataset: without them a text that comes again meets its own past copy."
                )
            return None
        ids = torch.as_tensor(ids, device=X.device).reshape(-1)
        n = X.shape[:-1].numel()
        if len(ids) != n or ids.is_floating_point():
            got = f"{len(ids)} of {ids.dtype}"
            raise ValueError(f"ids must be {n} integers, one for each row, got {got}.")
        ids = ids.long()
        return rows_of_all_ranks(ids[:, None])[:, 0] if self.gather else ids

    def _with_past(self, X: Tensor, ids: Tensor | None) -> Tensor:
        known, past = _PastRows(X, ids), self._past
        if past is not None:
            if past.rows.shape[1] != X.shape[1]:
                raise ValueError(
                    f"rows of {X.shape[1]} dimensions follow rows of {past.rows.shape[1]}: a "
                    "queue belongs to one kind of rows. reset() forgets the past."
                )
            known = past.below(known)
        self._past = known.newest(self.queue)
        return known.rows
