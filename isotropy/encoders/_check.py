"""Write an encoder's folder whole or not at all, and check that it does what its corrector does."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isotropy.correctors import load as load_corrector
from isotropy.encoders._models import _without_bars_for, load
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
        If `encoder` is not what `wrap` returned.
    FileError
        If the folder cannot be written.
    """
    correctors = {
        "document": getattr(encoder, "isotropy_corrector", None),
        "query": getattr(encoder, "isotropy_query_corrector", None),
    }
    if correctors["document"] is None:
        raise ValueError("encoder must be what isotropy.encoders.wrap returned: it knows no more.")
    with whole_folder(path) as folder, _without_bars_for(str(folder)):
        encoder.save_pretrained(str(folder))
        for kind, corrector in correctors.items():
            if corrector is not None:
                corrector.save(folder / _FILES[kind])


@dataclass(frozen=True)
class Parity:
    """How far a saved encoder is from its corrector applied to the bare encoder.

    Attributes
    ----------
    largest : float
        The largest difference of a coordinate, over the mean length of the corrected embeddings.
    n_texts : int
    tolerance : float
    holds : bool
        Whether `largest` is within `tolerance`.
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
    tolerance: float = _TOLERANCE,
) -> Parity:
    """Compare a saved, corrected encoder with its corrector applied in float64.

    Parameters
    ----------
    encoder : SentenceTransformer, str or path-like
        The corrected encoder, or its folder.
    corrector : fitted corrector or path-like, optional
        By default the file that `save` put into the folder, and that for queries with it.
    texts : iterable of str, optional
        Texts to compare on; by default 64 sentences of Python's documentation.
    tolerance : float, default=1e-5
        In lengths of an embedding; float32 rounding is some 1e-7 of one.

    Returns
    -------
    Parity

    Raises
    ------
    ValueError
        If the encoder does not end in a correction, or the corrector does not fit it.
    """
    folder = None if not isinstance(encoder, str | os.PathLike) else Path(encoder)
    model = load(encoder, None)
    correctors = _correctors(folder, corrector)
    lines = list(documentation_sentences(64) if texts is None else texts)
    largest = 0.0
    for kind, known in correctors.items():
        bare, normalized = _bare(model, kind)
        rows = _encoded(bare, model, kind, lines)
        if rows.shape[1] < known.n_features_in_:
            raise ValueError(
                f"The corrector takes {known.n_features_in_} dimensions, the encoder gives "
                f"{rows.shape[1]}: they do not belong together."
            )
        wanted = known.transform(rows[:, : known.n_features_in_].astype(np.float64))
        if normalized:
            wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
        found = _encoded(model, model, kind, lines)
        if found.shape != wanted.shape:
            raise ValueError(
                f"The encoder gives {found.shape[1]} dimensions, its corrector "
                f"{wanted.shape[1]}: they do not belong together."
            )
        length = np.linalg.norm(wanted, axis=1).mean()
        largest = max(largest, float(np.abs(found - wanted).max() / length))
    return Parity(largest, len(lines), tolerance)


def _correctors(folder: Path | None, corrector: Any) -> dict[str, Any]:
    if corrector is not None:
        is_path = isinstance(corrector, str | os.PathLike)
        return {"document": load_corrector(corrector) if is_path else corrector}
    found = {
        kind: load_corrector(folder / name)
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
