"""Sampling many paths of many questions with one prefill a prefix (METHOD.md 3.1).

Prompts that begin alike (the same clips and caption) are one row. Its prefix is run once; the
questions, and the paths that answer them, branch from its key-value cache as slots of that row,
and the attention mask keeps the branches apart. So no prefix is run or stored twice, whatever the
number of questions and votes, and a step reads it once for all of them.

A path's token is drawn by inverting the cumulative distribution at its own uniform number, and all
its numbers come from its own seed: what else is in the batch cannot move it, up to rounding.

Legend: B prompts, U prefixes, L prefix tokens, Q questions a prefix, S question tokens, P paths a
question, J = Q * P slots, T new tokens, K all tokens of a row, V vocabulary, C tracked, H width,
N layers that a vision tower adds to.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache


@dataclass(frozen=True)
class Prompts:
    """Left-padded embeddings of B prompts, or of U prefixes.

    `positions` are [B, L], or [axes, B, L] for models that place visual tokens on several axes.
    `deep_NBLH` is what a vision tower adds behind the first N layers, for those that do.
    """

    embeds_BLH: Tensor
    mask_BL: Tensor
    positions: Tensor
    deep_NBLH: Tensor | None = None

    @property
    def next_B(self) -> Tensor:
        """The position behind each row."""
        return self.positions.reshape(-1, *self.mask_BL.shape).amax((0, 2)) + 1


@dataclass(frozen=True)
class Questions:
    """What follows each prefix: token ids, padded on the left; an empty place is all padding."""

    ids_UQS: Tensor
    mask_UQS: Tensor


@dataclass(frozen=True)
class Decoded:
    """What the slots drew. Behind a path's end stand padding and log-probability 0."""

    tokens_UJT: Tensor
    log_probs_UJT: Tensor
    num_tokens_UJ: Tensor
    ended_UJ: Tensor
    tracked_UJTC: Tensor


def counted(mask_BL: Tensor) -> Tensor:
    """Positions counted from each row's first real token."""
    return (mask_BL.long().cumsum(-1) - 1).clamp(min=0)


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
def draw_paths(
    llm: nn.Module,
    prefixes: Prompts,
    questions: Questions,
    *,
    num_paths: int,
    temperature: float,
    uniforms_UJT: Tensor,
    end_ids: Tensor,
    tracked_C: Tensor,
) -> Decoded:
    """Draw `num_paths` paths a question until all ended or T tokens; temperature 0 is greedy."""
    cache = DynamicCache(config=llm.config)
    prefill(llm, prefixes, cache)
    logits_UJV = _ask(llm, prefixes, questions, cache).repeat_interleave(num_paths, 1)
    slots = _Slots(prefixes, questions, uniforms_UJT, tracked_C, temperature=temperature)
    for step in range(uniforms_UJT.shape[2]):
        token_UJ = slots.draw(step, logits_UJV, end_ids)
        kept_U, kept_UJ = slots.let_go()
        if not len(kept_U) or step + 1 == uniforms_UJT.shape[2]:
            break
        if len(kept_U) < len(token_UJ):
            cache.batch_select_indices(kept_U)
        logits_UJV = llm(
            input_ids=token_UJ[kept_U].gather(1, kept_UJ),
            attention_mask=slots.look(),
            position_ids=slots.positions_UJ + step,
            past_key_values=cache,
            use_cache=True,
        ).logits
    return slots.decoded


def prefill(llm: nn.Module, prompts: Prompts, cache: DynamicCache) -> Tensor:
    """Run the prompts into `cache`; return the logits [B, V] of what follows."""
    with deepened(llm, prompts.deep_NBLH):
        return llm(
            inputs_embeds=prompts.embeds_BLH,
            attention_mask=prompts.mask_BL,
            position_ids=prompts.positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]


