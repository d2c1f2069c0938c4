"""A sentence encoder with the correction inside, as modules that load without this library."""

from __future__ import annotations

import copy
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isotropy.affine import AffineMap
from isotropy.correctors import AffineCorrector, Whitening
from isotropy.correctors.base import Corrector, warn_user
from isotropy.encoders._fitting import (
    Fitted,
    Texts,
    check_learns,
    for_queries,
    given,
    is_fitted,
    known_texts,
    learn,
    query_moments,
    weights_of,
)
from isotropy.encoders._models import check_device, lent, load, modes_kept
from isotropy.encoders._texts import at_least_one, checked_texts, encoded_blocks, text_bar
from isotropy.export.dense import dense_of, native, to_dense
from isotropy.export.parts import knows_queries, parts_of
from isotropy.io.texts import documentation_sentences
from isotropy.scoring import compare
from isotropy.storage.state import library_version

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "calls_of",
    "corrections",
    "ends_in_normalize",
    "own_card",
    "placed",
    "width_of",
    "with_tail",
    "wrap",
]

_BLOCK = 4096
_SCORED = 4096
_PROBES = 128
RowsOf = Callable[[Iterable[str]], Iterator[np.ndarray]]
_METRICS = ("mean_cosine", "cosine_spread", "isoscore", "effective_rank", "top_variance_share")


