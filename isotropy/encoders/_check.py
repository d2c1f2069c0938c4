"""Write an encoder's folder whole or not at all, and check that it does what its corrector does."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isotropy.affine import AffineMap
from isotropy.encoders._fitting import fitted
from isotropy.encoders._models import load, modes_kept, without_bars_for
from isotropy.encoders._texts import checked_texts
from isotropy.encoders._wrap import corrections
from isotropy.export.dense import native
from isotropy.io.texts import documentation_sentences
from isotropy.storage.whole import whole_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Parity", "check", "save"]

_FILES = {
    "document": "isotropy_corrector.safetensors",
    "query": "isotropy_query_corrector.safetensors",
}
_TOLERANCE = 1e-5
_HALF = 8  # of half precision's spacing at 1: matrix, bias, product and result are each rounded
_OURS = "isotropy.encoders._module.CorrectorModule"


def save(encoder: SentenceTransformer, path: str | os.PathLike[str]) -> None:
    """Write an encoder that `wrap` returned, with the files of its correctors, for `check`.

    Parameters
    ----------
    encoder : SentenceTransformer
        What `wrap` returned. Its own ``save_pretrained`` writes the same without those files.
    path : path-like
        A folder that does not exist or is empty; it appears whole or not at all.

    Raises
    ------
    ValueError
        If `encoder` is not what `wrap` returned, or its correction was changed since, by training
        say: no file of a corrector would tell what it does.
    FileError
        If the folder cannot be written.

    See Also
    --------
    check : Compare what was written with its corrector.

    Examples
    --------
    >>> import tempfile
    >>> from isotropy import MeanRemoval
    >>> from isotropy.encoders import check, save, wrap
    >>> encoder = wrap("minilm", ["A cat sat.", "Markets fell."], MeanRemoval())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(encoder, f"{folder}/model")
    ...     check(f"{folder}/model", texts=["It rains."]).holds
    True
    """
    correctors = {
        "document": getattr(encoder, "isotropy_corrector", None),
        "query": getattr(encoder, "isotropy_query_corrector", None),
    }
    if correctors["document"] is None:
        raise ValueError("encoder must be what isotropy.encoders.wrap returned: it knows no more.")
    _refuse_changed(encoder)
    with whole_folder(path) as folder, without_bars_for(str(folder)):
        encoder.save_pretrained(str(folder))
        for kind, corrector in correctors.items():
            if corrector is not None:
                corrector.save(folder / _FILES[kind])


def _refuse_changed(encoder: Any) -> None:
    """Refuse a correction that no longer is what its corrector made."""
    import torch

    for kept, module in zip(encoder._isotropy_made, corrections(encoder), strict=True):
        found = module.state_dict()
        if kept.keys() != found.keys() or not all(
            torch.equal(kept[name].to(found[name].dtype), found[name].cpu()) for name in kept
        ):
            raise ValueError(
                "The correction of this encoder was changed after wrap, by training say, so its "
                "corrector no longer tells what it does. encoder.save_pretrained(path) writes the "
                "encoder alone."
            )


@dataclass(frozen=True)
class Parity:
    """How far a saved encoder is from its corrector applied to the bare encoder.

    Parameters
    ----------
    largest : float
        The largest difference of a coordinate, over the mean length of the corrected embeddings; 0
        at best.
    n_texts : int
        Compared on.
    tolerance : float
        Largest difference at which the two agree.

    Examples
    --------
    >>> from isotropy.encoders import Parity
    >>> Parity(largest=2e-7, n_texts=64, tolerance=1e-5).holds
    True
    """

    largest: float
    n_texts: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.largest <= self.tolerance


def check(
    encoder: SentenceTransformer | str | os.PathLike[str],
    corrector: Any = None,
    texts: Iterable[str] | None = None,
    *,
    tolerance: float | None = None,
) -> Parity:
    """Compare a saved, corrected encoder with its corrector applied in float64.

    Parameters
    ----------
    encoder : SentenceTransformer, str or path-like
        The corrected encoder, or its folder, from which no code is run.
    corrector : fitted corrector, AffineMap or path-like, optional
        By default the file that `save` put into the folder, and that for queries with it.
    texts : iterable of str, optional
        Texts to compare on; by default 64 sentences of Python's documentation.
    tolerance : float, optional
        In lengths of an embedding. By default 1e-5, where rounding in float32 makes some 1e-7; for
        encoders of float16 and bfloat16 eight times the spacing of their numbers at 1: 8e-3, 6e-2.

    Returns
    -------
    Parity
        The largest difference, and whether it `holds`.

    Raises
    ------
    ValueError
        If the encoder does not end in a correction, the corrector does not fit it, there is no
        text, or the folder would run code of its own.

    See Also
    --------
    save : Write an encoder with its corrector.

    Examples
    --------
    >>> from isotropy import MeanRemoval
    >>> from isotropy.encoders import check, wrap
    >>> encoder = wrap("minilm", ["A cat sat.", "Markets fell."], MeanRemoval())
    >>> check(encoder, encoder.isotropy_corrector, ["It rains."]).holds
    True
    """
    folder = None if not isinstance(encoder, str | os.PathLike) else Path(encoder)
    correctors = _correctors(folder, corrector)
    lines = list(checked_texts(documentation_sentences(64) if texts is None else texts))
    if not lines:
        raise ValueError("texts holds no text to compare on.")
    model = _opened(encoder)
    if tolerance is None:
        tolerance = _tolerance(model)
    with modes_kept(model):
        largest = max(_difference(model, kind, known, lines) for kind, known in correctors.items())
    return Parity(largest, len(lines), tolerance)


def _difference(model: Any, kind: str, known: Any, lines: list[str]) -> float:
    """The largest difference of one way through the encoder to its corrector."""
    bare, normalized = _bare(model, kind)
    rows = _encoded(bare, model, kind, lines).astype(np.float64)
    d = known.n_features_in if isinstance(known, AffineMap) else known.n_features_in_
    if rows.shape[1] < d:
        raise ValueError(
            f"The corrector takes {d} dimensions, the encoder gives {rows.shape[1]}: they do not "
            "belong together."
        )
    rows = rows[:, :d]
    wanted = known.apply(rows) if isinstance(known, AffineMap) else known.transform(rows)
    if normalized:
        wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    found = _encoded(model, model, kind, lines)
    if found.shape != wanted.shape:
        raise ValueError(
            f"The encoder gives {found.shape[1]} dimensions, its corrector {wanted.shape[1]}: they "
            "do not belong together."
        )
    apart = float(np.abs(found - wanted).max())
    return apart / float(np.linalg.norm(wanted, axis=1).mean()) if apart else 0.0


def _tolerance(model: Any) -> float:
    import torch

    types = [part.dtype for part in model.parameters() if part.is_floating_point()]
    spacing = max((torch.finfo(dtype).eps for dtype in types), default=0.0)
    return max(_TOLERANCE, _HALF * spacing)


def _opened(encoder: Any) -> SentenceTransformer:
    """The encoder itself, or that in a folder, our own module included but no code of the folder's.

    sentence-transformers loads modules of others, ours too, only where all code is trusted.
    """
    folder = Path(encoder) if isinstance(encoder, str | os.PathLike) else None
    if folder is None or _OURS not in _types_in(folder):
        return load(encoder, None)
    foreign = {one for one in _types_in(folder) if not one.startswith("sentence_transformers.")}
    for file in sorted(folder.rglob("*")):
        runs = file.suffix == ".py" or (file.suffix == ".json" and _names_code(file))
        if runs or foreign != {_OURS}:
            raise ValueError(
                f"{folder}: loading it would run code of its own ({file.name if runs else foreign})"
                ". Load it yourself, if you trust it, and pass the encoder."
            )
    from sentence_transformers import SentenceTransformer

    with without_bars_for(str(folder)):
        return SentenceTransformer(str(folder), trust_remote_code=True, local_files_only=True)


def _types_in(folder: Path) -> set[str]:
    """The classes that an encoder's folder names for its modules."""
    found: set[str] = set()
    for file in folder.rglob("*.json"):
        if file.name not in ("modules.json", "router_config.json"):
            continue
        told = _json(file)
        if isinstance(told, list):
            found.update(str(entry.get("type")) for entry in told if isinstance(entry, dict))
        elif isinstance(told, dict) and isinstance(told.get("types"), dict):
            found.update(str(one) for one in told["types"].values())
    return found


