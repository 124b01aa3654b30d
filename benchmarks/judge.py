"""The speed of a critic's votes, asked in four ways on one machine.

    python benchmarks/judge.py                     # the shipped critic and a tiny Qwen2.5-VL
    python benchmarks/judge.py --output benchmarks/results
    python benchmarks/judge.py --only qwen2.5-vl-7b --pairs 4     # random weights, on a GPU

Every way asks about the same pairs, dimensions and orders, and draws the same number of votes and
tokens:
- `one by one`: plain `generate`, one prompt per vote;
- `plain`: `generate` on batches of prompts, one prompt per vote;
- `num_return_sequences`: `generate` on one prompt per question, with as many sequences as votes;
- `ours`: `judge.confirm`.
Seconds are CPU time on a CPU, with one thread, and wall time on a GPU. Hooks count the prefill
tokens and the clips' passes through the vision tower. The Qwen2.5-VL is small and random, with a
prefix of over 1,000 tokens, 20 times the question's, to show the cost of a long prefix.
`qwen2.5-vl-7b` has that model's real shape and 16 frames a clip. Every rotation begins with another
way; claim no more than the lowest ratio of the rotations.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_utils import PreTrainedModel

from dualipo.config import Critic
from dualipo.critic import asks, judge, reasoning
from dualipo.critic.asks import Ask, Item
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.prefixes import divide
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from dualipo.critic.vlm import Query
from dualipo.evaluation.report.report_tables import Table
from dualipo.records import DIMENSIONS
from dualipo.rounds.run import model_folder
from dualipo.seeds import derive
from dualipo.store import atomic
from dualipo.world import corpus

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the tests make small models

NUM_VOTES = 8  # a pair and dimension, half of them in each order
BATCH = 192  # paths at once, in every way but the first; a large model's is smaller

TEXT_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [16, 24, 24],
        "rope_theta": 1000000.0,
    },
}
VISION_7B = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "tokens_per_second": 2,
}


class Bench:
    """A critic with its pairs, and counters of its work."""

    def __init__(
        self, critic: ChatCritic, tower: torch.nn.Module, *, num_pairs: int, num_frames: int = 9
    ) -> None:
        self.critic = critic
        self.seen: Counter[str] = Counter()
        clips = [corpus.real_clip(n, num_frames=num_frames) for n in range(2 * num_pairs)]
        self.clips = {str(n): clip.frames_FHW3 for n, clip in enumerate(clips)}
        self.items = [
            Item(f"p{n}", clips[2 * n].caption, (str(2 * n), str(2 * n + 1)))
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

    def shape(self) -> dict[str, int]:
        """Count the tokens of the longest prefix, of the longest question, and of an answer."""
        queries = asks.load_queries(asks.asks_about(self.items), self.clips.__getitem__)
        length = self.critic.settings.max_new_tokens
        with torch.no_grad():
            rows = self.critic._prompts(queries, self._look(queries), room=length)
        division = divide(rows, [(query.caption, query.clip_hashes) for query in queries])
        return {
            "prefix tokens": max(map(len, division.prefixes)),
            "question tokens": max(len(rest) for rests in division.rests for rest in rests),
            "answer tokens": length,
        }

    def ours(self) -> int:
        """Ask as a run does, with an empty memory of clips; return the number of votes."""
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
        """Draw `batch` sequences at once, `sequences` of them from each prompt."""
        questions = asks.asks_about(self.items)
        prompts = [ask for ask in questions for _ in range(NUM_VOTES // 2 // sequences)]
        width = max(1, batch // sequences)
        return sum(
            self._generate(prompts[start : start + width], sequences)
            for start in range(0, len(prompts), width)
        )

    @torch.no_grad()
    def _generate(self, batch: Sequence[Ask], sequences: int) -> int:
        critic, queries = self.critic, asks.load_queries(batch, self.clips.__getitem__)
        length = critic.settings.max_new_tokens
        visual = self._look(queries)
        rows = critic._prompts(queries, visual, room=length)
        packed = critic._pack(queries, rows, visual)
        drawn = critic.llm.generate(
            inputs_embeds=packed.embeds_BLH,
            attention_mask=packed.mask_BL,
            do_sample=True,
            temperature=critic.settings.temperature,
            num_return_sequences=sequences,
            min_new_tokens=length,
            max_new_tokens=length,
        )
        return len(drawn)

    def _look(self, queries: Sequence[Query]) -> dict[str, torch.Tensor]:
        """See every clip of a batch again, because a plain judge remembers nothing."""
        clips = {i: c for q in queries for i, c in zip(q.clip_hashes, q.clips, strict=True)}
        return {
            clip_hash: self.critic.see({clip_hash: clip})[clip_hash]
            for clip_hash, clip in clips.items()
        }


def shipped(num_pairs: int) -> Bench:
    """Load the critic of the package as a run uses it."""
    settings = Critic(num_votes=NUM_VOTES, max_new_tokens=24, max_reasks=0, judge_batch_size=BATCH)
    critic = Vila.load(model_folder("embedded", "critic"), settings=settings)
    return Bench(critic, critic.module.vision_tower, num_pairs=num_pairs)


def long_prefix(num_pairs: int) -> Bench:
    """Make a small random Qwen2.5-VL that sees every clip as 576 tokens."""
    settings = Critic(
        num_votes=NUM_VOTES,
        max_frames=8,
        max_new_tokens=24,
        max_reasks=0,
        judge_batch_size=BATCH,
        max_pixels=96 * 96,
    )
    from tests.critic import vlms

    return qwen(vlms.make("qwen2_5_vl"), settings, num_pairs=num_pairs, num_frames=9, side=96)


def seven_billion(num_pairs: int) -> Bench:
    """Make a Qwen2.5-VL-7B with random weights; it sees 16 frames of 448 x 448 pixels a clip."""
    settings = Critic(
        num_votes=NUM_VOTES,
        max_frames=16,
        max_new_tokens=48,
        max_reasks=0,
        judge_batch_size=3 * NUM_VOTES,  # a pair's; plain's prefill of more does not fit
        max_pixels=448 * 448,
        clip_memory_mb=8192,
    )
    config = Qwen2_5_VLConfig(text_config=TEXT_7B, vision_config=VISION_7B)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen2_5_VLForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    return qwen(model, settings, num_pairs=num_pairs, num_frames=16, side=448)


def qwen(
    model: PreTrainedModel, settings: Critic, *, num_pairs: int, num_frames: int, side: int
) -> Bench:
    """Make a bench for a Qwen2.5-VL: clips of its size, a tokenizer that knows the questions."""
    questions = [reasoning.question("pair", dimension) for dimension in DIMENSIONS]
    from tests.critic.conftest import make_tokenizer

    tokenizer = make_tokenizer(9 * questions)
    critic = TransformersVlm(model, tokenizer=tokenizer, settings=settings)
    bench = Bench(critic, critic.llm.model.visual, num_pairs=num_pairs, num_frames=num_frames)
    for name, clip in bench.clips.items():
        frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
        wide = torch.nn.functional.interpolate(frames, (side, side))
        bench.clips[name] = wide.permute(0, 2, 3, 1).byte().numpy()
    return bench


def ways(bench: Bench) -> dict[str, Callable[[], int]]:
    """Return each way as a function that draws all votes and returns their number."""
    batch = bench.critic.settings.judge_batch_size
    return {
        "one by one": lambda: bench.generate(batch=1, sequences=1),
        "plain": lambda: bench.generate(batch=batch, sequences=1),
        "num_return_sequences": lambda: bench.generate(batch=batch, sequences=NUM_VOTES // 2),
        "ours": bench.ours,
    }


def measured(bench: Bench, *, rotations: int) -> dict[str, Any]:
    """Measure every way's votes a second in every rotation, and count its tokens and passes."""
    functions = ways(bench)
    names = list(functions)
    rates: dict[str, list[float]] = {name: [] for name in names}
    counts: dict[str, dict[str, int]] = {}
    for rotation in range(rotations):
        for name in names[rotation % len(names) :] + names[: rotation % len(names)]:
            bench.seen.clear()
            start = _now()
            num_votes = functions[name]()
            rates[name].append(num_votes / (_now() - start))
            counts[name] = {"votes": num_votes, **bench.seen}
    ratios = {
        name: min(ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True))
        for name in names
    }
    prefill = {name: counts[name]["prefill tokens"] for name in names}
    return {
        "shape": bench.shape(),
        "votes_a_second": rates,
        "counts": counts,
        "lowest_ratio_of_ours": ratios,
        "prefill_of_ours": {name: prefill["ours"] / prefill[name] for name in names},
    }


