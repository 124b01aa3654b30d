"""Temporaries say whose they are, and what killed commands left is removed, and nothing else."""

import os
import signal
import time
from pathlib import Path

from dualipo.store import atomic, temporaries


def publishing(folder: Path, *, name: str) -> int:
    """Publish a folder in a child that stays inside; return its number once the folder is there."""
    child = os.fork()
    if child == 0:
        with atomic.publish_folder(folder / name) as temporary:
            (temporary / "weights").write_bytes(bytes(1000))
            time.sleep(60)
        os._exit(1)
    while not list(folder.glob(f"{temporaries.PREFIX}*-{name}/weights")):
        time.sleep(0.01)
    return child


def test_fault_69_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed, living = (publishing(tmp_path, name=name) for name in ("killed", "living"))
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    [left] = temporaries.leftovers(tmp_path)
    assert left.name.endswith("-killed")
    # Those of another host, and what is nobody's, are not known to be garbage.
    strangers = [tmp_path / ".tmp-000000-1-0123456789ab-x", tmp_path / ".tmp-notes"]
    for stranger in strangers:
        stranger.mkdir()
    with atomic.publish_folder(tmp_path / "other") as temporary:
        (temporary / "part").write_text("whole")
    assert set(temporaries.unclaimed(tmp_path)) == {*strangers}  # `doctor` names them
    names = {path.name for path in tmp_path.iterdir()}
    assert {"other", *(path.name for path in strangers)} < names and left.name not in names
    assert any(name.endswith("-living") for name in names) and len(names) == 4
    os.kill(living, signal.SIGKILL)
    os.waitpid(living, 0)


def test_a_number_that_is_used_again_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    """In a container every command may be process 1: its own temporaries are told by their ids."""
    own = temporaries.path_for(tmp_path / "model")
    before = own.with_name(own.name.replace(own.name.split("-")[3], "0123456789ab"))
    for path in (own, before):
        path.write_text("half")
    assert list(temporaries.leftovers(tmp_path)) == [before]
    temporaries.sweep_once(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_a_long_name_stays_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".safetensors")
    temporary = temporaries.path_for(path)
    temporary.write_text("fits")
    assert temporary.suffix == path.suffix and len(os.fsencode(temporary.name)) <= 255
