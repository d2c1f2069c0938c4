"""Correctors as words on a command line: ``whitening:power=0.5,n_components=128``."""

from __future__ import annotations

import inspect
import json
from typing import Any

from isotropy.correctors import AffineCorrector, load
from isotropy.tables import CORRECTORS

CLASSES = {
    name: cls
    for name, cls in CORRECTORS.items()
    if issubclass(cls, AffineCorrector)
    and name not in ("pair-whitening", "weighted-removal")  # they learn from pairs
}


def parse_corrector(spec: str) -> AffineCorrector:
    """The unfitted corrector that `spec` names; a ``ValueError`` says what is wrong with it."""
    name, _, rest = spec.partition(":")
    if name.strip() not in CLASSES:
        raise ValueError(f"unknown corrector {name!r}; there are: {', '.join(CLASSES)}.")
    cls = CLASSES[name.strip()]
    allowed = list(inspect.signature(cls).parameters)
    parameters: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in allowed:
            raise ValueError(
                f"{spec!r}: {part!r} is not parameter=value; {name} takes {', '.join(allowed)}."
            )
        parameters[key] = _value(value)
    return cls(**parameters)


def _value(text: str) -> Any:
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def corrector_or_file(text: str) -> Any:
    """The corrector that a file holds, or the unfitted one that `text` names."""
    if text.endswith(".safetensors"):
        return load(text)
    return parse_corrector(text)
