"""The cache that grows in place holds what the library's concatenating cache holds."""

from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from transformers import DynamicCache, LlamaConfig

from dualipo.config import Critic, CriticTraining
from dualipo.critic.models.growing_cache import growing_cache
from dualipo.training.precision import autocast, forward_pass

CONFIG = LlamaConfig(num_hidden_layers=2, num_attention_heads=2, hidden_size=8)


def states(generator: torch.Generator, rows: int, columns: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(2, rows, 2, columns, 4, generator=generator))


def test_it_holds_what_a_concatenating_cache_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, plain = growing_cache(CONFIG), DynamicCache(config=CONFIG)
    rows = 6
    # Some steps fit into the spare columns, some do not, and rows leave in between.
    for columns, kept in (
        (40, None),
        (5, None),
        (1, [0, 1, 5, 3]),
        (1, None),
        (3, None),
        (2, [3, 1]),
        (8, [0]),
    ):
        for layer in range(CONFIG.num_hidden_layers):
            new = states(generator, rows, columns)
            for got, wanted in zip(
                ours.update(*new, layer), plain.update(*new, layer), strict=True
            ):
                assert torch.equal(got, wanted)
        assert ours.get_seq_length() == plain.get_seq_length()
        if kept is not None:
            for cache in (ours, plain):
                cache.batch_select_indices(torch.tensor(kept))
            rows = len(kept)
    for own, other in zip(ours.layers, plain.layers, strict=True):
        assert torch.equal(own.keys, other.keys) and torch.equal(own.values, other.values)


def test_a_step_that_fits_moves_no_column() -> None:
    generator = torch.Generator().manual_seed(0)
    cache = growing_cache(CONFIG)
    cache.update(*states(generator, 3, 400), 0)
    cache.update(*states(generator, 3, 1), 0)  # makes room for 25 more
    place = cache.layers[0].keys.data_ptr()
    for _ in range(10):
        cache.update(*states(generator, 3, 1), 0)
    cache.batch_select_indices(torch.tensor([0, 2]))
    assert cache.layers[0].keys.data_ptr() == place
    assert cache.layers[0].keys.shape == (2, 2, 411, 4)


@pytest.mark.parametrize(
    ("context", "kept_in"),
    [
        (autocast("cpu", Critic(mixed_precision="no")), torch.float32),
        (autocast("cpu", Critic(mixed_precision="bf16")), torch.bfloat16),
        (forward_pass("cpu", CriticTraining(mixed_precision="bf16")), torch.float32),
    ],
)
def test_keys_are_kept_as_attention_takes_them(
    context: AbstractContextManager[object], kept_in: torch.dtype
) -> None:
    """A key that is converted once makes the same attention as one converted at every step."""
    (query, _), (keys, values) = (states(torch.Generator().manual_seed(n), 3, 5) for n in range(2))
    with context:
        kept, kept_values = growing_cache(CONFIG).update(keys, values, 0)
        attended = F.scaled_dot_product_attention(query, kept, kept_values)
        assert torch.equal(attended, F.scaled_dot_product_attention(query, keys, values))
    assert kept.dtype == kept_in
