"""What a run has still to take from outside: captions, labels, real clips, the shipped critic.

A resumed run has taken some of it already, and what it has taken may be gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dualipo.config import Config
from dualipo.events import ScoresEvent
from dualipo.rounds.run import BASE_ROUND
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import MARKER


@dataclass(frozen=True)
class Ahead:
    """The inputs that a run will still read.

    `used_captions` were drawn before and are never drawn again. `seed_prompts` are the ids of the
    captions whose labels may be taken; None where they are not fixed yet.
    """

    is_new: bool
    draws_fixed_prompts: bool
    takes_seed: bool
    trains_shipped_critic: bool
    encodes_real_clips: bool
    num_rounds_to_draw: int
    num_rounds_to_run: int
    used_captions: Sequence[str] = ()
    seed_prompts: frozenset[str] | None = None
    is_redone: bool = False


def of(config: Config, *, begun_at: Path | None = None) -> Ahead:
    """Return what a run has still to take; everything for a new one.

    `begun_at` is the folder of the run so far, by default `config.output_dir`.
    """
    path = begun_at or Path(config.output_dir)
    if not (path / MARKER).is_file() or not (reader := RunReader(path)).has_ledger:
        return Ahead(True, True, True, True, True, config.rounds, config.rounds)
    units = set(reader.units())
    draws_fixed = Unit(BASE_ROUND, 0, "prompts") not in units
    prompts = [] if draws_fixed else reader.prompts().to_pylist()
    drawn = sum(Unit(round_, 0, "prompts") in units for round_ in range(config.rounds))
    run = {unit.round for unit, _ in reader.events(ScoresEvent) if unit.round >= 0}
    seed = frozenset(row["prompt_id"] for row in prompts if row["set"] == "seed")
    return Ahead(
        is_new=not units,
        draws_fixed_prompts=draws_fixed,
        takes_seed=Unit(BASE_ROUND, 0, "label") not in units,
        trains_shipped_critic=Unit(BASE_ROUND, 0, "warm_start_sft") not in units,
        encodes_real_clips=Unit(BASE_ROUND, 0, "encode_real", -1) not in units,
        num_rounds_to_draw=config.rounds - drawn,
        num_rounds_to_run=config.rounds - len(run & {*range(config.rounds)}),
        used_captions=[row["caption"] for row in prompts],
        seed_prompts=None if draws_fixed else seed,
    )
