"""The baseline without words: a Bradley-Terry reward head on a frozen critic.

It takes a frozen critic's visual tokens (tower and projector) and the caption's embeddings, mixes
them in a small transformer, and reads one reward per dimension off a token of its own. It is
trained on the same seed's pairs, ties included, with a learned tie width per dimension (Rao and
Kupper). Leaves out pointwise labels, which do not compare two clips.

Legend: B clips shown under a caption, L tokens, H the critic's width, W the head's, D dimensions,
F frames, M visual tokens a frame.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualipo import config
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, load_queries
from dualipo.critic.learning import losses
from dualipo.critic.learning.batches import shuffled
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import VERDICTS
from dualipo.critic.vlm import Query
from dualipo.errors import DataError, ModelError
from dualipo.model_files import settings_files
from dualipo.records import DIMENSIONS, Dimension, Pair
from dualipo.seeds import derive
from dualipo.store import tensors
from dualipo.training import loop

WEIGHTS, SHAPE = "reward_head.safetensors", "reward_head.json"


class RewardHead(nn.Module):
    """A small transformer from tokens to rewards, which are about 0 for an average clip.

    `center_D` is the mean reward of the training's clips; it is subtracted.
    """

    center_D: Tensor

    def __init__(self, *, num_inputs: int, width: int, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.shape = {
            "num_inputs": num_inputs,
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
        }
        self.see, self.read = (
            nn.Sequential(nn.LayerNorm(num_inputs), nn.Linear(num_inputs, width)) for _ in range(2)
        )
        self.asked_DW = nn.Parameter(0.02 * torch.randn(len(DIMENSIONS), width))
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.raw_tie_width_D = nn.Parameter(torch.full((len(DIMENSIONS),), -1.0))
        self.register_buffer("center_D", torch.zeros(len(DIMENSIONS)))

    @property
    def tie_width_D(self) -> Tensor:
        """The tie width of each dimension, always positive."""
        return nn.functional.softplus(self.raw_tie_width_D)

    def forward(self, shown: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return rewards [B, D]; a clip comes as visual tokens [F, M, H] and caption [L, H]."""
        rows = [self._row(visual_FMH, caption_LH) for visual_FMH, caption_LH in shown]
        longest = max(map(len, rows))
        tokens_BLW = torch.stack(
            [nn.functional.pad(row, (0, 0, 0, longest - len(row))) for row in rows]
        )
        lengths_B1 = torch.tensor([[len(row)] for row in rows], device=tokens_BLW.device)
        padding_BL = torch.arange(longest, device=tokens_BLW.device) >= lengths_B1
        mixed_BLW = self.mix(tokens_BLW, src_key_padding_mask=padding_BL)
        return self.score(mixed_BLW[:, : len(DIMENSIONS)])[..., 0] - self.center_D

    def _row(self, visual_FMH: Tensor, caption_LH: Tensor) -> Tensor:
        """Return a clip's tokens [L, W]: dimensions, frames, caption, each with its position."""
        visual_FMW, caption_LW = self.see(visual_FMH), self.read(caption_LH)
        frames, places = visual_FMW.shape[:2]
        width = visual_FMW.shape[2] // 2
        position_FMW = torch.cat(
            [
                _waves(frames, width)[:, None].expand(-1, places, -1),
                _waves(places, width)[None].expand(frames, -1, -1),
            ],
            -1,
        ).to(visual_FMW)
        order_LW = _waves(len(caption_LW), 2 * width).to(caption_LW)
        visual_LW = (visual_FMW + position_FMW).flatten(0, 1)
        return torch.cat([self.asked_DW, visual_LW, caption_LW + order_LW])


