"""Encoders of texts and images whose modalities have means of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from isotropy._render import html_table, number, text_table
from isotropy.correctors import GroupMeanRemoval
from isotropy.encoders._fitting import given, is_fitted
from isotropy.encoders._models import check_device, lent, load, modes_kept
from isotropy.encoders._texts import at_least_one
from isotropy.encoders._wrap import (
    calls_of,
    ends_in_normalize,
    own_card,
    placed,
    width_of,
    with_tail,
)
from isotropy.export.dense import dense_of, native
from isotropy.metrics import GapFigure, group_gap, modality_gap
from isotropy.rows.arrays import to_numpy
from isotropy.storage.state import library_version

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["ModalityEncoder", "ModalityReport", "wrap_modalities"]

_SCORED = 2000
_LEAST = 20
_DEFAULT = GroupMeanRemoval(shrinkage=0, normalize="both")
Tower = Callable[[list[Any]], Any]
Rows = dict[str, np.ndarray]


def wrap_modalities(
    encoder: SentenceTransformer | str | os.PathLike[str] | Mapping[str, Any],
    items: Mapping[str, Iterable[Any]] | None,
    corrector: Any = None,
    *,
    queries: Mapping[str, Iterable[Any]] | None = None,
    normalize: bool | None = None,
    batch_size: int = 64,
    device: str = "auto",
) -> Any:
    """Give each modality of an encoder its own mean, so that texts and images mix in one search.

    An encoder of texts and images puts each kind into a cone of its own: a search for a text finds
    texts before it finds an image, whatever they show. Subtracting the mean of each kind brings
    them together. No pairs are needed.

    Parameters
    ----------
    encoder : SentenceTransformer, str, path-like or mapping
        One that takes texts and images (CLIP and its kin), its name or folder; or two towers by the
        name of their modality, ``{"text": f, "image": g}``: functions from a list of items to rows,
        or SentenceTransformers. Both must lead to one space.
    items : mapping of str to iterables, or None
        What to fit on, by modality: ``{"text": texts, "image": images}``. They need not be pairs,
        nor as many. None for a corrector that is fitted.
    corrector : GroupMeanRemoval, GroupWhitening or path-like, optional
        What is fitted, with the modalities as groups; or a fitted one, or its file, with
        ``items=None``. By default ``GroupMeanRemoval(shrinkage=0, normalize="both")``.
    queries : mapping of str to iterables, optional
        Queries such as will be asked, by modality: those of a modality then have a mean of their
        own too. They go through ``encode_query``.
    normalize : bool, optional
        Whether the result has length one. By default it does if the encoder's own embeddings do, or
        the corrector normalizes after. For a SentenceTransformer only.
    batch_size : int, default=64
        Items that go through a tower together.
    device : str, default="auto"
        Where a SentenceTransformer encodes.

    Returns
    -------
    SentenceTransformer or ModalityEncoder
        Of a SentenceTransformer another one, which ends in a ``Router`` by modality of native
        modules: it tells the modality from the input as the encoder does, saves with
        `save_pretrained` (or `isotropy.encoders.save`), and loads without isotropy. Of two towers a
        `ModalityEncoder`. Both have the fitted `isotropy_corrector`, and, where there were items,
        the `isotropy_gap` before and after.

    Raises
    ------
    ValueError
        If there are items of fewer than two modalities, none of one, or of one that the encoder
        does not know; if the towers give rows of different widths; if the corrector is of another
        kind, or was fitted on other modalities or widths; or if the encoder truncates, or takes an
        item for another modality than was said.
    ImportError
        If sentence-transformers is missing, or older than 5.4, which routes by no modality.

    See Also
    --------
    isotropy.metrics.modality_gap : The distance of two modalities.

    Notes
    -----
    Liang et al. 2022 describe the gap (arXiv 2203.02053); one mean for each modality is GR-CLIP's
    way of closing it (arXiv 2507.19054). ``GroupWhitening(power)`` whitens both by what varies
    within them, and ``GroupWhitening(power, own=True)`` each by its own covariance, without
    turning it. The rows of all items are held in memory while fitting.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.encoders import wrap_modalities
    >>> towers = {
    ...     "text": lambda texts: np.array([[len(text), 1.0, 5.0] for text in texts]),
    ...     "image": lambda images: np.array([[image.sum(), 1.0, -5.0] for image in images]),
    ... }
    >>> items = {"text": ["a", "abc"], "image": [np.ones((1, 1)), np.ones((1, 3))]}
    >>> both = wrap_modalities(towers, items)
    >>> before, after = both.isotropy_gap["text", "image"]
    >>> round(before.value, 2), round(after.value, 2)
    (1.81, 0.0)
    >>> both.encode(["abc", np.ones((2, 2))]).shape
    (2, 3)
    """
    batch_size = at_least_one(batch_size=batch_size)
    chosen = _checked(_DEFAULT if corrector is None else corrector, items)
    known = None if items is None else _by_modality(items, "items")
    asked = None if queries is None else _by_modality(queries, "queries", least=1)
    if items is None and queries is not None:
        raise ValueError("queries are for the fit, but items is None: fit the corrector with them.")
    if isinstance(encoder, Mapping):
        if normalize is not None:
            raise ValueError("normalize is for a SentenceTransformer; set it on the corrector.")
        towers = _towers(encoder)
        fit = _fitted(chosen, known, asked, _encode_all(towers, batch_size), set(towers))
        both = ModalityEncoder(towers, fit.corrector, batch_size=batch_size)
        both.isotropy_gap = fit.gap
        return both
    model = load(encoder, check_device(device))
    _check_routes(model)
    rows_of = _encode_by(model, asked is not None, check_device(device), batch_size)
    with modes_kept(model):
        fit = _fitted(chosen, known, asked, rows_of, set(map(str, model.modalities)))
        return _assembled(model, fit, normalize)


# -- checks ----------------------------------------------------------------------------------------


def _checked(corrector: Any, items: Any) -> GroupMeanRemoval:
    found = given(corrector)
    if not isinstance(found, GroupMeanRemoval):
        raise ValueError(
            f"corrector must know groups, the modalities: GroupMeanRemoval or GroupWhitening, got "
            f"{type(found).__name__}."
        )
    if items is None and not is_fitted(found):
        raise ValueError(
            f"items is None, but the {type(found).__name__} is not fitted: give items to fit it on."
        )
    return found


def _by_modality(items: Any, name: str, least: int = 2) -> dict[str, list[Any]]:
    if not isinstance(items, Mapping):
        raise ValueError(
            f"{name} must be a mapping from modality to items, as {{'text': ..., 'image': ...}}, "
            f"got {type(items).__name__}."
        )
    for modality, some in items.items():
        if isinstance(some, str | bytes) or not isinstance(some, Iterable):
            raise ValueError(
                f"{name}[{modality!r}] must be an iterable of items, got {type(some).__name__}. "
                "Put a single item in a list."
            )
    listed = {modality: list(some) for modality, some in items.items()}
    for modality, found in listed.items():
        if not found:
            raise ValueError(f"{name}[{modality!r}] holds nothing to fit on.")
    if len(listed) < least:
        seen = ", ".join(map(repr, listed)) or "none"
        raise ValueError(
            f"{name} must hold two modalities or more, got {seen}: with one there is no gap to "
            "close; isotropy.encoders.wrap corrects an encoder of one."
        )
    return listed


def _towers(towers: Mapping[str, Any]) -> dict[str, Tower]:
    if len(towers) < 2:
        raise ValueError(f"encoder must have two towers or more, got {len(towers)}.")
    found: dict[str, Tower] = {}
    for modality, tower in towers.items():
        if hasattr(tower, "encode"):  # a SentenceTransformer can be called, but not with texts
            found[modality] = partial(tower.encode, show_progress_bar=False)
        elif callable(tower):
            found[modality] = tower
        else:
            raise ValueError(
                f"The tower of {modality!r} must be a function from a list of items to rows, or a "
                f"SentenceTransformer, got {type(tower).__name__}."
            )
    return found


def _check_routes(model: Any) -> None:
    routes = "route_mappings" in signature(native("Router")).parameters
    if not routes or not hasattr(model, "modalities"):
        raise ImportError("Routes by modality need sentence-transformers 5.4 or newer: upgrade it.")
    if model.truncate_dim:
        raise ValueError(
            f"The encoder truncates its embeddings (truncate_dim={model.truncate_dim}), which "
            "happens after the correction. Set truncate_dim=None on it."
        )


def _known(modalities: Iterable[Any], there: set[Any], what: str) -> None:
    for modality in modalities:
        if modality not in there:
            raise ValueError(
                f"{what} {modality!r}, which is no modality of this encoder; it has "
                f"{', '.join(sorted(map(repr, there)))}."
            )


# -- fitting ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    corrector: GroupMeanRemoval
    gap: ModalityReport | None
    n_items: dict[str, int]
    asked: bool


def _fitted(
    corrector: GroupMeanRemoval,
    items: dict[str, list[Any]] | None,
    queries: dict[str, list[Any]] | None,
    rows_of: Callable[[dict[str, list[Any]], bool], Rows],
    there: set[str],
) -> _Fit:
    if items is None:
        _known(corrector.groups_, there, "The corrector was fitted on")
        return _Fit(corrector, None, {}, knows_queries(corrector))
    _known(items, there, "items has")
    rows = rows_of(items, False)
    more: dict[str, Any] = {}
    if queries is not None:
        _known(queries, set(items), "queries has")
        asked = rows_of(queries, True)
        more = {"queries": _joined(asked), "query_groups": _names(asked)}
    new = clone(corrector).fit(_joined(rows), groups=_names(rows), **more)
    counts = {modality: len(some) for modality, some in items.items()}
    return _Fit(new, ModalityReport.of(rows, new), counts, queries is not None)


def knows_queries(corrector: GroupMeanRemoval) -> bool:
    """Whether the corrector was given queries, so that they have a map of their own."""
    twin = corrector.for_queries()
    return not np.array_equal(twin.group_shifts_, corrector.group_shifts_)


def _joined(rows: Rows) -> np.ndarray:
    widths = {modality: part.shape[1] for modality, part in rows.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{modality!r} {width}" for modality, width in widths.items())
        raise ValueError(f"Modalities have rows of different widths ({told}): one space is needed.")
    return np.concatenate(list(rows.values()))


def _names(rows: Rows) -> list[str]:
    return [modality for modality, part in rows.items() for _ in part]


def _encode_all(towers: dict[str, Tower], batch_size: int) -> Any:
    """A function from items by modality to rows by modality; each tower must have some."""

    def rows_of(items: dict[str, list[Any]], asked: bool) -> Rows:
        _known(items, set(towers), "items has")
        for modality in () if asked else towers:
            if modality not in items:
                raise ValueError(f"items has none of {modality!r}, which the encoder has.")
        return {m: _through(towers[m], some, m, batch_size) for m, some in items.items()}

    return rows_of


def _through(tower: Tower, items: list[Any], modality: str, batch_size: int) -> np.ndarray:
    """Rows of the items, which go through the tower in batches."""
    parts, rest = [], iter(items)
    while batch := list(islice(rest, batch_size)):
        rows = to_numpy(tower(batch))
        if rows.ndim != 2 or len(rows) != len(batch):
            raise ValueError(
                f"The tower of {modality!r} must give one row an item, got shape {rows.shape} for "
                f"{len(batch)} items."
            )
        parts.append(rows)
    return np.concatenate(parts)


def _encode_by(model: Any, two: bool, where: str | None, batch_size: int) -> Any:
    document, query = calls_of(model, None, two)

    def rows_of(items: dict[str, list[Any]], asked: bool) -> Rows:
        for modality, some in items.items():
            _check_told(model, modality, some[0])
        call = partial(
            query if asked else document,
            batch_size=batch_size,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        with lent(model, where, None):
            return {m: np.asarray(call(some)) for m, some in items.items()}

    return rows_of


def _check_told(model: Any, modality: str, item: Any) -> None:
    """Refuse an item that the encoder would send another way than it was fitted for."""
    taken = model.preprocess([item]).get("modality")
    if taken != modality:
        raise ValueError(
            f"The encoder takes the first item of {modality!r}, of type {type(item).__name__}, for "
            f"{taken!r}. Give items that it tells apart: strings, and images of PIL."
        )


# -- what came of it -------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ModalityReport:
    """The gap between modalities before and after their correction.

    Parameters
    ----------
    distances : dict
        By pair of modalities the `modality_gap` before and after.
    neighbors : pair of GapFigure, or None
        Share of the ten nearest rows that are of a row's own modality, before and after; None of
        fewer than twenty rows.
    n_rows : int
        Rows that were looked at, 2,000 of each modality at most.

    Examples
    --------
    >>> from isotropy.encoders import ModalityReport
    >>> from isotropy.metrics import GapFigure
    >>> wide, none = GapFigure(0.8, (0.7, 0.9), 0.1), GapFigure(0.1, (0.0, 0.2), 0.1)
    >>> report = ModalityReport({("text", "image"): (wide, none)}, None, 40)
    >>> report["text", "image"][0].value
    0.8
    """

    distances: dict[tuple[str, str], tuple[GapFigure, GapFigure]]
    neighbors: tuple[GapFigure, GapFigure] | None
    n_rows: int

    @classmethod
    def of(cls, rows: Rows, corrector: GroupMeanRemoval) -> ModalityReport | None:
        """The report of rows by modality, before and after a fitted corrector.

        Parameters
        ----------
        rows : dict of str to arrays of shape (n, d)
        corrector : fitted GroupMeanRemoval or GroupWhitening

        Returns
        -------
        ModalityReport or None
            None where a modality has a single row.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import GroupMeanRemoval
        >>> from isotropy.encoders import ModalityReport
        >>> rows = {"text": np.eye(3) + 5, "image": np.eye(3) - 5}
        >>> X = np.concatenate(list(rows.values()))
        >>> corrector = GroupMeanRemoval().fit(X, groups=["text"] * 3 + ["image"] * 3)
        >>> round(ModalityReport.of(rows, corrector)["text", "image"][1].value, 1)
        0.0
        """
        draw = np.random.default_rng(0)
        before = {
            m: part[np.sort(draw.permutation(len(part))[:_SCORED])] for m, part in rows.items()
        }
        if min(map(len, before.values())) < 2:
            return None
        after = {m: corrector.transform(part, groups=[m] * len(part)) for m, part in before.items()}
        distances = {
            (a, b): (modality_gap(before[a], before[b]), modality_gap(after[a], after[b]))
            for a, b in combinations(before, 2)
        }
        names = _names(before)
        shares = None
        if len(names) >= _LEAST:
            shares = (
                group_gap(_joined(before), names).neighbors,
                group_gap(_joined(after), names).neighbors,
            )
        return cls(distances, shares, len(names))

    def __getitem__(self, pair: tuple[str, str]) -> tuple[GapFigure, GapFigure]:
        return self.distances[pair if pair in self.distances else (pair[1], pair[0])]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        figures = {f"distance of {a} to {b}": two for (a, b), two in self.distances.items()}
        if self.neighbors is not None:
            figures["own modality among 10 nearest"] = self.neighbors
        rows = [
            [title, number(before.value), number(after.value), number(after.floor)]
            for title, (before, after) in figures.items()
        ]
        return ["", "before", "after", "by chance"], rows

    def __str__(self) -> str:
        return text_table(*self._cells())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="Modalities")

    def to_markdown(self) -> str:
        """A table for a model card.

        Returns
        -------
        str

        Examples
        --------
        >>> from isotropy.encoders import ModalityReport
        >>> from isotropy.metrics import GapFigure
        >>> wide, none = GapFigure(0.8, (0.7, 0.9), 0.1), GapFigure(0.1, (0.0, 0.2), 0.1)
        >>> report = ModalityReport({("text", "image"): (wide, none)}, None, 40)
        >>> print(report.to_markdown().splitlines()[-1])
        | distance of text to image | 0.8 | 0.1 | 0.1 |
        """
        header, rows = self._cells()
        return "\n".join("| " + " | ".join(c) + " |" for c in [header, ["---"] * 4, *rows])


# -- a SentenceTransformer -------------------------------------------------------------------------


def _assembled(model: Any, fit: _Fit, normalize: bool | None) -> Any:
    corrector = fit.corrector
    if normalize is None:
        normalize = ends_in_normalize(model) or corrector.normalize in ("after", "both")
    if not fit.n_items and "text" in model.modalities:
        width = width_of(model)
        if width != corrector.n_features_in_:
            raise ValueError(
                f"The {type(corrector).__name__} takes {corrector.n_features_in_} dimensions, but "
                f"the encoder gives {width}: it was fitted on another encoder's embeddings."
            )
    ways: dict[str | None, GroupMeanRemoval] = {None: corrector}
    if fit.asked:
        ways["query"] = corrector.for_queries()
    routes, mappings = {}, {}
    for task, way in ways.items():
        for at, modality in enumerate(corrector.groups_):
            name = modality if task is None else f"{task}_{modality}"
            routes[name] = placed(model, _modules(way, at, normalize))
            mappings[task, modality] = name
    router = native("Router")(routes, allow_empty_key=False, route_mappings=mappings)
    wrapped = with_tail(model, [router], _card(model, fit))
    wrapped.isotropy_corrector, wrapped.isotropy_query_corrector = corrector, ways.get("query")
    wrapped.isotropy_gap = fit.gap
    return wrapped


def _modules(corrector: GroupMeanRemoval, at: int, normalize: bool) -> list[Any]:
    """The map of one modality, as native modules."""
    affine = corrector._map_at(at)
    before = [native("Normalize")()] if corrector.normalize in ("before", "both") else []
    after = [native("Normalize")()] if normalize else []
    return [*before, dense_of(affine.matrix, affine.bias), *after]


def _card(model: Any, fit: _Fit) -> str:
    of = " and ".join(f"{n:,} of {modality!r}" for modality, n in fit.n_items.items())
    parts = [
        own_card(model).rstrip(),
        "## Correction for the gap between modalities",
        f"Each modality is corrected about its own mean by isotropy {library_version()}: "
        f"`{fit.corrector!r}`, fitted {f'on {of} items' if of else 'beforehand'}.",
    ]
    parts += [] if fit.gap is None else [fit.gap.to_markdown()]
    parts.append(
        "The correction is in native modules at the end of this encoder, one route a modality; no "
        "other library is needed to load it."
    )
    return "\n\n".join(parts) + "\n"


# -- two towers ------------------------------------------------------------------------------------


class ModalityEncoder:
    """Towers for several modalities, with a correction of each; `wrap_modalities` makes it.

    To keep one, save its corrector (``encoder.isotropy_corrector.save(path)``); made again from
    the same towers and that file, it is the same.

    Parameters
    ----------
    towers : mapping of str to functions or SentenceTransformers
        By modality, as for `wrap_modalities`.
    corrector : fitted GroupMeanRemoval or GroupWhitening, or path-like
        Fitted with the modalities as groups.
    batch_size : int, default=64
        Items that go through a tower together.

    Attributes
    ----------
    isotropy_corrector : GroupMeanRemoval or GroupWhitening
    isotropy_gap : ModalityReport or None
        The gap before and after, where `wrap_modalities` fitted it.

    Raises
    ------
    ValueError
        If the corrector is not fitted, or not on the modalities of these towers.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import GroupMeanRemoval
    >>> from isotropy.encoders import ModalityEncoder
    >>> towers = {"text": lambda t: np.full((len(t), 2), 3.0), "image": lambda t: np.ones((1, 2))}
    >>> rows = np.array([[1.0, 0.0], [3.0, 2.0]])
    >>> corrector = GroupMeanRemoval(shrinkage=0).fit(rows, groups=["text", "image"])
    >>> ModalityEncoder(towers, corrector).encode(["a text"]).tolist()
    [[2.0, 3.0]]
    """

    def __init__(self, towers: Mapping[str, Any], corrector: Any, *, batch_size: int = 64) -> None:
        self.towers, self.batch_size = _towers(towers), at_least_one(batch_size=batch_size)
        self.isotropy_corrector = _checked(corrector, None)
        _known(self.towers, set(self.isotropy_corrector.groups_), "The encoder has a tower for")
        self.isotropy_gap: ModalityReport | None = None

    def encode(self, items: Sequence[Any], modality: str | Sequence[str] | None = None) -> Any:
        """Corrected rows of items of any modality, in their order.

        Parameters
        ----------
        items : sequence of n items
            Texts and images, mixed as they come.
        modality : str or sequence of n str, optional
            Of all items, or of each. By default told by their type: a string is a text; an image of
            PIL, or an array or tensor of two or more axes, an image; a dictionary of one entry, as
            ``{"audio": x}``, names it.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        ValueError
            If a modality is not told by an item's type, or has no tower, or a tower does not give
            one row an item of the width that was fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import wrap_modalities
        >>> towers = {name: lambda some: np.ones((len(some), 2)) for name in ("text", "image")}
        >>> both = wrap_modalities(towers, {"text": ["a", "b"], "image": ["a.png", "b.png"]})
        >>> both.encode(["a.png", "a"], modality=["image", "text"]).shape
        (2, 2)
        """
        return self._encoded(items, modality, self.isotropy_corrector)

    def encode_query(
        self, items: Sequence[Any], modality: str | Sequence[str] | None = None
    ) -> Any:
        """Corrected rows of queries: about their own means, where the fit was given queries.

        Parameters
        ----------
        items, modality
            As in `encode`.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        ValueError
            As in `encode`.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.encoders import wrap_modalities
        >>> towers = {name: lambda some: np.ones((len(some), 2)) for name in ("text", "image")}
        >>> both = wrap_modalities(towers, {"text": ["a", "b"], "image": ["a.png", "b.png"]})
        >>> both.encode_query(["a question"]).shape
        (1, 2)
        """
        return self._encoded(items, modality, self.isotropy_corrector.for_queries())

    encode_document = encode

    def _encoded(self, items: Any, modality: Any, corrector: GroupMeanRemoval) -> np.ndarray:
        if isinstance(items, str | bytes):
            raise ValueError("items must be a sequence of items, got a string: put it in a list.")
        names, items = self._told(list(items), modality)
        out = np.empty((len(items), corrector._n_features_out), dtype=np.float32)
        for name in dict.fromkeys(names):
            mine = [i for i, one in enumerate(names) if one == name]
            rows = _through(self.towers[name], [items[i] for i in mine], name, self.batch_size)
            out[mine] = corrector.transform(rows, groups=[name] * len(mine))
        return out

    def _told(self, items: list[Any], modality: Any) -> tuple[list[str], list[Any]]:
        """The modality of each item, and the items."""
        if modality is None:
            told = [_modality_of(item, i) for i, item in enumerate(items)]
            names, items = [name for name, _ in told], [item for _, item in told]
        else:
            names = [modality] * len(items) if isinstance(modality, str) else list(modality)
            if len(names) != len(items):
                raise ValueError(f"modality has {len(names)} names for {len(items)} items.")
        _known(dict.fromkeys(names), set(self.towers), "There is an item of")
        return names, items


def _modality_of(item: Any, position: int) -> tuple[str, Any]:
    """What an item is by its type, and the item without the name that it came with."""
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, item),) = item.items()
        return str(name), item
    if isinstance(item, str):
        return "text", item
    if type(item).__module__.startswith("PIL.") or len(getattr(item, "shape", ())) > 1:
        return "image", item
    raise ValueError(
        f"The modality of item {position} is not told by its type, {type(item).__name__}: say it "
        "with modality=."
    )
