"""The command line: each command is a thin wrapper around one public function, a file a command or family.

Exit codes: 0 done, 1 a finding or a failed comparison, 2 wrong use or bad input, 130 interrupted.
Results go to standard output, progress and errors to standard error.
"""

# Importing a file registers its commands; the order here is the order of the help text.
from toolkit.cli import (  # isort: skip
    doctor,
    run,
    train,
    convert,
    show,
    csim,
    baseline,
    report,
    estimate,
    parts,
    synth,
    sweep,
    bench,
    store,
    schema,
)
from toolkit.cli.app import app, exit_code, main

__all__ = [
    "app",
    "baseline",
    "bench",
    "convert",
    "csim",
    "doctor",
    "estimate",
    "exit_code",
    "main",
    "parts",
    "report",
    "run",
    "schema",
    "show",
    "store",
    "sweep",
    "synth",
    "train",
]
