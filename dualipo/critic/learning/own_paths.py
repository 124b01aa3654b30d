"""Draws the critic's own answers to questions whose right verdict is known."""

from collections.abc import Sequence

from dualipo.config import Critic
from dualipo.critic.asks import Ask, Clips, SeedOf, load_queries
from dualipo.critic.vlm import ReasoningPath, Sampling, Vlm
from dualipo.training.memory import batched


def draw(
    vlm: Vlm,
    asks: Sequence[Ask],
    *,
    clips: Clips,
    num_paths: int,
    settings: Critic,
    seed_of: SeedOf,
) -> list[list[ReasoningPath]]:
    """Return `num_paths` sampled paths of each question, each drawn by a seed of its own."""

    def sample(batch: Sequence[Ask]) -> list[list[ReasoningPath]]:
        return vlm.sample(
            load_queries(batch, clips),
            Sampling(
                seeds=[_seeds(ask, num_paths, seed_of) for ask in batch],
                temperature=settings.temperature,
                max_new_tokens=settings.max_new_tokens,
            ),
        )

    width = max(1, settings.judge_batch_size // num_paths)
    return batched(asks, sample, batch_size=width, subject="critic's own traces")


def _seeds(ask: Ask, num_paths: int, seed_of: SeedOf) -> list[int]:
    return [seed_of(ask.item_id, ask.dimension, ask.order, draw, 0) for draw in range(num_paths)]
