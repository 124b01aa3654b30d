"""One reader shows a run as tables and clips, at work or not, and leaves no trace."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dualipo
from dualipo.errors import ConfigError, DataError, DualipoError, MediaError
from dualipo.records import Pair, Point
from dualipo.store import atomic
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import RunDir
from tests.store import small_run

TABLES = (
    *("prompts", "clips", "votes", "preferences", "labelled_clips"),
    *("rounds", "scores", "curves", "versions"),
)


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[RunDir]:
    """Return a run of one round that a process still holds."""
    run = small_run.make(tmp_path / "run")
    yield run
    run.close()


@pytest.fixture
def folder(at_work: RunDir) -> Path:
    """Return the folder of the same run after its process ended."""
    at_work.close()
    return at_work.path


def names_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_every_table_has_its_rows_and_explains_its_columns(folder: Path) -> None:
    run = dualipo.open_run(str(folder))
    for name in TABLES:
        table = getattr(run, name)()
        assert table.num_rows, name
        text = inspect.getdoc(getattr(RunReader, name)) or ""
        records = {"preferences": Pair, "labelled_clips": Point}
        known = text.replace("`", " ").replace(",", " ").split()
        for column in table.column_names:
            # Labels have the columns of a published record, and curves those of the metrics.
            is_published = name in records and column in records[name].__slots__
            assert column in known or is_published or name == "curves", (name, column)


def test_the_rows_say_what_was_recorded(folder: Path) -> None:
    run = dualipo.open_run(folder)
    assert run.settings["align.loss_type"] == "kto" and run.settings["seed"] == 7
    [prompt] = run.prompts().to_pylist()
    assert (prompt["round"], prompt["set"], prompt["category"]) == (0, "candidates", "")
    assert (prompt["prompt_id"], prompt["caption"], prompt["multiplicity"]) == ("p", "a ball", 2)
    assert run.clips()["set"].to_pylist() == ["candidates", "candidates", "test"]
    [vote] = run.votes().to_pylist()
    assert (vote["stage"], vote["critic_version"], vote["reasoning"]) == (
        *("confirm", "warm", "A moves."),
    )
    assert (vote["candidate_a"], vote["candidate_b"]) == tuple(small_run.VOTE.item.split(":"))
    [pair] = run.preferences().to_pylist()
    assert (pair["round"], pair["source"], pair["verdict"]) == (-1, "human", "b")
    [point] = run.labelled_clips().to_pylist()
    assert (point["round"], point["attempt"], point["grade"]) == (0, 0, "good")
    [attempt] = run.rounds().to_pylist()
    assert (attempt["num_kept"], attempt["generator_version"], attempt["win_rate"]) == (
        *(3, "g000.0", None),
    )
    [score] = run.scores().to_pylist()
    assert (score["round"], score["faithfulness"], score["total"]) == (0, 0.25, 0.5)
    first, second = run.curves().to_pylist()
    assert (first["loss"], first["winner_gap"], second["winner_gap"]) == (2.5, None, 0.5)
    assert np.isnan(second["loss"])
    assert run.versions()["serves"].to_pylist() == [True]


def test_clips_are_decoded_by_their_hash(folder: Path) -> None:
    run = dualipo.open_run(folder)
    clip_hash = run.clips()["clip"][1].as_py()
    assert (folder / run.clips()["path"][1].as_py()) == run.clip_path(clip_hash)
    frames_FHWC = run.read_clip(clip_hash)
    assert frames_FHWC.shape == (3, 16, 16, 3) and abs(int(frames_FHWC.mean()) - 60) <= 2
    with pytest.raises(MediaError, match="no such clip"):
        run.read_clip("0" * 64)


def test_reading_leaves_no_trace_also_beside_a_process_at_work(at_work: RunDir) -> None:
    run = dualipo.open_run(at_work.path)
    for _ in ("at work", "closed"):
        before = names_in(at_work.path)
        for name in TABLES:
            getattr(run, name)()
        assert names_in(at_work.path) == before
        at_work.close()
    assert not run.is_working


def test_a_run_at_work_shows_what_was_committed_since(at_work: RunDir) -> None:
    run = dualipo.open_run(at_work.path)
    assert run.is_working and len(run.units()) == 4
    at_work.ledger.commit_unit(Unit(1, 0, "prompts"))
    assert len(run.units()) == 5


def test_a_writer_that_begins_meanwhile_makes_it_ask_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dualipo.open_run(folder)
    ask_once, resumed = RunReader._ask_once, []

    def ask(reader: RunReader, question):
        if not resumed:
            resumed.append(RunDir.open(folder, small_run.SETTINGS))
            resumed[0].ledger.commit_unit(Unit(1, 0, "prompts"))
        return ask_once(reader, question)

    monkeypatch.setattr(RunReader, "_ask_once", ask)
    assert len(run.units()) == 5
    resumed[0].close()


def test_what_is_no_run_or_a_newer_one_is_refused(folder: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"there is no run here.*dualipo run"):
            dualipo.open_run(wrong)
    marker = atomic.read_json(folder / "run.json")
    atomic.write_json(folder / "run.json", marker | {"schema_version": 99})
    with pytest.raises(DataError, match=r"schema version 99.*Use the newer dualipo"):
        dualipo.open_run(folder)
    atomic.write_json(folder / "run.json", marker | {"kind": "another"})
    with pytest.raises(DualipoError, match="not a dualipo run"):
        dualipo.open_run(folder)


def test_a_run_without_a_ledger_has_settings_but_no_tables(folder: Path) -> None:
    run = dualipo.open_run(folder)
    (folder / "ledger.sqlite").unlink()
    assert not run.has_ledger and run.settings["seed"] == 7
    with pytest.raises(DataError, match="no ledger yet"):
        run.clips()


def test_a_lost_reasoning_leaves_its_vote(folder: Path) -> None:
    run = dualipo.open_run(folder)
    shutil.rmtree(folder / "rounds" / "000" / "attempt-0" / "confirm")
    [vote] = run.votes().to_pylist()
    assert (vote["outcome"], vote["stage"], vote["reasoning"]) == ("a", None, None)
