"""One self-contained HTML page that says how isotropic embeddings are, and what correctors do."""

from isotropy.report.build import Report, report

__all__ = ["Report", "report"]
