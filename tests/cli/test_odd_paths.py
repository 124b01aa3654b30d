"""Odd paths, ports and owners end in one message that names the path, the fact and the remedy.

Each row names what is done to which path, the exit code, and the words that the message must have.
"""

import errno
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.cli import main
from dualipo.errors import ConfigError, StorageError
from dualipo.store import atomic
from dualipo.store.labels import LabelBook
from dualipo.store.run_reader import RunReader
from dualipo.web import server
from tests import odd_rows
from tests.store import small_run

IN_THE_WAY = "a folder belongs, or the reverse: choose another path"
SHORTER = "Choose a shorter name"
NO_RUN, BEGIN = "there is no run here", "Name the folder of a run"
NOT_RUNS = ("file", "file/x", "here", "dangling", "folder", "~", "nothing/at/all")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a run and everything odd that a path can name."""
    root = tmp_path_factory.mktemp("odd")
    small_run.make(root / "run").close()
    LabelBook(root / "run/labels.sqlite").close()
    (root / "file").write_text("one line")
    (root / "folder").mkdir()
    (root / "here").symlink_to(root / "there")
    (root / "there").symlink_to(root / "here")
    (root / "dangling").symlink_to(root / "nothing")
    (root / "captions.txt").write_text("a red ball rolls\na blue cat runs\n")
    (root / "recipe.toml").write_text('output_dir = "a\\u0000b"\n')
    os.mkfifo(root / "pipe")
    (root / "~").write_text("a file of that name")
    return root


LONG, DEEP, NEARLY = "n" * 256, "d/" * 2100 + "x", "n" * 245
EXPORT, SCREEN = (
    ("export", "pipeline", "--version", "g000.0", "run"),
    ("captions", "screen", "captions.txt"),
)
LABELS, COMPOSE = ("label", "run", "--export"), ("captions", "compose")
REPORT = ("report", "run", "--output")
ROWS = [
    # what is written
    (*LABELS, "file/x", 3, "file: ", IN_THE_WAY),
    (*LABELS, "file/x/y", 3, "file: ", IN_THE_WAY),
    (*LABELS, LONG, 3, "File name too long", SHORTER),
    (*LABELS, DEEP, 3, "File name too long", SHORTER),
    (*LABELS, NEARLY, 0, "0 pairs", ""),
    (*LABELS, "here/x", 3, "here: ", IN_THE_WAY),
    (*LABELS, "folder", 3, "folder: ", IN_THE_WAY),
    (*LABELS, "pipe", 3, "pipe: a device or pipe", "Name a file"),
    (*LABELS, "/dev/full", 3, "/dev/full: a device or pipe", "Name a file"),
    (*LABELS, "/proc/nothing/x", 3, "/proc/nothing: No such file", "Check how the path is spelled"),
    (*LABELS, "new/folder/labels.jsonl", 0, "0 pairs", ""),
    (*LABELS, "~", 0, "0 pairs", ""),
    (*REPORT, "file/x", 3, "file: ", IN_THE_WAY),
    (*REPORT, LONG, 3, "File name too long", SHORTER),
    (*REPORT, "folder", 3, "folder: ", IN_THE_WAY),
    (*REPORT, NEARLY, 0, "nnn", ""),
    (*EXPORT, "file/x", 3, "file: ", IN_THE_WAY),
    (*EXPORT, LONG, 3, "File name too long", SHORTER),
    (*EXPORT, "folder", 2, "folder: exists already", "give another name"),
    (*EXPORT, "here/x", 3, "here: ", IN_THE_WAY),
    (*SCREEN, "file/x", 3, "file: ", IN_THE_WAY),
    (*SCREEN, "file", 3, "file: ", IN_THE_WAY),
    (*SCREEN, LONG, 3, "File name too long", SHORTER),
    (*SCREEN, "here", 3, "here: ", IN_THE_WAY),
    (*SCREEN, "/proc/nothing/x", 3, "/proc/nothing: No such file", "Check how"),
    (*COMPOSE, "file/x", 3, "file: ", IN_THE_WAY),
    (*COMPOSE, DEEP, 3, "File name too long", SHORTER),
    (*COMPOSE, "/dev/null", 3, "/dev/null: ", IN_THE_WAY),
    ("fork", "run", "file/x", 3, "file: ", IN_THE_WAY),
    # what is read
    *(("status", name, 2, f"{name}: {NO_RUN}", BEGIN) for name in NOT_RUNS),
    *(
        (verb, "folder", 2, f"folder: {NO_RUN}", BEGIN)
        for verb in ("resume", "dashboard", "report")
    ),
    ("status", LONG, 3, "File name too long", SHORTER),
    ("report", DEEP, 3, "File name too long", SHORTER),
    ("run", "nothing.toml", 2, "nothing.toml: there is no such recipe", "those that ship"),
    ("run", "folder", 2, "folder: it is a folder", "Correct the recipe"),
    ("run", "here", 2, "here: there is no such recipe", "Name a TOML file"),
    ("run", LONG, 2, "there is no such recipe", "Name a TOML file"),
    ("run", "recipe.toml", 2, "output_dir", "NUL"),
    ("captions", "count", "folder", 2, "folder: ", "Name a folder or file of captions"),
    ("captions", "count", "nothing.txt", 2, "nothing.txt: there is no such file", ""),
    ("captions", "count", LONG, 2, "File name too long", "Name a file"),
    ("captions", "count", "/dev/zero", 2, "/dev/zero: it is a device", "Name a file"),
    ("study", "result", "file", 2, "file/study/labels.sqlite: there is no study yet", "study ask"),
    ("study", "result", LONG, 3, "File name too long", SHORTER),
    ("export", "native", "nothing", "new", 2, "nothing", "."),
    ("export", "native", LONG, "new", 3, "File name too long", SHORTER),
    ("convert", "folder/x.pt", 2, "folder/x.pt: there is no such file", "Give the"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(str(word)[:12] for word in row[:-2]))
def test_fault_94_an_odd_path_is_named_with_its_fact_and_its_remedy(
    row: tuple[str | int, ...],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    *arguments, code, fact, remedy = row
    monkeypatch.chdir(place)
    assert main.main([str(word) for word in arguments]) == code
    shown = capsys.readouterr()
    said = shown.err if code else shown.out
    assert str(fact) in said and str(remedy) in said, said[-500:]
    assert ".tmp-" not in said and "Traceback" not in said
    assert not [*place.glob(".tmp-*")], "a temporary was left behind"


@pytest.mark.parametrize(
    "port", ["70000", "65536", "-1", "1e3", "٨٠", "", "8080.0", "0x50", "http"]
)
@pytest.mark.parametrize("verb", ["label", "dashboard"])
def test_fault_94_what_is_no_port_is_refused_before_anything_is_opened(
    verb: str, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main([verb, "run", f"--port={port}"])
    assert ended.value.code == 2 and "Give a number from 0 to 65535" in capsys.readouterr().err


HOSTS = ("203.0.113.1", "a" * 64 + ".b", "::1::2", "ünïcode..x")


@pytest.mark.parametrize("host", HOSTS)
def test_an_address_of_no_interface_is_named(host: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be listened on .*--host an address of this"):
        server.listen(host, 0)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: .*choose another --port"):
            server.listen("127.0.0.1", port)


FAILURES = {
    errno.EXDEV: "it is on another disk",
    errno.EPERM: "it belongs to another user",
    errno.EMLINK: "it has too many links",
    errno.EOPNOTSUPP: "its file system has no links",
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_link_that_cannot_be_made_says_to_copy(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match=rf"clip\.mp4: {FAILURES[code]}.*Leave out --link"):
        atomic.link(tmp_path / "clip.mp4", tmp_path / "linked.mp4")


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_fault_94_every_error_of_the_system_becomes_one_sentence_with_a_remedy(code: int) -> None:
    said = str(atomic.explain(OSError(code, os.strerror(code), "some/path")))
    assert said.startswith(f"some/path: {os.strerror(code)}. ") and said.endswith(".")


def as_nobody(act: Callable[[], object]) -> str:
    """Do something as a user without rights, in a fork; return what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            said = str(act())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Make a run of root's, as a kill leaves it, in a folder that others may pass."""
    if os.geteuid() != 0:
        pytest.skip("only root has other users' files")
    shared = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(shared) and folder != shared:
            folder.chmod(0o755)
    run = small_run.make(tmp_path / "run")
    LabelBook(run.path / "labels.sqlite").close()
    copied = tmp_path / "killed"
    atomic.make_folder(copied)
    for path in run.path.iterdir():  # while the run is open, so with the ledger's log
        if path.is_file() and path.suffix != ".html":
            (copied / path.name).write_bytes(path.read_bytes())
    run.close()
    (copied / "LOCK").unlink()
    main.main(["status", str(copied)])  # what is imported late would not be found by others
    main.main(["label", str(copied), "--export", str(tmp_path / "labels.jsonl")])
    return copied


