"""A PostgreSQL server of one's own, where Debian's package is installed: private, on a free port, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "s3cret-Word"  # asked for, so that tests can look for it where it must not be


def programs() -> Path | None:
    """Where ``initdb`` is, which Debian keeps out of PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return known[-1].parent if known else None


def unprivileged() -> str | None:
    """The user that a server started by root runs as; it refuses root."""
    if os.getuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """A running server; yields the URL of its database, password included. Skips where there is none to start."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    bin_folder, user = programs(), unprivileged()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="toolkit-postgres-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password") if user else ():
            shutil.chown(path, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(bin_folder / program), "-D", str(folder / "data"), *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True, timeout=60)

        run("initdb", "-U", "me", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync")
        options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
        run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-W")


def new_database(url: str) -> str:
    """URL of a new, empty database of the same server."""
    import psycopg

    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return f"{url.rpartition('/')[0]}/{name}"
