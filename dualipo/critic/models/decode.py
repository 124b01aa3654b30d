"""Cached decoding of many paths of many questions, with one prefill a prefix (METHOD.md 3.1).

Prompts that begin alike (same clips, same caption) are one row of the batch. A row's key-value
cache grows in three parts, and an attention mask keeps its branches apart:

    cache of a row   [ prefix (L) | question 0 (S) | .. | question Q-1 (S) | step 0 (J) | step 1 ..]
    slot j sees        all          only its own question                    only its own tokens

1. `prefill` runs each prefix once.
2. `_ask` runs all questions behind their prefixes in one forward pass. The logits after question q
   start each of its P paths; the J = Q * P paths are the row's slots.
3. A step draws one token for each slot (`_Slots.draw`), lets go of rows and slots whose paths have
   all ended (`let_go`), and runs the rest: every slot adds one column to the cache, and
   `owner_UK` remembers whose column it is (`look` makes the mask from it).

So no prefix is run or stored twice, whatever the number of questions and votes, and a step reads it
once for all of them. A path's token is drawn by inverting the cumulative distribution at its own
uniform number, and its numbers come from its own seed: up to rounding, the rest of the batch cannot
change a path.

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

from dualipo.critic.models.growing_cache import growing_cache


@dataclass(frozen=True)
class Prompts:
    """Left-padded embeddings of B prompts, or of U prefixes.

    `positions` are [B, L], or [axes, B, L] for models that place visual tokens on several axes.
    `deep_NBLH` is added to the output of the first N layers, for vision towers that do so.
    """

    embeds_BLH: Tensor
    mask_BL: Tensor
    positions: Tensor
    deep_NBLH: Tensor | None = None

    @property
    def next_B(self) -> Tensor:
        """The position of the first token after each row."""
        return self.positions.reshape(-1, *self.mask_BL.shape).amax((0, 2)) + 1


@dataclass(frozen=True)
class Questions:
    """The questions after each prefix as left-padded token ids.

    A prefix with fewer than Q questions has places that are all padding.
    """

    ids_UQS: Tensor
    mask_UQS: Tensor


@dataclass(frozen=True)
class Decoded:
    """The paths that the slots drew; after a path's end stand padding and log-probability 0."""

    tokens_UJT: Tensor
    log_probs_UJT: Tensor
    num_tokens_UJ: Tensor
    ended_UJ: Tensor
    tracked_UJTC: Tensor


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad rows of ids on the left to the longest; return ids and mask."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def questions_of(rows: Sequence[Sequence[Sequence[int]]], device: torch.device) -> Questions:
    """Pad the rows of ids that stand behind each prefix, equally many behind each."""
    ids_NS, mask_NS = (part.to(device) for part in left_padded([r for own in rows for r in own]))
    shape = len(rows), len(rows[0])
    return Questions(ids_NS.unflatten(0, shape), mask_NS.unflatten(0, shape))


def counted(mask_BL: Tensor) -> Tensor:
    """Count positions from each row's first real token."""
    return (mask_BL.long().cumsum(-1) - 1).clamp(min=0)


def uniforms(seeds: Sequence[int], *, max_new_tokens: int) -> Tensor:
    """Draw one row of numbers in [0, 1) for each seed, by a generator of its own."""
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
    """Draw `num_paths` paths per question, until all have ended or have T tokens.

    Temperature 0 always takes the likeliest token. The log-probabilities of the tokens `tracked_C`
    are recorded at every step.
    """
    cache = growing_cache(llm.config)
    prefill(llm, prefixes, cache)
    width = questions.ids_UQS.shape[2]
    ends = torch.arange(width - 1, questions.ids_UQS[0].numel(), width, device=end_ids.device)
    logits_UQV = _ask(llm, prefixes, questions, cache, keep=ends)
    logits_UJV = logits_UQV.repeat_interleave(num_paths, 1)
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
            attention_mask=_added(slots.look(), cache),
            position_ids=slots.positions_UJ + step,
            past_key_values=cache,
            use_cache=True,
        ).logits
    return slots.decoded


@torch.no_grad()
def answer_log_probs(llm: nn.Module, prefixes: Prompts, answers: Questions) -> Tensor:
    """Sum the log-probabilities [U, Q] of answers, each behind its prefix, which is run once."""
    cache = growing_cache(llm.config)
    first_UV = log_softmax(prefill(llm, prefixes, cache))
    ids_UQS, is_real_UQS = answers.ids_UQS, answers.mask_UQS.bool()
    num_tokens = ids_UQS[0].numel()
    logits_UQSV = _ask(
        llm, prefixes, answers, cache, keep=torch.arange(num_tokens, device=ids_UQS.device)
    ).unflatten(1, ids_UQS.shape[1:])
    log_probs_UQSV = log_softmax(logits_UQSV[:, :, :-1])
    after_UQS = log_probs_UQSV.gather(3, ids_UQS[:, :, 1:, None])[..., 0]
    # An answer's first token follows the prefix, not the padding before it.
    inner_UQS = is_real_UQS[:, :, 1:] & is_real_UQS[:, :, :-1]
    first_id_UQ = ids_UQS.gather(2, is_real_UQS.long().argmax(2, keepdim=True))[..., 0]
    return after_UQS.where(inner_UQS, 0.0).sum(2) + first_UV.gather(1, first_id_UQ)


