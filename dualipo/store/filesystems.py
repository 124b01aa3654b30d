"""The file system below a path: whether it is a network's, where SQLite needs its older journal.

The write-ahead log keeps an index in memory that all its processes share, which those of different
machines cannot (https://sqlite.org/wal.html). The rollback journal needs locks alone, which network
file systems have. Left out: other systems than Linux, which say nothing of their mounts here.
"""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Those that several machines may mount. FUSE may be anything, and the older journal does no harm.
NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|lustre|gpfs|beegfs|ceph|afs|9p|virtiofs|glusterfs|orangefs|pvfs2|panfs"
    r"|wekafs|fuse(\..*)?"
)


def journal_mode(path: Path) -> str:
    """Return the journal that SQLite is to use for a database at `path`."""
    return "DELETE" if is_network(path) else "WAL"


def is_network(path: Path) -> bool:
    """Tell whether other machines may have the file system of `path` mounted too."""
    return bool(NETWORK.fullmatch(kind_of(path)))


def kind_of(path: Path, *, mounts: str | None = None) -> str:
    """Return the type of the file system that holds `path`; "" where nothing says it.

    `mounts` has the form of /proc/self/mountinfo, in which a later line hides an earlier one.
    """
    if mounts is None:
        mounts = MOUNTS.read_text(errors="replace") if MOUNTS.is_file() else ""
    resolved = path.resolve()
    best, kind = -1, ""
    for line in filter(str.strip, mounts.splitlines()):
        place, _, described = line.partition(" - ")
        folder = _plain(place.split()[4])
        if len(folder.parts) >= best and resolved.is_relative_to(folder):
            best, kind = len(folder.parts), described.split()[0]
    return kind


def _plain(field: str) -> Path:
    """Read a mount's folder, in which spaces and the like are written as octal numbers."""
    return Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), field))
