"""What corrections do to similarity, pairs, search, clusters and classes, with intervals."""

from isotropy.evaluate.classification import Classification
from isotropy.evaluate.clustering import Clustering
from isotropy.evaluate.pairs import PairClassification
from isotropy.evaluate.read import read_task
from isotropy.evaluate.retrieval import Retrieval
from isotropy.evaluate.run import Evaluation, evaluate
from isotropy.evaluate.sts import STS
from isotropy.evaluate.task import Outcome, Task

__all__ = [
    "STS",
    "Classification",
    "Clustering",
    "Evaluation",
    "Outcome",
    "PairClassification",
    "Retrieval",
    "Task",
    "evaluate",
    "read_task",
]
