"""A sentence encoder with the correction inside, as modules that load without this library."""

from __future__ import annotations

import copy
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.choose import AutoCorrector
from isotropy.correctors import AffineCorrector, Whitening
from isotropy.correctors import load as load_corrector
from isotropy.correctors.base import Corrector
from isotropy.encoders._models import check_device, lent, load
from isotropy.encoders._texts import at_least_one, checked_texts, encoded_blocks, text_bar
from isotropy.export.dense import native, to_dense
from isotropy.io.texts import documentation_sentences, read_texts
from isotropy.moments import Moments
from isotropy.scoring import compare
from isotropy.storage.state import library_version

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["wrap"]

_BLOCK = 4096
_SCORED = 4096
_PROBES = 128
_METRICS = ("mean_cosine", "cosine_spread", "isoscore", "effective_rank", "top_variance_share")
Texts = Iterable[str] | str | os.PathLike[str] | None


def wrap(
    encoder: SentenceTransformer | str | os.PathLike[str],
    texts: Texts,
    corrector: Any = None,
    *,
    queries: Texts = None,
    query_corrector: Any = None,
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
        An encoder, a name on the Hub, a folder, or ``"minilm"``. It stays as it is; the result
        shares its modules.
    texts : iterable of str, path of a text file, or None
        What to fit on: a list, a generator, or a file as `isotropy encode` reads it. None for a
        corrector that is fitted already.
    corrector : corrector or path-like, default=Whitening(power=0.5)
        Unfitted, it is cloned and fitted to the embeddings of `texts`, which are read once and not
        kept; fitted, or the file of one, it is used as it is if `texts` is None. An
        `AutoCorrector` keeps embeddings and texts, and chooses by them; those that are no affine
        map (`FlowGaussianizer`) are fitted to all embeddings in memory.
    queries : iterable of str or path, optional
        Correct queries by the same map about their own mean. Texts and queries are then encoded by
        ``encode_document`` and ``encode_query``, with their prompts, and so must be later:
        ``encode`` treats texts as documents.
    query_corrector : corrector or path-like, optional
        The one for queries, where it is another kind, or is fitted.
    normalize : bool, optional
        Whether the result has length one. By default it does if the encoder's own embeddings do,
        or the corrector normalizes after.
    prompt_name : str, optional
        The encoder's prompt to fit with; by default its default prompt. Not with `queries`.
    batch_size : int, default=64
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
        If the corrector was fitted on embeddings of another dimension, or of another layer or
        model as far as their mean shows; or a text is not a string.
    ImportError
        If sentence-transformers is missing (``isotropy[encoders]``).

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
    encoder = load(encoder, where)
    if (queries is not None or query_corrector is not None) and prompt_name is not None:
        raise ValueError("prompt_name is for one kind of text; queries bring prompts of their own.")
    corrector = _given(Whitening(power=0.5) if corrector is None else corrector)
    asymmetric = queries is not None or query_corrector is not None
    call = encoder.encode_document if asymmetric else encoder.encode
    rows_of = partial(_rows_of, encoder, where=where, batch_size=batch_size, progress=progress)
    options = {} if asymmetric or prompt_name is None else {"prompt_name": prompt_name}
    fitted = [_fit(corrector, texts, partial(rows_of, partial(call, **options)), "texts")]
    if asymmetric:
        asked = partial(rows_of, encoder.encode_query)
        if query_corrector is None:
            fitted.append(_moved(fitted[0], queries, asked))
        else:
            fitted.append(_fit(_given(query_corrector), queries, asked, "queries"))
    return _assembled(encoder, fitted, normalize)


def _given(corrector: Any) -> Corrector:
    if isinstance(corrector, str | os.PathLike):
        corrector = load_corrector(corrector)
    if not isinstance(corrector, Corrector):
        raise ValueError(
            "corrector must be a corrector of isotropy, or the file of one, got "
            f"{type(corrector).__name__}."
        )
    return corrector


def _is_fitted(corrector: Corrector) -> bool:
    try:
        check_is_fitted(corrector)
    except NotFittedError:
        return False
    return True


# -- fitting ---------------------------------------------------------------------------------------


def _rows_of(
    encoder: SentenceTransformer,
    call: Any,
    texts: Iterable[str],
    *,
    where: str | None,
    batch_size: int,
    progress: bool,
) -> Iterator[np.ndarray]:
    """Blocks of embeddings by `call`, one of the encoder's own methods."""

    def embed(batch: list[str]) -> Any:
        return call(batch, batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False)

    bar = text_bar(len(texts) if isinstance(texts, Sized) else None, progress)
    borrowed = partial(lent, encoder, where, None)
    return encoded_blocks(embed, checked_texts(texts), borrowed, bar, batch_size, _BLOCK)


class _Fit:
    """A fitted corrector, what it was fitted on, and its scores before and after."""

    def __init__(self, corrector: Corrector, n_texts: int | None, table: Any) -> None:
        self.corrector, self.n_texts, self.table = corrector, n_texts, table


def _fit(corrector: Corrector, texts: Texts, rows_of: Any, name: str) -> _Fit:
    if texts is None:
        if not _is_fitted(corrector):
            raise ValueError(
                f"{name} is None, but the {type(corrector).__name__} is not fitted: give texts to "
                "fit it on."
            )
        probes = np.concatenate(list(rows_of(documentation_sentences(_PROBES))))
        _check_fits(corrector, probes)
        return _Fit(corrector, None, None)
    if isinstance(texts, str | os.PathLike):
        texts = list(read_texts(texts))
    kept: list[np.ndarray] = []

    def blocks() -> Iterator[np.ndarray]:
        for block in rows_of(texts):
            if sum(map(len, kept)) < _SCORED:
                kept.append(block[: _SCORED - sum(map(len, kept))])
            yield block

    corrector = clone(corrector)
    if isinstance(corrector, AutoCorrector):
        texts = list(checked_texts(texts))
        rows = np.concatenate(list(blocks()))
        corrector.fit(rows, texts=texts)  # it chooses by what the texts say
        n = len(rows)
    elif isinstance(corrector, AffineCorrector):
        moments = corrector._new_moments()
        for block in blocks():
            moments.update(block, first_row=moments.n_rows)
        if not moments.total_weight > 0:
            raise ValueError(f"{name} holds no text to fit on.")
        corrector.fit_moments(moments)
        n = moments.n_rows
    else:
        rows = np.concatenate(list(blocks()))
        corrector.fit(rows)
        n = len(rows)
    sample = np.concatenate(kept)
    table = compare(sample, {"corrected": corrector}, metrics=_METRICS, refit=False)
    return _Fit(corrector, n, table)


def _moved(documents: _Fit, queries: Texts, rows_of: Any) -> _Fit:
    """The documents' corrector about the mean of the queries: both must land in one space."""
    if not isinstance(documents.corrector, AffineCorrector):
        raise ValueError(
            f"queries need an affine corrector, got {type(documents.corrector).__name__}: give "
            "query_corrector."
        )
    if isinstance(queries, str | os.PathLike):
        queries = list(read_texts(queries))
    normalize = documents.corrector.normalize
    moments = Moments(unit="none", order=1, normalize=normalize in ("before", "both"))
    kept: list[np.ndarray] = []
    for block in rows_of(queries):
        kept.append(block[: max(0, _SCORED - sum(map(len, kept)))])
        moments.update(block, first_row=moments.n_rows)
    if not moments.total_weight > 0:
        raise ValueError("queries holds no text to fit on.")
    corrector = copy.copy(documents.corrector)
    corrector.affine_map_ = corrector.affine_map_.about(moments.mean)
    corrector.moments_ = None
    table = compare(np.concatenate(kept), {"corrected": corrector}, metrics=_METRICS, refit=False)
    return _Fit(corrector, moments.n_rows, table)


def _check_fits(corrector: Corrector, rows: np.ndarray) -> None:
    """Refuse a corrector that was fitted on something other than these embeddings."""
    who = type(corrector).__name__
    if corrector.n_features_in_ != rows.shape[1]:
        raise ValueError(
            f"The {who} takes {corrector.n_features_in_} dimensions, but the encoder gives "
            f"{rows.shape[1]}: it was fitted on another encoder's embeddings."
        )
    affine = getattr(corrector, "affine_map_", getattr(corrector, "whitening_", None))
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
    encoder: SentenceTransformer, fitted: list[_Fit], normalize: bool | None
) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    modules = OrderedDict(encoder.named_children())
    if normalize is None and isinstance(next(reversed(modules.values())), native("Normalize")):
        normalize = True
    tails = [_modules_of(encoder, fit.corrector, normalize) for fit in fitted]
    if len(tails) == 2:
        routes = {"document": tails[0], "query": tails[1]}
        tails = [[native("Router")(routes, default_route="document")]]
    for module in tails[0]:
        modules[str(len(modules))] = module
    every: Any = modules
    prompts: Any = encoder.prompts
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
    if len(fitted) == 2:
        wrapped.module_kwargs = OrderedDict(kwargs or {}, **{next(reversed(modules)): ["task"]})
    wrapped.eval()
    wrapped._model_card_text = _card(encoder, fitted)
    wrapped.isotropy_corrector = fitted[0].corrector
    wrapped.isotropy_query_corrector = fitted[1].corrector if len(fitted) == 2 else None
    return wrapped


