"""The application and its exit codes; every command registers itself here."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toolkit import __version__
from toolkit.cli.output import COMMAND, UNCUT, fail
from toolkit.errors import ToolkitError
from toolkit.process import Terminated, ending_in_order
from toolkit.quiet import quiet_tensorflow


class Interrupted(Exception):
    """Ctrl-C or SIGTERM, with what is kept and how to go on."""


KEPT = "what was finished is kept, the same command continues"


class Commands(TyperGroup):
    """The commands: their summaries uncut, and an interrupt with its message, which typer's own handling would drop."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            told = str(stop) and not isinstance(stop, Terminated)  # a stage that knows better says what is kept
            raise Interrupted(str(stop) if told else f"{str(stop) or 'interrupted'}; {KEPT}") from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        COMMAND.set(name or "")
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(UNCUT)) for name, command in self.commands.items()])


app = typer.Typer(
    cls=Commands,
    help="Decide, before any hardware is touched, what a neural network will do on an FPGA.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # in which [hls] and [n, ...] would be taken for markup and vanish
    context_settings={"max_content_width": 120},
)


def say_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        print(f"toolkit {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Decide, before any hardware is touched, what a neural network will do on an FPGA."""


# Click's own class, wherever this typer keeps its click.
UsageError: Any = typer.BadParameter.__bases__[0]

# What the loader, Python and its threads say where a limit of the process is reached.
EXHAUSTED = ("failed to map segment", "annot allocate memory", "can't start new thread", "Too many open files")

ASKED: ContextVar[tuple[str, ...]] = ContextVar("arguments of the command line", default=())


def command_line() -> tuple[str, ...]:
    """The arguments of the command that runs."""
    return ASKED.get()


AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataName = Annotated[
    str | None,
    typer.Option("--dataset", help="A name (cifar10, mnist5k, digits, ...) or a path (.npz, .h5, .csv, a folder)."),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the dataset's original files.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Use the first so many test images.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]
ProjectPath = Annotated[Path, typer.Argument(help="Folder of an HLS project.")]
ModelPath = Annotated[Path, typer.Option("--model", help="A .keras file, a legacy QKeras .h5 or a trained folder.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a user's mistake is one message, never a traceback.

    SIGTERM is taken as Ctrl-C is. Once the command has ended a signal only hastens the exit.
    """
    quiet_tensorflow()
    if sys.stdout is None:
        leave(fail("standard output is closed, so that results have nowhere to go", 2))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without the character shows a question mark
    with ending_in_order() as ending:
        try:
            code = exit_code(arguments)
        except KeyboardInterrupt:  # while the outcome was told
            code = 130
    leave(ending.exit_code(code))


def leave(code: int) -> None:
    """End with this exit code, at once if a signal comes meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(code))
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read has left; nothing is to be flushed at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    ASKED.set(tuple(sys.argv[1:] if arguments is None else arguments))
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except UsageError as error:
        error.show()
        return 2
    except (Interrupted, KeyboardInterrupt, typer.Abort) as stop:
        return fail(str(stop) or "interrupted", 130)
    except ToolkitError as error:
        return fail(f"{error_name(error)}: {error}", error.exit_code)
    except (ImportError, RuntimeError) as error:
        if not any(sign in str(error) for sign in EXHAUSTED):
            raise
        return fail(f"not enough memory, threads or open files (ulimit -v, -u, -n): {error}", 2)
    except MemoryError:
        return fail("not enough memory; use fewer images (--count) or a smaller batch", 2)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    if outcome == 130:  # which newer typers return for Ctrl-C before a command runs
        return fail("interrupted", 130)
    return outcome if isinstance(outcome, int) else 0


def error_name(error: ToolkitError) -> str:
    """The error's name in the one error tree."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "toolkit.errors")
