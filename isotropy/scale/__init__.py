"""More rows than memory, cores or machines: checkpoints, Dask, torch.distributed, write-back."""

from .stream import stream_moments
from .write import correct

__all__ = ["correct", "stream_moments"]