def table(results: Mapping[str, Any]) -> str:
    """Write every way's median rate, the slowest first, and our ratio to it, in markdown."""
    heads = ["critic", "way", "votes a second", "ours over it, lowest", "prefill of ours", "looks"]
    rows = []
    for critic in (name for name in CRITICS if name in results):
        result = results[critic]
        medians = {way: statistics.median(x) for way, x in result["votes_a_second"].items()}
        for way in sorted(medians, key=medians.__getitem__):
            rows.append(
                [
                    critic,
                    way,
                    f"{medians[way]:.1f}",
                    f"{result['lowest_ratio_of_ours'][way]:.1f}",
                    f"{result['prefill_of_ours'][way]:.3f}",
                    str(result["counts"][way]["looks"]),
                ]
            )
    return Table(heads, rows).in_markdown()


def _now() -> float:
    """Return seconds: of wall time once a GPU has done its work, or of CPU time without one."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


CRITICS = {
    "shipped": shipped,
    "long_prefix": long_prefix,
    "qwen2.5-vl-7b": seven_billion,
}
NEED_A_GPU = {"qwen2.5-vl-7b"}


def main() -> None:
    """Measure, print the results, and write them if `--output` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--rotations", type=int, default=4)
    parser.add_argument("--only", choices=CRITICS)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    on_gpu = arguments.only in NEED_A_GPU
    if on_gpu and not torch.cuda.is_available():
        parser.error(f"{arguments.only} needs a GPU")
    torch.set_num_threads(1)
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, one thread, {platform.machine()}"
    results: dict[str, Any] = {"device": device, "torch": torch.__version__}
    for name in [arguments.only] if arguments.only else [n for n in CRITICS if n not in NEED_A_GPU]:
        bench = CRITICS[name](arguments.pairs)
        results[name] = measured(bench, rotations=arguments.rotations)
        print(json.dumps({name: results[name]}, indent=2), flush=True)
    if arguments.output:
        atomic.make_folder(arguments.output)
        slug = "-".join(device.lower().replace(",", "").split())
        atomic.write_json(arguments.output / f"judge-{slug}.json", results)


if __name__ == "__main__":
    main()