class HeadedCritic:
    """A reward head and the frozen critic whose tokens it takes; implements `rewards.Rewards`."""

    def __init__(self, base: ChatCritic, head: RewardHead) -> None:
        base.freeze()
        self.base = base
        self.module = head.to(base.device)

    @classmethod
    def fresh(cls, base: ChatCritic, *, settings: config.RewardHead, seed: int) -> "HeadedCritic":
        """Make an untrained head; the same seed gives the same weights."""
        width = base.llm.get_input_embeddings().weight.shape[1]
        with torch.random.fork_rng():
            torch.manual_seed(derive(seed, "reward head"))
            head = RewardHead(
                num_inputs=int(width),
                width=settings.width,
                num_layers=settings.num_layers,
                num_heads=settings.num_heads,
            )
        return cls(base, head.eval())

    @classmethod
    def load(cls, folder: Path, *, base: ChatCritic) -> "HeadedCritic":
        """Read a head that `save` wrote and put it on the given critic."""
        head = RewardHead(**settings_files.read(folder / SHAPE))
        try:
            head.load_state_dict(tensors.load(folder / WEIGHTS))
        except RuntimeError as broken:
            raise ModelError(f"{folder}: not a reward head ({broken}). Restore it.") from broken
        return cls(base, head.eval())

    def save(self, folder: Path | str) -> None:
        """Write the head into a folder, without the critic below it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHAPE).write_text(json.dumps(self.module.shape, indent=2) + "\n")
        tensors.write(folder / WEIGHTS, self.module.state_dict(), metadata={"format": "pt"})

    def hash(self) -> str:
        """Return the sha256 of the head's weights."""
        return tensors.hash_parameters(self.module.state_dict())

    @torch.no_grad()
    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """Return the reward of each query's clips in the query's dimension."""
        rows = iter(self.rewards_BD(queries).tolist())
        return [
            [next(rows)[DIMENSIONS.index(query.dimension)] for _ in query.clip_hashes]
            for query in queries
        ]

    def tie_width(self, dimension: Dimension) -> float:
        """Return the learned tie width of a dimension."""
        return self.module.tie_width_D[DIMENSIONS.index(dimension)].item()

    def rewards_BD(self, queries: Sequence[Query]) -> Tensor:
        """Return the differentiable rewards of all clips, query after query."""
        with torch.no_grad():
            visual = self.base.embed_clips(queries)
            captions = [self._caption(query) for query in queries]
        shown = [
            (visual[clip_hash][..., : caption_LH.shape[1]].float(), caption_LH)
            for query, caption_LH in zip(queries, captions, strict=True)
            for clip_hash in query.clip_hashes
        ]
        rewards_BD: Tensor = self.module(shown)
        return rewards_BD

    def _caption(self, query: Query) -> Tensor:
        ids = self.base.tokens.encode(reasoning.fence(query.caption))
        ids_L = torch.tensor(ids, dtype=torch.long, device=self.base.device)
        embeds_LH: Tensor = self.base.llm.get_input_embeddings()(ids_L)
        return embeds_LH.float()


@dataclass(frozen=True)
class BradleyTerry(loop.Objective):
    """The training objective: negative log-probability of the labels, ties included."""

    critic: HeadedCritic
    clips: Clips

    def loss(self, micro_batch: dict[str, Any], prepared: None) -> tuple[Tensor, loop.Metrics]:
        """Return the mean over pairs, and the `accuracy` on pairs that are no tie."""
        pairs: list[Pair] = micro_batch["pairs"]
        queries = load_queries([_ask(pair) for pair in pairs], self.clips)
        rewards_B2D = self.critic.rewards_BD(queries).unflatten(0, (-1, 2))
        dimension_B = torch.tensor([_index(pair) for pair in pairs], device=rewards_B2D.device)
        margin_B = (rewards_B2D[:, 0] - rewards_B2D[:, 1]).gather(1, dimension_B[:, None])[:, 0]
        label_B = torch.tensor([VERDICTS.index(pair.verdict) for pair in pairs]).to(dimension_B)
        width_B = self.critic.module.tie_width_D[dimension_B]
        log_probs_BV = losses.bradley_terry(margin_B, tie_width_B=width_B)
        right_B = (1 - label_B) * margin_B > 0
        num_decided = max(1, int((label_B != 1).sum()))
        loss = nn.functional.nll_loss(log_probs_BV, label_B)
        return loss, {"accuracy": float(right_B.sum()) / num_decided}


def train(
    critic: HeadedCritic,
    pairs: Sequence[Pair],
    *,
    clips: Clips,
    settings: config.RewardHead,
    checkpoint_folder: Path,
    seed: int,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> loop.TrainResult:
    """Train the head in place, then center its rewards on the clips of the training."""
    usable = [pair for pair in pairs if pair.dimension != "overall" and pair.verdict in VERDICTS]
    if not usable:
        raise DataError("reward head: no labelled pair in the seed. Raise seed_labels.num_pairs.")
    indices = shuffled(len(usable), batch_size=settings.train_batch_size, seed=seed)

    def batch(step: int) -> dict[str, Any]:
        chosen = [usable[i] for i in indices(step)]
        return {"ids": [pair.pair_id for pair in chosen], "pairs": chosen}

    result = loop.train(
        critic.module,
        BradleyTerry(critic, clips=clips),
        batches=batch,
        settings=settings,
        checkpoint_folder=checkpoint_folder,
        seed=seed,
        on_step=on_step,
    )
    _center(critic, usable, clips, settings.train_batch_size)
    return result


@torch.no_grad()
def _center(critic: HeadedCritic, pairs: Sequence[Pair], clips: Clips, width: int) -> None:
    """Set the mean reward of the pairs' clips to 0.

    A pair's loss does not fix the zero, and a grade is read from the distance to it.
    """
    rows = [
        critic.rewards_BD(load_queries([_ask(p) for p in pairs[start : start + width]], clips))
        for start in range(0, len(pairs), width)
    ]
    critic.module.center_D += torch.cat(rows).mean(0)


def _ask(pair: Pair) -> Ask:
    dimension = DIMENSIONS[_index(pair)]
    return Ask(pair.pair_id, "pair", pair.prompt, dimension, (pair.video_a, pair.video_b))


def _index(pair: Pair) -> int:
    assert pair.dimension != "overall"
    return DIMENSIONS.index(pair.dimension)


def _waves(num: int, width: int) -> Tensor:
    """Return a transformer's sines and cosines of positions [num, width]."""
    rates = 1e3 ** -torch.linspace(0, 1, width // 2)
    angles = torch.arange(num)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