def wrap(
    encoder: SentenceTransformer | str | os.PathLike[str],
    texts: Texts | None,
    corrector: Any = None,
    *,
    queries: Texts | None = None,
    query_corrector: Any = None,
    sample_weight: Any = None,
    normalize: bool | None = None,
    prompt_name: str | None = None,
    batch_size: int = 64,
    device: str = "auto",
    progress: bool = False,
) -> SentenceTransformer:
    """Fit a corrector to an encoder's embeddings, and return an encoder that yields corrected ones.

    An affine correction becomes native modules at the end of the encoder, a ``Dense`` with a bias
    and no activation, and ``Normalize`` where wanted: the result saves with `save_pretrained` and
    loads where isotropy is not installed.

    Parameters
    ----------
    encoder : SentenceTransformer, str or path-like
        An encoder, a name on the Hub, a folder, or ``"minilm"``. It stays as it is. The result has
        modules of its own with the same weights in memory: training it trains both.
    texts : iterable of str, path of a text file, or None
        What to fit on: a list, a generator, or a file as `isotropy encode` reads it. None for a
        corrector that is fitted already.
    corrector : corrector, AffineMap, scikit-learn estimator or path-like
        Unfitted, it is cloned and fitted to the embeddings of `texts`, which are read once and not
        kept; fitted, or the file of one, it is used as it is if `texts` is None. A map, or a fitted
        scikit-learn estimator or pipeline that is one (`AffineMap.from_sklearn`), goes with
        ``texts=None``. Those that are no affine map (`FlowGaussianizer`) are fitted to all
        embeddings in memory. By default ``Whitening(power=0.5)``.
    queries : iterable of str or path, optional
        Queries such as will be asked, some 30 or more: they go through the same map about their own
        mean, so that they land where the documents are. They are told apart by ``encode_query`` and
        ``encode_document``; ``encode`` treats texts as documents. A fitted corrector that knows
        queries brings their mean along.
    query_corrector : as `corrector`, optional
        The one for queries, where it is another kind, or is fitted.
    sample_weight : array of shape (n,), optional
        A weight for each text.
    normalize : bool, optional
        Whether the result has length one. By default it does if the encoder's own embeddings do,
        or the corrector normalizes after.
    prompt_name : str, optional
        The encoder's prompt to fit with. By default that under which the encoder is used: its
        default prompt, else, or where there are queries, what ``encode_document`` and
        ``encode_query`` put before texts. Not with `queries`.
    batch_size : int, default=64
        Texts that go through the model together.
    device : str, default="auto"
        Where to encode.
    progress : bool, default=False
        Show a progress bar on standard error.

    Returns
    -------
    SentenceTransformer
        With the encoder's prompts and similarity, the fitted correctors as its attributes
        `isotropy_corrector` and `isotropy_query_corrector`, and a model card that tells what was
        fitted and the scores before and after. An encoder that truncates its embeddings
        (``truncate_dim``) is corrected after truncation, by the same modules.

    Raises
    ------
    ValueError
        If the arguments do not fit together, a text is not a string, or the corrector needs more
        than texts (pairs), all told before texts are encoded; or if the corrector was fitted on
        embeddings of another dimension, or of another layer or model as far as their mean shows.
    FileNotFoundError
        If the file of the corrector or of the texts is missing.
    ImportError
        If sentence-transformers is missing (``isotropy[encoders]``).

    See Also
    --------
    save : Write the result with its corrector.
    check : Compare what was written with its corrector.

    Notes
    -----
    Correctors that are not affine need our module class: loading them takes isotropy and
    ``trust_remote_code=True``.

    Examples
    --------
    >>> from isotropy import ComponentRemoval
    >>> from isotropy.encoders import wrap
    >>> texts = ["A cat sat.", "Markets fell.", "It rains.", "Dogs bark."]
    >>> encoder = wrap("minilm", texts, ComponentRemoval(1))
    >>> encoder.encode(texts).shape
    (4, 384)
    """
    where, batch_size = check_device(device), at_least_one(batch_size=batch_size)
    plans = [_Plan(Whitening(power=0.5) if corrector is None else corrector, texts, "texts")]
    plans[0].check(sample_weight, queries is not None)
    if query_corrector is not None:
        plans.append(_Plan(query_corrector, queries, "queries", "query_corrector"))
        plans[1].check(None, False)
    lines = None if queries is None else known_texts(queries, "queries")
    known = texts is None and knows_queries(plans[0].corrector)
    two = known or queries is not None or query_corrector is not None
    if two and prompt_name is not None:
        raise ValueError("prompt_name is for one kind of text; queries bring prompts of their own.")
    encoder = load(encoder, where)
    document, query = calls_of(encoder, prompt_name, two)

    def rows_of(call: Any) -> RowsOf:
        return partial(_rows_of, encoder, call, where, batch_size, progress)

    with modes_kept(encoder):
        if query_corrector is not None:
            fits = [plans[0].fit(rows_of(document)), plans[1].fit(rows_of(query))]
        else:
            sample = _Sample()
            asked = None if lines is None else sample.of(rows_of(query)(lines))
            fits = [plans[0].fit(rows_of(document), asked)]
            if two:
                fits.append(plans[0].moved(fits[0], asked, sample))
            elif prompt_name is None:
                _tell_of_queries(encoder, fits[0].corrector)
        return _assembled(encoder, fits, normalize)


def _tell_of_queries(encoder: Any, corrector: Fitted) -> None:
    """Warn where the encoder tells queries from documents, but the correction does not."""
    prompt = encoder.prompts.get("query")
    if not prompt or prompt == encoder.prompts.get("document"):
        return
    search = getattr(corrector, "task", None) in (None, "search")
    if search and isinstance(corrector, Corrector) and corrector._removes_mean:
        warn_user(
            f"This encoder puts {prompt!r} before queries, so they have another mean than the "
            f"texts, whose mean {type(corrector).__name__} removes: for search give queries=, some "
            "30 of them, and they are corrected about their own mean.",
            UserWarning,
        )


def calls_of(encoder: Any, prompt_name: str | None, two: bool) -> tuple[Any, Any]:
    """How the encoder will be called for documents and for queries."""
    if prompt_name is not None:
        if prompt_name not in encoder.prompts:
            raise ValueError(
                f"prompt_name={prompt_name!r} is no prompt of this encoder; it has "
                f"{sorted(encoder.prompts)}."
            )
        return partial(encoder.encode, prompt_name=prompt_name), None
    if encoder.default_prompt_name is not None and not two:
        return encoder.encode, None
    return encoder.encode_document, encoder.encode_query


