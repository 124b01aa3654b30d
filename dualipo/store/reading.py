"""SQLite files are read without a trace, and without the right to write beside them.

SQLite puts `-wal` and `-shm` files beside a database that it opens, even to read it.

| what stands beside it | then | so |
|---|---|---|
| no `-wal` | nobody has it open | SQLite is told that it is immutable, and makes neither |
| `-wal` and `-shm` | a process writes, or was killed | both are read as they are |
| none, on a network | another machine may write (`filesystems.py`) | it is locked to be read |
| `-wal` alone | it was copied so | a copy elsewhere is read, where SQLite makes the other |
"""

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path

from dualipo.store import atomic, filesystems


def connect(path: Path, *, seconds: float, until: ExitStack) -> sqlite3.Connection:
    """Open a database to read it; `until` closes it. A path that may not be read is named."""
    try:
        with path.open("rb"):
            wal = path.with_name(f"{path.name}-wal")
            if wal.exists() and not path.with_name(f"{path.name}-shm").exists():
                folder = Path(until.enter_context(tempfile.TemporaryDirectory(prefix="dualipo-")))
                shutil.copy(wal, folder)
                path = Path(shutil.copy(path, folder))
    except OSError as refusal:
        raise atomic.explain(refusal) from None
    is_live = wal.exists() or filesystems.is_network(path)
    options = "mode=ro" if is_live else "mode=ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    until.callback(connection.close)
    return connection
