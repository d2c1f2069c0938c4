"""Rows of embeddings of any kind, through one door."""

from isotropy.rows.arrays import BadRowError, unit_rows
from isotropy.rows.door import as_rows
from isotropy.rows.source import Rows

__all__ = ["BadRowError", "Rows", "as_rows", "unit_rows"]