# -- fitting ---------------------------------------------------------------------------------------


def _rows_of(
    encoder: SentenceTransformer,
    call: Any,
    where: str | None,
    batch_size: int,
    progress: bool,
    texts: Iterable[str],
) -> Iterator[np.ndarray]:
    """Blocks of embeddings by `call`, one of the encoder's own methods."""

    def embed(batch: list[str]) -> Any:
        return call(batch, batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False)

    bar = text_bar(len(texts) if isinstance(texts, Sized) else None, progress)
    borrowed = partial(lent, encoder, where, None)
    return encoded_blocks(embed, checked_texts(texts), borrowed, bar, batch_size, _BLOCK)


class _Sample:
    """The first rows that pass by, and how many do."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.n_rows = 0

    def of(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            room = _SCORED - sum(map(len, self.parts))
            if room > 0:
                self.parts.append(block[:room])
            self.n_rows += len(block)
            yield block

    def table(self, corrector: Fitted) -> Any:
        rows = np.concatenate(self.parts)
        return compare(rows, {"corrected": corrector}, metrics=_METRICS, refit=False)


class _Fit:
    """A fitted corrector, what it was fitted on, and its scores before and after."""

    def __init__(self, corrector: Fitted, n_texts: int | None, table: Any) -> None:
        self.corrector, self.n_texts, self.table = corrector, n_texts, table


class _Plan:
    """A corrector, and the texts to fit it on, or None where it is fitted."""

    def __init__(self, corrector: Any, texts: Any, name: str, role: str = "corrector") -> None:
        self.corrector, self.name = given(corrector, role), name
        self.texts = None if texts is None else known_texts(texts, name)

    def check(self, sample_weight: Any, asked: bool) -> None:
        """Refuse what cannot be fitted, before anything is encoded."""
        self.weights = weights_of(sample_weight, self.texts)
        if self.texts is not None:
            check_learns(self.corrector, weighted=sample_weight is not None, asked=asked)
        elif not is_fitted(self.corrector):
            raise ValueError(
                f"{self.name} is None, but the {type(self.corrector).__name__} is not fitted: give "
                "texts to fit it on."
            )
        elif sample_weight is not None:
            raise ValueError("sample_weight is for texts to fit on, but texts is None.")

    def fit(self, rows_of: RowsOf, asked: Iterator[np.ndarray] | None = None) -> _Fit:
        """The corrector, fitted to embeddings of the texts where there are any."""
        if self.texts is None:
            probes = np.concatenate(list(rows_of(documentation_sentences(_PROBES))))
            _check_fits(self.corrector, probes)
            return _Fit(self.corrector, None, None)
        sample = _Sample()
        assert isinstance(self.corrector, Corrector)
        learned, n = learn(
            self.corrector,
            sample.of(rows_of(self.texts)),
            sample_weight=self.weights,
            queries=asked,
        )
        return _Fit(learned, n, sample.table(learned))

    def moved(self, found: _Fit, asked: Iterator[np.ndarray] | None, sample: _Sample) -> _Fit:
        """What queries go through; a corrector just fitted has learned their mean."""
        queries = None
        if self.texts is None and asked is not None:
            queries = query_moments(found.corrector, asked)
        corrector = for_queries(found.corrector, queries)
        if not sample.parts or isinstance(corrector, AffineMap):
            return _Fit(corrector, sample.n_rows or None, None)
        return _Fit(corrector, sample.n_rows, sample.table(corrector))


def _check_fits(corrector: Any, rows: np.ndarray) -> None:
    """Refuse a corrector that was fitted on something other than these embeddings."""
    who = type(corrector).__name__
    affine = corrector
    if isinstance(corrector, Corrector):
        affine = getattr(corrector, "affine_map_", getattr(corrector, "whitening_", None))
    d = affine.n_features_in if affine is not None else corrector.n_features_in_
    if d != rows.shape[1]:
        raise ValueError(
            f"The {who} takes {d} dimensions, but the encoder gives {rows.shape[1]}: it was fitted "
            "on another encoder's embeddings."
        )
    if affine is None or not affine.mean.any():
        return
    if getattr(corrector, "normalize", "none") in ("before", "both"):
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    mean = rows.mean(0, dtype=np.float64)
    apart = np.linalg.norm(mean - affine.mean)
    spread = np.sqrt(np.square(rows - mean).sum(1).mean())
    # Text of another kind moves the mean by less than the spread; another layer by a multiple.
    if apart > 2 * spread:
        raise ValueError(
            f"The mean that the {who} takes off is {apart / spread:.1f} standard deviations from "
            "that of this encoder's embeddings: it was fitted on another encoder's, or on another "
            "layer's or pooling's. Fit it on this encoder's output."
        )


# -- assembling ------------------------------------------------------------------------------------


def _assembled(
    encoder: SentenceTransformer, fits: list[_Fit], normalize: bool | None
) -> SentenceTransformer:
    if normalize is None and ends_in_normalize(encoder):
        normalize = True
    tails = [_modules_of(encoder, fit.corrector, normalize) for fit in fits]
    tail = tails[0]
    if len(tails) == 2:
        routes = {"document": tails[0], "query": tails[1]}
        tail = [native("Router")(routes, default_route="document")]
    wrapped = with_tail(encoder, tail, _card(encoder, fits))
    wrapped.isotropy_corrector = fits[0].corrector
    wrapped.isotropy_query_corrector = fits[1].corrector if len(fits) == 2 else None
    return wrapped


def ends_in_normalize(encoder: SentenceTransformer) -> bool:
    """Whether the encoder's own embeddings have length one."""
    return isinstance(list(encoder.children())[-1], native("Normalize"))


