"""`dualipo label` as a user meets it: links, questions, export, gold, and what it refuses."""

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dualipo import config
from dualipo.records import DIMENSIONS, Candidate, Pair, Vote
from dualipo.store import label_records, tables
from dualipo.store.clips import ClipStore
from dualipo.store.labels import Answer, Choice, LabelBook
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir
from tests.cli.conftest import Ended

Dualipo = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make a run of one round whose critic compared the clips of two prompts, one with doubts."""
    opened = RunDir.open(tmp_path / "run", config.Config())
    store = ClipStore(opened.clips_path)
    clips = [store.put(np.full((3, 16, 16, 3), 20 * n, np.uint8), 8) for n in range(8)]
    candidates = [
        Candidate(f"c-{n}", f"p{n // 2}", f"caption {n // 2}", n % 2, 0, n, clip, "base", 0)
        for n, clip in enumerate(clips)
    ]
    path = opened.round_path(0) / "candidates.parquet"
    tables.write_records(path, candidates, record_type=Candidate)
    votes = [
        Vote(item, "motion", "ab", draw, outcome, 0.0, "")
        for item, outcomes in (("c-0:c-1", "aaaa"), ("c-2:c-3", "abab"))
        for draw, outcome in enumerate(outcomes)
    ]
    opened.ledger.commit_unit(Unit(0, 0, "confirm"), votes=[("pair", "warm", v) for v in votes])  # type: ignore[arg-type]
    opened.close()
    return tmp_path / "run"


def items(run: Path) -> list[tuple[str, float]]:
    connection = sqlite3.connect(run / "labels.sqlite")
    try:
        query = "SELECT prompt_id, priority FROM items ORDER BY priority DESC, prompt_id"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.slow
def test_links_are_printed_and_only_their_hashes_kept(dualipo: Dualipo, run: Path) -> None:
    command = ("label", run, "--invite", "ada", "ben", "--no-serve")
    first, again = dualipo(*command), dualipo(*command)
    assert first.returncode == again.returncode == 0, first.stderr
    links = re.findall(r"^(ada|ben): http://127.0.0.1:8765/join#([\w-]{32})$", first.stdout, re.M)
    assert [name for name, _ in links] == ["ada", "ben"]
    assert first.stdout.startswith("4 questions, 4 of them new")
    assert again.stdout.startswith("4 questions, 0 of them new")
    stored = b"".join(path.read_bytes() for path in run.glob("labels.sqlite*"))
    assert not any(token.encode() in stored for _, token in links)
    assert (
        "ada: 2 links are void now" in dualipo(*command[:2], "--revoke", "ada", "--no-serve").stdout
    )


@pytest.mark.slow
def test_next_asks_where_the_critic_is_in_doubt(dualipo: Dualipo, run: Path) -> None:
    ended = dualipo("label", run, "--next", "--no-serve")
    assert ended.returncode == 0, ended.stderr
    assert items(run) == [("p1", 0.5), ("p0", 0.0)]


@pytest.mark.slow
def test_labels_go_out_and_come_back_as_gold(dualipo: Dualipo, run: Path) -> None:
    assert dualipo("label", run, "--no-serve").returncode == 0
    book = LabelBook(run / "labels.sqlite")
    (task, *_) = book.open_tasks(
        "ada", choose=lambda a, p, places: Choice(places[p].item_id, True, False)
    )
    for n, dimension in enumerate(DIMENSIONS):
        answer = Answer(task.task_id, dimension, "a", "sharper")
        assert book.answer("ada", answer, key=f"key-{n}----") == "saved"
    book.close()
    ended = dualipo("label", run, "--export", "out.jsonl")
    assert ended.stdout == "out.jsonl: 3 pairs, 0 points\n", ended.stderr
    lines = (run.parent / "out.jsonl").read_text().splitlines()
    pairs, _ = label_records.read_labels(run / "labels.sqlite")
    assert [Pair(**json.loads(line)) for line in lines] == pairs
    assert {pair.source for pair in pairs} == {"human"}
    assert dualipo("label", run, "--gold", "out.jsonl", "--no-serve").returncode == 0
    book = LabelBook(run / "labels.sqlite")
    ((gold_id, gold_row),) = book.rows("SELECT item_id, gold FROM items WHERE gold != ''")
    gold = [json.loads(gold_row)]
    (task, *_) = book.open_tasks("ben", choose=lambda a, p, places: Choice(gold_id, False, False))
    book.answer("ben", Answer(task.task_id, DIMENSIONS[0], "a"), key="key-ben-")
    book.close()
    assert gold == [dict.fromkeys(DIMENSIONS, "b")], "shown as A, the item's own B"
    said = dualipo("label", run, "--export", "out.jsonl").stdout
    assert said == (
        "out.jsonl: 0 pairs, 0 points; left out: 4 answers that measured the annotator\n"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--round", "3"], "there are no clips of round 3 yet"),
        (["--num-pairs", "0"], "there is nothing to ask"),
        (["--double", "2"], "--double: 2.0 is no share"),
        (["--gold", "none.jsonl"], "none.jsonl: there is no such file"),
        (["--export", "out.jsonl"], "labels.sqlite: no labels yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_explained(
    dualipo: Dualipo, run: Path, given: list[str], said: str
) -> None:
    ended = dualipo("label", run, *given)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr


def test_a_base_install_says_what_is_missing(dualipo: Dualipo, run: Path, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "fastapi.py").write_text("raise ImportError(name='fastapi')")
    ended = dualipo("label", run, PYTHONPATH=str(tmp_path / "absent"))
    assert ended.returncode == 2
    assert (
        "fastapi: it is not installed. The page needs more packages. Run `pip install"
        in ended.stderr
    )
