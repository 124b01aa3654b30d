"""What one prompt for all paths of a question is worth to a refresh's certainties.

    OMP_NUM_THREADS=1 python benchmarks/certainty.py --output benchmarks/results

A refresh asks how likely each path of a question is (METHOD.md 3.2). Two ways to compute the same:

- `together`: the prompt is run once, and all of the question's paths behind it;
- `alone`: the prompt is run anew with every path.

It is done by the embedded critic, and by a tiny Qwen2.5-VL with a prompt of over 1,000 tokens, on
six paths of 24 tokens a question. Seconds are CPU time. Every rotation begins with another way;
claim no more than the lowest ratio.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import judge
import ratio_table
import torch

from dualipo.critic import asks
from dualipo.critic.learning import preference
from dualipo.critic.vlm import Response, Sampling
from dualipo.store import atomic

WAYS = ("together", "alone")
CRITICS = {"shipped critic": (judge.shipped, 4), "long prompt": (judge.long_prefix, 1)}
NUM_PATHS = 6


def seconds(
    bench: judge.Bench, questions: list[asks.Ask], paths: list[list[Response]], way: str
) -> float:
    """Return the CPU seconds that the log-probabilities of all paths take."""
    shared: dict[str, Any] = {"clips": bench.clips.__getitem__, "batch_size": judge.BATCH}
    began = time.process_time()
    if way == "together":
        preference.log_probs_by_question(bench.critic, questions, paths, **shared)
    else:
        each = [(ask, path) for ask, own in zip(questions, paths, strict=True) for path in own]
        preference.path_log_probs(
            bench.critic, [ask for ask, _ in each], [path for _, path in each], **shared
        )
    return time.process_time() - began


def measure(bench: judge.Bench, *, rotations: int) -> dict[str, list[float]]:
    """Draw paths of a critic's questions, and time every way on them."""
    questions = asks.asks_about(bench.items)
    queries = asks.load_queries(questions, bench.clips.__getitem__)
    seeds = [[NUM_PATHS * n + path for path in range(NUM_PATHS)] for n in range(len(queries))]
    drawn = bench.critic.sample(queries, Sampling(seeds, 1.0, 24))
    paths: list[list[Response]] = [[path.token_ids for path in own] for own in drawn]
    return ratio_table.rotated(
        WAYS, lambda way: seconds(bench, questions, paths, way), rotations=rotations
    )


def main() -> None:
    """Measure, print the table and write the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rotations", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"seconds": {}, "ratios": {}}
    for name, (make, num_pairs) in CRITICS.items():
        times = measure(make(num_pairs), rotations=arguments.rotations)
        ratios = ratio_table.ends(times["alone"], times["together"])
        result["seconds"][name] = times
        result["ratios"][f"alone over together, {name}"] = ratios
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / "certainty-cpu-one-thread.json", result)
    print(ratio_table.table(result))


if __name__ == "__main__":
    main()
