"""Sampling many paths of a batch of prompts with one prefill each (METHOD.md 3.1).

The prompts are run once; their key-value cache is then repeated for the paths. A path's token is
drawn by inverting the cumulative distribution at its own uniform number, and all its numbers come
from its own seed: what else is in the batch cannot move it, up to rounding.

Legend: B prompts, N = B * num_paths paths, L prompt tokens, T new tokens, V vocabulary, C tracked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel


@dataclass(frozen=True)
class Prompts:
    """Left-padded embeddings of B prompts."""

    embeds_BLH: Tensor
    mask_BL: Tensor

    @property
    def positions_BL(self) -> Tensor:
        """Counted from each row's first real token."""
        return (self.mask_BL.long().cumsum(1) - 1).clamp(min=0)


@dataclass(frozen=True)
class Decoded:
    """What N paths drew. Behind a path's end stand padding and log-probability 0."""

    tokens_NT: Tensor
    log_probs_NT: Tensor
    num_tokens_N: Tensor
    ended_N: Tensor
    tracked_NTC: Tensor


def uniforms(seeds: Sequence[int], *, max_new_tokens: int) -> Tensor:
    """One row of numbers in [0, 1) a path, each from its own generator."""
    rows = [
        torch.rand(
            max_new_tokens, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        for seed in seeds
    ]
    return torch.stack(rows)


@torch.no_grad()
def decode(
    llm: PreTrainedModel,
    prompts: Prompts,
    *,
    num_paths: int,
    temperature: float,
    uniforms_NT: Tensor,
    end_ids: Tensor,
    tracked_C: Tensor,
) -> Decoded:
    """Draw `num_paths` paths a prompt until all ended or T tokens; temperature 0 is greedy."""
    cache = DynamicCache(config=llm.config)
    logits_NV = prefill(llm, prompts, cache).repeat_interleave(num_paths, 0)
    cache.batch_repeat_interleave(num_paths)
    num_rows, max_new_tokens = uniforms_NT.shape
    prompt_mask_NL = prompts.mask_BL.repeat_interleave(num_paths, 0)
    mask_NL = torch.cat([prompt_mask_NL, prompt_mask_NL.new_ones(num_rows, max_new_tokens)], 1)
    position_N1 = prompt_mask_NL.long().sum(1, keepdim=True)
    ended_N = torch.zeros(num_rows, dtype=torch.bool, device=logits_NV.device)
    num_tokens_N = torch.zeros_like(ended_N, dtype=torch.long)
    tokens, log_probs, tracked = [], [], []
    for step in range(max_new_tokens):
        log_probs_NV = log_softmax(logits_NV)
        token_N = _draw(log_probs_NV, temperature, uniforms_NT[:, step])
        log_prob_N = log_probs_NV.gather(1, token_N[:, None])[:, 0]
        tokens.append(token_N)
        log_probs.append(log_prob_N.masked_fill(ended_N, 0.0))
        tracked.append(log_probs_NV[:, tracked_C])
        num_tokens_N += ~ended_N
        ended_N = ended_N | torch.isin(token_N, end_ids)
        if step + 1 == max_new_tokens or bool(ended_N.all()):
            break
        logits_NV = llm(
            input_ids=token_N[:, None],
            attention_mask=mask_NL[:, : prompt_mask_NL.shape[1] + step + 1],
            position_ids=position_N1 + step,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return Decoded(
        torch.stack(tokens, 1),
        torch.stack(log_probs, 1),
        num_tokens_N,
        ended_N,
        torch.stack(tracked, 1),
    )


def prefill(llm: PreTrainedModel, prompts: Prompts, cache: DynamicCache) -> Tensor:
    """Run the prompts into `cache`; return the logits [B, V] of what follows."""
    return llm(
        inputs_embeds=prompts.embeds_BLH,
        attention_mask=prompts.mask_BL,
        position_ids=prompts.positions_BL,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def log_softmax(logits_V: Tensor) -> Tensor:
    """Over the last axis, in at least float32."""
    return logits_V.log_softmax(-1, dtype=torch.promote_types(logits_V.dtype, torch.float32))


def _draw(log_probs_NV: Tensor, temperature: float, uniform_N: Tensor) -> Tensor:
    if temperature == 0:
        return log_probs_NV.argmax(-1)
    cumulative_NV = (log_probs_NV.double() / temperature).softmax(-1).cumsum(-1)
    # The last sum is 1 up to rounding; a number beyond it belongs to the last token that counts.
    point_N1 = uniform_N[:, None] * cumulative_NV[:, -1:]
    return torch.searchsorted(cumulative_NV, point_N1, right=True)[:, 0].clamp(
        max=log_probs_NV.shape[1] - 1
    )