@contextmanager
def deepened(llm: Any, deep_NBLH: Tensor | None) -> Iterator[None]:
    """In here, add `deep_NBLH[n]` to what layer n of the language model says."""

    def adding(more_BLH: Tensor) -> Any:
        return lambda layer, given, said: said + more_BLH

    layers = [] if deep_NBLH is None else llm.get_decoder().layers[: len(deep_NBLH)]
    hooks = [
        layer.register_forward_hook(adding(more_BLH))
        for layer, more_BLH in zip(layers, deep_NBLH if deep_NBLH is not None else [], strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def log_softmax(logits_V: Tensor) -> Tensor:
    """Over the last axis, in at least float32."""
    return logits_V.log_softmax(-1, dtype=torch.promote_types(logits_V.dtype, torch.float32))


class _Slots:
    """The paths while they draw. Rows and slots without an open path are let go.

    `slots_UJ` names the slots that still draw, and `owner_UK` the slot that drew each column of
    the cache behind the questions: a slot sees its prefix, its question, and what it drew.
    """

    def __init__(
        self,
        prefixes: Prompts,
        questions: Questions,
        uniforms_UJT: Tensor,
        tracked_C: Tensor,
        *,
        temperature: float,
    ) -> None:
        num_rows, num_slots, num_steps = uniforms_UJT.shape
        num_paths = num_slots // questions.mask_UQS.shape[1]
        self.uniforms_UJT, self.tracked_C, self.temperature = uniforms_UJT, tracked_C, temperature
        shape, device = (num_rows, num_slots), uniforms_UJT.device
        lengths_UQ = prefixes.next_B[:, None] + questions.mask_UQS.sum(2)
        self.positions_UJ = lengths_UQ.repeat_interleave(num_paths, 1)
        self.before_UJK = _before(prefixes, questions, num_paths=num_paths)
        self.closed_UJ = ~questions.mask_UQS.any(2).repeat_interleave(num_paths, 1)
        self.rows_U = torch.arange(num_rows, device=device)
        self.slots_UJ = torch.arange(num_slots, device=device).expand(shape)
        self.owner_UK = torch.empty(num_rows, 0, dtype=torch.long, device=device)
        self.decoded = Decoded(
            torch.zeros(*shape, num_steps, dtype=torch.long, device=device),
            torch.zeros(*shape, num_steps, dtype=torch.float64, device=device),
            torch.zeros(shape, dtype=torch.long, device=device),
            torch.zeros(shape, dtype=torch.bool, device=device),
            torch.zeros(*shape, num_steps, len(tracked_C), dtype=torch.float64, device=device),
        )

    def draw(self, step: int, logits_UJV: Tensor, end_ids: Tensor) -> Tensor:
        """A token for each slot; what a closed one draws does not count."""
        here, made = (self.rows_U[:, None], self.slots_UJ), self.decoded
        log_probs_UJV = log_softmax(logits_UJV)
        token_UJ = _draw(log_probs_UJV, self.temperature, self.uniforms_UJT[*here, step])
        chosen_UJ = log_probs_UJV.gather(2, token_UJ[..., None])[..., 0].double()
        open_UJ = ~self.closed_UJ
        made.tokens_UJT[*here, step] = token_UJ
        made.log_probs_UJT[*here, step] = chosen_UJ.where(open_UJ, 0.0)
        made.tracked_UJTC[*here, step] = log_probs_UJV[..., self.tracked_C].double()
        made.num_tokens_UJ[here] += open_UJ
        ends_UJ = open_UJ & torch.isin(token_UJ, end_ids)
        made.ended_UJ[here] |= ends_UJ
        self.closed_UJ = self.closed_UJ | ends_UJ
        return token_UJ

    def let_go(self) -> tuple[Tensor, Tensor]:
        """Keep the rows with an open slot, and of each row as many slots as any has open ones.

        Returns the indices of what is kept, rows [U] and slots in them [U, J].
        """
        num_open_U = (~self.closed_UJ).sum(1)
        kept_U = num_open_U.nonzero()[:, 0]
        width = int(num_open_U.amax())
        kept_UJ = self.closed_UJ[kept_U].long().argsort(dim=1, stable=True)[:, :width]
        self.rows_U, self.owner_UK = self.rows_U[kept_U], self.owner_UK[kept_U]
        self.slots_UJ, self.closed_UJ, self.positions_UJ = (
            some[kept_U].gather(1, kept_UJ)
            for some in (self.slots_UJ, self.closed_UJ, self.positions_UJ)
        )
        return kept_U, kept_UJ

    def look(self) -> Tensor:
        """The mask [U, 1, J, K] of a step in which each kept slot adds a column."""
        self.owner_UK = torch.cat([self.owner_UK, self.slots_UJ], 1)
        own_UJK = self.owner_UK[:, None] == self.slots_UJ[..., None]
        before_UJK = self.before_UJK[self.rows_U[:, None], self.slots_UJ]
        return torch.cat([before_UJK, own_UJK], 2)[:, None]


def _ask(llm: nn.Module, prefixes: Prompts, questions: Questions, cache: DynamicCache) -> Tensor:
    """Run all questions behind their prefixes at once; the logits [U, Q, V] after each."""
    num_rows, num_questions, width = questions.ids_UQS.shape
    mask_UQS = questions.mask_UQS.bool()
    order_SS = torch.ones(width, width, dtype=torch.bool, device=mask_UQS.device).tril()
    same_QQ = torch.eye(num_questions, dtype=torch.bool, device=mask_UQS.device)
    own_UQSQS = (
        same_QQ[:, None, :, None] & order_SS[None, :, None, :] & mask_UQS[:, None, None, :, :]
    )
    own = own_UQSQS.reshape(num_rows, num_questions * width, num_questions * width)
    before = prefixes.mask_BL.bool()[:, None].expand(-1, num_questions * width, -1)
    return llm(
        input_ids=questions.ids_UQS.flatten(1),
        attention_mask=torch.cat([before, own], 2)[:, None],
        position_ids=(prefixes.next_B[:, None, None] + counted(mask_UQS)).flatten(1),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.arange(width - 1, num_questions * width, width, device=own.device),
    ).logits


def _before(prefixes: Prompts, questions: Questions, *, num_paths: int) -> Tensor:
    """What slots may see before they draw, [U, J, K]: their prefix and their question."""
    mask_UQS = questions.mask_UQS.bool()
    same_QQ = torch.eye(mask_UQS.shape[1], dtype=torch.bool, device=mask_UQS.device)
    asked_UQK = (same_QQ[None, :, :, None] & mask_UQS[:, None]).flatten(2)
    begun_UQK = prefixes.mask_BL.bool()[:, None].expand(-1, asked_UQK.shape[1], -1)
    return torch.cat([begun_UQK, asked_UQK], 2).repeat_interleave(num_paths, 1)


def _draw(log_probs_UJV: Tensor, temperature: float, uniform_UJ: Tensor) -> Tensor:
    if temperature == 0:
        return log_probs_UJV.argmax(-1)
    cumulative_UJV = (log_probs_UJV.double() / temperature).softmax(-1).cumsum(-1)
    # The last sum is 1 up to rounding; a number beyond it belongs to the last token that counts.
    point_UJ1 = uniform_UJ[..., None] * cumulative_UJV[..., -1:]
    return torch.searchsorted(cumulative_UJV, point_UJ1, right=True)[..., 0].clamp(
        max=log_probs_UJV.shape[-1] - 1
    )
