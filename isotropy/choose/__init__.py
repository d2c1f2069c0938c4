"""The correction chosen on the data, or none."""

from isotropy.choose.auto import AutoCorrector
from isotropy.choose.report import AutoReport
from isotropy.choose.texts import word_dropout

__all__ = ["AutoCorrector", "AutoReport", "word_dropout"]
