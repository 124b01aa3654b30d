"""Clips of a run that went bad: sampled once more, or left out and counted; kills stay exact."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dualipo.evaluation import run_history
from dualipo.events import AlignEvent, BadClipEvent, PreferEvent, SampledAgainEvent
from dualipo.progress import PlainProgress
from dualipo.records import Candidate, Pair
from dualipo.rounds import bad_clips
from dualipo.rounds.loop import opened
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.run_reader import RunReader
from tests.rounds import harness as harnesses
from tests.rounds import same_process
from tests.rounds.harness import Harness, State

Spoil = Callable[[Path], None]
GRADING = "votes-0000.parquet.before_rename"  # the first of a run: nothing was graded yet


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def candidates_of(path: Path, prompt: int = 0) -> list[Candidate]:
    """Return the first round's candidates of a prompt, the prompts in a fixed order."""
    candidates = [c for c in RunReader(path).candidates(0) if c.candidate_id.startswith("cand")]
    prompts = sorted({candidate.prompt_id for candidate in candidates})
    return [candidate for candidate in candidates if candidate.prompt_id == prompts[prompt]]


def clip_path(path: Path, clip: str) -> Path:
    return ClipStore(path / "clips").path(clip)


@contextmanager
def stopped_at(harness: Harness, hit: int) -> Iterator[Path]:
    """Yield a copy of a run's folder that was killed at this hit; it is killed once for all."""
    killed = harness.path.parent / f"killed-at-{hit}" / "run"
    if not killed.exists():
        assert harnesses.ended(harness.recipe(killed), fail=f"kill@{hit}") < 0
    with harnesses.elsewhere(harness) as path:
        shutil.copytree(killed, path)
        yield path


def goes_on(harness: Harness, path: Path, *fails: str, overrides: tuple[str, ...] = ()) -> State:
    """Go on with a run, killed at these hits; return what it made."""
    for fail in fails:
        assert harnesses.ended(harness.recipe(path), fail=fail) < 0, harnesses.log(path)
    assert harnesses.ended(harness.recipe(path, *overrides)) == 0, harnesses.log(path)
    return harnesses.state(path)


def score_hit(harness: Harness) -> int:
    """Return the hit before the first vote on the first round's clips is published."""
    sampled = harness.point("candidates.parquet.after_rename")
    hits = [n for n, name in enumerate(harness.names, 1) if name == GRADING and n > sampled]
    return hits[0]


@pytest.mark.parametrize("spoil", [emptied, changed, Path.unlink])
def test_fault_19_a_clip_that_no_critic_has_graded_is_sampled_once_more(
    harness: Harness, spoil: Spoil
) -> None:
    with stopped_at(harness, score_hit(harness)) as path:
        before = candidates_of(path)
        spoil(clip_path(path, before[0].clip))
        goes_on(harness, path)
        after = candidates_of(path)
        assert after[1] == before[1]
        assert (after[0].candidate_id, after[0].draw) == (
            before[0].candidate_id,
            before[0].draw + 1,
        )
        assert after[0].clip != before[0].clip and not clip_path(path, before[0].clip).exists()
        assert ClipStore(path / "clips").read(after[0].clip).size
        [event] = harnesses.events(path, BadClipEvent)
        assert event == BadClipEvent(clip=before[0].clip, is_missing=spoil is Path.unlink)
        [again] = harnesses.events(path, SampledAgainEvent)
        assert again == SampledAgainEvent(candidate_id=before[0].candidate_id, is_usable=True)
        graded = {vote.item for vote in RunReader(path).attempt_votes(0, 0, "point")}
        assert after[0].candidate_id in graded
        history = run_history.read(RunReader(path))
        assert (history.num_bad_clips, history.num_sampled_again) == (1, 1)
        assert (
            "went missing or bad on the disk: 1 were sampled" in (path / "report.html").read_text()
        )


def test_fault_19_killed_anywhere_and_by_workers_it_makes_the_same(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill each copy of a folder with bad clips elsewhere; require that all end alike."""
    same_process.use(monkeypatch)
    with stopped_at(harness, score_hit(harness)) as path:
        changed(clip_path(path, candidates_of(path, 0)[0].clip))
        clip_path(path, candidates_of(path, 1)[1].clip).unlink()
        spoilt = path.with_name("spoilt")
        shutil.copytree(path, spoilt)
        whole = goes_on(harness, path)
        assert len(harnesses.events(path, SampledAgainEvent)) == 2
        for fails, overrides in (
            (["kill@2", "kill@5"], ()),
            (["kill@9"], (same_process.BY_WORKERS,)),
        ):
            shutil.rmtree(path)
            shutil.copytree(spoilt, path)
            assert goes_on(harness, path, *fails, overrides=overrides) == whole, fails


def test_fault_19_a_prompt_that_lost_its_clips_after_grading_is_dropped_and_counted(
    harness: Harness,
) -> None:
    """Lose one of two clips, without which there is no contest."""
    hit = harness.point("preferences.parquet.before_rename")
    confirm = [n for n, name in enumerate(harness.names, 1) if name == GRADING and n < hit][-1]
    with stopped_at(harness, confirm) as path:
        lost = candidates_of(path)[0]
        clip_path(path, lost.clip).unlink()
        goes_on(harness, path)
        assert not harnesses.events(path, SampledAgainEvent)
        assert candidates_of(path)[0] == lost
        prefer = harnesses.events(path, PreferEvent)[0]
        assert prefer.dropped["bad clips"] == 1
        assert prefer.kept + sum(prefer.dropped.values()) == prefer.num_prompts
        assert harnesses.events(path, AlignEvent)


def test_fault_81_a_label_whose_clip_went_bad_is_left_out(harness: Harness) -> None:
    """Meet it where the warm critic is measured on held-out labels, after the preferences."""
    with stopped_at(harness, harness.point("preferences.parquet.after_rename")) as path:
        [table] = path.rglob("seed-pairs.parquet")
        pairs = tables.read_records(table, record_type=Pair)
        changed(clip_path(path, pairs[0].video_a))
        goes_on(harness, path)
        assert [event.clip for event in harnesses.events(path, BadClipEvent)] == [pairs[0].video_a]


def test_fault_81_a_training_that_meets_a_bad_clip_begins_anew(harness: Harness) -> None:
    """Remove the checkpoints of trainings on clips; keep those of an alignment, on latents."""
    with stopped_at(harness, score_hit(harness)) as path:
        attempt = path / "rounds" / "000" / "attempt-0"

        def meet() -> None:
            with opened(harness.recipe(path), PlainProgress()) as run:
                for part in ("critic", "generator"):
                    (attempt / part / "checkpoints" / "step-1").mkdir(parents=True)
                bad_clips.mark(run, [candidates_of(path)[0].clip])
                assert not (attempt / "critic" / "checkpoints").exists()
                assert (attempt / "generator" / "checkpoints" / "step-1").exists()

        assert harnesses.in_child(meet, path=path) == 0, harnesses.log(path)


def test_fault_20_a_run_that_lost_too_many_clips_is_refused(harness: Harness) -> None:
    with stopped_at(harness, score_hit(harness)) as path:
        clips = sorted((path / "clips").rglob("*.mp4"))
        for clip in clips[:11]:
            clip.unlink()
        before = sorted(path.rglob("*.mp4"))
        assert harnesses.ended(harness.recipe(path)) == 1
        assert "11 of" in harnesses.log(path) and "Restore the folder clips/" in harnesses.log(path)
        assert sorted(path.rglob("*.mp4")) == before
        assert not harnesses.events(path, BadClipEvent)
