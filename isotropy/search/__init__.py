"""What makes a plain inner-product index find better: a bias against hubs, and ranges for codes."""

from isotropy.correctors.hubness import HubnessBias
from isotropy.search.codes import code_ranges

__all__ = ["HubnessBias", "code_ranges"]
