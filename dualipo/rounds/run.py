"""A run while it is open: its folder, ledger and settings, and the models that it has loaded.

Models are loaded by version. A version's path is a folder inside the run, or empty for the model
that the recipe's `pretrained_model_name_or_path` names. Nothing else in `rounds/` opens a model, so
at most one generator and one critic are in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualipo import interrupt, left_out
from dualipo.config import Config
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.models import backends
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import Scale, ScoreFile
from dualipo.critic.models.served import ServedCritic
from dualipo.errors import MediaError, ModelError
from dualipo.events import BadClipEvent, Event, LeftOutEvent, Recorded, ScoreScaleEvent
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.progress import Progress
from dualipo.rounds.clock import Clock, Lap
from dualipo.rounds.contests import Contests
from dualipo.seeds import derive
from dualipo.store import atomic, tables
from dualipo.store.byte_cache import ByteCache
from dualipo.store.clips import ClipStore, Shown
from dualipo.store.file_hashes import FileHashes
from dualipo.store.ledger import Ledger, ModelKind, Unit
from dualipo.store.rundir import RunDir
from dualipo.store.tables import Record
from dualipo.tracking import Metrics

Left = Mapping[str, Sequence[str]]  # what is left out, by reason
CUT = "captions cut, as the generator reads generator.max_sequence_length tokens of each"
BASE_ROUND = -1  # the round of all that precedes round 0
BASE_GENERATOR, SHIPPED = "base", "shipped"  # versions that the recipe names, not the run's own
SFT, WARM = "sft", "warm"  # the critic's versions after each stage of the warm start
EMBEDDED = "embedded"
_BASE = (BASE_GENERATOR, SHIPPED)


class BadClip(MediaError):
    """A clip of the run whose file is missing, was changed, or cannot be decoded."""

    def __init__(self, clip: str, fault: MediaError) -> None:
        super().__init__(str(fault))
        self.clip = clip


class Run:
    """An open run: everything that a stage needs. Stages are functions of it."""

    def __init__(self, directory: RunDir, config: Config, progress: Progress) -> None:
        self.directory = directory
        self.config = config
        self.progress = progress
        self.ledger: Ledger = directory.ledger
        self.clip_store = ClipStore(directory.clips_path, qp=config.generator.clip_qp)
        self.metrics = Metrics(directory.metrics_path)
        self.hashes = FileHashes(directory.path, self.ledger)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._clips = ByteCache[np.ndarray](max_bytes=config.critic.decoded_clips_mb << 20)
        self.contests: dict[tuple[int, int], Contests] = {}  # by round and attempt; see `judging`
        # A clip that was published once more after it went bad is good again.
        marked = {event.clip for _, event in self.ledger.events(BadClipEvent)}
        self.bad_clips = frozenset(marked - self.ledger.clips() if marked else marked)
        self._generator: tuple[str, Backbone] | None = None
        self._critic: tuple[str, Judge] | None = None

    def close(self) -> None:
        """Let go of the folder."""
        self.metrics.close()
        self.directory.close()

    @property
    def latents_dtype(self) -> torch.dtype:
        """The data type in which latents are stored; they are trained on in float32."""
        dtype: torch.dtype = getattr(torch, self.config.generator.latents_dtype)
        return dtype

    def seed(self, *parts: int | str) -> int:
        """Return a seed of this run, named by where it is used."""
        return derive(self.config.seed, *parts)

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
        clock: Clock | None = None,
        events: Sequence[Event] = (),
        **rows: Any,
    ) -> None:
        """Commit a unit with its published files; a folder stands for all files below it."""
        paths = [path for name in files for path in _files_below(name)]
        hashes = {self.directory.relative(path): atomic.sha256_file(path) for path in paths}
        hashes |= {self.directory.relative(self.clip_store.path(clip)): clip for clip in clips}
        timed = [clock.read(unit.stage)] if clock else []
        self.ledger.commit_unit(unit, files=hashes, events=[*events, *timed], **rows)
        self.hashes.add(hashes)
        self.bad_clips = self.bad_clips.difference(clips)

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
        place = (stage.round, stage.attempt, stage.stage)
        dropped = [
            event
            for unit, event in self.ledger.events(LeftOutEvent)
            if (unit.round, unit.attempt, unit.stage) == place
        ]
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

    def recorded(self, unit: Unit, kind: type[Recorded]) -> Recorded:
        """Return the event of this class that a finished unit committed."""
        event = self.ledger.event(unit, kind)
        assert event is not None, f"{unit} committed no {kind.__name__}"
        return event

    def generator(self, version_id: str, *, fresh: bool = False) -> Backbone:
        """Return a version's generator; `fresh` loads anew, as the loaded one may be trained on."""
        if fresh or self._generator is None or self._generator[0] != version_id:
            self._generator = None
            settings = self.config.generator
            pipeline, folder = self.generator_folders(version_id)
            self._generator = (
                version_id,
                backbone.load(
                    pipeline,
                    max_sequence_length=settings.max_sequence_length,
                    dtype=getattr(torch, settings.torch_dtype),
                    device=self.device,
                    transformer_folder=folder,
                ),
            )
        return self._generator[1]

    def generator_folders(self, version_id: str) -> tuple[Path, Path | None]:
        """Return the pipeline's folder, and a version's own transformer where it has one."""
        return self._base_folder("generator"), self._version_folder("generator", version_id)

    def critic(self, version_id: str) -> Judge:
        """Return the critic of a version, to be asked."""
        if self._critic is None or self._critic[0] != version_id:
            self._critic = None
            self._critic = version_id, self._judge(version_id)
        return self._critic[1]

    def learner(self, version_id: str) -> ChatCritic:
        """Load the critic of a version anew, to be trained in place."""
        self._critic = None
        learner = self.load_critic(version_id)
        learner.adapt(seed=self.seed("critic", version_id))
        self._critic = version_id, learner
        return learner

    def load_critic(self, version_id: str) -> ChatCritic:
        """Load a critic beside the one that is kept, as SRPO compares two."""
        settings = self.config.critic
        folder = self._version_folder("critic", version_id) or self._base_folder("critic")
        critic = backends.load(folder, settings=settings, device=self.device)
        critic.rest()
        return critic

    def load_reward_head(self, version_id: str) -> HeadedCritic:
        """Load a version's reward head on the shipped critic; an untrained one for no version."""
        settings = self.config.critic
        base = backends.load_base(
            self._base_folder("critic"), settings=settings, device=self.device
        )
        if folder := self._version_folder("critic", version_id):
            return HeadedCritic.load(folder, base=base)
        return HeadedCritic.fresh(base, settings=settings.reward_head, seed=self.config.seed)

    def score_file(self) -> ScoreFile:
        """Return the table of scores that the recipe names, on the scale that the run has kept."""
        recorded = self.ledger.events(ScoreScaleEvent)
        kept = [Scale(scale.middle, scale.spread) for _, scale in recorded]
        path = Path(self.config.critic.pretrained_model_name_or_path).expanduser()
        return ScoreFile(path, may_be_missing=True, scale=kept[0] if kept else None)

    def _judge(self, version_id: str) -> Judge:
        settings = self.config.critic
        name = settings.pretrained_model_name_or_path
        if settings.backend == "server":
            return ServedCritic(name, settings=settings)
        if settings.backend == "scores":
            return RewardCritic(self.score_file())
        if settings.backend == "reward_head":
            return RewardCritic(self.load_reward_head(version_id))
        critic = self.load_critic(version_id)
        critic.freeze()
        return critic

    def _base_folder(self, kind: ModelKind) -> Path:
        """Return the folder of a model that the recipe names, unchanged since the run began."""
        name = getattr(self.config, kind).pretrained_model_name_or_path
        return self.hashes.checked_model(model_folder(name, kind), kind)

    def _version_folder(self, kind: ModelKind, version_id: str) -> Path | None:
        """Return a version's own folder, unchanged; None for the models that the recipe names.

        A critic that learnt nothing is one of those under another name, and has no folder.
        """
        path = self.ledger.version(kind, version_id).path if version_id not in _BASE else ""
        return self.hashes.checked(self.directory.path / path) if path else None

    def forget_models(self) -> None:
        """Free the memory of both models."""
        self._generator = self._critic = None

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

    def clip(self, clip: str) -> np.ndarray:
        """Return a clip's frames, from memory where it is among the last that were asked about."""
        return self._clips.recall(clip, lambda: self._show(clip).frames_FHWC)

    def clip_fps(self, clip: str) -> float:
        """Return the rate at which a player shows a clip."""
        return self._show(clip).fps

    def _show(self, clip: str) -> Shown:
        try:
            return self.clip_store.show(clip)
        except MediaError as fault:
            raise BadClip(clip, fault) from fault


def model_folder(name_or_path: str, part: str) -> Path:
    """Return the folder that a recipe's model name means.

    "embedded" is the model that the package ships, "embedded-large" its `generator-large`.
    """
    if is_embedded(name_or_path):
        weights = Path(str(package_files("dualipo.world") / "weights"))
        folder = weights / (part + name_or_path.removeprefix(EMBEDDED))
        if not folder.is_dir():
            names = [p.name.replace(part, EMBEDDED, 1) for p in sorted(weights.glob(f"{part}*"))]
            raise ModelError(
                f"{name_or_path}: no {part} of this name ships. Choose {' or '.join(names)} for "
                f"{part}.pretrained_model_name_or_path, or make it with `dualipo pretrain`."
            )
        return folder
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"{name_or_path}: no such folder. Give {part}.pretrained_model_name_or_path a "
            f"downloaded model's folder, or {EMBEDDED!r}."
        )
    return folder


def is_embedded(name_or_path: str) -> bool:
    """Return True when a recipe's model name means one that the package ships."""
    return name_or_path == EMBEDDED or name_or_path.startswith(f"{EMBEDDED}-")


def _files_below(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
