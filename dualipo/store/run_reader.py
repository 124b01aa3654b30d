"""One reader of a run's folder, finished or at work: its settings, records, tables and clips.

`dualipo.open_run(folder)` makes a `RunReader`. It never writes, holds no lock and needs no torch;
each call reads what is there at that moment, so a run at work shows more at the next call.

How the ledger is read without leaving a trace: `reading.py`. A process that begins to write in that
moment is noticed, and the question is asked again.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from dualipo import tracking
from dualipo.config import RETIRED, Config, Questions, leaves
from dualipo.config.questions import read as read_questions
from dualipo.errors import DataError, DualipoError
from dualipo.events import ClockEvent, Event, ScoresEvent
from dualipo.records import Candidate, Pair, Point, Prompt, Vote
from dualipo.redaction import redact
from dualipo.store import atomic, lock, run_tables, rundir, settled, tables
from dualipo.store.ledger import Ledger, ModelKind, Unit, Version, VoteKind

if TYPE_CHECKING:
    from dualipo.store.clips import ClipStore
    from dualipo.store.video import Frames

Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound=Event)

_LABELS = ("preferences.parquet", "seed-pairs.parquet", "seed-points.parquet")


def open_run(folder: str | Path) -> "RunReader":
    """Open the run in `folder` for reading; a folder that holds no run is a ConfigError."""
    return RunReader(Path(folder))


class RunReader:
    """A run's folder, opened for reading.

    Tables are pyarrow's: `run.clips().to_pandas()` and `.to_pylist()` go on from there. A run that
    has recorded nothing yet has no tables; asking for one is a DataError.
    """

    def __init__(self, path: Path) -> None:
        rundir.require_run(path)
        self.path = path
        self.name = path.resolve().name

    def __repr__(self) -> str:
        return f"RunReader({str(self.path)!r})"

    @property
    def settings(self) -> dict[str, Any]:
        """The run's settings by dotted key, for example `align.loss_type`, secrets removed."""
        # A key that an older program did not know had today's default.
        # An older program may have written more than this one would.
        known = leaves(Config()) | self.written_settings
        return {k: v for k, v in redact(known).items() if (k, v) not in RETIRED.items()}

    @property
    def questions(self) -> Questions:
        """The questions that the run's critic is asked."""
        return read_questions(self.settings["critic.questions"])

    @property
    def written_settings(self) -> dict[str, Any]:
        """The settings as config.json has them, or the ledger where that file is missing."""
        path = self.path / settled.CONFIG
        if not path.exists() and self.has_ledger:
            kept = self._ask(lambda ledger: ledger.read_record(settled.RECORD))
            if isinstance(kept, dict):
                return kept
        return dict(atomic.read_json(path))

    def require_unread(self, config: Config) -> None:
        """Raise a ConfigError where a setting differs that a stage of the run has read."""
        now = redact(leaves(config))
        changed = settled.changes(self.path, self.written_settings, now)
        self._ask(
            lambda ledger: settled.require_unread(self.path, ledger, changed, subject=self.path)
        )

    @property
    def is_working(self) -> bool:
        """True while a process works on the run."""
        return lock.is_held(self.path / "LOCK")

    # Tables

    def prompts(self) -> pa.Table:
        """Return the prompts of every set, one row for each.

        | column | meaning |
        |---|---|
        | round | the round; -1 for the sets that are chosen before round 0 |
        | set | `candidates` for a round's own prompts; `seed`, `monitor`, `test` |
        | prompt_id, caption | the prompt |
        | multiplicity | how many equal captions were folded into it |
        | category | its category; empty where the captions have none |
        """
        return run_tables.prompts(self._prompt_sets())

    def clips(self) -> pa.Table:
        """Return every clip that was sampled, one row for each; `read_clip` decodes one.

        | column | meaning |
        |---|---|
        | round | the round; -1 before round 0 |
        | set | what it was made for: `seed`, `candidates`, `monitor`, `test`, `accuracy` |
        | candidate_id, prompt_id, caption, index | the clip's id, its prompt, its place there |
        | draw | how often the clip was sampled anew |
        | seed | the seed of its noise |
        | generator_version | the generator that made it |
        | clip | sha256 of its file: what `read_clip` and `clip_path` take |
        | path | its file, relative to the run's folder |
        """
        candidates = self._ask(lambda ledger: ledger.candidates())
        return run_tables.clips(candidates, self._relative_clip_path)

    def votes(self) -> pa.Table:
        """Return the critic's votes with its words, one row for each answer.

        | column | meaning |
        |---|---|
        | round, attempt | when it was asked |
        | kind | `pair` for two clips compared, `point` for one clip graded |
        | stage | what it was asked for, e.g. `score`, `confirm`, `win_rate`; null if not known |
        | critic_version | the critic that answered |
        | item | what was judged: a candidate, two of them (`A:B`), or a prompt's two clips |
        | candidate_a, candidate_b | the `candidate_id` of the clips that `item` names, or null |
        | dimension | `consistency`, `faithfulness` or `motion` |
        | order | `ba` where the clips were shown in exchanged order |
        | draw | the number of the answer among those to the same question |
        | outcome | of a pair `a`, `b`, `tie`; of a clip `good`, `normal`, `bad`; or `abstain` |
        | log_prob | log-probability of the answer's tokens |
        | score | a single clip's score between 0 and 1; null for a pair |
        | reasoning | the critic's words; null where they were not kept |
        """
        cast, candidates = self._ask(lambda ledger: (ledger.all_votes(), ledger.candidates()))
        return run_tables.votes(cast, dict(self._reasonings()), candidates)

    def preferences(self) -> pa.Table:
        """Return the compared pairs of clips: the seed's labels and every round's preferences.

        One row for each pair and dimension, with the columns of `records.Pair` after `attempt`:

        | column | meaning |
        |---|---|
        | round, attempt | when it was built; round -1 for the seed's labels |
        | prompt_id, prompt | the caption of both clips |
        | video_a, video_b | sha256 of the clips: what `read_clip` takes |
        | dimension | what was compared; `overall` where no single dimension was |
        | verdict | `a`, `b`, `tie` or `abstain` |
        | source | `human`, `simulated` or `critic` |
        | annotator_or_critic_version | who said so |
        | certainty | from 0 to 1 |
        | votes_a, votes_b, votes_tie, votes_abstain | how the critic's votes fell |
        | rationale, reason_a, reason_b, grade_a, grade_b | a person's words and grades |
        """
        return run_tables.labels(self._tables_of(Pair), Pair)

    def labelled_clips(self) -> pa.Table:
        """Return labels of single clips: the seed's, and every round's where KTO aligns.

        One row for each clip and dimension, with the columns of `records.Point` after `attempt`:
        round, attempt, prompt_id, prompt, video (sha256), dimension, grade (`good`, `normal`,
        `bad`), source, annotator_or_critic_version, rationale, certainty.
        """
        return run_tables.labels(self._tables_of(Point), Point)

    def scores(self) -> pa.Table:
        """Return the scores of the test clips, one row for each; nothing in a run reads them.

        | column | meaning |
        |---|---|
        | round, attempt | whose generator made the clip; round -1 is the base model |
        | prompt_id, caption | the test prompt |
        | consistency, faithfulness, motion | scores from 0 to 1 |
        | total | the mean of the three |
        """
        return run_tables.scores(self.events(ScoresEvent))

    def curves(self) -> pa.Table:
        """Return the training curves, one row for each step of each training.

        The columns `round`, `attempt`, `stage` and `step` name the step (round -1 before round 0);
        the others are what its training recorded, for example `loss`, and null elsewhere.
        """
        return run_tables.curves(self.metrics(of_training=True))

    def rounds(self) -> pa.Table:
        """Return one row for each attempt of a round; an attempt follows a refreshed critic.

        | column | meaning |
        |---|---|
        | round, attempt | the round, and which of its attempts |
        | num_prompts, num_kept | the prompts, and those that gave a preference; with KTO, clips |
        | critic_version | the critic that judged |
        | generator_version | the generator that was made |
        | implicit_accuracy | of the alignment's last step, from 0 to 1 |
        | win_rate | how often the critic prefers the new generator's clips |
        | holdout_accuracy, audit_accuracy | the critic's, on held-out and on fresh labels |
        | refresh | how the critic's refresh ended, e.g. `not needed`, `refreshed`, `reverted` |

        A number that was not recorded, or not yet, is null.
        """
        events, _ = self.all_events()
        return run_tables.rounds(events)

    def versions(self) -> pa.Table:
        """Return the models that the run began with or made, one row for each.

        | column | meaning |
        |---|---|
        | kind | `generator` or `critic` |
        | version_id | its name, for example `base`, `g000.0`, `warm` |
        | parent | the version that it was trained from; null for the first |
        | round, attempt | when it was made; round -1 before round 0 |
        | path | its folder, relative to the run's; empty for a model that the recipe names |
        | sha256 | the hash of its weights |
        | serves | whether it is the one in use |
        """
        versions, serving = self._ask(
            lambda ledger: (ledger.versions(), [ledger.head(k) for k in ("generator", "critic")])
        )
        return run_tables.versions(versions, serving)

    # Clips

    @cached_property
    def clip_store(self) -> "ClipStore":
        """The run's clips; the decoder is loaded with the first of them."""
        from dualipo.store.clips import ClipStore

        return ClipStore(self.path / "clips")

    def clip_path(self, clip_hash: str) -> Path:
        """Return the path of a clip's MP4 file, which is H.264 at 4:4:4."""
        return self.clip_store.path(clip_hash)

    def read_clip(self, clip_hash: str) -> "Frames":
        """Decode a clip to uint8 RGB of the shape [frames, height, width, 3].

        A clip that is missing or damaged is a MediaError.
        """
        return self.clip_store.read(clip_hash)

    # Records, for the package's own readers

    @property
    def has_ledger(self) -> bool:
        """True when the run has begun to record."""
        return self._ledger_path.is_file()

    def units(self) -> list[Unit]:
        """Return all units of work in the order of their commits."""
        return self._ask(lambda ledger: ledger.units())

    def events(self, kind: type[Kind]) -> list[tuple[Unit, Kind]]:
        """Return the recorded events of one class, with the units that recorded them."""
        return self._ask(lambda ledger: ledger.events(kind))

    def all_events(self) -> tuple[list[tuple[Unit, Event]], set[str]]:
        """Return all recorded events, and the names of those that this version cannot read."""
        return self._ask(lambda ledger: (ledger.events(), ledger.unknown))

    def round_events(self) -> tuple[list[tuple[Unit, Event]], set[str]]:
        """Return what `all_events` does, without clocks and what each unit of a stage records."""
        return self._ask(lambda ledger: (ledger.round_events(), ledger.unknown))

    def clock_sums(self) -> list[tuple[Unit, ClockEvent, int]]:
        """Return the clocks of each stage's units together, by device, and how many they are."""
        return self._ask(lambda ledger: ledger.clock_sums())

    def stage_units(self) -> dict[Unit, int]:
        """Return how many units each stage has; one that closes a set, index -1, stands apart."""
        return self._ask(lambda ledger: ledger.stage_units())

    def num_votes(
        self, round: int, attempt: int | None = None, *, outcome: str | None = None
    ) -> dict[str, int]:
        """Count votes by their kind: a round's, or those of one attempt or with one outcome."""
        return self._ask(lambda ledger: ledger.num_votes(round, attempt, outcome=outcome))

    def metrics(self, *, of_training: bool = False) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`, each step once, or those of trainings alone."""
        return tracking.read_metrics(self.path / "metrics.jsonl", of_training=of_training)

    def candidates(self, round: int | None = None) -> list[Candidate]:
        """Return the clips that were sampled in a round, those of every set, or all clips."""
        return self._ask(lambda ledger: ledger.candidates(round))

    def attempt_votes(self, round: int, attempt: int, kind: VoteKind) -> list[Vote]:
        """Return an attempt's votes without their reasoning."""
        return self._ask(lambda ledger: ledger.votes(round, attempt, kind))

    def vote_files(self) -> list[tuple[Unit, str]]:
        """Return the files that hold votes with their reasoning, in the order of their units."""
        return self._published("votes-*")

    def version(self, kind: ModelKind, version_id: str) -> Version:
        """Return a model by its id; one that the run does not know is a DataError."""
        return self._ask(lambda ledger: ledger.version(kind, version_id))

    def serving(self, kind: ModelKind) -> Version | None:
        """Return the model that is in use, or None before the first."""
        return self._ask(lambda ledger: ledger.head(kind))

    def file_hashes(self) -> dict[str, str]:
        """Return the sha256 of every published file by its path relative to the run."""
        return self._ask(lambda ledger: ledger.files())

    def digest(self) -> str:
        """Return the ledger's digest, which is equal for a resumed and an uninterrupted run."""
        return self._ask(lambda ledger: ledger.digest())

    @property
    def _ledger_path(self) -> Path:
        return self.path / rundir.LEDGER

    def _ask(self, question: Callable[[Ledger], Answer]) -> Answer:
        """Ask the ledger a question and close it again; the module's docstring says how."""
        if not self.has_ledger:
            raise DataError(
                f"{self.path}: no ledger yet, so nothing is recorded. Go on with the run, or wait "
                "until its first stage is done."
            )
        while True:
            before = self._ledger_state()
            is_idle = before[1] is None
            try:
                answer = self._ask_once(question)
            except DualipoError:
                if is_idle and self._ledger_state() != before:
                    continue
                raise
            if not is_idle or self._ledger_state() == before:
                return answer

    def _ask_once(self, question: Callable[[Ledger], Answer]) -> Answer:
        ledger = Ledger(self._ledger_path, read_only=True)
        try:
            return question(ledger)
        finally:
            ledger.close()

    def _ledger_state(self) -> tuple[int | None, int | None]:
        """Return the times at which the ledger and its `-wal` were last written."""
        wal_path = self._ledger_path.with_name(f"{rundir.LEDGER}-wal")
        return _written_at(self._ledger_path), _written_at(wal_path)

    def _published(self, *patterns: str) -> list[tuple[Unit, str]]:
        """Return the published files whose names fit a pattern, in the order of their units."""
        owners = self._ask(lambda ledger: ledger.owners())
        named = [(unit, path) for path, unit in owners.items() if _is_named(path, *patterns)]
        return sorted(named)

    def _prompt_sets(self) -> Iterator[tuple[int, str, list[Prompt]]]:
        for unit, name in self._published("prompts.parquet", "prompts-*.parquet"):
            set_name = Path(name).stem.removeprefix("prompts").removeprefix("-")
            own = tables.read_records(self.path / name, record_type=Prompt)
            yield unit.round, set_name or "candidates", own

    def _tables_of(self, record_type: type[Answer]) -> Iterator[tuple[Unit, list[Answer]]]:
        for unit, name in self._published(*_LABELS):
            path = self.path / name
            if tables.kind_of(path) == record_type.__name__:
                yield unit, tables.read_records(path, record_type=record_type)

    def _reasonings(self) -> Iterator[tuple[run_tables.VoteKey, tuple[str, str]]]:
        for unit, name in self.vote_files():
            path = self.path / name
            for vote in tables.read_records(path, record_type=Vote) if path.is_file() else ():
                key = run_tables.key_of(unit.round, unit.attempt, vote)
                yield key, (unit.stage, vote.reasoning)

    def _relative_clip_path(self, clip_hash: str) -> str:
        return self.clip_path(clip_hash).relative_to(self.path).as_posix()


def _is_named(path: str, *patterns: str) -> bool:
    return any(fnmatch(Path(path).name, pattern) for pattern in patterns)


def _written_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
