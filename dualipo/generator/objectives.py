"""The preference losses of an alignment: Diffusion-DPO on pairs, Diffusion-KTO on labelled clips.

Each turns a micro batch into a preference loss, the winners' NLL and metrics. KTO's reference point
z0 is computed over the whole batch before that is split (METHOD.md 4.3). A KTO batch's winners are
its desirable clips.

Shapes: B batch; a latent's own axes are written `...`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.generator import losses
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import SETS, PointSet, Preferences
from dualipo.generator.training_errors import shared_errors
from dualipo.training import ranks

Batch = dict[str, Any]


class Terms(NamedTuple):
    """A micro batch's terms: means over its items, so that the loop's sum is the batch's mean."""

    preference: Tensor
    winner_nll: Tensor
    metrics: dict[str, Tensor]


class PreferenceLoss(Protocol):
    """A loss that compares clips by preference."""

    def prepare(self, micro_batches: list[Batch]) -> Any:
        """Compute what the micro batches share, without a gradient."""
        ...

    def terms(self, micro_batch: Batch, prepared: Any) -> Terms:
        """Compute the terms of a micro batch."""
        ...


def choose(backbone: Backbone, preferences: Preferences, settings: Align) -> PreferenceLoss:
    """Return the preference loss that `align.loss_type` names; the preferences must be its kind."""
    needed = SETS[settings.loss_type]
    assert isinstance(preferences, needed), f"{settings.loss_type} trains on a {needed.__name__}"
    if isinstance(preferences, PointSet):
        return Kto(backbone, settings, **class_weights(preferences, settings=settings))
    return Dpo(backbone, settings)


def class_weights(points: PointSet, *, settings: Align) -> dict[str, float]:
    """Return w_D and w_U, balanced: w_D n_D = w_U n_U where both configured weights are 1."""
    num, num_desirable = len(points.ids), sum(points.desirable)
    return {
        "desirable": settings.desirable_weight * num / (2 * num_desirable),
        "undesirable": settings.undesirable_weight * num / (2 * (num - num_desirable)),
    }


class Dpo:
    """Diffusion-DPO: -log sigmoid of how much more the policy gained on winners than on losers."""

    def __init__(self, backbone: Backbone, settings: Align) -> None:
        self._backbone = backbone
        self._beta = settings.beta_dpo

    def prepare(self, micro_batches: list[Batch]) -> None:
        """Share nothing: pairs do not depend on each other."""

    def terms(self, micro_batch: Batch, prepared: None) -> Terms:
        """Compute the DPO loss of a micro batch's pairs."""
        policy, reference = _errors(self._backbone, micro_batch)
        dpo_B, z_B = losses.dpo_loss(
            policy["winners"],
            policy_l=policy["losers"],
            reference_w=reference["winners"],
            reference_l=reference["losers"],
            beta=self._beta,
        )
        winner_nll = policy["winners"].mean()
        preference = _weighted(dpo_B, micro_batch)
        metrics = {
            "dpo": dpo_B.mean(),
            "implicit_accuracy": (z_B.sign() / 2 + 0.5).mean(),
            "winner_gap": (policy["winners"] - reference["winners"]).mean(),
            "loser_gap": (policy["losers"] - reference["losers"]).mean(),
            **_moments(z_B),
            "winner_nll": winner_nll,
        }
        return Terms(preference, winner_nll, metrics)


@dataclass(frozen=True)
class GlobalBatch:
    """Values that KTO's micro batches share; `z0` is None where one micro batch is the whole."""

    num: int
    num_desirable: int
    z0: Tensor | None


class Kto:
    """Diffusion-KTO: 1 - sigmoid of how much more the policy gained on a clip than on the batch."""

    def __init__(
        self, backbone: Backbone, settings: Align, *, desirable: float, undesirable: float
    ) -> None:
        self._backbone = backbone
        self._settings = settings
        self._desirable, self._undesirable = desirable, undesirable

    @torch.no_grad()
    def prepare(self, micro_batches: list[Batch]) -> GlobalBatch:
        """Compute z0 over the whole batch; an unsplit batch gives it in its own forward pass."""
        z0 = None
        if len(micro_batches) > 1:
            gains = [_gains(*_errors(self._backbone, part)) for part in micro_batches]
            z0 = losses.reference_point(torch.cat(gains))
            ranks.reshard(self._backbone.module)
        signs_B = torch.cat([part["signs_B"] for part in micro_batches])
        num, num_desirable = ranks.total([len(signs_B), int((signs_B > 0).sum())])
        return GlobalBatch(int(num), int(num_desirable), z0)

    def terms(self, micro_batch: Batch, prepared: GlobalBatch) -> Terms:
        """Compute the KTO loss of a micro batch's clips."""
        policy, reference = _errors(self._backbone, micro_batch)
        gains_B, signs_B = _gains(policy, reference), micro_batch["signs_B"].to(reference["clips"])
        z0 = losses.reference_point(gains_B) if prepared.z0 is None else prepared.z0
        weights_B = torch.where(signs_B > 0, self._desirable, self._undesirable)
        beta = self._settings.beta_kto
        kto_B, z_B = losses.kto_loss(
            gains_B, signs_B=signs_B, z0=z0, weights_B=weights_B, beta=beta
        )
        num = prepared.num, prepared.num_desirable
        winner_nll = _class_mean(policy["clips"], signs_B > 0, *num)
        metrics = {
            "kto": kto_B.mean(),
            "z0": z0,
            "implicit_accuracy": ((signs_B * gains_B).sign() / 2 + 0.5).mean(),
            **_moments(z_B),
        }
        if prepared.num_desirable:
            metrics["winner_gap"] = _class_mean(-gains_B, signs_B > 0, *num)
            metrics["winner_nll"] = winner_nll
        if prepared.num > prepared.num_desirable:
            num_undesirable = prepared.num - prepared.num_desirable
            metrics["loser_gap"] = _class_mean(-gains_B, signs_B < 0, num[0], num_undesirable)
        return Terms(_weighted(kto_B, micro_batch), winner_nll, metrics)


def with_spread(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a whole step's metrics with `z_std` in the place of the moments of z."""
    shown = dict(metrics)
    if "z_square" in shown:
        variance = shown.pop("z_square") - shown.pop("z_mean") ** 2
        shown["z_std"] = math.sqrt(max(0.0, variance))
    return shown


def _moments(z_B: Tensor) -> dict[str, Tensor]:
    """Return the moments of z, whose means over micro batches and ranks give the batch's spread.

    The spread of a part cannot be averaged: that of a single item is 0.
    """
    return {"z_mean": z_B.double().mean(), "z_square": z_B.double().square().mean()}


def _weighted(losses_B: Tensor, micro_batch: Batch) -> Tensor:
    """Average the losses, weighted by the critic's certainty where the batch has weights."""
    if "weights_B" not in micro_batch:
        return losses_B.mean()
    return (losses_B * micro_batch["weights_B"].to(losses_B)).mean()


def _class_mean(values_B: Tensor, chosen_B: Tensor, num: int, num_chosen: int) -> Tensor:
    """Return a part's value whose mean over micro batches, by size, is the chosen values' mean."""
    share = num / len(values_B) / max(1, num_chosen)
    return (values_B * chosen_B).sum() * share


def _gains(policy: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
    return reference["clips"] - policy["clips"]


def _errors(backbone: Backbone, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Compute the policy's errors of each side; return them and the reference's."""
    policy = shared_errors(backbone, sides=batch["latents"], **batch["draw"])
    return policy, {side: errors.to(backbone.device) for side, errors in batch["reference"].items()}
