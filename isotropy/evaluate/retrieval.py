"""Search: documents, queries, and which documents people found relevant."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from isotropy.evaluate._file import Line, TaskFile, numbers, objects
from isotropy.evaluate.task import Outcome, Task
from isotropy.ranking import ndcg, nearest
from isotropy.storage.errors import FileError

__all__ = ["Retrieval"]

_DEPTH = 100


@dataclass
class Retrieval(Task):
    """Search: nDCG@10, MRR@10 and recall@100 by cosine, means over queries, x 100.

    Parameters
    ----------
    name : str
        What tables call it.
    documents : sequence of n str
        What is searched.
    queries : sequence of m str
        What is asked.
    judged : sequence of m mappings of int to float
        For each query its judged documents by number, with their grades: above 0 for relevant, of
        which each query needs one.

    Raises
    ------
    ValueError
        If there is no query, one without judgements or relevant document, or a judgement of a
        document that does not exist.

    Notes
    -----
    nDCG is that of BEIR and MTEB (`isotropy.ranking.ndcg`): the gain is the grade. MRR and recall
    take every grade above 0 alike. Of documents of equal cosine the first comes first.

    Examples
    --------
    >>> from isotropy.evaluate import Retrieval
    >>> task = Retrieval("r", ["one", "two", "three"], ["query"], [{1: 2.0, 2: 1.0}])
    >>> rows = {"documents": np.eye(3), "queries": np.array([[0.1, 0.5, 0.9]])}
    >>> {name: round(value, 1) for name, value in task.score(rows).metrics.items()}
    {'nDCG@10': 86.0, 'MRR@10': 100.0, 'recall@100': 100.0}
    """

    kind: ClassVar[str] = "retrieval"
    purpose: ClassVar[str | None] = "search"
    routes: ClassVar[dict[str, str]] = {"documents": "document", "queries": "query"}
    name: str
    documents: Sequence[str]
    queries: Sequence[str]
    judged: Sequence[Mapping[int, float]]

    def __post_init__(self) -> None:
        if len(self.judged) != len(self.queries) or not len(self.queries):
            raise ValueError(f"{self.name}: wanted judgements for each of at least one query.")
        for query, item in enumerate(self.judged):
            if not any(grade > 0 for grade in item.values()):
                raise ValueError(
                    f"{self.name}: query {query} has no relevant document; leave it out."
                )
            if wrong := [row for row in item if not 0 <= row < len(self.documents)]:
                raise ValueError(
                    f"{self.name}: query {query} is judged by document {wrong[0]}, there are "
                    f"{len(self.documents)}, counted from 0."
                )

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """Documents and queries.

        Returns
        -------
        dict of str to sequence of str

        Examples
        --------
        >>> Retrieval("r", ["one"], ["query"], [{0: 1.0}]).parts
        {'documents': ['one'], 'queries': ['query']}
        """
        return {"documents": self.documents, "queries": self.queries}

    def score(self, rows: Mapping[str, np.ndarray]) -> Outcome:
        """By the exact cosines of all documents, a block of queries at a time.

        Parameters
        ----------
        rows : mapping
            Embeddings of the parts "documents" and "queries".

        Returns
        -------
        Outcome
            The metrics, and what a bootstrap needs.

        Examples
        --------
        >>> task = Retrieval("r", ["one", "two"], ["query"], [{0: 1.0}])
        >>> rows = {"documents": np.eye(2), "queries": np.array([[0.1, 0.9]])}
        >>> task.score(rows).metrics["MRR@10"]
        50.0
        """
        found = [
            item
            for block, _ in nearest(rows["queries"], rows["documents"], _DEPTH)
            for item in block
        ]
        each = np.array(
            [_figures(item, judged) for item, judged in zip(found, self.judged, strict=True)]
        )
        means = 100 * each.mean(0)
        metrics = dict(zip(("nDCG@10", "MRR@10", "recall@100"), means.tolist(), strict=True))
        return Outcome(metrics, len(each), lambda k: 100 * float(each[k, 0].mean()))

    @classmethod
    def read(cls, file: TaskFile) -> Self | None:
        r"""A folder with `corpus.jsonl`, `queries.jsonl` and judgements, as BEIR keeps them.

        The judgements are in `qrels.tsv` or `qrels/test.tsv`: query, document and grade, or TREC's
        four columns; a first line of names is known by its grade, which is no number.

        Parameters
        ----------
        file : TaskFile
            What `read_task` was given.

        Returns
        -------
        Retrieval or None

        Raises
        ------
        isotropy.io.FileError
            If a file is missing, an id comes twice, or a judgement names an id that is unknown.

        Warns
        -----
        UserWarning
            Of judged queries that no document is relevant to: they are left out.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from isotropy.evaluate import read_task
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "corpus.jsonl").write_text('{"_id": "d", "text": "one"}')
        ...     _ = Path(folder, "queries.jsonl").write_text('{"_id": "q", "text": "ask"}')
        ...     _ = Path(folder, "qrels.tsv").write_text("q\td\t2\n")
        ...     read_task(folder).judged
        [{0: 2.0}]
        """
        folder = file.path
        if not folder.is_dir():
            return None
        documents, queries = (_texts(folder / f"{name}.jsonl") for name in ("corpus", "queries"))
        paths = folder / "qrels.tsv", folder / "qrels" / "test.tsv"
        marked = next((path for path in paths if path.is_file()), None)
        if marked is None:
            raise FileError(folder, "holds no qrels.tsv, nor qrels/test.tsv.")
        judged = _judgements(marked, documents, queries)
        kept = [query for query in queries if any(g > 0 for g in judged.get(query, {}).values())]
        if len(kept) < len(judged):
            warnings.warn(
                f"{marked}: {len(judged) - len(kept)} of {len(judged)} judged queries have no "
                "relevant document; they are left out.",
                stacklevel=4,
            )
        if not kept:
            raise FileError(marked, "holds no query with a relevant document.")
        texts = list(documents.values()), [queries[query] for query in kept]
        return cls(folder.name, *texts, [judged[query] for query in kept])


def _figures(found: np.ndarray, judged: Mapping[int, float]) -> tuple[float, float, float]:
    """nDCG@10, reciprocal rank within 10 and recall of what was found for a query."""
    gains = np.array([judged.get(int(row), 0.0) for row in found])
    hits = np.flatnonzero(gains > 0)
    rank = 1 / (1 + hits[0]) if len(hits) and hits[0] < 10 else 0.0
    relevant = sum(grade > 0 for grade in judged.values())
    return ndcg(gains, list(judged.values())), rank, len(hits) / relevant


def _texts(path: Path) -> dict[str, str]:
    """The texts of a corpus or of queries by their ids, in the order of the file."""
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, entry in objects(path):
        name, text = entry.get("_id", entry.get("id")), entry.get("text")
        if name is None or not isinstance(text, str):
            raise FileError(path, f"line {number}: no object with id and text.")
        if (name := str(name)) in lines:
            raise FileError(
                path, f"line {number}: the id {name!r} is that of line {lines[name]} too."
            )
        title = str(entry.get("title") or "")
        # Some collections repeat the title at the beginning of the text.
        texts[name] = text if text.startswith(title) else f"{title} {text}"
        lines[name] = number
    return texts


def _judgements(
    path: Path, documents: Mapping[str, str], queries: Mapping[str, str]
) -> dict[str, dict[int, float]]:
    place = {name: row for row, name in enumerate(documents)}
    judged: dict[str, dict[int, float]] = {}
    told: dict[tuple[str, int], Line] = {}
    for line in _qrels(path):
        query, document, text = line.fields
        for name, known, what in ((query, queries, "query"), (document, place, "document")):
            if name not in known:
                raise FileError(path, f"line {line.number}: no {what} has the id {name!r}.")
        row, (grade,) = place[document], numbers(path, [line], [text])
        before = told.setdefault((query, row), line)
        if judged.setdefault(query, {}).setdefault(row, grade) != grade:
            raise FileError(
                path,
                f"line {line.number}: query {query!r} and document {document!r} have another "
                f"grade in line {before.number}.",
            )
    return judged


def _qrels(path: Path) -> list[Line]:
    """Lines of three fields: query, document, grade."""
    lines = []
    for number, text in enumerate(path.read_text("utf-8-sig").split("\n"), 1):
        fields = [field.strip() for field in text.split("\t")] if "\t" in text else text.split()
        if not any(fields):
            continue
        if len(fields) == 4:  # TREC's: query, iteration, document, grade
            fields = [fields[0], *fields[2:]]
        if len(fields) != 3:
            raise FileError(path, f"line {number} has {len(fields)} columns; 3 are needed.")
        lines.append(Line(number, fields))
    return lines[1:] if lines and not _is_number(lines[0].fields[2]) else lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
