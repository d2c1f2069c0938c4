"""The ``isotropy`` command."""

from .app import main

__all__ = ["main"]
