"""The ``isotropy`` command."""

from isotropy.cli.app import main

__all__ = ["main"]
