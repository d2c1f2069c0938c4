"""Open any file of embeddings as rows, in blocks; write rows back, whole or not at all."""

from .errors import FileError
from .read import open_rows
from .rows import Rows
from .write import RowWriter

__all__ = ["FileError", "RowWriter", "Rows", "open_rows"]
