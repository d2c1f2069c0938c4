"""Open any file of embeddings as rows, in blocks; write rows back, whole or not at all."""

from isotropy.io.open import open_rows
from isotropy.io.write import RowWriter
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["FileError", "RowWriter", "Rows", "open_rows"]