def _names_code(file: Path) -> bool:
    """Whether a configuration names classes or functions to import from elsewhere."""
    told = _json(file)
    if not isinstance(told, dict):
        return False
    activation = str(told.get("activation_function", "torch."))
    return "auto_map" in told or not activation.startswith("torch.")


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _correctors(folder: Path | None, corrector: Any) -> dict[str, Any]:
    if corrector is not None:
        return {"document": fitted(corrector)}
    found = {
        kind: fitted(folder / name)
        for kind, name in _FILES.items()
        if folder is not None and (folder / name).is_file()
    }
    if not found:
        raise ValueError(
            f"No corrector was given, and {folder or 'the encoder'} holds none "
            f"({_FILES['document']}): name the corrector file."
        )
    return found


def _bare(model: SentenceTransformer, kind: str) -> tuple[SentenceTransformer, bool]:
    """The encoder without its correction, and whether the correction ends in Normalize."""
    from sentence_transformers import SentenceTransformer

    prompts: Any = model.prompts
    modules = list(model.named_children())
    end, last = len(modules) - 1, modules[-1][1]
    if isinstance(last, native("Router")):
        if kind not in last.sub_modules:
            raise ValueError(
                f"The encoder corrects by {', '.join(last.sub_modules)}, not as wrap does: compare "
                "its rows with corrector.transform(rows, groups=...) of the bare encoder's."
            )
        normalized = isinstance(last.sub_modules[kind][-1], native("Normalize"))
    else:
        normalized = isinstance(last, native("Normalize"))
        end -= int(normalized)
        corrects = end > 0 and (
            isinstance(modules[end][1], native("Dense"))
            or type(modules[end][1]).__name__ == "CorrectorModule"
        )
        if not corrects:
            raise ValueError("The encoder does not end in a correction (Dense, then Normalize).")
    kept: Any = OrderedDict(modules[:end])
    bare = SentenceTransformer(
        modules=kept,
        device=str(model.device),
        prompts=prompts,
        default_prompt_name=model.default_prompt_name,
    )
    return bare, normalized


def _encoded(
    which: SentenceTransformer, model: SentenceTransformer, kind: str, lines: list[str]
) -> np.ndarray:
    routed = isinstance(list(model.children())[-1], native("Router"))
    names = {"document": "encode_document", "query": "encode_query"}
    call = getattr(which, names[kind]) if routed else which.encode
    return np.asarray(call(lines, convert_to_numpy=True, show_progress_bar=False))
