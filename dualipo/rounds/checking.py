"""Self-checks of every critic version before it judges (`critic.checks`), on held-out seed pairs.

What they find is recorded and said; the checks that stop a stage are `judge`'s own.
"""

from dualipo.critic import checks
from dualipo.critic.asks import Item
from dualipo.critic.checks import Checked
from dualipo.critic.forced_choice import Place
from dualipo.records import Verdict
from dualipo.rounds import judging, warming
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import Run
from dualipo.store import clips as clip_files
from dualipo.store.ledger import Unit


def check_critic(run: Run, round: int, attempt: int) -> None:
    """Check the critic that judges an attempt, once a version."""
    unit = Unit(round, attempt, "check")
    critic = judging.critic_of(run, round, attempt)
    known = {value["critic_version"] for _, _, value in run.ledger.events("critic_check")}
    if critic in known or run.is_done(unit) or not run.config.critic.check.num_pairs:
        return
    clock = Clock()
    checked = check(run, critic)
    event = {"critic_version": critic, "passed": checked.passed, **checked.as_event()}
    run.commit(unit, clock=clock, events={"critic_check": event})
    for one in checked.checks:
        if not one.passed:
            run.progress.say(f"critic {critic}: {one.name} is {one.number:.3f} ({one.what})")


def check(run: Run, critic: str) -> Checked:
    """Check any version; nothing is recorded."""
    pairs, _ = warming.seed_labels(run, held_out=True)
    items: list[Item] = []
    verdicts: dict[Place, Verdict] = {}
    for pair in pairs[: run.config.critic.check.num_pairs]:
        if pair.dimension == "overall":
            continue
        clip_ids = (pair.video_a, pair.video_b)
        items.append(Item(pair.pair_id, pair.prompt, clip_ids, (pair.dimension,)))
        verdicts[pair.pair_id, pair.dimension] = pair.verdict
    shown = {clip_id for item in items for clip_id in item.clip_ids}
    return checks.run(
        run.critic(critic),
        items,
        verdicts,
        clips=run.clip,
        fps={clip: clip_files.probe(run.clip_store.path(clip)).fps for clip in sorted(shown)},
        expected_fps=run.config.generator.fps,
        settings=run.config.critic,
        seed_of=judging.seed_of(run, "check", critic),
    )
