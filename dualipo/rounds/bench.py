"""What a unit of work is done with: settings, clips and models that are loaded by version.

A `Run` is a bench with a ledger. A worker's bench has none: the driver has looked up the models'
folders, compared them with the ledger, and tells them in the `BenchSpec`. So a function of
(bench, content) can do a unit in the driver or in a worker, with the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dualipo.config import Config
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.models import backends
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import Scale, ScoreFile
from dualipo.critic.models.served import ServedCritic
from dualipo.errors import MediaError
from dualipo.generator import backbone
from dualipo.generator.acceleration import Saving
from dualipo.generator.backbone import Backbone
from dualipo.seeds import derive
from dualipo.store.byte_cache import ByteCache
from dualipo.store.clips import ClipStore, Shown
from dualipo.store.ledger import ModelKind

CLIPS = "clips"


class BadClip(MediaError):
    """A clip of the run whose file is missing, was changed, or cannot be decoded."""

    def __init__(self, clip: str, fault: MediaError) -> None:
        super().__init__(str(fault))
        self.clip = clip

    def __reduce__(self) -> tuple[type["BadClip"], tuple[str, MediaError]]:
        return BadClip, (self.clip, MediaError(str(self)))


class Bench(ABC):
    """Models and clips for units of work; one generator and one critic are kept, or one of both.

    Where they compute on a device that is no CPU, loading either lets go of the other.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.clip_store = ClipStore(path / CLIPS, qp=config.generator.clip_qp)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._clips = ByteCache[np.ndarray](max_bytes=config.critic.decoded_clips_mb << 20)
        self._fps: dict[str, float] = {}
        self._generator: tuple[str, Backbone] | None = None
        self._critic: tuple[str, Judge] | None = None

    @abstractmethod
    def base_folder(self, kind: ModelKind) -> Path:
        """Return the folder of a model that the recipe names, unchanged since the run began."""

    @abstractmethod
    def version_folder(self, kind: ModelKind, version_id: str) -> Path | None:
        """Return a version's own folder, unchanged; None for the models that the recipe names."""

    @abstractmethod
    def score_scale(self) -> Scale | None:
        """Return the scale that the run keeps for its score file; None before it has one."""

    @abstractmethod
    def make_room(self) -> None:
        """Prepare for loading a model, where other processes use the same device."""

    @property
    def latents_dtype(self) -> torch.dtype:
        """The data type in which latents are stored; they are trained on in float32."""
        dtype: torch.dtype = getattr(torch, self.config.generator.latents_dtype)
        return dtype

    def seed(self, *parts: int | str) -> int:
        """Return a seed of this run, named by where it is used."""
        return derive(self.config.seed, *parts)

    def generator(self, version_id: str, *, fresh: bool = False) -> Backbone:
        """Return a version's generator; `fresh` loads anew, as the loaded one may be trained on."""
        if fresh or self._generator is None or self._generator[0] != version_id:
            self._generator = None
            self.make_room()
            if self.device != "cpu":
                self._critic = None  # a device holds one of both
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
                    saving=Saving.of(settings),
                ),
            )
        return self._generator[1]

    def generator_folders(self, version_id: str) -> tuple[Path, Path | None]:
        """Return the pipeline's folder, and a version's own transformer where it has one."""
        return self.base_folder("generator"), self.version_folder("generator", version_id)

    def critic(self, version_id: str) -> Judge:
        """Return the critic of a version, to be asked."""
        if self._critic is None or self._critic[0] != version_id:
            self._critic = None
            self._critic = version_id, self._judge(version_id)
        return self._critic[1]

    def judge(self, version_id: str) -> Judge:
        """Return who casts a version's votes: the version, or the engine that serves it."""
        return self.critic(version_id)

    def load_critic(self, version_id: str, *, to_learn: bool = False) -> ChatCritic:
        """Load a critic beside the one that is kept, as SRPO compares two.

        One that is to learn, or is compared with it, may be held in 4 bits; a judge is whole.
        """
        self.make_room()
        if self.device != "cpu":
            self._generator = None  # a device holds one of both
        settings = self.config.critic
        folder = self.version_folder("critic", version_id) or self.base_folder("critic")
        is_compressed = to_learn and settings.load_in_4bit
        device = "cpu" if is_compressed else self.device
        critic = backends.load(folder, settings=settings, device=device)
        if is_compressed:
            critic.compress(self.device)
        critic.rest()
        critic.fps_of = self.clip_fps
        return critic

    def load_compared(self, version_id: str) -> ChatCritic:
        """Load a critic that a learner is compared with."""
        return self.load_critic(version_id, to_learn=True)

    def load_learner(self, version_id: str) -> ChatCritic:
        """Load a critic to be trained in place, with a LoRA where the recipe asks for one."""
        learner = self.load_critic(version_id, to_learn=True)
        learner.adapt(seed=self.seed("critic", version_id))
        return learner

    def load_reward_head(self, version_id: str) -> HeadedCritic:
        """Load a version's reward head on the shipped critic; an untrained one for no version."""
        self.make_room()
        settings = self.config.critic
        base = backends.load_base(self.base_folder("critic"), settings=settings, device=self.device)
        if folder := self.version_folder("critic", version_id):
            return HeadedCritic.load(folder, base=base)
        return HeadedCritic.fresh(base, settings=settings.reward_head, seed=self.config.seed)

    def score_file(self) -> ScoreFile:
        """Return the table of scores that the recipe names, on the scale that the run has kept."""
        path = Path(self.config.critic.pretrained_model_name_or_path).expanduser()
        return ScoreFile(path, may_be_missing=True, scale=self.score_scale())

    def _judge(self, version_id: str) -> Judge:
        settings = self.config.critic
        name = settings.pretrained_model_name_or_path
        if settings.backend == "server":
            return ServedCritic(name, settings=settings, fps_of=self.clip_fps)
        if settings.backend == "scores":
            return RewardCritic(self.score_file())
        if settings.backend == "reward_head":
            return RewardCritic(self.load_reward_head(version_id))
        critic = self.load_critic(version_id)
        critic.freeze()
        return critic

    def forget_models(self) -> None:
        """Free the memory of both models."""
        self._generator = self._critic = None

    def clip(self, clip: str) -> np.ndarray:
        """Return a clip's frames, from memory where it is among the last that were asked about."""
        return self._clips.recall(clip, lambda: self._show(clip).frames_FHWC)

    def clip_fps(self, clip: str) -> float:
        """Return the rate at which a player shows a clip; it is remembered."""
        if clip not in self._fps:
            self._show(clip)
        return self._fps[clip]

    def _show(self, clip: str) -> Shown:
        try:
            shown = self.clip_store.show(clip)
        except MediaError as fault:
            raise BadClip(clip, fault) from fault
        self._fps[clip] = shown.fps
        return shown


