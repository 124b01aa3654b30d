"""The classes behind a recipe's `critic.backend`: a literal dict of those that can be trained."""

from pathlib import Path

import torch

from dualipo.config import Critic
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.served import ServedCritic
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from dualipo.errors import ConfigError, DualipoError, ModelError

LOCAL: dict[str, type[Vila] | type[TransformersVlm]] = {
    "vila": Vila,
    "transformers_vlm": TransformersVlm,
}

Judge = ChatCritic | ServedCritic | RewardCritic


def load(folder: Path, *, settings: Critic, device: torch.device | str = "cpu") -> ChatCritic:
    """Load a critic that runs in this process, so that it can be trained."""
    if settings.backend not in LOCAL:
        raise ConfigError(
            f"critic.backend = {settings.backend!r}: its weights are elsewhere, it cannot learn. "
            f"Use one of: {', '.join(LOCAL)}."
        )
    return LOCAL[settings.backend].load(folder, settings=settings, device=device)


def faults(folder: Path, *, settings: Critic) -> list[DualipoError]:
    """Return what keeps a local critic's folder from being loaded as it was published."""
    kind = _by_layout(folder)
    if LOCAL.get(settings.backend, kind) is kind or not (folder / "config.json").is_file():
        return LOCAL.get(settings.backend, kind).faults(folder)
    other = next(name for name, known in LOCAL.items() if known is kind)
    return [
        ModelError(
            f"{folder}: it has the layout of {other!r}, but critic.backend is "
            f'{settings.backend!r}. Set critic.backend = "{other}", or name another folder.'
        )
    ]


def load_base(folder: Path, *, settings: Critic, device: torch.device | str = "cpu") -> ChatCritic:
    """Load the critic below a reward head; the folder's layout tells which class it is."""
    return _by_layout(folder).load(folder, settings=settings, device=device)


def _by_layout(folder: Path) -> type[Vila] | type[TransformersVlm]:
    return LOCAL["vila" if (folder / "llm").is_dir() else "transformers_vlm"]
