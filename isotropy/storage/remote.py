"""Files that lie elsewhere (``s3://``, ``https://``, whatever fsspec knows), and what goes wrong.

A connection that breaks off is tried again; what cannot be mended is one line that says what to do.
"""

from __future__ import annotations

import difflib
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from isotropy._optional import require
from isotropy.storage.errors import FileError
from isotropy.storage.locks import STRAY_PREFIX, hold, sweep
from isotropy.storage.secrets import Address

__all__ = ["Place", "address_of", "is_remote", "located", "place_of"]

T = TypeVar("T")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]+)(?:://|::)")
_DATABASES = ("postgres", "postgresql")

_TRIES = 6
_FIRST_TRIES = 3
"""A file that was never reached: a wrong name is more likely than a fault, and is told at once."""
_WAIT, _LONGEST_WAIT = 0.1, 5.0

_CONNECT, _READ = 10, 30  # seconds without an answer

_DRIVERS = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "ssh": "paramiko",
}

_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for what is "
    "public",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or FSSPEC_GS_TOKEN=anon for what is public",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "set HF_TOKEN, or run `hf auth login`",
}


def is_remote(given: Any) -> bool:
    """Whether this names a file or folder elsewhere.

    Parameters
    ----------
    given : object

    Returns
    -------
    bool

    Examples
    --------
    >>> is_remote("s3://bucket/rows.npy"), is_remote("rows.npy"), is_remote("postgresql://h/b#t")
    (True, False, False)
    """
    text = given.reveal() if isinstance(given, Address) else given
    found = _SCHEME.match(text) if isinstance(text, str) else None
    return found is not None and found[1].lower() not in _DATABASES


def address_of(given: Any, storage_options: Mapping[str, Any] | None = None) -> Address:
    """A URL with what is needed to open it.

    Parameters
    ----------
    given : str or Address
    storage_options : mapping, optional
        Added to those that an Address has.

    Returns
    -------
    Address

    Examples
    --------
    >>> address_of("s3://bucket/rows.npy", {"anon": True}).options
    {'anon': True}
    """
    if isinstance(given, Address):
        return Address(given.reveal(), {**given.options, **(storage_options or {})})
    return Address(given, storage_options)


def located(given: Any) -> Any:
    """A URL as an Address, which shows no secret; another name as a path.

    Parameters
    ----------
    given : str, path-like or Address

    Returns
    -------
    Path or Address

    Examples
    --------
    >>> str(located("rows.npy")), located("https://host/rows.npy?sig=hidden")
    ('rows.npy', Address('https://host/rows.npy?sig=***'))
    """
    return address_of(given) if is_remote(given) else Path(given)


def place_of(given: Any) -> Place:
    """What lies at a URL, which need not be there yet.

    Parameters
    ----------
    given : str or Address

    Returns
    -------
    Place

    Raises
    ------
    FileError
        If the URL names no kind of place that fsspec knows, or is none.
    ImportError
        If the package that opens such places is missing; the message names it.

    Examples
    --------
    >>> place_of("memory://folder/rows.npy").name
    'rows.npy'
    """
    address = address_of(given)
    core = require("fsspec.core", extra="remote")
    url = address.reveal()
    protocol = _SCHEME.match(url)[1].lower()  # type: ignore[index]
    try:
        options = {**_defaults(protocol, url), **address.options}
        system, key = core.url_to_fs(url, **options)
    except ImportError as error:
        raise ImportError(_missing(protocol, error)) from None
    except (ValueError, TypeError) as error:
        raise FileError(address, _unknown(protocol, error)) from None
    except Exception as error:
        raise FileError(address, _told(error, protocol)) from None
    place = Place(address, system, key)
    if place.protocol in ("file", "local"):
        # Under two names a file could be the input and, unnoticed, the output too.
        raise FileError(address, f"is a file of this machine: name it by its path, {key}.")
    return place


