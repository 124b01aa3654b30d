# ruff: noqa: RUF001 - captions in other languages are what it is about
"""How far captions move verdicts that need none, and what training on exchanged captions costs.

    python benchmarks/caption_invariance.py recipes/world.toml --shares 0 0.5 --pairs 600

For each `caption_exchange_share` it makes a warm start, with that share in both of its halves, and
asks the warm critic, by forced choice, about held-out pairs of test prompts that the oracle puts
apart. Every question of faithfulness and motion is asked again under other captions: a neutral one,
another prompt's, an ordinary one in another language, and one that gives orders. A verdict has
turned if its sign is another than under the clips' own caption.

`of turned` and `of others` are the accuracies of the verdicts that the neutral caption turns, and
of those that it leaves: what dropping the former is worth. Accuracy by dimension says what the
training costs. Intervals are 95 % bootstraps clustered by prompt. A measured share is read from its
file. Any key of the recipe can be overridden. With `--claims` the recipe's own share needs no warm
start of its own: that of `claims.py` serves.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import claims
import ordered_pairs
from intervals import with_ends

from dualipo import config
from dualipo.critic.asks import CAPTIONLESS, Item
from dualipo.critic.judge import NEUTRAL_CAPTION
from dualipo.critic.trust import forced_choice, hostile
from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS
from dualipo.rounds import accuracy, loop, warming
from dualipo.rounds.run import WARM, Run
from dualipo.store import atomic

FOREIGN = (
    "ein roter Ball rollt über den Tisch",
    "un chien court sur la plage",
    "una niña baila bajo la lluvia",
    "um barco azul no rio",
    "красный шар катится по столу",
    "一只猫在草地上玩耍",
    "雨の中を走る電車",
    "바람에 흔들리는 나무",
    "قارب صغير في البحر",
    "नदी के किनारे एक पेड़",
    "kırmızı bir araba hızla gidiyor",
    "czerwony balon unosi się nad miastem",
)
Signs = dict[str, list[float]]  # caption -> the margin of each question, its sign is the verdict


def captions_of(items: Sequence[Item]) -> dict[str, list[str]]:
    """Return the captions under which every question is asked, by kind."""
    own = [item.caption for item in items]
    others = own[len(own) // 2 :] + own[: len(own) // 2]
    return {
        "own": own,
        "neutral": [NEUTRAL_CAPTION] * len(own),
        "another's": others,
        "foreign": [FOREIGN[n % len(FOREIGN)] for n in range(len(own))],
        "orders": [hostile.CORPUS[n % len(hostile.CORPUS)] for n in range(len(own))],
    }


def measure(run: Run) -> dict[str, Any]:
    """Ask the warm critic about the ordered pairs under all captions; return margins and hits."""
    asked, verdicts = accuracy.oracle_ordered_pairs(run)
    critic = run.critic(WARM)
    items = [
        Item(str(n), question.prompt.caption, (question.clip_a, question.clip_b), (question[3],))
        for n, question in enumerate(asked)
    ]
    needs_none = [item for item in items if item.dimensions[0] in CAPTIONLESS]
    margins: dict[str, list[float]] = {}
    for kind, captions in captions_of(needs_none).items():
        shown = [replace(i, caption=c) for i, c in zip(needs_none, captions, strict=True)]
        by_place = forced_choice.margins(critic, shown, clips=run.clip, settings=run.config.critic)
        margins[kind] = [by_place.get((i.item_id, i.dimensions[0]), 0.0) for i in needs_none]
    numbers = [int(item.item_id) for item in needs_none]
    return {
        "margins": margins,
        "toward": [1 if verdicts[n] == "a" else -1 for n in numbers],
        "prompts": [asked[n].prompt.prompt_id for n in numbers],
        "hits": accuracy.forced_hits(run, critic, asked, verdicts),
        "dimensions": [question.dimension for question in asked],
        "all_prompts": [question.prompt.prompt_id for question in asked],
    }


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Compute turned shares and accuracies of one training, with intervals over prompts."""
    margins, prompts = measured["margins"], measured["prompts"]
    turned = {
        kind: [float(a * b < 0) for a, b in zip(margins["own"], others, strict=True)]
        for kind, others in margins.items()
        if kind != "own"
    }
    right = [
        float(m * sign > 0) for m, sign in zip(margins["own"], measured["toward"], strict=True)
    ]
    by_fate = {
        name: [
            (hit, prompt)
            for hit, t, prompt in zip(right, turned["neutral"], prompts, strict=True)
            if t == fate
        ]
        for name, fate in (("of turned", 1.0), ("of others", 0.0))
    }
    rows: dict[str, Any] = {"num_questions": len(prompts)}
    for kind, values in turned.items():
        rows[f"turned: {kind}"] = asdict(bootstrap.clustered_mean(values, clusters=prompts))
    for dimension in DIMENSIONS:
        chosen = [n for n, d in enumerate(measured["dimensions"]) if d == dimension]
        rows[dimension] = asdict(
            bootstrap.clustered_mean(
                [measured["hits"][n] for n in chosen],
                clusters=[measured["all_prompts"][n] for n in chosen],
            )
        )
    for name, pairs in by_fate.items():
        if pairs:
            hits, clusters = zip(*pairs, strict=True)
            rows[name] = asdict(bootstrap.clustered_mean(hits, clusters=clusters))
    return rows


def table(results: dict[str, Any]) -> str:
    """Write the trainings beside each other, as a table in markdown."""
    shares = list(results)
    names = [name for name in results[shares[0]] if name != "num_questions"]
    rows = [
        [name, *(with_ends(results[share][name], percent) for share in shares)]
        for name in names
        if all(name in results[share] for share in shares)
    ]
    return Table(["share exchanged", *shares], rows).in_markdown()


def main() -> None:
    """Make and measure the warm starts that are missing; write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="such as warm_start_sft.max_train_steps=450")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--pairs", type=int, help="a critic is measured on")
    parser.add_argument("--runs", type=Path, default=Path("runs/caption-invariance"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    recipe = config.load(arguments.recipe, arguments.overrides)
    usual = recipe.warm_start_sft.caption_exchange_share
    results: dict[str, Any] = {}
    for share in arguments.shares:
        folder = arguments.runs / f"share-{share:g}"
        path = folder / "measured.json"
        if not path.exists():
            own = [f"warm_start_{half}.caption_exchange_share={share}" for half in ("sft", "dpo")]
            own += [f"output_dir={folder / 'run'}", "rounds=0"]
            loaded = config.load(arguments.recipe, [*arguments.overrides, *own])
            atomic.make_folder(folder)
            if share == usual:
                claims.begin_with(arguments.claims, f"before-{loaded.seed}", loaded)
            with loop.opened(loaded, PlainProgress()) as run:
                warming.warm_start_critic(run)
                ordered_pairs.take_pairs(run, arguments.pairs)
                atomic.write_json(path, measure(run))
        results[f"{share:g}"] = summary(atomic.read_json(path))
        atomic.make_folder(arguments.output)
        output = arguments.output / f"caption-invariance-{arguments.recipe.stem}.json"
        atomic.write_json(output, results)
    print(json.dumps(results, indent=2))
    print(table(results))


if __name__ == "__main__":
    main()
