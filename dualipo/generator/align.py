"""One alignment: Diffusion-DPO or Diffusion-KTO, with NLL terms (METHOD.md 4.2 to 4.5).

L = w L_preference + lambda_1 E_winners[error] + lambda_2 E_real[error]. The reference is the model
at the start, or another one that has measured its errors before. An adapter is trained where
`align.rank` asks for one, else every weight of the backbone's module that requires a gradient.
Where several ranks train together (training/ranks.py), all of them call these functions.

Shapes: B batch; a latent's own axes are written `...`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.errors import ConfigError, DataError
from dualipo.generator import holdout, objectives, ratio, reference
from dualipo.generator.backbone import Backbone
from dualipo.generator.holdout import Holdout
from dualipo.generator.objectives import PreferenceLoss
from dualipo.generator.pipeline import TRANSFORMER
from dualipo.generator.preference_sets import Preferences, RealClips
from dualipo.generator.step_batches import Steps, split
from dualipo.generator.training_errors import single_errors
from dualipo.training import loop, lora, optim, ranks
from dualipo.training.loop import Metrics
from dualipo.training.recompute import recomputed

# The reference's errors, on the preferences that are trained on and on those that are held out.
REFERENCE, HELD_REFERENCE = "reference.safetensors", "reference-holdout.safetensors"
Measured = Mapping[str, Mapping[str, Tensor]]  # errors_PS by the file's name and the side


@dataclass(frozen=True)
class AlignResult:
    """The new version: its transformer folder, its weights' hash, and the reference's.

    With LoRA the transformer holds the merged weights, and `adapter_path` the adapter alone.
    `best_step` counts the steps of these weights where `align.patience` chose them.
    """

    transformer_folder: Path
    adapter_path: Path | None
    generator_hash: str
    reference_hash: str
    num_steps: int
    metrics: Metrics
    history: list[Metrics]
    best_step: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, for another process."""
        adapter = str(self.adapter_path) if self.adapter_path else None
        paths = {"transformer_folder": str(self.transformer_folder), "adapter_path": adapter}
        return asdict(self) | paths

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build the result that `as_json` described."""
        adapter = values["adapter_path"]
        paths = {
            "transformer_folder": Path(values["transformer_folder"]),
            "adapter_path": Path(adapter) if adapter else None,
        }
        return cls(**{**values, **paths})


def measure_reference(
    backbone: Backbone,
    *,
    preferences: Preferences,
    settings: Align,
    folder: Path,
    seed: int,
    reference_folder: Path | None = None,
    measured: Measured | None = None,
) -> str:
    """Write the errors of a reference that is not the start into `folder`; return its hash.

    Drop `backbone` then, before the policy is loaded. A second call finds the errors and measures
    nothing.
    """
    ranks.shard(backbone.module)
    trained, held = holdout.split(preferences, settings=settings, seed=seed)
    measuring = _References(
        backbone, settings, folder, seed, reference_folder, measured=measured or {}
    )
    reference_hash = measuring.errors(trained).reference_hash
    if held is not None:
        measuring.errors(held, HELD_REFERENCE)
    return reference_hash


def align(
    backbone: Backbone,
    *,
    preferences: Preferences,
    real: RealClips | None,
    settings: Align,
    folder: Path,
    seed: int,
    reference_hash: str | None = None,
    reference_folder: Path | None = None,
    measured: Measured | None = None,
    on_step: Callable[[int, Metrics], None] | None = None,
) -> AlignResult:
    """Train `backbone.module` in place and publish it below `folder`.

    A repeated call resumes from the last checkpoint in `folder`; it too takes the weights at the
    start of the round. They are the reference, unless `reference_hash` is what
    `measure_reference` returned. Alignments with one `reference_folder` share its errors, and
    those that other processes have `measured` are taken as they are.
    """
    if real is None and settings.real_nll_ratio > 0:
        raise DataError("alignment: no real clips. Provide some, or set align.real_nll_ratio=0.")
    if settings.rank:
        lora.attach(backbone.module, targets=backbone.lora_targets, settings=settings, seed=seed)
    _require_full_precision(backbone)
    ranks.shard(backbone.module)
    trained_on, held = holdout.split(preferences, settings=settings, seed=seed)
    measuring = _References(
        backbone, settings, folder, seed, reference_folder, reference_hash, measured or {}
    )
    errors = measuring.errors(trained_on)
    steps = Steps(backbone, trained_on, real, errors, settings, seed)
    trained = _train(backbone, steps, folder=folder, watch=measuring.watch(held), on_step=on_step)
    adapter_path = _merge_adapter(backbone, folder) if settings.rank else None
    backbone.save(folder / TRANSFORMER)
    return AlignResult(
        transformer_folder=folder / TRANSFORMER,
        adapter_path=adapter_path,
        generator_hash=backbone.hash(),
        reference_hash=errors.reference_hash,
        num_steps=trained.num_steps,
        metrics=objectives.with_spread(trained.metrics),
        history=trained.history,
        best_step=trained.best_step,
    )


@dataclass(frozen=True)
class _References:
    """The reference's errors on the trained and on the held-out preferences, a file for each."""

    backbone: Backbone
    settings: Align
    folder: Path
    seed: int
    shared_folder: Path | None
    reference_hash: str | None = None
    measured: Measured = field(default_factory=dict)

    def errors(self, preferences: Preferences, name: str = REFERENCE) -> reference.ReferenceErrors:
        """Read the errors, or measure and publish them, without the policy's adapter."""
        with lora.left_out(self.backbone.module):
            return reference.load_or_measure(
                self.backbone,
                preferences=preferences,
                settings=self.settings,
                seed=self.seed,
                path=(self.shared_folder or self.folder) / name,
                reference_hash=self.reference_hash,
                is_shared=self.shared_folder is not None,
                sides=self.measured.get(name),
            )

    def watch(self, held: Preferences | None) -> Holdout | None:
        """Return the watch over the held-out preferences; None where none are held out."""
        if held is None:
            return None
        errors = self.errors(held, HELD_REFERENCE)
        return Holdout(self.backbone, held, errors, self.settings, self.seed)


