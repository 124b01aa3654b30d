"""Questions to a critic that are no votes of a round, done by the workers where a version is asked.

Forced choices and the critic's own paths are cut into parts of whole batches, so their batches, and
hence their bits, are those of one process. A critic that is being trained has no version yet: it is
asked in this process.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.learning import warm_start
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.trust import checks
from dualipo.critic.trust.checks import Checked
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.records import Verdict, Vote
from dualipo.rounds import judging
from dualipo.rounds.bench import Bench
from dualipo.rounds.run import Run
from dualipo.workers.job import Work

Ask = Callable[..., dict[Place, Any]]  # `forced_choice.margins` or `forced_choice.grades`


@dataclass(frozen=True)
class Part:
    """A part of the questions to one version; `index` is its place among the parts."""

    ask: Ask
    critic: str
    index: int
    items: tuple[Item, ...]


def answers(run: Run, ask: Ask, critic: Vlm | str, items: Sequence[Item]) -> dict[Place, Any]:
    """Return what `ask` says of every item, in their order; workers answer for a version's id."""
    if not isinstance(critic, str):
        return ask(critic, items, clips=run.clip, settings=run.config.critic)
    size = run.config.critic.judge_batch_size  # items, each of which asks as often as the others
    parts = [
        Part(ask, critic, index, tuple(items[start : start + size]))
        for index, start in enumerate(range(0, len(items), size))
    ]
    works = [_as_work(f"forced choice {part.index}", part.items, part) for part in parts]
    rows = {done.work.content.index: done.row for done in run.spread(answer, works, critic=critic)}
    return {place: row for index in sorted(rows) for place, row in rows[index].items()}


def answer(bench: Bench, part: Part) -> dict[Place, Any]:
    """Answer a part of the questions."""
    critic = bench.critic(part.critic)
    return part.ask(critic, part.items, clips=bench.clip, settings=bench.config.critic)


@dataclass(frozen=True)
class OwnPaths:
    """Questions whose right answers are known; `index` is their place among the parts."""

    critic: str
    index: int
    traces: tuple[Trace, ...]
    num_paths: int


def own_traces(run: Run, critic: str, traces: Sequence[Trace], *, num_paths: int) -> list[PathPair]:
    """Return pairs of a version's own paths, one right and one wrong, in the questions' order."""
    size = max(1, run.config.critic.judge_batch_size // num_paths)
    parts = [
        OwnPaths(critic, index, tuple(traces[start : start + size]), num_paths)
        for index, start in enumerate(range(0, len(traces), size))
    ]
    works = [
        Work(
            f"own traces of {critic} {part.index}",
            tuple(trace.ask.item_id for trace in part.traces),
            part,
        )
        for part in parts
    ]
    rows: dict[int, list[PathPair]] = {
        done.work.content.index: done.row for done in run.spread(draw_own, works, critic=critic)
    }
    return [pair for index in sorted(rows) for pair in rows[index]]


def draw_own(bench: Bench, part: OwnPaths) -> list[PathPair]:
    """Draw the paths of a part of the questions, and pair them."""
    return warm_start.self_sampled(
        bench.critic(part.critic),
        part.traces,
        clips=bench.clip,
        num_paths=part.num_paths,
        settings=bench.config.critic,
        seed_of=judging.seed_of(bench, "own traces", part.critic),
    )


@dataclass(frozen=True)
class FreeForm:
    """Items that a version judges once in each order, without asking again."""

    critic: str
    items: tuple[Item, ...]


def free_votes(run: Run, critic: str, items: Sequence[Item]) -> list[Vote]:
    """Return a version's votes in free form, one in each order."""
    asked = FreeForm(critic, tuple(items))
    [done] = run.spread(vote_freely, [_as_work("free form", items, asked)], critic=critic)
    votes: list[Vote] = done.row
    return votes


def vote_freely(bench: Bench, asked: FreeForm) -> list[Vote]:
    """Cast the votes of `free_votes`."""
    return judge.confirm(
        bench.critic(asked.critic),
        asked.items,
        clips=bench.clip,
        settings=bench.config.critic.model_copy(update={"num_votes": 2, "max_reasks": 0}),
        seed_of=judging.seed_of(bench, "accuracy", asked.critic),
    )


@dataclass(frozen=True)
class SelfCheck:
    """The labelled pairs on which a version is checked before it judges."""

    critic: str
    items: tuple[Item, ...]
    verdicts: dict[Place, Verdict]


def checked(run: Run, asked: SelfCheck) -> Checked:
    """Check a version on a worker."""
    work = _as_work(f"check of {asked.critic}", asked.items, asked)
    [done] = run.spread(check_version, [work], critic=asked.critic)
    outcome: Checked = done.row
    return outcome


def check_version(bench: Bench, asked: SelfCheck) -> Checked:
    """Check the version that is asked about."""
    return check(bench, asked, bench.critic(asked.critic))


def check(bench: Bench, asked: SelfCheck, critic: Vlm) -> Checked:
    """Check a critic as the version that it is, or will be."""
    shown = {clip_hash for item in asked.items for clip_hash in item.clip_hashes}
    fps = {clip: bench.clip_fps(clip) for clip in sorted(shown)}
    expected_fps, fps_of = _expected_fps(bench, fps)
    return checks.run(
        critic,
        asked.items,
        asked.verdicts,
        clips=bench.clip,
        fps=fps,
        fps_of=fps_of,
        expected_fps=expected_fps,
        expected_frames=bench.config.generator.num_frames,
        settings=bench.config.critic,
        seed_of=judging.seed_of(bench, "check", asked.critic),
    )


def _expected_fps(bench: Bench, fps: Mapping[str, float]) -> tuple[float, str]:
    """Return the frame rate that labelled clips should have, and what says so.

    An imported label set has a rate of its own, which most of its clips have.
    """
    if bench.config.seed_labels.path is None or not fps:
        return bench.config.generator.fps, "generator.fps"
    rate, _ = Counter(fps.values()).most_common(1)[0]
    return rate, f"{rate:g}, which most clips of the label set have"


def _as_work(name: str, items: Sequence[Item], content: Any) -> Work:
    return Work(name, tuple(item.item_id for item in items), content)
