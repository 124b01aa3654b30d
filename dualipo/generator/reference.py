"""The reference's denoising errors, measured once over fixed slots (METHOD.md 4.2, 4.5).

At the start of an alignment the policy *is* the reference, so its errors on every (pair, slot) are
all that the loss ever needs of it: no second copy of the model is held. They are kept in a file
with the hash of the parameters that made them; a file of another model, seed or setting is refused
(FAULTS.md 34).

Shapes: P pairs, S slots, B batch; a latent's own axes are written `...`.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dualipo import interrupt, seeds
from dualipo.config import Align
from dualipo.errors import DataError, StageError
from dualipo.generator.backbone import Backbone
from dualipo.generator.batches import PreferenceSet
from dualipo.generator.denoise import autocast, pair_errors, pair_noise
from dualipo.store import tensors as tensor_files


@dataclass(frozen=True)
class ReferenceErrors:
    """Denoising errors of the reference on each pair's winner and loser, slot by slot."""

    winner_PS: Tensor
    loser_PS: Tensor
    reference_hash: str


def load_or_measure(
    backbone: Backbone, *, preferences: PreferenceSet, settings: Align, seed: int, path: Path
) -> ReferenceErrors:
    """Read `path`, or measure and publish it. Call it before the first step, resumed or not."""
    expected = _identity(backbone, preferences, settings, seed)
    if not path.exists():
        measured = measure(backbone, preferences=preferences, settings=settings, seed=seed)
        errors = {"winner": measured.winner_PS, "loser": measured.loser_PS}
        tensor_files.save(path, errors, metadata=expected)
    found = tensor_files.read_metadata(path)
    if different := [key for key, value in expected.items() if found.get(key) != value]:
        raise StageError(
            f"{path}: measured with another {', '.join(different)} than this alignment's. The "
            "reference must be the weights at the start of the round: restore them, or delete "
            "this attempt's folder to align anew."
        )
    errors = tensor_files.load(path)
    return ReferenceErrors(errors["winner"], errors["loser"], expected["reference_hash"])


@torch.no_grad()
def measure(
    backbone: Backbone, *, preferences: PreferenceSet, settings: Align, seed: int
) -> ReferenceErrors:
    """The backbone's errors as it stands, in batches of the training step's size."""
    shape = (len(preferences.pair_ids), settings.num_slots)
    winner_PS, loser_PS = torch.empty(shape), torch.empty(shape)
    places = [(pair, slot) for slot in range(shape[1]) for pair in range(shape[0])]
    for start in range(0, len(places), settings.train_batch_size):
        some = places[start : start + settings.train_batch_size]
        pairs, slots = zip(*some, strict=True)
        levels_B, noise_B = pair_noise(
            backbone, preferences=preferences, places=some, settings=settings, seed=seed
        )
        with autocast(backbone, settings):
            winner_B, loser_B = pair_errors(
                backbone,
                winners=preferences.stack("winners", pairs),
                losers=preferences.stack("losers", pairs),
                text_BLD=preferences.stack_texts(pairs),
                levels_B=levels_B,
                noise=noise_B,
            )
        winner_PS[list(pairs), list(slots)] = winner_B.cpu()
        loser_PS[list(pairs), list(slots)] = loser_B.cpu()
        interrupt.check()
    if not (winner_PS.isfinite().all() and loser_PS.isfinite().all()):
        broken = ~(winner_PS.isfinite() & loser_PS.isfinite()).all(1)
        ids = [preferences.pair_ids[k] for k in broken.nonzero().flatten().tolist()]
        raise DataError(
            f"pairs {', '.join(ids[:8])}: the reference's error is not finite on them. Leave them "
            "out, or choose generator.torch_dtype float32."
        )
    return ReferenceErrors(winner_PS, loser_PS, backbone.hash())


def _identity(
    backbone: Backbone, preferences: PreferenceSet, settings: Align, seed: int
) -> dict[str, str]:
    dtype = next(backbone.module.parameters()).dtype
    return {
        "reference_hash": backbone.hash(),
        "pair_ids": str(seeds.derive(*preferences.pair_ids)),
        "seed": str(seed),
        "num_slots": str(settings.num_slots),
        "flow_shift": str(settings.flow_shift),
        "precision": f"{dtype}, {settings.mixed_precision}",
    }