def _train(
    backbone: Backbone,
    steps: Steps,
    *,
    folder: Path,
    watch: Holdout | None,
    on_step: Callable[[int, Metrics], None] | None,
) -> loop.TrainResult:
    """Run the training loop on this rank's share of every step's batch."""
    settings = steps.settings

    def report(step: int, metrics: Metrics) -> None:
        if on_step is not None:
            on_step(step, objectives.with_spread(metrics))

    objective = objectives.choose(backbone, steps.preferences, settings)
    with recomputed(backbone.module, settings=settings):
        return loop.train(
            backbone.module,
            Alignment(backbone, objective, settings=settings),
            batches=lambda step: steps.batch(
                step, share=ranks.rank(), num_shares=ranks.num_ranks()
            ),
            settings=settings,
            checkpoint_folder=folder / "checkpoints",
            seed=steps.seed,
            on_step=report,
            split=split,
            watch=watch,
        )


def _merge_adapter(backbone: Backbone, folder: Path) -> Path:
    """Save the adapter, add it to the weights, and return its file."""
    path = folder / lora.ADAPTER_FILE
    lora.save(backbone.module, path)
    lora.merge(backbone.module)
    return path


@dataclass(frozen=True)
class Prepared:
    """Values that a step's micro batches share: the preference loss's, and real clips per item."""

    preference: Any
    real_per_item: float


