"""The label book by itself, and its way into the warm start."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dualipo.critic import reasoning
from dualipo.critic.learning import warm_start
from dualipo.errors import DataError, StorageError
from dualipo.records import DIMENSIONS
from dualipo.store import label_records
from dualipo.store.labels import Answer, Choice, LabelBook, LabelItem, QueueItem, Task

VERDICTS = ("a", "b", "tie")
POINT = LabelItem("point", "p9", "caption 9", "z")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[LabelBook]:
    opened = LabelBook(tmp_path / "labels.sqlite")
    pairs = [(f"p{n}", f"caption {n}", {f"x{n}": "", f"y{n}": ""}) for n in range(6)]
    opened.add_items([*(LabelItem.of_pair(*pair) for pair in pairs), POINT])
    yield opened
    opened.close()


def tasks(book: LabelBook, annotator: str, num: int) -> list[Task]:
    """Open tasks: the pairs in turn, every second one with its sides exchanged; then the clip."""

    def choose(_: str, position: int, items: Sequence[QueueItem]) -> Choice:
        ordered = sorted(items, key=lambda item: item.item_id == POINT.item_id)
        return Choice(ordered[position].item_id, bool(position % 2), False)

    return book.open_tasks(annotator, choose=choose, num=num)


def test_labels_become_the_traces_of_a_warm_start(book: LabelBook) -> None:
    for n, task in enumerate(tasks(book, "ada", 7)):
        outcome = VERDICTS[n % 3] if task.kind == "pair" else "good"
        for dimension in DIMENSIONS:
            answer = Answer(task.task_id, dimension, outcome, f"because {n}")
            assert book.answer("ada", answer, key=f"{task.task_id}{dimension}") == "saved"
    pairs, points = label_records.read_labels(book.path)
    traces = warm_start.traces([*pairs, *points])
    assert len(traces) == 2 * 18 + 3
    for trace, pair in zip(traces[0:36:2], pairs, strict=True):
        parsed = reasoning.parse(trace.response, "pair", truncated=False)
        assert parsed.outcome == pair.verdict and pair.rationale in trace.response
        assert trace.ask.clip_hashes == (pair.video_a, pair.video_b)
    assert {record.source for record in (*pairs, *points)} == {"human"}


def test_undo_reopens_the_question_and_keeps_the_trail(book: LabelBook) -> None:
    (task,) = tasks(book, "ada", 1)
    for n, dimension in enumerate(DIMENSIONS):
        book.answer("ada", Answer(task.task_id, dimension, "a", "r"), key=f"k{n}")
    assert tasks(book, "ada", 1)[0].position == 1, "answered in all dimensions: the next one"
    assert book.undo("ada", key="u") == Answer(task.task_id, "motion", "a", "r")
    assert book.undo("ada", key="u") is not None and book.num_answers("ada") == 2
    assert book.undo("ben", key="u") is None, "nobody takes back what another said"
    (again, *_) = tasks(book, "ada", 1)
    assert again.task_id == task.task_id and set(again.answered) == set(DIMENSIONS[:2])
    assert book.answer("ada", Answer(task.task_id, "motion", "b"), key="k9") == "saved"
    rows = book.rows("SELECT outcome, is_undone FROM labels WHERE dimension = 'motion'")
    assert rows == [("a", 1), ("b", 0)]


def test_items_have_one_spelling(book: LabelBook) -> None:
    turned = LabelItem.of_pair("p0", "caption 0", {"y0": "", "x0": ""}, round=4)
    assert book.add_items([turned]) == 0
    with pytest.raises(AssertionError):
        book.add_items([LabelItem("pair", "p0", "caption 0", "y0", "x0")])


@pytest.mark.parametrize(
    ("task", "dimension", "outcome"),
    [("other", "motion", "a"), ("", "overall", "a"), ("", "motion", "good"), ("", "motion", "A")],
)
def test_what_was_not_asked_cannot_be_answered(
    book: LabelBook, task: str, dimension: str, outcome: str
) -> None:
    (own,) = tasks(book, "ada", 1)
    answer = Answer(task or own.task_id, dimension, outcome)
    assert book.answer("ada", answer, key="key") == "no such question"
    assert book.answer("ben", Answer(own.task_id, "motion", "a"), key="key") == "no such question"


def test_a_full_disk_and_a_strange_file_are_told(book: LabelBook, tmp_path: Path) -> None:
    (task,) = tasks(book, "ada", 1)
    book.rows("PRAGMA max_page_count = 1")  # SQLite then answers as on a full disk
    with pytest.raises(StorageError, match="The last answer was not saved"):
        for n in range(99):
            book.answer("ada", Answer(task.task_id, "motion", "a", "r" * 2000), key=f"{n}")
            book.undo("ada", key=f"{n}")
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be taken for one" * 99)
    with pytest.raises(DataError, match="no label book"):
        LabelBook(tmp_path / "notes.txt")


def test_a_newer_book_is_refused(book: LabelBook) -> None:
    book.close()
    connection = sqlite3.connect(book.path)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="newer dualipo"):
        LabelBook(book.path)


def test_an_answer_reaches_the_disk_before_its_receipt_is_sent(book: LabelBook) -> None:
    """Require what SQLite calls FULL, 2: a power cut after a receipt must not lose the answer."""
    assert book.rows("PRAGMA synchronous") == [(2,)]
    assert book.rows("PRAGMA journal_mode") == [("wal",)]


def test_fault_40_a_newer_label_book_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    LabelBook(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(DataError, match=r"labels\.sqlite: written by a newer dualipo"):
        LabelBook(path)
