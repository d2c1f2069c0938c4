"""More rows than memory, cores or machines: checkpoints, Dask, torch.distributed, write-back."""

from isotropy.jobs.apply import correct
from isotropy.jobs.distributed import all_reduce
from isotropy.jobs.fit import stream_moments

__all__ = ["all_reduce", "correct", "stream_moments"]
