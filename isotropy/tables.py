"""Tables of what a user names: correctors, metrics, losses, formats, tasks, targets, commands.

Everything that a user or a command line names stands in one of these tables, a line each. The line
says where the thing is, as ``"module:attribute"``; it is imported when it is first used. The names
and the help of the command line, and the lists that tests run over, follow from the tables.

Adding one thing takes its own file, and a line in its table: here, or from outside by `Table.add`.

========== ============================================================================
table      an entry is
========== ============================================================================
CORRECTORS a class derived from `isotropy.correctors.AffineCorrector` or its base
METRICS    an `isotropy.metrics.Metric`. The module of a family lists its own in a tuple
           ``REGISTERED``; a new family is one line in `FAMILIES`
LOSSES     a ``torch.nn.Module`` class derived from `isotropy.losses.Regularizer`
FORMATS    by suffix, an `isotropy.io.formats.Format`: how such files are read and written
SOURCES    an `isotropy.io.sources.Source`: a table, server or folder that is no single file
TASKS      an `isotropy.evaluate.Task` class: what people said of texts, and its score
OUTPUTS    an `isotropy.jobs.outputs.Output` class: a kind of place to write corrected rows to
TARGETS    by the name for ``isotropy export --to``, a function that writes a corrector there
COMMANDS   a function with typer's annotations: a command of ``isotropy``
========== ============================================================================

Examples
--------
A corrector of one's own, known to `load`, `compare` and the command line from then on:

>>> from isotropy.correctors import MeanRemoval
>>> class Halfway(MeanRemoval):
...     "Half of the mean removed."
>>> from isotropy.tables import CORRECTORS
>>> CORRECTORS.add("halfway", Halfway)  # or "my_module:Halfway"
>>> CORRECTORS["halfway"]().strength
1.0
>>> CORRECTORS.pop("halfway").__name__
'Halfway'
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from threading import RLock
from typing import Any

__all__ = [
    "COMMANDS",
    "CORRECTORS",
    "FAMILIES",
    "FORMATS",
    "LOSSES",
    "METRICS",
    "OUTPUTS",
    "SOURCES",
    "TARGETS",
    "TASKS",
    "Table",
    "UnknownNameError",
]


class UnknownNameError(ValueError, KeyError):
    """A name that a table does not have; the message lists those it has, near misses first.

    Examples
    --------
    >>> try:
    ...     Table("shape", {"square": 4, "circle": 0})["squares"]
    ... except UnknownNameError as error:
    ...     print(error)
    No shape is named 'squares'. Did you mean 'square'? There are: square, circle.
    """

    __str__ = ValueError.__str__  # a KeyError shows its message in quotation marks


class Table(Mapping[str, Any]):
    """Things by name, in the order added; each is imported when it is first asked for.

    Looking at the names (iteration, ``len``, ``in``) imports nothing, but in a table of families,
    whose names stand in the families' modules.

    Parameters
    ----------
    kind : str
        What the entries are, in the singular, for messages: "corrector".
    entries : mapping of str to object, optional
        What to begin with; see `add`.
    families : sequence of str, optional
        "module:attribute" of sequences of objects with a ``name``, which stand first in the table.

    Examples
    --------
    >>> shapes = Table("shape", {"path": "pathlib:PurePosixPath"})
    >>> shapes.add("number", 7)
    >>> list(shapes), shapes["number"], shapes["path"]("a/b").name
    (['path', 'number'], 7, 'b')
    """

    def __init__(
        self, kind: str, entries: Mapping[str, Any] | None = None, families: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self._entries: dict[str, Any] = dict(entries or {})
        self._families = families
        self._lock = RLock()
        self._loading = False

    def add(self, name: str, entry: Any) -> None:
        """Put a thing into the table, at its end.

        Parameters
        ----------
        name : str
            Must be free.
        entry : object or str
            The thing itself, or "module:attribute", where it will be imported from.

        Raises
        ------
        ValueError
            If the name is taken, empty or holds a colon, or a string is no "module:attribute".
        TypeError
            If the name is no string.

        Examples
        --------
        >>> shapes = Table("shape", {"number": 7})
        >>> shapes.add("number", 8)
        Traceback (most recent call last):
        ValueError: A shape named 'number' is there already; take another name, or remove it first.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, got {type(name).__name__}.")
        if not name or ":" in name:
            raise ValueError(f"name must not be empty, nor hold a colon, got {name!r}.")
        if isinstance(entry, str) and not all(entry.partition(":")):
            raise ValueError(f"entry must be an object or 'module:attribute', got {entry!r}.")
        if name in self._known():
            raise ValueError(
                f"A {self.kind} named {name!r} is there already; take another name, or remove it "
                "first."
            )
        self._entries[name] = entry

    def pop(self, name: str, *default: Any) -> Any:
        """Take a thing out of the table, and return it.

        Parameters
        ----------
        name : str
        *default : object
            What to return where there is no such name; an error without it.

        Returns
        -------
        thing : object

        Raises
        ------
        UnknownNameError
            If there is no such name, and no default.

        Examples
        --------
        >>> shapes = Table("shape", {"number": 7})
        >>> shapes.pop("number"), shapes.pop("number", None)
        (7, None)
        """
        if default and name not in self:
            return default[0]
        try:
            return self[name]
        finally:
            self._entries.pop(name, None)

    def name_of(self, thing: Any) -> str | None:
        """The name under which a class or function stands in the table.

        Parameters
        ----------
        thing : class, function or other object

        Returns
        -------
        name : str or None
            None where it is not in the table.

        Examples
        --------
        >>> CORRECTORS.name_of(CORRECTORS["mean-removal"])
        'mean-removal'
        """
        called = getattr(thing, "__qualname__", None)
        for name, entry in self._known().items():
            # What is not imported yet is imported only where it goes by the same name.
            same = entry is thing or (isinstance(entry, str) and entry.partition(":")[2] == called)
            if same and self[name] is thing:
                return name
        return None

    def __getitem__(self, name: str) -> Any:
        if name not in self._known():
            raise UnknownNameError(self._no(name))
        entry = self._entries[name]
        if isinstance(entry, str):
            try:
                entry = self._entries[name] = _import(entry)
            except (ImportError, AttributeError) as error:
                raise ImportError(
                    f"The {self.kind} {name!r} stands in the table as {entry!r}, which cannot be "
                    f"imported ({error})."
                ) from error
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._known()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._known()))

    def __len__(self) -> int:
        return len(self._known())

    def __repr__(self) -> str:
        return f"<Table of {self.kind}s: {', '.join(self._known())}>"

    def _known(self) -> dict[str, Any]:
        """The entries, those of the families among them."""
        if self._families:
            with self._lock:
                if not self._loading:
                    self._load_families()
        return self._entries

    def _load_families(self) -> None:
        self._loading = True  # a family's module may ask what is there already
        try:
            found = {thing.name: thing for place in self._families for thing in _import(place)}
            self._entries = {**found, **self._entries}
            self._families = ()
        finally:
            self._loading = False

    def _no(self, name: Any) -> str:
        close = difflib.get_close_matches(str(name).lower(), self._known(), n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        return f"No {self.kind} is named {name!r}.{hint} There are: {', '.join(self._known())}."


def _import(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


CORRECTORS = Table(
    "corrector",
    {
        "auto-corrector": "isotropy.choose:AutoCorrector",
        "mean-removal": "isotropy.correctors.mean:MeanRemoval",
        "mean-direction-removal": "isotropy.correctors.mean:MeanDirectionRemoval",
        "component-removal": "isotropy.correctors.components:ComponentRemoval",
        "conceptor-negation": "isotropy.correctors.components:ConceptorNegation",
        "tapered-whitening": "isotropy.correctors.tapered:TaperedWhitening",
        "whitening": "isotropy.correctors.whitening:Whitening",
        "random-rotation": "isotropy.correctors.rotation:RandomRotation",
        "concept-erasure": "isotropy.correctors.erasure:ConceptErasure",
        "cluster-removal": "isotropy.correctors.clusters:ClusterRemoval",
        "pair-whitening": "isotropy.correctors.pairs:PairWhitening",
        "weighted-removal": "isotropy.correctors.pairs:WeightedRemoval",
        "group-mean-removal": "isotropy.correctors.group_means:GroupMeanRemoval",
        "group-whitening": "isotropy.correctors.group_whitening:GroupWhitening",
        "hubness-bias": "isotropy.correctors.hubness:HubnessBias",
        "flow-gaussianizer": "isotropy.gaussianize:FlowGaussianizer",
        "rotation-gaussianizer": "isotropy.gaussianize:RotationGaussianizer",
    },
)

FAMILIES = (
    "isotropy.metrics.cosine:REGISTERED",
    "isotropy.metrics.spectrum:REGISTERED",
    "isotropy.metrics.partition:REGISTERED",
    "isotropy.metrics.pairs:REGISTERED",
    "isotropy.metrics.gaussian:REGISTERED",
    "isotropy.metrics.mardia:REGISTERED",
    "isotropy.metrics.sliced:REGISTERED",
    "isotropy.metrics.projected:REGISTERED",
    "isotropy.metrics.coordinates:REGISTERED",
)
"""Where metrics are defined, in the order of a scorecard."""

METRICS = Table("metric", families=FAMILIES)

LOSSES = Table(
    "loss",
    {
        "mean_cosine": "isotropy.losses.cosine:MeanCosine",
        "spread_out": "isotropy.losses.cosine:SpreadOut",
        "decorrelation": "isotropy.losses.covariance:Decorrelation",
        "variance_covariance": "isotropy.losses.covariance:VarianceCovariance",
        "barlow_twins": "isotropy.losses.covariance:BarlowTwins",
        "isoscore_star": "isotropy.losses.covariance:IsoScoreStar",
        "log_frobenius": "isotropy.losses.covariance:LogFrobenius",
        "spectrum_control": "isotropy.losses.covariance:SpectrumControl",
        "sliced_epps_pulley": "isotropy.losses.gaussian:SlicedEppsPulley",
        "uniformity": "isotropy.losses.pairs:Uniformity",
        "alignment": "isotropy.losses.pairs:Alignment",
        "koleo": "isotropy.losses.pairs:KoLeo",
    },
)

FORMATS = Table(
    "format",
    {
        ".npy": "isotropy.io.formats.npy:NPY",
        ".npz": "isotropy.io.formats.npz:NPZ",
        ".safetensors": "isotropy.io.formats.safetensors:SAFETENSORS",
        ".parquet": "isotropy.io.formats.parquet:PARQUET",
        ".arrow": "isotropy.io.formats.arrow:ARROW",
        ".feather": "isotropy.io.formats.arrow:ARROW",
        ".h5": "isotropy.io.formats.hdf5:HDF5",
        ".hdf5": "isotropy.io.formats.hdf5:HDF5",
        ".fvecs": "isotropy.io.formats.fvecs:FVECS",
        ".bvecs": "isotropy.io.formats.fvecs:BVECS",
        ".vec": "isotropy.io.formats.words:WORD_TEXT",
        ".txt": "isotropy.io.formats.words:WORD_TEXT",
        ".bin": "isotropy.io.formats.words:WORD2VEC",
    },
)

SOURCES = Table(
    "source",
    {
        "folder": "isotropy.io.sources.shards:FOLDER",
        "pattern": "isotropy.io.sources.shards:PATTERN",
        "files": "isotropy.io.sources.shards:FILES",
        "frame": "isotropy.io.sources.frames:FRAME",
        "saved dataset": "isotropy.io.sources.hugging_face:SAVED_DATASET",
        "dataset": "isotropy.io.sources.hugging_face:DATASET",
        "lance": "isotropy.io.sources.lance:LANCE",
        "zarr": "isotropy.io.sources.zarr:ZARR",
        "remote": "isotropy.io.sources.remote:REMOTE",
        "postgres": "isotropy.io.sources.postgres:POSTGRES",
    },
)
"""The one added last is asked first whether it recognizes what it is given."""

OUTPUTS = Table(
    "output",
    {
        "file": "isotropy.jobs.outputs.file:FileOutput",
        "folder": "isotropy.jobs.outputs.folder:FolderOutput",
        "lance": "isotropy.jobs.outputs.lance:LanceOutput",
        "postgres": "isotropy.jobs.outputs.postgres:PostgresOutput",
        "remote file": "isotropy.jobs.outputs.remote:RemoteFile",
        "remote folder": "isotropy.jobs.outputs.remote:RemoteFolder",
    },
)
"""The one added last is asked first whether it recognizes what it is given."""

TASKS = Table(
    "task",
    {
        "sts": "isotropy.evaluate.sts:STS",
        "pairs": "isotropy.evaluate.pairs:PairClassification",
        "retrieval": "isotropy.evaluate.retrieval:Retrieval",
        "clustering": "isotropy.evaluate.clustering:Clustering",
        "classification": "isotropy.evaluate.classification:Classification",
    },
)

TARGETS = Table(
    "export target",
    {
        "dense": "isotropy.export.dense:write_dense",
        "faiss": "isotropy.export.faiss:write_index",
        "onnx": "isotropy.export.onnx:to_onnx",
        "npz": "isotropy.export.npz:to_npz",
        "safetensors": "isotropy.export.safetensors:to_safetensors",
    },
)

COMMANDS = Table(
    "command",
    {
        "score": "isotropy.cli.score:score",
        "fit": "isotropy.cli.fit:fit",
        "apply": "isotropy.cli.apply:apply",
        "compare": "isotropy.cli.compare:compare",
        "report": "isotropy.cli.report:report",
        "advise": "isotropy.cli.advise:advise",
        "evaluate": "isotropy.cli.evaluate:evaluate",
        "drift": "isotropy.cli.drift:drift",
        "groups": "isotropy.cli.groups:groups",
        "encode": "isotropy.cli.encode:encode",
        "layers": "isotropy.cli.layers:layers",
        "wrap": "isotropy.cli.wrap:wrap",
        "check": "isotropy.cli.check:check",
        "export": "isotropy.cli.export:export",
        "demo": "isotropy.cli.demo:demo",
    },
)