@dataclass(frozen=True)
class ModelFolders:
    """Where a version's model is: the folder that the recipe names, and the version's own."""

    version_id: str
    base: Path
    own: Path | None


@dataclass(frozen=True)
class BenchSpec:
    """All that a worker needs to open a bench like the driver's, for one version of each model."""

    path: Path
    config: Config
    num_threads: int  # sums on a CPU depend on it
    folders: Mapping[ModelKind, ModelFolders] = field(default_factory=dict)
    scale: Scale | None = None


class WorkerBench(Bench):
    """A worker's bench, on the folders that the driver has looked up."""

    def __init__(self, spec: BenchSpec) -> None:
        super().__init__(spec.path, spec.config)
        self._spec = spec

    def base_folder(self, kind: ModelKind) -> Path:
        """Return the folder of a model that the recipe names, as the driver told."""
        return self._spec.folders[kind].base

    def version_folder(self, kind: ModelKind, version_id: str) -> Path | None:
        """Return a version's own folder, as the driver told."""
        folders = self._spec.folders[kind]
        assert folders.version_id == version_id, f"this bench was opened for {folders.version_id}"
        return folders.own

    def score_scale(self) -> Scale | None:
        """Return the scale that the driver told."""
        return self._spec.scale

    def make_room(self) -> None:
        """Do nothing: the driver has freed its own models."""


def open_bench(spec: BenchSpec) -> WorkerBench:
    """Open a bench in a worker, whose arithmetic is then the driver's."""
    torch.set_num_threads(spec.num_threads)
    return WorkerBench(spec)
