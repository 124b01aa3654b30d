"""A run while it is open: its folder, ledger and settings, its models, and its workers.

Models are loaded by version (`bench.py`). A version's path is a folder inside the run, or empty for
the model that the recipe's `pretrained_model_name_or_path` names. A stage hands units of work to
`Run.spread`, and commits what comes back: this process alone writes the ledger.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch

from dualipo import interrupt, left_out
from dualipo.config import Config
from dualipo.critic.asks import Item
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.score_file import Scale
from dualipo.errors import ModelError
from dualipo.events import BadClipEvent, Event, LeftOutEvent, Recorded, ScoreScaleEvent
from dualipo.progress import Progress
from dualipo.rounds import serving, work_metrics
from dualipo.rounds.bench import Bench, BenchSpec, ModelFolders, open_bench
from dualipo.rounds.clock import Clock, Lap, clocked
from dualipo.rounds.contests import Contests
from dualipo.rounds.engines import engine_of
from dualipo.store import atomic, tables
from dualipo.store.file_hashes import FileHashes
from dualipo.store.ledger import Ledger, ModelKind, Unit
from dualipo.store.rundir import RunDir
from dualipo.store.tables import Record
from dualipo.tracking import Metrics
from dualipo.workers.inline import InlineEngine
from dualipo.workers.job import Cost, Done, Job, Work

Left = Mapping[str, Sequence[str]]  # what is left out, by reason
CUT = "captions cut, as the generator reads generator.max_sequence_length tokens of each"
BASE_ROUND = -1  # the round of all that precedes round 0
BASE_GENERATOR, SHIPPED = "base", "shipped"  # versions that the recipe names, not the run's own
SFT, WARM = "sft", "warm"  # the critic's versions after each stage of the warm start
EMBEDDED = "embedded"
_BASE = (BASE_GENERATOR, SHIPPED)


class Run(Bench):
    """An open run: everything that a stage needs. Stages are functions of it."""

    def __init__(self, directory: RunDir, config: Config, progress: Progress) -> None:
        super().__init__(directory.path, config)
        self.directory = directory
        self.progress = progress
        self.ledger: Ledger = directory.ledger
        self.metrics = Metrics(directory.metrics_path)
        self.hashes = FileHashes(directory.path, self.ledger)
        self.engine = engine_of(config.workers, directory.path, bench=self)
        self.is_inline = config.workers.engine == "inline"
        self._devices: set[str] = set()
        self._served: serving.Served | None = None
        self.contests: dict[tuple[int, int], Contests] = {}  # by round and attempt; see `judging`
        # A clip that was published once more after it went bad is good again.
        marked = {event.clip for _, event in self.ledger.events(BadClipEvent)}
        self.bad_clips = frozenset(marked - self.ledger.clips() if marked else marked)

    def close(self) -> None:
        """End the workers and servers, remove what dead workers left, and let go of the folder."""
        self.stop_serving()
        self.engine.close()
        if self.engine.num_lost:
            self.directory.sweep_temporaries()
        self.metrics.close()
        self.directory.close()

    def is_done(self, unit: Unit) -> bool:
        """Return True when a unit was committed. This is also where a signal ends the run."""
        interrupt.check()
        return self.ledger.is_done(unit)

    def commit(
        self,
        unit: Unit,
        *,
        files: tuple[Path, ...] = (),
        clips: tuple[str, ...] = (),
        hashed: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        cost: Cost | None = None,
        events: Sequence[Event] = (),
        num_clips: int = 0,
        **rows: Any,
    ) -> None:
        """Commit a unit with its published files; a folder stands for all files below it.

        `hashed` are files whose sha256 is known, by name in the run, as a worker tells them.
        `num_clips` were sampled while the clock ran, where other units committed them.
        """
        paths = [path for name in files for path in _files_below(name)]
        hashes = {self.directory.relative(path): atomic.sha256_file(path) for path in paths}
        timed = [clock.read(unit.stage)] if clock else [clocked(unit.stage, cost)] if cost else []
        published = hashes | dict(hashed or {})
        published |= {self.directory.relative(self.clip_store.path(clip)): clip for clip in clips}
        self.ledger.commit_unit(unit, files=published, events=[*events, *timed], **rows)
        self.hashes.add(hashes)
        self.bad_clips = self.bad_clips.difference(clips)
        made = {name: len(given or ()) for name, given in rows.items()}
        made["candidates"] = made.get("candidates") or num_clips
        work_metrics.log(self.metrics, unit, [*events, *timed], made)

    def commit_bad_clip(self, unit: Unit, event: BadClipEvent) -> None:
        """Commit that a clip is not read again; its file has no row from then on."""
        path = self.directory.relative(self.clip_store.path(event.clip))
        self.ledger.commit_unit(unit, events=[event], dropped=[path])
        self.bad_clips = self.bad_clips | {event.clip}
        self.contests.clear()

    def commit_without(
        self, unit: Unit, left: Left, *, events: Sequence[Event] = (), **parts: Any
    ) -> None:
        """Commit a unit as `commit` does, and say and record what it leaves out, by reason."""
        dropped = left_out.events_of(left)
        self.commit(unit, events=[*events, *dropped], **parts)
        self.say_left_out(unit)

    def say_left_out(self, stage: Unit) -> None:
        """Say what all units of a stage left out together."""
        dropped = self.events_of(stage, LeftOutEvent)
        for line in left_out.in_words(left_out.together(dropped)):
            self.progress.say(line)

    def drop(self, unit: Unit, files: Sequence[Path]) -> None:
        """Commit that nothing reads `files` again, then remove them.

        A kill may leave some of them without a row in the ledger; the next start sweeps those.
        """
        self.ledger.commit_unit(unit, dropped=[self.directory.relative(path) for path in files])
        for path in files:
            with atomic.storage_errors(path):
                path.unlink()

    def records(self, path: Path, record_type: type[Record]) -> list[Record]:
        """Read a table of the run, which must be the one that its unit committed."""
        return tables.read_records(self.hashes.checked(path), record_type=record_type)

    def events_of(self, stage: Unit, kind: type[Recorded]) -> list[Recorded]:
        """Return the events of this class that all units of a stage committed."""
        place = (stage.round, stage.attempt, stage.stage)
        return [
            event
            for unit, event in self.ledger.events(kind)
            if (unit.round, unit.attempt, unit.stage) == place
        ]

    def recorded(self, unit: Unit, kind: type[Recorded]) -> Recorded:
        """Return the event of this class that a finished unit committed."""
        event = self.ledger.event(unit, kind)
        assert event is not None, f"{unit} committed no {kind.__name__}"
        return event

    def learner(self, version_id: str) -> ChatCritic:
        """Load the critic of a version anew, to be trained in place."""
        self._critic = None
        learner = self.load_learner(version_id)
        self._critic = version_id, learner
        return learner

    def score_scale(self) -> Scale | None:
        """Return the scale that the run keeps for its score file; None before it has one."""
        for _, scale in self.ledger.events(ScoreScaleEvent):
            return Scale(scale.middle, scale.spread)
        return None

    def base_folder(self, kind: ModelKind) -> Path:
        """Return the folder of a model that the recipe names, unchanged since the run began."""
        name = getattr(self.config, kind).pretrained_model_name_or_path
        return self.hashes.checked_model(model_folder(name, kind), kind)

    def version_folder(self, kind: ModelKind, version_id: str) -> Path | None:
        """Return a version's own folder, unchanged; None for the models that the recipe names.

        A critic that learnt nothing is one of those under another name, and has no folder.
        """
        path = self.ledger.version(kind, version_id).path if version_id not in _BASE else ""
        return self.hashes.checked(self.directory.path / path) if path else None

    def make_room(self) -> None:
        """Have the workers free their models, and the critic's servers, before one is loaded."""
        self.stop_serving()
        self.engine.rest()

    def forget_models(self) -> None:
        """Free the memory of both models, also at the critic's servers."""
        super().forget_models()
        self.stop_serving()

    def stop_serving(self) -> None:
        """End the servers of a critic, if there are any."""
        if self._served is not None:
            self._served.fleet.stop()
            self._served = None

    def judge(self, version_id: str) -> Judge:
        """Return who casts a version's votes: the version, or the engine that serves it."""
        if not self.config.critic.serving.command:
            return super().judge(version_id)
        assert self._served is not None and self._served.version_id == version_id
        if num_dead := self._served.fleet.mend():
            self.progress.say(f"{num_dead} of the critic's servers died and are started again")
        return self._served.critic

    def ask(
        self,
        work: Callable[[Any, Any], Any],
        works: Iterable[Work],
        *,
        critic: str,
        items: Sequence[Item],
    ) -> Iterator[Done]:
        """Do units that cast votes on `items`, as `spread` does, or at the critic's own servers.

        Servers do all of the work, so this process asks them alone. Some of the items tell before
        whether the servers judge as the version does.
        """
        if not self.config.critic.serving.command:
            yield from self.spread(work, works, critic=critic)
            return
        if self._served is None or self._served.version_id != critic:
            self.forget_models()
            self._served = serving.start(
                self,
                self.ledger.version("critic", critic),
                items,
                say=self.progress.say,
            )
        yield from InlineEngine(self).run(Job(open_bench, None, work), works)

    def spread(
        self,
        work: Callable[[Any, Any], Any],
        works: Iterable[Work],
        *,
        generator: str | None = None,
        critic: str | None = None,
    ) -> Iterator[Done]:
        """Do units on the workers that the recipe asks for; yield each as soon as it is done.

        `work` is a function of a module: (bench, content of a unit) -> a small row. The versions
        are those that it loads. Units may come in any order; one that cannot be done raises.
        """
        if self.is_inline:
            yield from self.engine.run(Job(open_bench, None, work), works)
            return
        self.forget_models()  # a device that is also a worker's has no room for both
        versions: dict[ModelKind, str | None] = {"generator": generator, "critic": critic}
        spec = BenchSpec(
            path=self.path.absolute(),
            config=self.config,
            num_threads=threads_of_a_worker(),
            folders={
                kind: ModelFolders(
                    version_id,
                    self.base_folder(kind).absolute(),
                    own.absolute() if (own := self.version_folder(kind, version_id)) else None,
                )
                for kind, version_id in versions.items()
                if version_id is not None and self._has_folder(kind)
            },
            scale=self.score_scale(),
        )
        with closing(self.engine.run(Job(open_bench, spec, work), works)) as doing:
            for done in doing:
                self._note_device(done.cost.device)
                yield done

    def _note_device(self, device: str) -> None:
        """Say once that units are done on several kinds of devices."""
        is_new = device not in self._devices
        self._devices.add(device)
        if is_new and len(self._devices) == 2:
            self.progress.say(
                f"units are done on {' and '.join(sorted(self._devices))}, which round "
                "differently: a run on one kind alone would differ in the last digits"
            )

    def _has_folder(self, kind: ModelKind) -> bool:
        """Return False for a critic whose weights are elsewhere."""
        return kind == "generator" or self.config.critic.backend not in ("server", "scores")

    @contextmanager
    def training(
        self, unit: Unit, *, num_steps: int, stage: str | None = None
    ) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        """Yield an `on_step` that logs metrics and shows progress.

        `stage` names the metrics where the unit's own name is not the training's.
        """
        place = {"round": unit.round, "attempt": unit.attempt}
        name = stage or unit.stage
        self.progress.stage(name, total=num_steps, **place)

        lap = Lap()

        def on_step(step: int, metrics: Mapping[str, float]) -> None:
            self.metrics.log(step, stage=name, **place, **metrics, **lap.read())
            self.progress.advance(1, loss=metrics["loss"])

        yield on_step


