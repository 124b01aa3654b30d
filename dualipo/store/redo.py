"""Throws away a stage of a run and all that followed, so that it runs again with other settings.

What was sampled and judged before stays. In this order, so that a kill at any moment leaves a run
that goes on, as it was or as it is to be:

    checkpoints of the stages that go   a stage under way begins anew
    one transaction                     units, files, votes, candidates, versions and heads
    files without a row                 the next start sweeps them
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualipo import tracking
from dualipo.errors import ConfigError
from dualipo.events import AlignEvent, RefreshEvent
from dualipo.records import Vote
from dualipo.stages import Redo, redone
from dualipo.store import settled
from dualipo.store.ledger import Ledger, ModelKind, Unit, Version
from dualipo.store.run_paths import attempt_path

BASE_ROUND = settled.BASE_ROUND
# Units that keep the answers of a critic (`retry.py`): those about a round's candidates, and those
# about a new generator's clips, which go with that generator.
RETRIED = "retried"
RETRIED_WINS = "retried.win_rate"


@dataclass(frozen=True)
class Discarded:
    """What goes: units, the models that they made, the items that they voted on.

    `trainings` are the folders of stages that train, `curves` their places in the metrics. `kept`
    are new units, each with the sha256 of its files, which hold what of it is worth keeping.
    """

    units: Sequence[Unit]
    versions: Sequence[Version]
    voted: Sequence[tuple[Unit, str]]
    trainings: Sequence[Path]
    curves: frozenset[tuple[int, int, str]]
    kept: Mapping[Unit, Mapping[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        """Return in a line for people what goes."""
        stages = list(dict.fromkeys(unit.stage for unit in self.units))
        models = ", ".join(version.version_id for version in self.versions) or "no model"
        return f"throws away {', '.join(stages) or 'what was under way'}; {models}"


def plan(path: Path, ledger: Ledger, word: Redo, *, round: int | None = None) -> Discarded:
    """Return what goes if a stage of a round is done anew, by default of the round under way."""
    units, last = ledger.units(), last_round(ledger)
    if word == "warm-start":
        chosen = BASE_ROUND
        if last > 0:
            raise ConfigError(
                f"{path}: round {last} was begun with the critic of the warm start, so that cannot "
                "be redone. Begin a run with another output_dir."
            )
    else:
        chosen = last if round is None else round
        if not 0 <= chosen <= last:
            raise ConfigError(
                f"{path}: round {chosen} has not begun, so there is nothing to redo. Leave out "
                f"`--redo {word}`, or name a round from 0 to {last}."
            )
    attempt = settled.attempt_of(ledger, chosen)
    _require_latents(path, ledger, word, chosen)
    versions = _versions(ledger, word, chosen, attempt)
    gone = [unit for unit in units if _goes(unit, word, chosen, attempt, versions)]
    places = {(unit.round, unit.attempt) for unit in units if unit.round >= chosen}
    trained = [
        (*place, stage)
        for place in sorted({*places, (chosen, attempt)})
        for stage in settled.TRAINED
        if _goes(Unit(*place, stage), word, chosen, attempt, versions)
    ]
    return Discarded(
        gone,
        versions,
        list(_voted(path, ledger, gone)),
        [attempt_path(path, r, a) / settled.TRAINED[s] for r, a, s in trained],
        frozenset((r, a, "srpo" if s == "refresh" else s) for r, a, s in trained),
    )


def last_round(ledger: Ledger) -> int:
    """Return the round under way, or the last one of a run that is over; -1 before round 0."""
    rounds = (unit.round for unit in ledger.units() if unit.stage != settled.CHANGE)
    return max(rounds, default=BASE_ROUND)


def discard(path: Path, ledger: Ledger, gone: Discarded) -> None:
    """Throw it away; the models before it serve again."""
    for folder in gone.trainings:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / "reference.safetensors").unlink(missing_ok=True)
    ledger.forget(
        gone.units,
        versions=gone.versions,
        voted=gone.voted,
        heads=_heads(ledger, gone),
        kept=gone.kept,
    )
    tracking.forget(path / "metrics.jsonl", gone.curves)


def _goes(unit: Unit, word: Redo, round: int, attempt: int, versions: Sequence[Version]) -> bool:
    """Tell whether a unit is of the stage that is redone, or depends on it."""
    if unit.stage == settled.CHANGE:
        return False
    made = {version.version_id for version in versions}
    if unit.stage in (RETRIED, RETRIED_WINS):
        reader = "score" if unit.stage == RETRIED else "win_rate"
        place = (unit.round, unit.attempt)
        return reader in redone(word) and place >= (round, attempt)
    if unit.stage.startswith("holdout."):
        return unit.stage.removeprefix("holdout.") in made
    if unit.round > max(round, 0):
        return True
    is_own = unit.round == round and unit.attempt >= attempt
    if round == BASE_ROUND and unit.round == 0:
        is_own = True
    if not is_own or unit.stage not in redone(word):
        return False
    if unit.stage.startswith("sample."):  # its clips are of a model that goes, or they stay
        return unit.round >= 0 and any(version.kind == "generator" for version in versions)
    return True


def _versions(ledger: Ledger, word: Redo, round: int, attempt: int) -> list[Version]:
    """Return the models that were made by what goes."""

    def goes(version: Version) -> bool:
        if not version.path:
            return False  # the recipe names it
        if version.round > max(round, 0) or (round == BASE_ROUND and version.round == 0):
            return True
        stage = "align" if version.kind == "generator" else "refresh"
        if round == BASE_ROUND:
            return version.round == BASE_ROUND
        own = version.round == round and version.attempt >= attempt
        return own and stage in redone(word)

    adopted = ("sft", "warm") if round == BASE_ROUND else ()
    return [v for v in ledger.versions() if goes(v) or v.version_id in adopted]


def _heads(ledger: Ledger, gone: Discarded) -> dict[ModelKind, str]:
    """Return the models that serve once these are gone."""
    units, made = {*gone.units}, {version.version_id for version in gone.versions}
    aligned = [e.generator_version for u, e in ledger.events(AlignEvent) if u not in units]
    refreshed = [
        e.critic_version
        for u, e in ledger.events(RefreshEvent)
        if u not in units and e.outcome == "refreshed"
    ]
    critics = [v.version_id for v in ledger.versions() if v.kind == "critic"]
    first = next((name for name in ("warm", "sft", "shipped") if name in {*critics} - made), None)
    heads: dict[ModelKind, str] = {"generator": aligned[-1] if aligned else "base"}
    critic = refreshed[-1] if refreshed else first
    return heads | ({"critic": critic} if critic else {})


def _voted(path: Path, ledger: Ledger, units: Sequence[Unit]) -> list[tuple[Unit, str]]:
    """Return the items of the votes that these units cast."""
    from dualipo.store import tables  # imports pyarrow, for which `dualipo --help` need not wait

    owners = {unit: name for name, unit in ledger.owners().items() if "/votes-" in name}
    return [
        (unit, vote.item)
        for unit in units
        if unit in owners
        for vote in tables.read_records(path / owners[unit], record_type=Vote)
    ]


def _require_latents(path: Path, ledger: Ledger, word: Redo, round: int) -> None:
    """Refuse to align anew on clips whose latents were removed when their round closed."""
    trains = "align" in redone(word)
    if trains and ledger.is_done(Unit(max(round, 0), 0, "drop_latents")):
        raise ConfigError(
            f"{path}: the latents of round {max(round, 0)} were removed when it closed, as "
            "generator.keep_latents was false, so it cannot be aligned anew. Redo a later round, "
            "or begin a run with another output_dir and generator.keep_latents = true."
        )
