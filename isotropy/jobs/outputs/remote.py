"""Corrected rows into a store elsewhere: one object, or a folder of them."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

from isotropy.io import FileError, Rows
from isotropy.io.folders import is_rows
from isotropy.io.remote import files_in, mark_of
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.outputs.file import count_rows, write_file
from isotropy.jobs.outputs.folder import ManyFiles
from isotropy.jobs.places import Inputs
from isotropy.jobs.plan import Plan
from isotropy.storage.remote import Place, is_remote, place_of
from isotropy.storage.secrets import Address
from isotropy.storage.whole import whole_file

__all__ = ["RemoteFile", "RemoteFolder"]

_RECORD = "_isotropy.json"
_RECORD_SECONDS = 5.0
_WAY_OUT = "say --overwrite (overwrite=True) to replace it, or name another."


class RemoteFile(Output):
    """One object of a store, which appears whole or not at all.

    Stores know no locks: of two jobs that write the same object, the one that ends last wins.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether a URL is named that does not end in a slash."""
        return is_remote(output) and not str(output).endswith("/")

    def check(self) -> None:
        """Refuse an object that is read, or that is there."""
        self.place = place_of(self.plan.output)
        self.place.check_writable()
        Inputs(self.plan.rows, *self.plan.reads).refuse(self.place)
        self.there = self.place.exists()
        if self.there and not self.plan.overwrite:
            raise FileError(self.place.address, f"exists; {_WAY_OUT}")

    def write(self) -> None:
        """Write all rows into a temporary file here, and send it."""
        write_file(self.plan, self.place.address, whole_file)

    def verify(self) -> Written:
        """Count the rows of the object, and look whether the source is what it was."""
        count_rows(self.plan, self.place.address)
        self.plan.rows.check_unchanged()
        return Written(
            self.plan.shape,
            str(self.place.address),
            replaced=int(self.there),
            verified=("rows counted", "source unchanged"),
        )


class RemoteFolder(ManyFiles):
    """A folder of a store, with a record in it of the tag that the store gave each object."""

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether a URL is named that ends in a slash."""
        return is_remote(output) and str(output).endswith("/")

    def check(self) -> None:
        """Refuse a folder that is read, that another job wrote, or that holds other files."""
        plan = self.plan
        self.folder = place_of(plan.output)
        self.folder.check_writable()
        self.shown = self.folder.address
        self._name_parts()
        inputs = Inputs(plan.rows, *plan.reads)
        for name in self.parts:
            inputs.refuse(self._place(name))
        self.record, job = self._read_record()
        there = self._there()
        self.marks = {name: mark_of(self._place(name).info()) for name in there & set(self.record)}
        self._check_files(there, set(self.record), job)

    def write(self) -> None:
        """Write what is not finished."""
        for name in self.left:  # of ours, and of no use any more: the user said so
            self.folder.tried(partial(self.folder.system.rm_file, self._place(name).key))
            del self.record[name]
        for name, part in self.parts.items():
            if not self._is_finished(name, part.digest()):
                self.record[name] = {"plan": None, "mark": None}
        self._save_record()  # should this job be killed, what it wrote is known as ours
        try:
            self._write_parts()
        finally:
            self._save_record()  # what is finished stays, whatever happened to the next

    def _write_part(self, name: str, part: Plan, plan: str) -> None:
        place = self._place(name)
        write_file(part, place.address, whole_file)
        self.record[name] = {"plan": plan, "mark": mark_of(place.info())}
        if time.monotonic() - self._saved >= _RECORD_SECONDS:
            self._save_record()

    def _is_finished(self, name: str, plan: str) -> bool:
        known = self.record.get(name, {})
        return known.get("plan") == plan and known.get("mark") == self.marks.get(name)

    def _is_ours(self, name: str) -> bool:
        return self.record[name].get("mark") in (None, self.marks[name])

    def _place(self, name: str) -> Place:
        return self.folder.at(f"{self.folder.key.rstrip('/')}/{name}")

    def _at(self, name: str) -> Address:
        return self._place(name).address

    def _there(self) -> set[str]:
        """The files of embeddings that are in the folder, by their names in it."""
        at = len(self.folder.key.rstrip("/"))
        return set(filter(is_rows, (key[at:].lstrip("/") for key in files_in(self.folder))))

    def _read_record(self) -> tuple[dict[str, Any], str | None]:
        """What was noted of each object, and by which job."""
        place = self._place(_RECORD)
        if not place.exists():
            return {}, None
        try:
            said = json.loads(place.content())
            return dict(said["files"]), said["job"]
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(place.address, f"is damaged ({error}); delete it.") from error

    def _save_record(self) -> None:
        said = {"job": self.job, "files": self.record}
        self._place(_RECORD).put_bytes(json.dumps(said, indent=1).encode())
        self._saved = time.monotonic()
