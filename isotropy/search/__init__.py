"""What makes a plain inner-product index find better: a bias against hubs, and ranges for codes."""

from ._codes import code_ranges
from ._hubness import HubnessBias

__all__ = ["HubnessBias", "code_ranges"]