def model_folder(name_or_path: str, part: str, *, setting: str | None = None) -> Path:
    """Return the folder that a recipe's model name means; `setting` holds the name.

    "embedded" is the model that the package ships, "embedded-large" its `generator-large`.
    """
    setting = setting or f"{part}.pretrained_model_name_or_path"
    if is_embedded(name_or_path):
        weights = Path(str(package_files("dualipo.world") / "weights"))
        folder = weights / (part + name_or_path.removeprefix(EMBEDDED))
        if not folder.is_dir():
            names = [p.name.replace(part, EMBEDDED, 1) for p in sorted(weights.glob(f"{part}*"))]
            raise ModelError(
                f"{name_or_path}: no {part} of this name ships. Choose {' or '.join(names)} for "
                f"{setting}, or make it with `dualipo pretrain`."
            )
        return folder
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"{name_or_path}: no such folder. Give {setting} a downloaded model's folder, or "
            f"{EMBEDDED!r}."
        )
    return folder


def is_embedded(name_or_path: str) -> bool:
    """Return True when a recipe's model name means one that the package ships."""
    return name_or_path == EMBEDDED or name_or_path.startswith(f"{EMBEDDED}-")


def threads_of_a_worker() -> int:
    """Return this process' number, on which sums on a CPU depend; beside GPUs a share of it."""
    return max(1, torch.get_num_threads() // max(1, torch.cuda.device_count()))


def _files_below(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
