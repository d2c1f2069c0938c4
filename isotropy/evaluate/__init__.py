"""What corrections do to similarity, pairs, search, clusters and classes, with intervals."""

from isotropy.evaluate.read import read_task
from isotropy.evaluate.run import Evaluation, evaluate
from isotropy.evaluate.tasks import (
    STS,
    Classification,
    Clustering,
    PairClassification,
    Retrieval,
    Task,
)

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
