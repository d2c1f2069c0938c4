"""Tasks from files: which kind of task a file holds, and the task."""

from __future__ import annotations

import os
from pathlib import Path

from isotropy.evaluate._file import TaskFile
from isotropy.evaluate.task import Task
from isotropy.storage.errors import FileError
from isotropy.tables import TASKS

__all__ = ["read_task"]


def read_task(path: str | os.PathLike[str], kind: str | None = None) -> Task:
    r"""Read a task from a file or folder.

    Parameters
    ----------
    path : str or path-like
        - a folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`), as
          BEIR keeps them, judgements in three columns or in TREC's four: retrieval;
        - pairs of texts, tab- or comma-separated with a first line of names (sentence1, sentence2
          and score: STS; #1 String, #2 String and Quality, or label: pair classification), or the
          STS benchmark's own columns without names;
        - labelled texts, with columns of names label (or class) and text: clustering; where
          `..._train` and `..._test` lie side by side, either name is also a classification.
    kind : str, optional
        A name of `isotropy.tables.TASKS`: "sts", "pairs", "retrieval", "clustering",
        "classification". Where a file allows more than one; by default the first that fits.

    Returns
    -------
    Task
        Of the kind found.

    Raises
    ------
    isotropy.io.FileError
        If the file is missing, or not of such a form; the line is named.
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "same.tsv")
    ...     _ = path.write_text("text1\ttext2\tscore\na cat\ta kitten\t4.5\na\tb\t0\n")
    ...     task = read_task(path)
    >>> task.kind, task.left, task.scores
    ('sts', ['a cat', 'a'], [4.5, 0.0])
    """
    path = Path(path)
    if kind is not None and kind not in TASKS:
        raise ValueError(f"kind must be one of {', '.join(TASKS)}, got {kind!r}.")
    if not path.exists():
        raise FileError(path, "no such file or folder.")
    try:
        return _read(TaskFile(path), kind)
    except UnicodeDecodeError as error:
        raise FileError(path, f"is not UTF-8 text ({error}).") from error
    except OSError as error:
        raise FileError(path, f"could not be read ({error.strerror or error}).") from error
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(path, str(error)) from error


def _read(file: TaskFile, kind: str | None) -> Task:
    for name in TASKS if kind is None else [kind]:
        task: Task | None = TASKS[name].read(file)
        if task is not None:
            return task
    if kind is not None:
        other = _read(file, None)
        raise FileError(file.path, f"is a task of kind {other.kind!r}, not {kind!r}.")
    raise FileError(
        file.path,
        "has no columns that say what it is: wanted sentence1, sentence2 and score; label and "
        "text; or the seven columns of the STS benchmark.",
    )
