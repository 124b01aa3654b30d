"""Moments of 8 bits (bitsandbytes) of weights that several ranks hold in parts.

bitsandbytes knows whole tensors alone, so each rank's optimizer gets its part of a weight as one.
A moment is a code of one byte for each number, and a scale for each block of 256 numbers, which are
counted within the rank's part. A checkpoint holds the codes, sharded as the weight is, and the
scales of all ranks, a row for each. The same number of ranks resumes them exactly. So does another
one where parts are whole numbers of blocks, as in models whose rows are. Elsewhere its blocks lie
otherwise, so it decodes its part by the saved scales and encodes it anew.

Legend: N numbers of this rank's part, R ranks that saved, K blocks of a part.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dualipo.training import ranks

BLOCK = 256
# Names of bitsandbytes: codes, and the scales and the map from code to number that belong to them.
_OF_CODES = {"state1": ("absmax1", "qmap1"), "state2": ("absmax2", "qmap2")}
_SCALES = {scales for scales, _ in _OF_CODES.values()}


def part_of(weight: nn.Parameter) -> nn.Parameter:
    """Return this rank's part of a sharded weight as a weight of its own, in the same memory."""
    return nn.Parameter(ranks.own_part(weight))


def take_gradient(part: nn.Parameter, weight: nn.Parameter) -> None:
    """Give a part its weight's memory and gradient; one that is empty has none."""
    part.data = ranks.own_part(weight)
    gradient = weight.grad if part.numel() else None
    part.grad = None if gradient is None else ranks.own_part(gradient)


def saved(moments: Mapping[str, Any], weight: Tensor) -> dict[str, Tensor]:
    """Return a part's moments as a checkpoint holds them; all ranks call it, weight by weight.

    An empty part has none, so their kinds come from the first rank, whose part is the largest.
    """
    first = ranks.from_first(
        {name: torch.as_tensor(value).cpu() for name, value in moments.items()}
    )
    width = math.ceil(ranks.largest_part(weight) / BLOCK)
    kept: dict[str, Tensor] = {}
    for name, value in first.items():
        own = moments.get(name, value[:0].to(weight.device) if value.ndim else value)
        if name in _OF_CODES:
            kept[name] = ranks.joined(own.reshape(ranks.own_part(weight).shape), weight)
        elif name in _SCALES:
            kept[name] = ranks.gathered(nn.functional.pad(own, (0, width - len(own)))[None])
        else:
            kept[name] = value
    return kept


def restored(kept: Mapping[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    """Return this rank's moments from a checkpoint, also from one of another number of ranks."""
    part = ranks.own_part(weight)
    if not part.numel():
        return {}
    moments = dict(kept)
    for name, (scales_name, map_name) in _OF_CODES.items():
        codes = moments[name] = ranks.own_part(kept[name])
        if scales_name not in kept:
            continue  # whole numbers, of a small weight
        scales_RK = torch.atleast_2d(kept[scales_name]).to(part.device)
        scales_N, is_cut_alike = _own_scales(scales_RK, weight)
        if is_cut_alike:
            moments[scales_name] = scales_N[::BLOCK].clone()
        else:
            map_ = kept[map_name].to(part.device)
            numbers_N = map_[codes.flatten().to(part.device).long()] * scales_N
            moments[name], moments[scales_name] = _encoded(numbers_N, map_)
        moments[name] = moments[name].reshape(part.shape)
    return moments


def _own_scales(scales_RK: Tensor, weight: Tensor) -> tuple[Tensor, bool]:
    """Return the scale of each number of this rank's part, and whether its blocks are those saved.

    The first number of a block stands for the block then.
    """
    num_saved, num_in_row = len(scales_RK), weight.numel() // len(weight)
    saved_part = math.ceil(len(weight) / num_saved) * num_in_row
    begin = ranks.rank() * ranks.largest_part(weight)
    places_N = begin + torch.arange(ranks.own_part(weight).numel(), device=scales_RK.device)
    scales_N = scales_RK[places_N // saved_part, places_N % saved_part // BLOCK]
    is_same = num_saved == ranks.num_ranks()
    is_even = begin % BLOCK == 0 and (saved_part % BLOCK == 0 or num_saved == 1)
    return scales_N, is_same or is_even


def _encoded(numbers_N: Tensor, map_: Tensor) -> tuple[Tensor, Tensor]:
    from bitsandbytes import functional  # optional, and slow to import

    codes_N, state = functional.quantize_blockwise(numbers_N, code=map_, blocksize=BLOCK)
    return codes_N, state.absmax
