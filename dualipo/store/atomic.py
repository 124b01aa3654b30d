"""Publication of files and folders: a reader sees the old content or the new, never a part.

    write  .tmp-ID-NAME      beside the target, so that a rename can take its place
    fsync  .tmp-ID-NAME      content before name: after a power cut no name stands for nothing
    rename .tmp-ID-NAME -> NAME
    fsync  the folder        the name is durable
    commit the ledger's row  (store/ledger.py): from now on the file counts

A process killed before the rename leaves a temporary, killed before the commit a file without a
row; the next sweep deletes both (store/rundir.py), and the unit of work is done again. A failure
leaves the previous content as it was and becomes a `StorageError` that names the path, the bytes
and the remedy (faults 15, 16).

Left out: locking. Two writers of one path both succeed, and the later rename is the one seen.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from dualipo import failpoints, text_files
from dualipo.errors import DualipoError, StorageError
from dualipo.store import temporaries

Result = TypeVar("Result")

TEMPORARY_PREFIX = temporaries.PREFIX
NUM_RETRIES = 3
_PRIVATE = 0o600

_FREE_SPACE = "Free that much and repeat the command: it resumes where it stopped."
_NO_LOCKS = "Choose a folder on a file system that keeps locks with output_dir."
_NO_PERMISSION = "Grant write permission, or choose another folder with output_dir."
_ASK = "Ask its owner for permission, or name another path."
_IN_THE_WAY = "A file stands where a folder belongs, or the reverse: choose another path."
_IN_USE = "A program is using it: end that program, then repeat the command."
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: "Raise the limit on file sizes (`ulimit -f`) and repeat the command.",
    errno.EROFS: "Choose a folder on a writable disk with output_dir.",
    **dict.fromkeys((errno.EACCES, errno.EPERM), _NO_PERMISSION),
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EIO: f"It failed {NUM_RETRIES + 1} times: check the disk, then repeat the command.",
    errno.ENAMETOOLONG: f"Choose a shorter name; a file's may have {temporaries.MAX_NAME} bytes.",
    errno.ELOOP: "Its links lead back to themselves: choose another path.",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), _IN_THE_WAY),
    errno.EXDEV: "It lies on another disk: choose a path on the same one, or copy.",
    errno.EMLINK: "The file has too many links already: copy it.",
    **dict.fromkeys((errno.ETXTBSY, errno.EBUSY), _IN_USE),
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), then repeat the command.",
    errno.ENFILE: "The machine has too many files open: end programs, then repeat the command.",
    errno.ESTALE: "The network file system lost it: mount it anew, then repeat the command.",
}
_HIDDEN_CODE = re.compile(r"(?:os error |\[Errno )(\d+)")
# What torch's writer and numpy say where fewer bytes were taken than given.
_CUT_OFF = re.compile(r"inline_container\.cc|iostream error|\d+ requested and \d+ written")
# Remedies of a path that is read, or of which nobody knows what was done to it.
_OTHERWISE = "Check the path, then repeat the command."
_READING = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), _ASK),
    errno.EROFS: "Its disk is read-only: name a path on another disk.",
    errno.ENOENT: "Check how the path is spelled.",
}


@contextmanager
def publish(path: Path, *, name: str | None = None, num_bytes: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well.

    `name` labels the failpoints and defaults to the file's name; `num_bytes` is what the file will
    take, for the error when the disk is full.
    """
    with storage_errors(path, num_bytes=num_bytes):
        make_folder(path.parent)
        temporaries.sweep_once(path.parent)
        temporary = temporaries.path_for(path)
        try:
            yield temporary
            _sync(temporary)
            _rename(temporary, path, name or path.name)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def publish_folder(
    path: Path, *, name: str | None = None, num_bytes: int | None = None
) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it becomes `path`, all files at once.

    A folder already at `path` is replaced. POSIX has no atomic exchange of folders, so a crash at
    that instant leaves neither: its unit of work is then not committed, and is redone.
    """
    with storage_errors(path, num_bytes=num_bytes):
        make_folder(path.parent)
        temporaries.sweep_once(path.parent)
        temporary = temporaries.path_for(path)
        try:
            temporary.mkdir()
            yield temporary
            for inner in [*sorted(temporary.rglob("*")), temporary]:
                _sync(inner)
            if path.exists():
                remove_folder(path)
            _rename(temporary, path, name or path.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(
    path: Path, content: bytes, *, name: str | None = None, is_private: bool = False
) -> None:
    """Publish `content`; after an input/output error write the whole file again.

    A private file is its owner's alone to read.
    """

    def write() -> None:
        make_folder(path.parent)
        temporary = temporaries.path_for(path)
        try:
            if is_private:
                make_private(temporary)
            temporary.write_bytes(content)
            _sync(temporary)
            _rename(temporary, path, name or path.name)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    with storage_errors(path, num_bytes=len(content)):
        retry(write)


def write_text(path: Path, text: str, *, name: str | None = None) -> None:
    """Publish `text` as UTF-8."""
    write_bytes(path, text.encode(), name=name)


def write_json(
    path: Path, value: Any, *, name: str | None = None, is_private: bool = False
) -> None:
    """Publish `value` as canonical JSON: sorted keys, two spaces, a final newline, no NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode(), name=name, is_private=is_private)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote; raise DataError where it is missing or torn (11)."""
    torn, missing = "Delete it and repeat the command.", "Repeat the command that writes it."
    remedy = torn if path.exists() else missing
    value: dict[str, Any] = text_files.read_json(path, remedy=remedy, shape=dict)
    return value


def make_private(path: Path) -> None:
    """Make a file, where there is none, and let its owner alone read and write it.

    SQLite gives a database's permissions to the files beside it.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
    with suppress(PermissionError):  # another user's file stays as that user wants it
        path.chmod(_PRIVATE)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, and make their names durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a crash in the midst leaves only a temporary, never a half of it."""
    aside = temporaries.path_for(path)
    os.rename(path, aside)
    shutil.rmtree(aside)


def link(source: Path, target: Path) -> None:
    """Make a hard link; say why where the system allows none, for then a copy has to do."""
    reasons = {
        errno.EXDEV: "it is on another disk",
        errno.EPERM: "it belongs to another user, or its file system has no links",
        errno.EACCES: "it belongs to another user",
        errno.EMLINK: "it has too many links already",
        errno.EOPNOTSUPP: "its file system has no links",
    }
    try:
        os.link(source.resolve(), target)  # a download's cache holds symbolic links
    except OSError as failure:
        if failure.errno not in reasons:
            raise
        raise StorageError(
            f"{source}: {reasons[failure.errno]}, so it cannot be linked. Leave out --link to "
            "copy it."
        ) from None


def sha256_file(path: Path) -> str:
    """Hash a file's content: its identity."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def xxh3_file(path: Path) -> str:
    """Hash a file quickly, to find damage in large ones; not an identity."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def retry(operation: Callable[[], Result]) -> Result:
    """Run `operation`, again up to three times after an input/output error (fault 16)."""
    for _ in range(NUM_RETRIES):
        try:
            return operation()
        except OSError as failure:
            if failure.errno != errno.EIO:
                raise
    return operation()


@contextmanager
def storage_errors(path: Path, *, num_bytes: int | None = None) -> Iterator[None]:
    """Raise a StorageError about `path` where the disk refuses; let other errors pass.

    Libraries hide the operating system's error in the text of one of their own.
    """
    try:
        yield
    except DualipoError:
        raise
    except Exception as failure:  # what refuses is told by the error's number, not by its class
        code = _code(failure)
        if code not in _REMEDIES:
            raise
        need = "" if num_bytes is None else f", {num_bytes} bytes needed"
        if code in (errno.ENOSPC, errno.EDQUOT):
            need = need or ", bytes needed unknown"
            need += f" ({shutil.disk_usage(_existing(path)).free} free)"
        named = _subject(failure) if isinstance(failure, OSError) else ""
        subject = named if os.path.lexists(named) else path
        is_closed = os.path.isfile(named) and not os.access(named, os.R_OK)  # it was to be read
        remedy = _ASK if is_closed else _REMEDIES[code]
        raise StorageError(f"{subject}: {os.strerror(code)}{need}. {remedy}") from failure


def _code(failure: Exception) -> int:
    """Return the operating system's number of an error, as a library may have hidden it.

    safetensors and tokenizers write "os error 28", shutil "[Errno 28]", torch's writer none at all.
    """
    if isinstance(failure, OSError) and failure.errno is not None:
        return failure.errno
    if hidden := _HIDDEN_CODE.search(str(failure)):
        return int(hidden[1])
    return errno.ENOSPC if _CUT_OFF.search(str(failure)) else 0


def explain(failure: OSError) -> StorageError:
    """Return an error of the operating system as one for a user, who knows the path alone."""
    code = failure.errno or 0
    fact = failure.strerror or str(failure) or type(failure).__name__
    remedy = _READING.get(code) or _REMEDIES.get(code, _OTHERWISE)
    return StorageError(f"{_subject(failure) or 'this machine'}: {fact}. {remedy}")


def require_readable(path: Path) -> None:
    """Raise a StorageError where a file may not be read: libraries would call it damaged."""
    if path.is_file() and not os.access(path, os.R_OK):
        raise explain(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)))


def _subject(failure: OSError) -> str:
    """Return the path that an error names; nothing for none, or for a temporary of ours."""
    name = os.fsdecode(failure.filename) if isinstance(failure.filename, str | bytes) else ""
    return "" if TEMPORARY_PREFIX in name else name


def _sync(path: Path) -> None:
    # Never retried alone: after a failed fsync Linux marks the pages clean, and the next one lies.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temporary: Path, path: Path, name: str) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):
        # As root, a rename would put a file in the place of /dev/null.
        raise StorageError(f"{path}: a device or pipe. Name a file or a folder.")
    retry(lambda: failpoints.hit(f"{name}.before_rename"))
    retry(lambda: os.replace(temporary, path))
    retry(lambda: _sync(path.parent))
    retry(lambda: failpoints.hit(f"{name}.after_rename"))


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