@contextmanager
def _local_file() -> Iterator[IO[bytes]]:
    """A temporary file, locked while in use: that of a killed process is swept by the next."""
    sweep(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(prefix=STRAY_PREFIX, suffix=".tmp") as file:
        hold(file.fileno())
        yield cast(IO[bytes], file)


class Place:
    """A file or a folder elsewhere.

    Parameters
    ----------
    address : Address
        How it is shown: without secrets.
    system : fsspec.AbstractFileSystem
    key : str
        Its name there.

    Examples
    --------
    >>> place = place_of("memory://an/example.txt")
    >>> place.put_bytes(b"hello")
    >>> place.info()["size"], place.exists()
    (5, True)
    >>> place.system.rm("/an", recursive=True)
    """

    def __init__(self, address: Address, system: Any, key: str) -> None:
        self.address, self.system, self.key = address, system, key

    @property
    def protocol(self) -> str:
        """The first name of the kind of place, be it read through a cache or not: "s3"."""
        kinds = [
            require(f"fsspec.implementations.{name}", extra="remote")
            for name in ("cached", "dirfs")
        ]
        system = self.system
        while isinstance(system, (kinds[0].CachingFileSystem, kinds[1].DirFileSystem)):
            system = system.fs
        found = system.protocol
        return str(found if isinstance(found, str) else found[0])

    @property
    def path(self) -> str:
        """Its name there, of a web address without the host and what follows a question mark."""
        if self.protocol not in ("http", "https"):
            return self.key
        return re.split(r"[?#]", self.key, maxsplit=1)[0].partition("://")[2].partition("/")[2]

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.path.rstrip("/").rpartition("/")[2]

    def at(self, key: str) -> Place:
        """Another place of the same kind, by its name there."""
        url = self.system.unstrip_protocol(key).replace("memory:///", "memory://")
        return Place(Address(url, self.address.options), self.system, key)

    def info(self) -> dict[str, Any]:
        """What is known of it there, asked anew."""
        found: dict[str, Any] = self.tried(self._info, _FIRST_TRIES)
        return found

    def _info(self) -> Any:
        self.system.invalidate_cache()
        return self.system.info(self.key)

    def exists(self) -> bool:
        """Whether a file is there."""
        try:
            return bool(self.info()["type"] == "file")
        except NoSuchPlaceError:
            return False

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A local file, which is sent there, whole, when the block ends well."""
        self.check_writable()
        with _local_file() as file:
            yield file
            file.flush()
            self.tried(lambda: self._put(file.name), _FIRST_TRIES)

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """A local copy, for as long as the block lasts."""
        with _local_file() as file:
            self.tried(lambda: self.system.get_file(self.key, file.name), _FIRST_TRIES)
            yield Path(file.name)

    def check_writable(self) -> None:
        """Raise a `FileError` where nothing can be written."""
        if self.protocol in ("http", "https"):
            raise FileError(self.address, "a web server is only read; write to a file or a store.")

    def put_bytes(self, content: bytes) -> None:
        """Write a small file, which appears whole or not at all."""
        with self.writing() as file:
            file.write(content)

    def _put(self, local: str) -> None:
        if self.protocol in _WHOLE:
            self.system.put_file(local, self.key)
            return
        folder, _, _ = self.key.rpartition("/")
        temporary = f"{folder}/.isotropy-{os.urandom(8).hex()}.tmp"
        self.system.makedirs(folder, exist_ok=True)
        try:
            self.system.put_file(local, temporary)
            self.system.mv(temporary, self.key)
        except BaseException:
            if self.system.exists(temporary):
                self.system.rm(temporary)
            raise

    def content(self, start: int | None = None, end: int | None = None) -> bytes:
        """All of a small file, or the bytes from `start` to before `end`."""
        part = {} if start is None else {"start": start, "end": end}
        found: bytes = self.tried(lambda: self.system.cat_file(self.key, **part), _FIRST_TRIES)
        return found

    def tried(self, function: Callable[[], T], tries: int = _TRIES) -> T:
        """What a function of the file system gives, tried again where that may help."""
        for attempt in range(tries):
            try:
                return function()
            except Exception as error:
                self.again_or_raise(error, attempt, tries)
        raise AssertionError("the last try raises")

    def again_or_raise(self, error: BaseException, attempt: int, tries: int = _TRIES) -> None:
        """Wait, if trying again may help and was not done often enough; else say what is wrong."""
        if isinstance(error, FileError | ImportError):
            raise error
        error = _root(error)
        if _is_missing(error):
            raise NoSuchPlaceError(self.address, "no such file or folder there.") from None
        if attempt + 1 >= tries or not _passing(error):
            raise FileError(self.address, _told(error, self.protocol, attempt + 1)) from None
        time.sleep(random.uniform(0.5, 1) * min(_LONGEST_WAIT, _WAIT * 2**attempt))


class NoSuchPlaceError(FileError):
    """Nothing is there.

    Examples
    --------
    >>> issubclass(NoSuchPlaceError, FileError)
    True
    """


_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "memory", "oss", "oci")
"""Stores whose objects appear when they are complete."""


def _defaults(protocol: str, url: str) -> dict[str, Any]:
    """Time limits, and no remembered listings, but what the user's settings of fsspec say."""
    if "::" in url:  # a chain, whose options are those of several file systems
        return {}
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in ("http", "https"):
        aiohttp = require("aiohttp", extra="remote")
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ)
        options["client_kwargs"] = {"timeout": limits}
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = {
            "connect_timeout": _CONNECT,
            "read_timeout": _READ,
            "retries": {"total_max_attempts": 2},
        }
    if protocol == "file":
        options.clear()
    set_by_user = require("fsspec.config", extra="remote").conf.get(protocol, {})
    return {name: value for name, value in options.items() if name not in set_by_user}


