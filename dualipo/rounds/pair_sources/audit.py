"""Source `audit`: fresh labels of this round's clips and earlier ones, of prompts for learning.

The other half of the monitor prompts only measures, in every round, so no critic has learned from
their labels.
"""

from collections.abc import Sequence

from dualipo.records import Candidate
from dualipo.rounds import audit
from dualipo.rounds.pair_sources.found import Found
from dualipo.rounds.run import Run
from dualipo.rounds.versions import attempt_of
from dualipo.store.ledger import Unit


def pairs(run: Run, place: Unit, candidates: Sequence[Candidate]) -> Found:
    """Return the labels of every round's audit so far that critics may learn from."""
    places = [(round_, attempt_of(run, round_)) for round_ in range(place.round)]
    labels = [
        label
        for round_, attempt in [*places, (place.round, place.attempt)]
        for label in audit.newest(run, round_, attempt)
    ]
    return Found(audit.learning(run, labels))
