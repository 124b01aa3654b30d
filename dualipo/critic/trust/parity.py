"""Whether a server judges as the weights here do: the check before an engine serves a version.

    here     a greedy path of every question, then how likely each label is in its place
    server   the same question with the same path, then the same labels

Other weights, another prompt, other positions of visual tokens or coarser numbers all move the
labels' probabilities. Compared are the probabilities, by half the sum of their distances, and the
number of the prompts' tokens, where a server counts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, Item, asks_about, load_queries
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.engine import EngineCritic
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Choice, Sampling
from dualipo.errors import StageError
from dualipo.training.memory import batched


@dataclass(frozen=True)
class Probe:
    """Questions with the weights' own answers: paths up to the label, and the labels' weights."""

    asks: list[Ask]
    choice: Choice
    prefixes: list[str]
    log_probs_BC: Tensor
    num_prompt_tokens: int


@dataclass(frozen=True)
class Parity:
    """How near a server's answers are to those of the weights here."""

    num_questions: int
    num_unanswered: int
    mean_gap: float
    tokens_here: int
    tokens_there: int  # 0 where the server does not count them


def probe(critic: ChatCritic, items: Sequence[Item], *, clips: Clips, settings: Critic) -> Probe:
    """Ask the weights here about items of one kind."""
    asks = asks_about(items)
    choice = forced_choice.VERDICT if asks[0].kind == "pair" else reasoning.GRADE_CHOICE
    answers = batched(
        asks,
        partial(_answers, critic, choice, clips, settings),
        batch_size=settings.judge_batch_size,
        subject="parity check",
    )
    return Probe(
        asks,
        choice,
        [prefix for prefix, _, _ in answers],
        torch.stack([row_C for _, row_C, _ in answers]),
        sum(num_tokens for _, _, num_tokens in answers),
    )


def compare(known: Probe, served: EngineCritic, *, clips: Clips) -> Parity:
    """Ask a server the same questions, and compare its labels with the known ones."""
    before = served.usage["prompt tokens"]
    queries = load_queries(known.asks, clips)
    theirs_BC = served.choice_log_probs(queries, known.prefixes, known.choice.options)
    answered_B = ~theirs_BC.isnan().any(1)
    ours_BC = known.log_probs_BC[answered_B].softmax(1)
    gaps_B = (ours_BC - theirs_BC[answered_B].softmax(1)).abs().sum(1) / 2
    return Parity(
        num_questions=len(known.asks),
        num_unanswered=int((~answered_B).sum()),
        mean_gap=float(gaps_B.mean()) if len(gaps_B) else 1.0,
        tokens_here=known.num_prompt_tokens,
        tokens_there=served.usage["prompt tokens"] - before,
    )


def require(parity: Parity, *, max_gap: float, server: str) -> None:
    """Refuse a server that answers otherwise, or not at all, or that reads other prompts."""
    there = parity.tokens_there
    if parity.num_unanswered:
        fact = f"{parity.num_unanswered} of {parity.num_questions} questions have no answer"
    elif there and there != parity.tokens_here:
        fact = f"its prompts have {there} tokens, and the weights here read {parity.tokens_here}"
    elif parity.mean_gap > max_gap:
        fact = (
            f"its labels' probabilities differ by {parity.mean_gap:.3f} in the mean of "
            f"{parity.num_questions} questions (critic.serving.max_parity_gap is {max_gap:g})"
        )
    else:
        return
    raise StageError(
        f"server {server}: it does not judge as the critic's weights do: {fact}. See that it "
        "serves {model}, with a chat template and a frame size that are the model's own "
        "(docs/critic.md), or leave critic.serving.command out."
    )


@torch.no_grad()
def _answers(
    critic: ChatCritic, choice: Choice, clips: Clips, settings: Critic, batch: Sequence[Ask]
) -> list[tuple[str, Tensor, int]]:
    """Return each question's path up to the label, the labels' log-probabilities, and tokens."""
    queries = load_queries(batch, clips)
    paths = critic.sample(queries, Sampling([[0]] * len(batch), 0.0, settings.max_new_tokens))
    prefixes = [forced_choice.up_to(choice.after, path.text) for [path] in paths]
    rows_BC = critic.choice_log_probs(queries, prefixes, choice.options).cpu().float()
    seen = critic.embed_clips(queries)
    num_visual = {clip_hash: (len(tokens), tokens.shape[1]) for clip_hash, tokens in seen.items()}
    counts = [
        len(critic.write(query, num_visual)) + len(critic.tokens.encode(prefix))
        for query, prefix in zip(queries, prefixes, strict=True)
    ]
    return list(zip(prefixes, rows_BC, counts, strict=True))