@pytest.mark.parametrize("beside", ["both", "wal", "neither"])
def test_fault_94_another_user_s_run_is_read_and_nothing_is_made_in_it(
    theirs: Path, beside: str
) -> None:
    for name in {"both": [], "wal": ["-shm"], "neither": ["-shm", "-wal"]}[beside]:
        (theirs / f"ledger.sqlite{name}").unlink()
    before = sorted(theirs.iterdir())
    if beside == "neither":  # what the log held is lost, and nothing was folded yet
        assert "Error" in as_nobody(lambda: RunReader(theirs).units())
    else:
        assert as_nobody(lambda: len(RunReader(theirs).units())) == "4"
        assert len(RunReader(theirs).units()) == 4  # nor does its owner make anything
    assert sorted(theirs.iterdir()) == before


@pytest.mark.parametrize("name", ["ledger.sqlite", "config.json", "run.json"])
def test_a_file_that_only_its_owner_reads_is_named(
    theirs: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (theirs / name).chmod(0o600)
    assert as_nobody(lambda: main.main(["status", str(theirs)])) in ("2", "3")
    assert f"{name}: " in (said := capfd.readouterr().err) and "Permission denied" in said


def test_labels_of_another_user_are_exported_without_a_trace(
    theirs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o777)
    before = sorted(theirs.iterdir())
    target = tmp_path / "mine/labels.jsonl"
    assert as_nobody(lambda: main.main(["label", str(theirs), "--export", str(target)])) == "0"
    assert sorted(theirs.iterdir()) == before
    (theirs / "labels.sqlite").chmod(0o600)
    assert as_nobody(lambda: main.main(["label", str(theirs), "--export", str(target)])) == "3"
    assert "labels.sqlite: Permission denied. Ask its owner" in capfd.readouterr().err
    (theirs / "labels.sqlite").unlink()
    assert as_nobody(lambda: main.main(["label", str(theirs), "--export", str(target)])) == "2"
    assert not (theirs / "labels.sqlite").exists()


def test_fault_94_a_closed_clip_costs_its_row_and_a_closed_table_is_not_called_torn(
    theirs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Import as nobody two rows, one with a clip of another user; export a closed set."""
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    for folder in (shared, mine):
        folder.mkdir()
        folder.chmod(0o777)
    hashes = odd_rows.make_folder(shared)
    for name, row in {"a.mp4": "closed", "b.mp4": "read"}.items():
        source = (shared / name).rename(shared / f"{row}.mp4")
        (shared / f"{row}-2.mp4").write_bytes(source.read_bytes()[:-1] + b"\0")
    (shared / "closed.mp4").chmod(0o600)
    words = [str(shared / "pairs.jsonl"), "--root", str(shared), "--output", str(mine / "set")]
    pairs = [("closed.mp4", "read.mp4"), ("read.mp4", "closed-2.mp4")]
    rows = [{"prompt": odd_rows.CAPTION, "chosen": a, "rejected": b} for a, b in pairs]
    (shared / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    act = ["import", "trl", *words, "--source", "human", "--lenient"]
    assert as_nobody(lambda: main.main(act)) == "0" and len(hashes) == 2
    assert "may not be read (permission denied)" in capfd.readouterr().out
    (mine / "set/labels.parquet").chmod(0)
    export = ["export", "native", str(mine / "set"), str(mine / "new")]
    assert as_nobody(lambda: main.main(export)) == "3"
    assert "labels.parquet: Permission denied. Ask its owner" in capfd.readouterr().err
    (mine / "set/labels.parquet").chmod(0o644)
    next((mine / "set").rglob("*.mp4")).chmod(0)
    assert as_nobody(lambda: main.main(export)) == "3"
    assert ".mp4: Permission denied. Ask its owner" in capfd.readouterr().err