def _modules_of(
    encoder: SentenceTransformer, corrector: Corrector, normalize: bool | None
) -> list[Any]:
    parameter = next(encoder.parameters(), None)
    full = encoder.truncate_dim and _width_of(encoder)
    if isinstance(corrector, AffineCorrector):
        modules = to_dense(corrector, normalize=normalize)
        if full:
            modules = _after_truncation(corrector, modules, full)
    else:
        from isotropy.encoders._module import CorrectorModule

        modules = [CorrectorModule(corrector, encoder.truncate_dim)]
        modules += [native("Normalize")()] if normalize else []
    for module in modules:
        if parameter is not None:
            module.to(device=parameter.device)
            if parameter.is_floating_point():
                module.to(dtype=parameter.dtype)
    return modules


def _width_of(encoder: SentenceTransformer) -> int:
    """The width of the embeddings before truncation."""
    kept, encoder.truncate_dim = encoder.truncate_dim, None
    try:
        return int(encoder.encode(["text"], show_progress_bar=False).shape[1])
    finally:
        encoder.truncate_dim = kept


def _after_truncation(corrector: AffineCorrector, modules: list[Any], full: int) -> list[Any]:
    """The same modules for embeddings that are not truncated yet: the rest weighs nothing."""
    from isotropy.export.dense import dense_of

    affine: AffineMap = corrector.affine_map_
    if corrector.normalize in ("before", "both"):
        raise ValueError(
            f"normalize={corrector.normalize!r} scales truncated embeddings to length one, which "
            "no native module does before a Dense. Set truncate_dim=None on the encoder, or take "
            "normalize='none' or 'after'."
        )
    matrix = np.zeros((full, affine.n_features_out))
    matrix[: affine.n_features_in] = affine.matrix
    return [dense_of(matrix, affine.bias), *modules[1:]]


