"""The reference's denoising errors, measured once over fixed slots (METHOD.md 4.2, 4.3, 4.5).

At the start of an alignment the policy *is* the reference, so its errors on every (item, slot) are
all that the loss ever needs of it: no second copy of the model is held. Where the reference is
another model, it measures its errors first and is dropped before the policy is loaded. The errors
are kept in a file with the hash of the parameters that made them; a file of another model,
schedule, seed or setting is refused (FAULTS.md 34). This needs a network that computes the same
whenever it is asked: a LoRA's dropout is refused by the configuration, a transformer's own by
`cogvideox.py`, and captions are never dropped.

Shapes: P items (pairs or points), S slots, B batch; a latent's own axes are written `...`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dualipo import interrupt, seeds
from dualipo.config import Align
from dualipo.errors import DataError, StageError
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import Preferences
from dualipo.generator.training_errors import shared_errors, slot_noise
from dualipo.store import tensors as tensor_files
from dualipo.training import ranks
from dualipo.training.memory import within_memory
from dualipo.training.precision import forward_pass, takes_wide_attention

Place = tuple[int, int]  # an item and a slot


@dataclass(frozen=True)
class ReferenceErrors:
    """The reference's denoising errors_PS by side: of every item in every slot."""

    sides: dict[str, Tensor]
    reference_hash: str


def load_or_measure(
    backbone: Backbone,
    *,
    preferences: Preferences,
    settings: Align,
    seed: int,
    path: Path,
    reference_hash: str | None = None,
    is_shared: bool = False,
    sides: Mapping[str, Tensor] | None = None,
) -> ReferenceErrors:
    """Read the errors at `path`, or measure and publish them.

    Call it before the first step, also of a resumed training. With a `reference_hash`, the model
    with that hash has measured them before, and `backbone` may be another one. Where several
    alignments share a folder (`is_shared`), the file's name also says what the errors depend on.
    `sides` are errors_PS that other processes have measured with the same weights.
    """
    expected = {
        "reference_hash": reference_hash or backbone.hash(),
        **_identity(backbone, preferences, settings, seed),
    }
    if is_shared:
        path = path.with_stem(f"{path.stem}-{seeds.derive(*expected.values()):016x}")
    if not reference_hash and not ranks.from_first(path.exists()):
        if sides is None:
            sides = measure(
                backbone,
                preferences=preferences,
                settings=settings,
                seed=seed,
                reference_hash=expected["reference_hash"],
            ).sides
        if ranks.rank() == 0:
            tensor_files.save(path, sides, metadata=expected)
        ranks.wait()
    recorded = tensor_files.read_metadata(path)
    if different := [key for key, value in expected.items() if recorded.get(key) != value]:
        raise StageError(
            f"{path}: measured with another {', '.join(different)} than this alignment's. The "
            "reference must be the weights that align.reference names: restore them, or delete "
            "this attempt's folder to align anew."
        )
    return ReferenceErrors(tensor_files.load(path), expected["reference_hash"])


def measure(
    backbone: Backbone,
    *,
    preferences: Preferences,
    settings: Align,
    seed: int,
    reference_hash: str | None = None,
) -> ReferenceErrors:
    """Measure the backbone's errors as it stands, in a training step's batches and micro batches.

    `reference_hash` is the backbone's hash where that is known: hashing a large model takes time.
    """
    places = all_places(preferences, settings)
    errors = measure_places(backbone, places, preferences=preferences, settings=settings, seed=seed)
    ranks.reshard(backbone.module)
    return ReferenceErrors(in_slots(errors, preferences), reference_hash or backbone.hash())


def all_places(preferences: Preferences, settings: Align) -> list[Place]:
    """Return every item in the first slot, then in the next one, in the order of measuring."""
    items = range(len(preferences.ids))
    return [(item, slot) for slot in range(settings.num_slots) for item in items]


