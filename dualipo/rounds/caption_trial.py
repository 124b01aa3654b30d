"""The trial of captions: verdicts are asked for again where a neutral caption replaces the own.

A caption may talk to the critic (fault 38), and any caption may disturb it. No list of words finds
all of them, so what counts is whether the verdict moves. Tried are the captions that seem to talk
to the critic, and a drawn share of the others (`critic.cross_check_share`), so that both rates can
be read side by side. Whatever turned makes no preference and teaches no critic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dualipo import captions, seeds
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item, SeedOf
from dualipo.critic.trust.forced_choice import Place
from dualipo.event_parts import CaptionTrial
from dualipo.events import CaptionsEvent
from dualipo.records import Vote
from dualipo.rounds.bench import Bench
from dualipo.rounds.run import Run
from dualipo.rounds.versions import critic_of
from dualipo.store.ledger import Unit
from dualipo.workers.job import Work


def events(
    run: Run,
    judged: Unit,
    items: Sequence[Item],
    votes_of: Callable[[Sequence[str]], Sequence[Vote]],
    *,
    seed_of: SeedOf,
) -> list[CaptionsEvent]:
    """Judge the tried items again under a neutral caption, and say what turned.

    `votes_of` returns the votes on items under their own captions.
    """
    suspicious = [item for item in items if reasoning.suspicious(item.caption)]
    others = [item for item in items if not reasoning.suspicious(item.caption)]
    ordinary = [item for item in others if _is_drawn(run, judged, item)]
    if not suspicious and not ordinary:
        return []
    critic = critic_of(run, judged.round, judged.attempt)
    tried = {item.item_id: item for item in [*suspicious, *ordinary]}
    trial = Trial(critic, tuple(tried.values()), tuple(votes_of([*tried])), seed_of)
    works = [Work("caption trial", tuple(tried), trial)]
    [done] = run.ask(judge_again, works, critic=critic, items=trial.items)
    turned = done.row
    event = CaptionsEvent(suspicious=_trial(suspicious, turned), ordinary=_trial(ordinary, turned))
    _say(run, event)
    return [event]


@dataclass(frozen=True)
class Trial:
    """Items to judge again under a neutral caption, with the votes under their own."""

    critic: str
    items: tuple[Item, ...]
    votes: tuple[Vote, ...]
    seed_of: SeedOf


def judge_again(bench: Bench, trial: Trial) -> dict[Place, bool]:
    """Return which verdicts turned."""
    return judge.turned_by_caption(
        bench.judge(trial.critic),
        trial.items,
        trial.votes,
        clips=bench.clip,
        settings=bench.config.critic,
        seed_of=trial.seed_of,
    )


def turned_items(run: Run, round: int, attempt: int) -> frozenset[str]:
    """Return the judged items of an attempt whose verdict turned under a neutral caption."""
    event = run.ledger.event(Unit(round, attempt, "judged"), CaptionsEvent)
    trials = (event.suspicious, event.ordinary) if event else ()
    return frozenset(item_id for trial in trials if trial for item_id in trial.turned)


def _is_drawn(run: Run, judged: Unit, item: Item) -> bool:
    """Draw captions, not clips: all clips of a caption are tried, or none."""
    share, caption = run.config.critic.cross_check_share, captions.prompt_id(item.caption)
    return seeds.chance(share, run.config.seed, "cross check", judged.round, caption)


def _trial(items: Sequence[Item], turned: Mapping[Place, bool]) -> CaptionTrial:
    own = {item.item_id for item in items}
    verdicts = {place: is_turned for place, is_turned in turned.items() if place[0] in own}
    turned_ids = {item_id for (item_id, _), is_turned in verdicts.items() if is_turned}
    return CaptionTrial(
        tried=[item.item_id for item in items],
        turned=[item.item_id for item in items if item.item_id in turned_ids],
        num_verdicts=len(verdicts),
        num_turned=sum(verdicts.values()),
    )


def _say(run: Run, event: CaptionsEvent) -> None:
    """Name the captions that seem to talk to the critic and turned what it says."""
    trial = event.suspicious
    if trial and trial.turned:
        run.progress.say(
            f"{len(trial.turned)} of {len(trial.tried)} captions that talk to the critic turned "
            f"what it says: {', '.join(trial.turned[:3])}. They make no preference; look at them."
        )
