"""Preferences that an alignment is not trained on: how far what it learns carries over.

Whole captions are held out, so that no clip of a held-out caption is seen in training. The policy's
denoising errors on them are compared with the reference's, under the same fixed noise (METHOD.md
4.2, 4.3). Implicit accuracy on the trained pairs soon reaches 1 where they are few and memorised;
on held-out pairs it does not. Leaves out the critic: whether clips became better, a run's monitor
measures.

Shapes: P items (pairs or points), S slots.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.config import Align
from dualipo.errors import ConfigError, DataError
from dualipo.generator import losses, reference
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import PointSet, Preferences
from dualipo.generator.reference import ReferenceErrors
from dualipo.training.loop import Metrics

Set = TypeVar("Set", bound=Preferences)


def split(preferences: Set, *, settings: Align, seed: int) -> tuple[Set, Set | None]:
    """Return the preferences to train on, and those that are held out, if any are.

    Captions are drawn by the seed until `align.num_holdout` preferences are held out.
    """
    if not settings.num_holdout:
        return preferences, None
    order = sorted(set(preferences.caption_keys), key=lambda key: seeds.derive(seed, "held", key))
    held: set[str] = set()
    num_held = 0
    for caption_key in order:
        if num_held >= settings.num_holdout:
            break
        held.add(caption_key)
        num_held += sum(key == caption_key for key in preferences.caption_keys)
    parts: dict[bool, list[int]] = {True: [], False: []}
    for item, caption_key in enumerate(preferences.caption_keys):
        parts[caption_key in held].append(item)
    if not parts[False]:
        raise ConfigError(
            f"align.num_holdout = {settings.num_holdout} leaves nothing to train on, as there are "
            f"{len(preferences.ids)} preferences of {len(order)} captions. Lower it; 0 holds out "
            "none."
        )
    try:
        return preferences.subset(parts[False]), preferences.subset(parts[True])
    except DataError as refusal:  # KTO's set needs both classes
        raise ConfigError(
            f"align.num_holdout = {settings.num_holdout} holds out {len(parts[True])} preferences "
            f"and trains on {len(parts[False])}, and both need desirable and undesirable clips. "
            "Change it, or set it to 0."
        ) from refusal


@dataclass(frozen=True)
class Holdout:
    """Held-out preferences with the reference's errors on them: a watch of the training loop."""

    backbone: Backbone
    preferences: Preferences
    errors: ReferenceErrors
    settings: Align
    seed: int

    @property
    def every(self) -> int:
        """The number of steps from one measurement to the next."""
        return self.settings.holdout_every

    @property
    def patience(self) -> int:
        """The number of measurements without a gain after which the alignment stops."""
        return self.settings.patience

    def measure(self) -> Metrics:
        """Return the implicit accuracy and the preference loss of the policy as it stands.

        An item counts as right where its z, averaged over its slots, is above 0, and half where z
        is 0.
        """
        policy = reference.measure(
            self.backbone,
            preferences=self.preferences,
            settings=self.settings,
            seed=self.seed,
            reference_hash=self.errors.reference_hash,
        )
        z_PS, losses_PS = self._losses(policy.sides, self.errors.sides)
        right_P = z_PS.mean(1).sign() / 2 + 0.5
        return {
            "holdout_accuracy": float(right_P.mean()),
            "holdout_loss": float(losses_PS.mean()),
            "num_holdout": float(len(right_P)),
        }

    def score(self, measured: Metrics) -> tuple[float, ...]:
        """Return the accuracy, and the loss with its sign turned where accuracies are equal."""
        return measured["holdout_accuracy"], -measured["holdout_loss"]

    def _losses(
        self, policy: dict[str, Tensor], reference_errors: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return z_PS, whose sign says who is preferred, and the preference loss_PS."""
        if isinstance(self.preferences, PointSet):
            gains_PS = reference_errors["clips"] - policy["clips"]
            items = range(len(self.preferences.ids))
            signs_PS = self.preferences.signs(items)[:, None].expand_as(gains_PS)
            z0 = gains_PS.mean().clamp(min=0.0)
            losses_PS, _ = losses.kto_loss(
                gains_PS,
                signs_B=signs_PS,
                z0=z0,
                weights_B=torch.ones_like(gains_PS),
                beta=self.settings.beta_kto,
            )
            return signs_PS * gains_PS, losses_PS
        losses_PS, z_PS = losses.dpo_loss(
            policy["winners"],
            policy_l=policy["losers"],
            reference_w=reference_errors["winners"],
            reference_l=reference_errors["losers"],
            beta=self.settings.beta_dpo,
        )
        return z_PS, losses_PS