def with_tail(encoder: SentenceTransformer, tail: list[Any], card: str) -> Any:
    """An encoder of the same weights with these modules behind its own."""
    from sentence_transformers import SentenceTransformer

    modules = _twins(encoder)
    for module in tail:
        modules[str(len(modules))] = module
    every: Any = modules
    prompts: Any = dict(encoder.prompts)
    wrapped: Any = SentenceTransformer(
        modules=every,
        device=str(encoder.device),
        prompts=prompts,
        default_prompt_name=encoder.default_prompt_name,
        similarity_fn_name=encoder.similarity_fn_name,
    )
    kwargs = getattr(encoder, "module_kwargs", None)
    if kwargs:
        wrapped.module_kwargs = OrderedDict(kwargs)
    if isinstance(tail[-1], native("Router")):
        wrapped.module_kwargs = OrderedDict(kwargs or {}, **{next(reversed(modules)): ["task"]})
    wrapped.eval()
    wrapped._model_card_text = card
    wrapped._isotropy_tail = len(modules) - len(list(encoder.children()))
    wrapped._isotropy_made = [
        {name: part.cpu().clone() for name, part in module.state_dict().items()}
        for module in corrections(wrapped)
    ]
    return wrapped


def corrections(wrapped: Any) -> list[Any]:
    """The modules that `wrap` added, those of queries behind those of documents."""
    return list(wrapped.children())[-wrapped._isotropy_tail :]


def _twins(encoder: SentenceTransformer) -> OrderedDict[str, Any]:
    """Modules of the same weights in memory, with modes, lengths and hooks of their own."""
    weights: dict[int, Any] = {id(part): part for part in encoder.parameters()}
    weights.update((id(part), part) for part in encoder.buffers())
    twins: OrderedDict[str, Any] = OrderedDict()
    for name, module in encoder.named_children():
        try:
            twins[name] = copy.deepcopy(module, weights)
        except Exception:  # a session of another runtime cannot be copied: that one is shared
            twins[name] = module
    return twins


