"""The application and its exit codes; every command registers itself here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.output import fail
from toolkit.errors import ToolkitError
from toolkit.process import ending_in_order

app = typer.Typer(
    help="Decide, before any hardware is touched, what a neural network will do on an FPGA.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Click's own class, wherever this typer keeps its click.
UsageError: Any = typer.BadParameter.__bases__[0]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataName = Annotated[
    str | None, typer.Option("--dataset", help="cifar10, fashion_mnist, mnist, mnist5k, digits or synthetic.")
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the dataset's original files.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Use the first so many test images.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]
ProjectPath = Annotated[Path, typer.Argument(help="Folder of an HLS project.")]
ModelPath = Annotated[Path, typer.Option("--model", help="A .keras file, a legacy QKeras .h5 or a trained folder.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a user's mistake is one message, never a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with ending_in_order() as ending:
        code = exit_code(arguments)
    sys.exit(ending.exit_code(code))


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except UsageError as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        outcome = 130
    except ToolkitError as error:
        return fail(f"{error_name(error)}: {error}", error.exit_code)
    except MemoryError:
        return fail("not enough memory; use fewer images (--count) or a smaller batch", 2)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    if outcome == 130:  # which newer typers return for Ctrl-C
        return fail("interrupted; what was finished is kept, the same command continues", 130)
    return outcome if isinstance(outcome, int) else 0


def error_name(error: ToolkitError) -> str:
    """The error's name in the one error tree."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "toolkit.errors")
