"""Votes a second of one critic asked in four ways, on one machine, in rotation.

    python benchmarks/judge.py                     # the shipped critic and a tiny Qwen2.5-VL
    python benchmarks/judge.py --output benchmarks/results

The same pairs, dimensions, orders and votes, and as many tokens an answer, are asked
- `one by one`: plain `generate`, a prompt a vote;
- `plain`: `generate` on batches of prompts, a prompt a vote;
- `num_return_sequences`: `generate` on a prompt a question, as many sequences as votes;
- `ours`: `judge.confirm`.
Prefill tokens and passes of clips through the vision tower are counted by hooks. The Qwen2.5-VL is
small and random, with a prefix of over 1,000 tokens: it shows what a long prefix costs. Every
rotation begins with another way; the lowest ratio of the rotations is what may be claimed.
"""

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dualipo.config import Critic
from dualipo.critic import asks, judge
from dualipo.critic.asks import Ask, Item
from dualipo.critic.chat import ChatCritic
from dualipo.critic.vila import Vila
from dualipo.critic.vlm import Query
from dualipo.rounds.run import model_folder
from dualipo.seeds import derive
from dualipo.store import atomic
from dualipo.world import corpus

NUM_VOTES = 8  # a pair and dimension, half of them in each order
BATCH = 192  # paths at once, in every way but the first


class Bench:
    """A critic, its pairs, and counters of what it computes."""

    def __init__(self, critic: ChatCritic, tower: torch.nn.Module, *, num_pairs: int) -> None:
        self.critic = critic
        self.seen: Counter[str] = Counter()
        made = [corpus.real_clip(n, num_frames=9) for n in range(2 * num_pairs)]
        self.clips = {str(n): clip.frames_FHW3 for n, clip in enumerate(made)}
        self.items = [
            Item(f"p{n}", made[2 * n].caption, (str(2 * n), str(2 * n + 1)))
            for n in range(num_pairs)
        ]
        critic.freeze()
        critic.tokens.end = -2  # no answer ends early: every way draws as many tokens
        tower.register_forward_hook(lambda *_: self.seen.update({"looks": 1}))
        critic.llm.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        embeds, ids = kwargs.get("inputs_embeds"), kwargs.get("input_ids")
        if embeds is not None:
            self.seen["prefill tokens"] += embeds.shape[0] * embeds.shape[1]
        elif ids is not None and "logits_to_keep" in kwargs and ids.shape[1] > 1:
            self.seen["prefill tokens"] += ids.numel()

    def ours(self) -> int:
        """As a run asks; the memory of clips is empty at the start."""
        self.critic.memory = type(self.critic.memory)(max_bytes=self.critic.memory.max_bytes)
        votes = judge.confirm(
            self.critic,
            self.items,
            clips=self.clips.__getitem__,
            settings=self.critic.settings,
            seed_of=lambda *place: derive(0, *place),
        )
        return len(votes)

    def generate(self, *, batch: int, sequences: int) -> int:
        """`batch` sequences at once, `sequences` of them from each prompt."""
        questions = asks.asks(self.items)
        prompts = [ask for ask in questions for _ in range(NUM_VOTES // 2 // sequences)]
        width = max(1, batch // sequences)
        return sum(
            self._generate(prompts[start : start + width], sequences)
            for start in range(0, len(prompts), width)
        )

    @torch.no_grad()
    def _generate(self, some: Sequence[Ask], sequences: int) -> int:
        critic, queries = self.critic, asks.queries(some, self.clips.__getitem__)
        length = critic.settings.max_new_tokens
        visual = self._look(queries)
        rows = critic._prompts(queries, visual, room=length)
        packed = critic._pack(queries, rows, visual)
        made = critic.llm.generate(
            inputs_embeds=packed.embeds_BLH,
            attention_mask=packed.mask_BL,
            do_sample=True,
            temperature=critic.settings.temperature,
            num_return_sequences=sequences,
            min_new_tokens=length,
            max_new_tokens=length,
        )
        return len(made)

    def _look(self, queries: Sequence[Query]) -> dict[str, torch.Tensor]:
        """Every clip of a batch anew: a plain judge remembers nothing."""
        clips = {i: c for q in queries for i, c in zip(q.clip_ids, q.clips, strict=True)}
        return {clip_id: self.critic._look(clip_id, clip) for clip_id, clip in clips.items()}


def shipped(num_pairs: int) -> Bench:
    """The critic of the package, as a run uses it."""
    settings = Critic(num_votes=NUM_VOTES, max_new_tokens=24, max_reasks=0, judge_batch_size=BATCH)
    critic = Vila.load(model_folder("embedded", "critic"), settings=settings)
    return Bench(critic, critic.module.vision_tower, num_pairs=num_pairs)


def long_prefix(num_pairs: int) -> Bench:
    """A small random Qwen2.5-VL that sees every clip as 512 tokens."""
    from dualipo.critic.transformers_vlm import TransformersVlm
    from tests.critic import vlms
    from tests.critic.conftest import make_tokenizer

    settings = Critic(
        num_votes=NUM_VOTES,
        max_frames=8,
        max_new_tokens=24,
        max_reasks=0,
        judge_batch_size=BATCH,
        max_pixels=96 * 96,
    )
    critic = TransformersVlm(vlms.make("qwen2_5_vl"), tokenizer=make_tokenizer(), settings=settings)
    bench = Bench(critic, critic.llm.model.visual, num_pairs=num_pairs)
    wide = torch.nn.functional.interpolate
    for name, clip in bench.clips.items():
        frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
        bench.clips[name] = wide(frames, (96, 96)).permute(0, 2, 3, 1).byte().numpy()
    return bench


def ways(bench: Bench) -> dict[str, Callable[[], int]]:
    """Name -> a function that casts all votes and says how many."""
    return {
        "one by one": lambda: bench.generate(batch=1, sequences=1),
        "plain": lambda: bench.generate(batch=BATCH, sequences=1),
        "num_return_sequences": lambda: bench.generate(batch=BATCH, sequences=NUM_VOTES // 2),
        "ours": bench.ours,
    }


def measured(bench: Bench, *, rotations: int) -> dict[str, Any]:
    """Votes a second of every way in every rotation; tokens and passes of one."""
    asked = ways(bench)
    names = list(asked)
    rates: dict[str, list[float]] = {name: [] for name in names}
    counts: dict[str, dict[str, int]] = {}
    for rotation in range(rotations):
        for name in names[rotation % len(names) :] + names[: rotation % len(names)]:
            bench.seen.clear()
            start = time.perf_counter()
            num_votes = asked[name]()
            rates[name].append(num_votes / (time.perf_counter() - start))
            counts[name] = {"votes": num_votes, **bench.seen}
    ratios = {
        name: min(ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True))
        for name in names
    }
    return {"votes_a_second": rates, "counts": counts, "lowest_ratio_of_ours": ratios}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--rotations", type=int, default=4)
    parser.add_argument("--only", choices=("shipped", "long_prefix"))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    critics = {"shipped": shipped, "long_prefix": long_prefix}
    results: dict[str, Any] = {"machine": platform.machine(), "torch": torch.__version__}
    for name in [arguments.only] if arguments.only else critics:
        bench = critics[name](arguments.pairs)
        results[name] = measured(bench, rotations=arguments.rotations)
        print(json.dumps({name: results[name]}, indent=2), flush=True)
    if arguments.output:
        atomic.make_folder(arguments.output)
        atomic.write_json(arguments.output / "judge.json", results)


if __name__ == "__main__":
    main()