def _modules_of(
    encoder: SentenceTransformer, corrector: Fitted, normalize: bool | None
) -> list[Any]:
    """The modules that correct the encoder's embeddings."""
    if isinstance(corrector, AffineMap | AffineCorrector):
        modules = to_dense(corrector, normalize=normalize)
        if encoder.truncate_dim:
            modules = _after_truncation(encoder, corrector, modules)
    else:
        from isotropy.encoders._module import CorrectorModule

        modules = [CorrectorModule(corrector, encoder.truncate_dim)]
        modules += [native("Normalize")()] if normalize else []
    return placed(encoder, modules)


def placed(encoder: SentenceTransformer, modules: list[Any]) -> list[Any]:
    """The modules, in the encoder's type and on its device."""
    parameter = next(encoder.parameters(), None)
    for module in modules:
        if parameter is not None:
            module.to(device=parameter.device)
            if parameter.is_floating_point():
                module.to(dtype=parameter.dtype)
    return modules


def width_of(encoder: SentenceTransformer) -> int:
    """The width of the embeddings before truncation."""
    kept, encoder.truncate_dim = encoder.truncate_dim, None
    try:
        return int(encoder.encode(["text"], show_progress_bar=False).shape[1])
    finally:
        encoder.truncate_dim = kept


def _after_truncation(
    encoder: SentenceTransformer, corrector: AffineMap | AffineCorrector, modules: list[Any]
) -> list[Any]:
    """The same modules for embeddings that are not truncated yet: the rest weighs nothing."""
    affine, before, _ = parts_of(corrector)
    if before:
        raise ValueError(
            f"{type(corrector).__name__} scales truncated embeddings to length one first, which "
            "no native module does before a Dense. Set truncate_dim=None on the encoder, or take "
            "normalize='none' or 'after'."
        )
    matrix = np.zeros((width_of(encoder), affine.n_features_out))
    matrix[: affine.n_features_in] = affine.matrix
    return [dense_of(matrix, affine.bias), *modules[1:]]


# -- the model card --------------------------------------------------------------------------------


def _card(encoder: SentenceTransformer, fits: list[_Fit]) -> str:
    parts = [own_card(encoder).rstrip(), "", "## Correction for anisotropy", ""]
    kinds = ("Documents", "Queries") if len(fits) == 2 else ("Embeddings",)
    for fit, kind in zip(fits, kinds, strict=True):
        parts += [*_told(fit, kind), ""]
    native_only = all(isinstance(fit.corrector, AffineMap | AffineCorrector) for fit in fits)
    parts.append(
        "The correction is in native modules at the end of this encoder; no other library is "
        "needed to load it."
        if native_only
        else "The correction is in a module of isotropy: install it, and load with "
        "`trust_remote_code=True`."
    )
    return "\n".join(parts) + "\n"


def own_card(encoder: Any) -> str:
    text = getattr(encoder, "_model_card_text", None)
    if text:
        return str(text)
    about = getattr(encoder, "model_card_data", None)
    kept = dict(vars(about)) if about is not None else {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            encoder._create_model_card(folder)
        finally:
            if about is not None:  # making a card leaves notes of where it was made
                vars(about).clear()
                vars(about).update(kept)
        card = Path(folder) / "README.md"
        return card.read_text(encoding="utf-8") if card.is_file() else ""


def _told(fit: _Fit, kind: str) -> list[str]:
    corrector: Any = fit.corrector
    if isinstance(corrector, AffineMap):
        d, k = corrector.n_features_in, corrector.n_features_out
    else:
        d, k = corrector.n_features_in_, corrector._n_features_out
    of = "fitted beforehand" if fit.n_texts is None else f"fitted on {fit.n_texts:,} texts"
    lines = [
        f"{kind} are corrected by isotropy {library_version()}: `{corrector!r}`, {of}, from {d} to "
        f"{k} dimensions."
    ]
    if fit.table is not None:
        n = min(_SCORED, fit.n_texts or _SCORED)
        lines += ["", f"Scores of {n:,} of these texts:", "", fit.table.to_markdown()]
    return lines