def _missing(protocol: str, error: ImportError) -> str:
    driver = _DRIVERS.get(protocol)
    if driver is None and protocol in ("s3", "s3a", "http", "https"):
        driver = {"s": "s3fs", "h": "aiohttp"}[protocol[0]]
        return f"{protocol}:// needs {driver}: pip install 'isotropy[remote]'"
    if driver is None:
        return f"{protocol}:// cannot be opened: {error}."
    return f"{protocol}:// needs {driver}: pip install 'isotropy[remote]' {driver}"


def _unknown(protocol: str, error: Exception) -> str:
    if protocol.startswith(_DATABASES):  # postgresql+psycopg://, as SQLAlchemy writes it
        return f"{protocol}:// is not known here; write postgresql://."
    known = require("fsspec", extra="remote").available_protocols()
    if protocol in known:
        return f"cannot be opened ({error})."
    close = difflib.get_close_matches(protocol, known, n=2)
    hint = f" Did you mean {' or '.join(f'{name}://' for name in close)}?" if close else ""
    return f"{protocol}:// is no kind of place that fsspec knows.{hint}"


def _root(error: BaseException) -> BaseException:
    """What fsspec found, where it says no more than that there is no such file."""
    while isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    said: Any = getattr(error, "response", None)
    if isinstance(said, dict):
        said = said.get("ResponseMetadata", {}).get("HTTPStatusCode")
    status = getattr(error, "status", None) or getattr(said, "status_code", said)
    return status if isinstance(status, int) else None


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or _status(error) in (404, 410)


_LASTING = (PermissionError, IsADirectoryError, NotImplementedError, ValueError, TypeError)


def _passing(error: BaseException) -> bool:
    """Whether trying again may help."""
    status = _status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    return not (isinstance(error, _LASTING) or _no_credentials(error))


def _no_credentials(error: BaseException) -> bool:
    return "redential" in type(error).__name__ or "redentials" in str(error)


def _told(error: BaseException, protocol: str, tries: int = 1) -> str:
    """What is wrong, and what to do."""
    said = str(error).strip() or type(error).__name__
    status = _status(error)
    if status == 412:
        return "changed since it was opened: wait until it is complete, and begin again."
    if _no_credentials(error) or isinstance(error, PermissionError) or status in (401, 403):
        way = _KEYS.get(protocol, "check the name, and the password or token")
        return f"may not be read or written ({said}): {way}."
    if isinstance(error, IsADirectoryError):
        return "is a folder; name one file in it."
    if isinstance(error, NotImplementedError):
        return f"{protocol}:// cannot do this ({said})."
    after = f" after {tries} tries" if tries > 1 else ""
    return f"could not be reached{after} ({said}): check the address and the connection."
