"""Import optional dependencies at one border, with a message that says what to install."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise an ``ImportError`` that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is needed for this and could not be imported ({error}). "
            f"Install it with: pip install 'isotropy[{extra}]'"
        ) from error