# -- the model card --------------------------------------------------------------------------------


def _card(encoder: SentenceTransformer, fitted: list[_Fit]) -> str:
    text = getattr(encoder, "_model_card_text", None)
    if not text:
        with tempfile.TemporaryDirectory() as folder:
            encoder._create_model_card(folder)
            card = Path(folder) / "README.md"
            text = card.read_text(encoding="utf-8") if card.is_file() else ""
    parts = [text.rstrip(), "", "## Correction for anisotropy", ""]
    for fit, kind in zip(fitted, ("Embeddings", "Queries"), strict=False):
        parts += [*_told(fit, "Documents" if len(fitted) == 2 and kind != "Queries" else kind), ""]
    native_only = all(isinstance(fit.corrector, AffineCorrector) for fit in fitted)
    parts.append(
        "The correction is in native modules at the end of this encoder; no other library is "
        "needed to load it."
        if native_only
        else "The correction is in a module of isotropy: install it, and load with "
        "`trust_remote_code=True`."
    )
    return "\n".join(parts) + "\n"


def _told(fit: _Fit, kind: str) -> list[str]:
    corrector = fit.corrector
    k = getattr(corrector, "_n_features_out", corrector.n_features_in_)
    of = "fitted beforehand" if fit.n_texts is None else f"fitted on {fit.n_texts:,} texts"
    lines = [
        f"{kind} are corrected by isotropy {library_version()}: `{corrector!r}`, {of}, from "
        f"{corrector.n_features_in_} to {k} dimensions."
    ]
    if fit.table is not None:
        n = min(_SCORED, fit.n_texts or _SCORED)
        lines += ["", f"Scores of {n:,} of these texts:", "", fit.table.to_markdown()]
    return lines