class Alignment:
    """The whole loss; its state is the NLL terms' weights, measured every `ratio_every` steps.

    A step may hold nothing to measure a weight by: one of KTO may be without a desirable clip. The
    weight then stays as it was; one that was never measured is measured at the next step.
    """

    def __init__(self, backbone: Backbone, objective: PreferenceLoss, *, settings: Align) -> None:
        self._backbone = backbone
        self._objective = objective
        self._settings = settings
        self.lambda_1 = 0.0
        self.lambda_2 = 0.0

    def prepare(self, micro_batches: list[dict[str, Any]]) -> Prepared:
        """Compute what the whole batch decides, and measure the terms' weights if it is time."""
        num_items = sum(len(part["ids"]) for part in micro_batches)
        num_real = sum(_num_real(part) for part in micro_batches)
        prepared = Prepared(self._objective.prepare(micro_batches), num_real / num_items)
        if self._is_time(micro_batches[0]["step"]):
            preference, winner, real = ratio.norms(
                self._backbone.module,
                micro_batches,
                lambda part: self._terms(part, prepared)[:3],
            )
            self.lambda_1, self.lambda_2 = ratio.nll_weights(
                base_norm=preference if self._settings.preference_weight else winner,
                winner_norm=winner,
                real_norm=real,
                winner_ratio=self._settings.winner_nll_ratio,
                real_ratio=self._settings.real_nll_ratio,
                former=(self.lambda_1, self.lambda_2),
            )
        return prepared

    def _is_time(self, step: int) -> bool:
        wanted = (self._settings.winner_nll_ratio, self._settings.real_nll_ratio)
        weights = (self.lambda_1, self.lambda_2)
        is_missing = any(r and not weight for r, weight in zip(wanted, weights, strict=True))
        return step % self._settings.ratio_every == 0 or is_missing

    def loss(self, micro_batch: dict[str, Any], prepared: Prepared) -> tuple[Tensor, Metrics]:
        """Return the weighted sum of the three terms, and what to log."""
        preference, winner_nll, real_nll, metrics = self._terms(micro_batch, prepared)
        loss = preference + self.lambda_1 * winner_nll + self.lambda_2 * real_nll
        return loss, metrics | {"lambda_1": self.lambda_1, "lambda_2": self.lambda_2}

    def state(self) -> dict[str, Any]:
        return {"lambda_1": self.lambda_1, "lambda_2": self.lambda_2}

    def load_state(self, state: dict[str, Any]) -> None:
        self.lambda_1, self.lambda_2 = state["lambda_1"], state["lambda_2"]

    def _terms(
        self, batch: dict[str, Any], prepared: Prepared
    ) -> tuple[Tensor, Tensor, Tensor, Metrics]:
        """Return the weighted preference loss, the winners' NLL, the real NLL, and what to log."""
        terms = self._objective.terms(batch, prepared.preference)
        real_nll = self._real_nll(batch, prepared.real_per_item)
        metrics = terms.metrics | {"real_nll": real_nll}
        values = torch.stack([value.detach().double() for value in metrics.values()])
        logged = dict(zip(metrics, values.tolist(), strict=True))  # one wait for the device
        preference = self._settings.preference_weight * terms.preference
        return preference, terms.winner_nll, real_nll, logged

    def _real_nll(self, batch: dict[str, Any], real_per_item: float) -> Tensor:
        """Return the real clips' NLL, scaled so that the loop's sum is the mean over real clips.

        The loop weighs a micro batch by its items, and its share of real clips may differ.
        """
        num_real = _num_real(batch)
        if not num_real:
            return torch.zeros((), device=self._backbone.device)
        share = num_real / len(batch["ids"]) / real_per_item
        return share * single_errors(self._backbone, **batch["real"]).mean()


def _num_real(batch: dict[str, Any]) -> int:
    return len(batch["real"].get("levels_B", ()))


def _require_full_precision(backbone: Backbone) -> None:
    """Refuse trained weights of another type than float32.

    In bfloat16 a step of a learning rate of 1e-5 rounds away silently.
    """
    dtypes = {weight.dtype for weight in optim.trainable(backbone.module).values()}
    if dtypes != {torch.float32}:
        raise ConfigError(
            f"alignment: trained weights are {', '.join(map(str, dtypes)) or 'none'}, where "
            'float32 is needed. Load them so; align.mixed_precision = "bf16" computes in bfloat16.'
        )
