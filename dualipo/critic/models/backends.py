"""Which class a recipe's `critic.backend` means: a literal dict of those that learn in words."""

from pathlib import Path

import torch

from dualipo.config import Critic
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.served import ServedCritic
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from dualipo.errors import ConfigError

LOCAL: dict[str, type[Vila] | type[TransformersVlm]] = {
    "vila": Vila,
    "transformers_vlm": TransformersVlm,
}

Judge = ChatCritic | ServedCritic | RewardCritic


def load(folder: Path, *, settings: Critic, device: torch.device | str = "cpu") -> ChatCritic:
    """A critic whose weights are here, so that it can be trained."""
    if settings.backend not in LOCAL:
        raise ConfigError(
            f"critic.backend = {settings.backend!r}: its weights are elsewhere, it cannot learn. "
            f"Use one of: {', '.join(LOCAL)}."
        )
    return LOCAL[settings.backend].load(folder, settings=settings, device=device)


def load_base(folder: Path, *, settings: Critic, device: torch.device | str = "cpu") -> ChatCritic:
    """The critic that a reward head stands on, of whichever layout the folder has."""
    kind = "vila" if (folder / "llm").is_dir() else "transformers_vlm"
    return LOCAL[kind].load(folder, settings=settings, device=device)
