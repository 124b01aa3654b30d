"""The warm start's traces, reworded where the recipe names a language model.

Its words go into the run in fixed units, so a killed run asks for no trace twice, and a resumed
run trains on the same words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualipo.critic.learning import rewriting
from dualipo.critic.learning.warm_start import Trace
from dualipo.events import RewriteEvent
from dualipo.records import Order
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.store import tables
from dualipo.store.ledger import Unit

PER_UNIT = 256  # traces; the two orders of a pair stand together


@dataclass(frozen=True)
class Worded:
    """A trace's reworded response."""

    item: str
    order: Order
    response: str


def worded(run: Run, traces: Sequence[Trace]) -> list[Trace]:
    """Return the traces as they are to be learnt."""
    settings = run.config.seed_labels.rewriter
    if settings.model is None:
        return list(traces)
    run.progress.stage("rewrite", round=BASE_ROUND, attempt=0, total=len(traces))
    responses: list[Worded] = []
    for index, start in enumerate(range(0, len(traces), PER_UNIT)):
        unit = Unit(BASE_ROUND, 0, "rewrite", index)
        path = run.directory.attempt_path(BASE_ROUND, 0) / "rewrite" / f"traces-{index:04d}.parquet"
        own = traces[start : start + PER_UNIT]
        if not run.is_done(unit):
            clock = Clock()
            reworded, fates = rewriting.rewrite(
                own, settings=settings, questions=run.config.critic.questions
            )
            rows = [
                Worded(trace.ask.item_id, trace.ask.order, trace.response) for trace in reworded
            ]
            tables.write_records(path, rows, record_type=Worded)
            event = RewriteEvent(fates=dict(Counter(fates)))
            run.commit(unit, files=(path,), clock=clock, events=[event])
        responses += run.records(path, Worded)
        run.progress.advance(len(own))
    return [
        replace(trace, response=worded.response)
        for trace, worded in zip(traces, responses, strict=True)
    ]
