"""``python -m toolkit``, and the ``toolkit`` script: starts the command line, or says why it cannot."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; limits too low to import it are a message (OpenBLAS interrupts where threads fail)."""
    try:
        from toolkit.cli import main as run
    except (ImportError, MemoryError, OSError, KeyboardInterrupt) as error:
        what = " ".join(str(error).split()) or "it was interrupted, or memory is short"
        print(f"toolkit cannot start: {what}; limits are set by ulimit -v and ulimit -n", file=sys.stderr)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 2)
    run()


if __name__ == "__main__":
    main()
