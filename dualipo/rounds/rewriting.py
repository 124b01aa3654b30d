"""The warm start's traces, worded anew where the recipe names a language model.

What it wrote goes into the run in fixed units, so that a killed run asks for none twice and a
resumed one trains on the same words.
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
    """One trace's response."""

    item: str
    order: Order
    response: str


def worded(run: Run, traces: Sequence[Trace]) -> list[Trace]:
    """The traces as they are to be learnt."""
    settings = run.config.seed_labels.rewriter
    if settings.model is None:
        return list(traces)
    run.progress.stage("rewrite", round=BASE_ROUND, attempt=0, total=len(traces))
    found: list[Worded] = []
    for index, start in enumerate(range(0, len(traces), PER_UNIT)):
        unit = Unit(BASE_ROUND, 0, "rewrite", index)
        path = run.directory.attempt_path(BASE_ROUND, 0) / "rewrite" / f"traces-{index:04d}.parquet"
        some = traces[start : start + PER_UNIT]
        if not run.is_done(unit):
            clock = Clock()
            made, fates = rewriting.rewrite(some, settings=settings)
            rows = [Worded(one.ask.item_id, one.ask.order, one.response) for one in made]
            tables.write_records(path, rows, record_type=Worded)
            event = RewriteEvent(fates=dict(Counter(fates)))
            run.commit(unit, files=(path,), clock=clock, events=[event])
        found += tables.read_records(path, record_type=Worded)
        run.progress.advance(len(some))
    return [replace(t, response=one.response) for t, one in zip(traces, found, strict=True)]
