"""Source `constructed`: clips against their damaged copies, and against clips of other captions."""

from collections.abc import Sequence

from dualipo.critic.learning import constructed
from dualipo.critic.learning.constructed import CaptionedClip
from dualipo.records import Candidate
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.pair_sources.found import Found
from dualipo.rounds.run import Run
from dualipo.store.ledger import Unit


def pairs(run: Run, place: Unit, candidates: Sequence[Candidate]) -> Found:
    """Construct pairs from the round's candidates."""
    shown = [CaptionedClip(c.prompt_id, c.caption, c.clip) for c in intact(run, candidates)]
    built = constructed.build(
        shown,
        num=run.config.refresh.num_constructed,
        clips=run.clip,
        seed=run.seed("constructed", place.round),
    )
    return Found(built.pairs, built.damaged)
