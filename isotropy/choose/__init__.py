"""The correction chosen on the data, or none."""

from isotropy.choose.auto import AutoCorrector, AutoReport, word_dropout

__all__ = ["AutoCorrector", "AutoReport", "word_dropout"]