def in_slots(errors: Mapping[str, Tensor], preferences: Preferences) -> dict[str, Tensor]:
    """Arrange the errors of all places as errors_PS by side; raise DataError unless finite."""
    num_items = len(preferences.ids)
    by_slot = {side: errors_N.reshape(-1, num_items) for side, errors_N in errors.items()}
    sides = {side: errors_SP.T.contiguous() for side, errors_SP in by_slot.items()}
    _require_finite(sides, preferences)
    return sides


@torch.no_grad()
def measure_places(
    backbone: Backbone,
    places: Sequence[Place],
    *,
    preferences: Preferences,
    settings: Align,
    seed: int,
) -> dict[str, Tensor]:
    """Measure the errors_N of these places by side, in a training step's batches."""
    measured: dict[str, list[Tensor]] = {side: [] for side in preferences.sides}
    errors_of = functools.partial(_errors, backbone, preferences, settings, seed)
    num_parts = settings.gradient_accumulation_steps
    for start in range(0, len(places), settings.train_batch_size):
        batch = list(places[start : start + settings.train_batch_size])
        errors, num_parts = within_memory(
            functools.partial(_errors_in_parts, errors_of, batch),
            num_parts=num_parts,
            num_items=len(batch),
            subject="the reference's errors",
        )
        for side, errors_B in errors.items():
            measured[side].append(errors_B)
        interrupt.check()
    return {side: torch.cat(errors).float() for side, errors in measured.items()}


def _errors_in_parts(
    errors_of: Callable[[list[Place]], dict[str, Tensor]], batch: list[Place], num_parts: int
) -> dict[str, Tensor]:
    """Return a batch's errors_B by side: each rank computes its share, in so many parts."""
    share = ranks.share(batch)
    width = math.ceil(len(share) / num_parts)
    parts = [errors_of(share[start : start + width]) for start in range(0, len(share), width)]
    errors = {side: torch.cat([part[side] for part in parts]) for side in parts[0]}
    return {side: ranks.gathered(errors_B)[: len(batch)].cpu() for side, errors_B in errors.items()}


def _errors(
    backbone: Backbone, preferences: Preferences, settings: Align, seed: int, places: list[Place]
) -> dict[str, Tensor]:
    """Return the errors_B of (item, slot) places by side, from one forward pass."""
    items = [item for item, _ in places]
    sides = {side: preferences.stack(side, items) for side in preferences.sides}
    levels_B, noise_B = slot_noise(
        backbone,
        ids=preferences.ids,
        places=places,
        shape=sides[preferences.sides[0]].shape[1:],
        settings=settings,
        seed=seed,
    )
    with forward_pass(backbone.device, settings):
        return shared_errors(
            backbone,
            sides=sides,
            text_BLD=preferences.stack_texts(items),
            levels_B=levels_B,
            noise=noise_B,
        )


def _require_finite(measured: dict[str, Tensor], preferences: Preferences) -> None:
    finite_P = torch.stack([errors_PS.isfinite().all(1) for errors_PS in measured.values()]).all(0)
    if finite_P.all():
        return
    ids = [preferences.ids[k] for k in (~finite_P).nonzero().flatten().tolist()]
    raise DataError(
        f"pairs or clips {', '.join(ids[:8])}: the reference's error is not finite on them. Leave "
        "them out, or choose generator.torch_dtype float32."
    )


def _identity(
    backbone: Backbone, preferences: Preferences, settings: Align, seed: int
) -> dict[str, str]:
    dtype = next(backbone.module.parameters()).dtype
    levels = (settings.weighting_scheme, settings.logit_mean, settings.logit_std)
    # A CPU's attention was once plain matrix products, and had no name.
    attention = "float32" if takes_wide_attention("cpu", settings) else "library"
    return {
        **({"attention": attention} if backbone.device.type == "cpu" else {}),
        "items": str(seeds.derive(*preferences.ids)),
        "sides": ", ".join(preferences.sides),
        "seed": str(seed),
        "num_slots": str(settings.num_slots),
        "schedule": backbone.schedule(shift=settings.flow_shift),
        "noise_levels": ", ".join(map(str, levels)),
        "precision": f"{dtype}, {settings.mixed_precision}",
    }
