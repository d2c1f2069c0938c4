"""The ``isotropy`` command, made of the commands that stand in `isotropy.tables.COMMANDS`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from isotropy import tables
from isotropy.storage.secrets import masked
from isotropy.storage.state import library_version
from isotropy.tables import COMMANDS

__all__ = ["app", "main"]


class _Commands(Mapping[str, Any]):
    """The commands of the table as typer wants them; each is imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        single = _typer()
        single.command(name)(COMMANDS[name])
        command: Any = get_command(single)
        for parameter in command.params:
            parameter.help = _with_names(getattr(parameter, "help", None))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _with_names(text: str | None) -> str | None:
    """A help text with the names of a table, as they are now, for ``{CORRECTORS}`` and so on."""
    for name, table in vars(tables).items():
        if text and isinstance(table, tables.Table) and f"{{{name}}}" in text:
            text = text.replace(f"{{{name}}}", ", ".join(table))
    return text


class _Group(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": {}})
        self.commands: Any = _Commands()


def _typer(**options: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


app = _typer(
    name="isotropy",
    cls=_Group,
    help="Measure how anisotropic embeddings are, correct them, and measure again.",
    epilog="First steps: `isotropy demo` needs no data. `isotropy score FILE` measures yours, "
    "`isotropy advise FILE` says whether a correction suits them, `isotropy encode TEXTS -o FILE` "
    "makes some.",
    no_args_is_help=True,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"isotropy {library_version()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _end_by_exception() -> None:
    """Let the command clean up when it is told to end, as it does when it is interrupted."""

    def end(number: int, frame: Any) -> None:
        raise _ToldToEnd(number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
                signal.signal(getattr(signal, name), end)


class _ToldToEnd(SystemExit):
    """A signal came; the exit code is 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def _signals_arrive() -> Iterator[None]:
    """Send a signal again whose exception came in a destructor, where Python has to drop it."""

    def dropped(found: Any) -> None:
        error = found.exc_value
        if not isinstance(error, _ToldToEnd | KeyboardInterrupt):
            before(found)
            return
        number = error.number if isinstance(error, _ToldToEnd) else signal.SIGINT
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    before, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        yield
    finally:
        sys.unraisablehook = before


def main(args: list[str] | None = None) -> None:
    """Run the command: exit code 0, or 2 with one clear line for wrong input.

    Parameters
    ----------
    args : list of str, optional
        By default those that the process was started with.

    Raises
    ------
    SystemExit
        Always, with the exit code.

    Examples
    --------
    >>> try:
    ...     main(["score", "--list"])  # doctest: +ELLIPSIS
    ... except SystemExit as stop:
    ...     print("exit code", stop.code)
    mean_cosine                  mean cosine of two rows [needs moments]
    ...
    exit code 0
    """
    told: set[str] = set()
    typed = list(sys.argv if args is None else args)

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if str(message) not in told and not issubclass(category, DeprecationWarning):
            told.add(str(message))
            typer.echo(f"isotropy: note: {masked(str(message), typed)}", err=True)

    try:
        with warnings.catch_warnings(), _signals_arrive():
            warnings.showwarning = note
            try:
                _end_by_exception()
                code = app(args, standalone_mode=False)
            except _MISUSE as misuse:
                _tell_misuse(misuse, typed)
                sys.exit(2)
            except (ValueError, OSError, ImportError, MemoryError) as error:
                message = " ".join(str(error).split()) or type(error).__name__
                if isinstance(error, FileNotFoundError) and error.filename is not None:
                    message = f"{error.filename}: no such file."
                typer.echo(f"isotropy: error: {masked(message, typed)}", err=True)
                sys.exit(2)
            except Exception:  # a mistake of ours, whose traceback may quote anything
                typer.echo(masked(traceback.format_exc(), typed), err=True)
                sys.exit(1)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer hands it on as a code too
        typer.echo(
            "isotropy: interrupted. The same command, given again, goes on from what is finished.",
            err=True,
        )
    sys.exit(code if isinstance(code, int) else 0)


_INTERRUPTED = 130
_MISUSE: Any = typer.BadParameter.__base__


def _tell_misuse(error: Any, typed: list[str]) -> None:
    """Say in one line what is wrong with the arguments; without any, show the help."""
    message = error.message = _shortened(masked(error.format_message(), typed))
    if "\n" in message:
        error.show()
        return
    command = "isotropy" if error.ctx is None else error.ctx.command_path
    typer.echo(f"isotropy: error: {message} (`{command} -h` tells what it takes.)", err=True)


def _shortened(message: str) -> str:
    """What is said of arguments too many, without a thousand names that a shell put there."""
    _, found, names = message.partition("unexpected extra argument")
    if not found:
        return message
    some, more = names.rpartition(" (")[2].rstrip(").").split()[:2], " ..." * (names.count(" ") > 2)
    return (
        f"Got more than it takes: {' '.join(some)}{more}. Put a pattern of files in quotes "
        "('shards/*.parquet'), or name their folder."
    )