def prefill(llm: nn.Module, prompts: Prompts, cache: DynamicCache) -> Tensor:
    """Run the prompts into `cache` and return the logits [B, V] of the next token."""
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
    """Add `deep_NBLH[n]` to the output of the language model's layer n inside this context."""

    def adding(more_BLH: Tensor) -> Any:
        return lambda layer, inputs, output_BLH: output_BLH + more_BLH

    deep = [] if deep_NBLH is None else list(deep_NBLH)
    layers = llm.get_decoder().layers[: len(deep)] if deep else []
    hooks = [
        layer.register_forward_hook(adding(more_BLH))
        for layer, more_BLH in zip(layers, deep, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def log_softmax(logits_V: Tensor) -> Tensor:
    """Normalise the last axis, in at least float32."""
    return logits_V.log_softmax(-1, dtype=torch.promote_types(logits_V.dtype, torch.float32))


class _Slots:
    """The paths while they are drawn.

    `rows_U` and `slots_UJ` name the rows and slots that still draw; U and J shrink as paths end.
    `owner_UK` names the slot that drew each column of the cache behind the questions.
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
        """Draw a token for each slot and record it; a closed slot's token does not count."""
        place, decoded = (self.rows_U[:, None], self.slots_UJ), self.decoded
        log_probs_UJV = log_softmax(logits_UJV)
        token_UJ = _draw(log_probs_UJV, self.temperature, self.uniforms_UJT[*place, step])
        chosen_UJ = log_probs_UJV.gather(2, token_UJ[..., None])[..., 0].double()
        open_UJ = ~self.closed_UJ
        decoded.tokens_UJT[*place, step] = token_UJ
        decoded.log_probs_UJT[*place, step] = chosen_UJ.where(open_UJ, 0.0)
        decoded.tracked_UJTC[*place, step] = log_probs_UJV[..., self.tracked_C].double()
        decoded.num_tokens_UJ[place] += open_UJ
        ends_UJ = open_UJ & torch.isin(token_UJ, end_ids)
        decoded.ended_UJ[place] |= ends_UJ
        self.closed_UJ = self.closed_UJ | ends_UJ
        return token_UJ

    def let_go(self) -> tuple[Tensor, Tensor]:
        """Drop rows without an open slot, and slots until the fullest row has only open ones.

        Every row keeps the same number of slots, so a row may keep closed ones. Rows from the end
        fill the gaps, so that the cache moves as few as it can. Return the indices of what is kept:
        rows [U], and slots in them [U, J].
        """
        num_open_U = (~self.closed_UJ).sum(1)
        is_open_U = num_open_U > 0
        num_kept, width = int(is_open_U.sum()), int(num_open_U.amax())
        kept_U = torch.arange(num_kept, device=is_open_U.device)
        kept_U[~is_open_U[:num_kept]] = num_kept + is_open_U[num_kept:].nonzero()[:, 0]
        kept_UJ = self.closed_UJ[kept_U].long().argsort(dim=1, stable=True)[:, :width]
        self.rows_U, self.owner_UK = self.rows_U[kept_U], self.owner_UK[kept_U]
        self.slots_UJ, self.closed_UJ, self.positions_UJ = (
            state_UJ[kept_U].gather(1, kept_UJ)
            for state_UJ in (self.slots_UJ, self.closed_UJ, self.positions_UJ)
        )
        return kept_U, kept_UJ

    def look(self) -> Tensor:
        """Add a column for each kept slot and return the next step's mask [U, 1, J, K]."""
        self.owner_UK = torch.cat([self.owner_UK, self.slots_UJ], 1)
        own_UJK = self.owner_UK[:, None] == self.slots_UJ[..., None]
        before_UJK = self.before_UJK[self.rows_U[:, None], self.slots_UJ]
        return torch.cat([before_UJK, own_UJK], 2)[:, None]


def _added(mask_U1JK: Tensor, cache: DynamicCache) -> Tensor:
    """Return the mask as numbers to add: otherwise every layer would make them anew."""
    numbers = torch.zeros(mask_U1JK.shape, dtype=cache.layers[0].dtype, device=mask_U1JK.device)
    return numbers.masked_fill_(~mask_U1JK, -torch.inf)


def _ask(
    llm: nn.Module, prefixes: Prompts, questions: Questions, cache: DynamicCache, *, keep: Tensor
) -> Tensor:
    """Run all questions behind their prefixes at once; return the logits after some columns.

    `keep` [R] counts a row's Q * S columns, and the logits are [U, R, V].
    """
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
        logits_to_keep=keep,
    ).logits


def _before(prefixes: Prompts, questions: Questions, *, num_paths: int) -> Tensor:
    """Return the mask [U, J, K] of a slot's prefix and question, all it sees at first."""
    mask_UQS = questions.mask_UQS.bool()
    same_QQ = torch.eye(mask_UQS.shape[1], dtype=torch.bool, device=mask_UQS.device)
    asked_UQK = (same_QQ[None, :, :, None] & mask_UQS[:, None]).flatten(2)
    begun_UQK = prefixes.mask_BL.bool()[:, None].expand(-1, asked_UQK.shape[1], -1)
    return torch.cat([begun_UQK, asked_UQK], 2).repeat_interleave(num_paths, 1)


def _draw(log_probs_UJV: Tensor, temperature: float, uniform_UJ: Tensor) -> Tensor:
    """Draw tokens [U, J] by inverting the cumulative distribution at the uniform numbers."""
    if temperature == 0:
        return log_probs_UJV.argmax(-1)
    cumulative_UJV = (log_probs_UJV.double() / temperature).softmax(-1).cumsum(-1)
    # The last sum is 1 up to rounding; a number beyond it belongs to the last token that counts.
    point_UJ1 = uniform_UJ[..., None] * cumulative_UJV[..., -1:]
    return torch.searchsorted(cumulative_UJV, point_UJ1, right=True)[..., 0].clamp(
        max=log_probs_UJV.shape[-1] - 1
    )
