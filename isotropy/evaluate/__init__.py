"""What corrections do to similarity, pairs, search, clusters and classes, with intervals."""

from .read import read_task
from .run import Evaluation, evaluate
from .tasks import STS, Classification, Clustering, PairClassification, Retrieval, Task

__all__ = [
    "STS",
    "Classification",
    "Clustering",
    "Evaluation",
    "PairClassification",
    "Retrieval",
    "Task",
    "evaluate",
    "read_task",
]
