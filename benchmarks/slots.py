"""The quality that fixed reference slots cost: 1, 2, 4, ... a pair against fresh noise each visit.

    python benchmarks/slots.py recipes/world.toml --slots 1 2 4 8 --seeds 0 1 2
    python benchmarks/slots.py RECIPE prompts.num_prompts=8 align.max_train_steps=4 --seeds 7

For each seed the recipe's base generator makes the candidates of a round, and the world's oracle
names each prompt's best and worst. Only this script labels so: no run ever reads the oracle. Every
arm then trains from the base on the same pairs, in the same order, for as many steps, and makes the
same test clips from the same noise. `fresh` has as many slots as a pair has visits: no (level,
noise) is ever seen twice, which is fresh noise computed by the same code. Scores are the oracle's
on test prompts; intervals are 95 % paired bootstraps clustered by prompt. `setup_seconds` is the
time of measuring the reference. A repeated command goes on where the last one stopped.
"""

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from intervals import difference

from dualipo import config
from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.evaluation.bootstrap import paired_difference
from dualipo.evaluation.report.charts import three_decimals
from dualipo.evaluation.report.report_tables import Table
from dualipo.generator import align as alignment
from dualipo.generator import backbone, reference
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import PreferenceSet, RealClips
from dualipo.generator.sample import Samples, encode_texts, sample
from dualipo.rounds import sampling, world_sources
from dualipo.rounds.run import model_folder
from dualipo.seeds import derive
from dualipo.store import atomic, tensors
from dualipo.store.rundir import remove_checkpoints
from dualipo.training.precision import forward_pass
from dualipo.world import oracle

FRESH = "fresh"
ENCODE = 64  # clips a pass through the autoencoder
Scores = dict[str, list[float]]  # the oracle's totals by test prompt


class Lesson(NamedTuple):
    """The pairs and real clips that every arm of a seed learns from."""

    pairs: PreferenceSet
    real: RealClips | None


def load(loaded: Config) -> Backbone:
    """Load the recipe's base generator anew."""
    settings = loaded.generator
    return backbone.load(
        model_folder(settings.pretrained_model_name_or_path, "generator"),
        max_sequence_length=settings.max_sequence_length,
        dtype=getattr(torch, settings.torch_dtype),
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def make(
    model: Backbone, loaded: Config, purpose: str, num_prompts: int, each: int
) -> tuple[list[str], Samples]:
    """Sample `each` clips of fresh captions, from noise that the purpose names.

    The captions returned are the clips', so each comes several times.
    """
    captions = sampling.source_captions(loaded, num=num_prompts, purpose=purpose)
    chosen = list(dict.fromkeys(captions.captions))[:num_prompts]
    repeated = [caption for caption in chosen for _ in range(each)]
    seeds = [derive(loaded.seed, "slots", purpose, n) for n in range(len(repeated))]
    return repeated, sample(model, captions=repeated, seeds=seeds, settings=loaded.generator)


def totals(captions: list[str], samples: Samples) -> list[float]:
    """Return the oracle's total of every clip, 0 where a clip cannot be used."""
    return [
        0.0 if fault else oracle.score(frames, caption).total
        for frames, caption, fault in zip(
            samples.frames_NFHW3.numpy(), captions, samples.faults, strict=True
        )
    ]


def lesson(loaded: Config, path: Path, *, min_gap: float) -> Lesson:
    """Return pairs by the oracle's order, kept in `path`, and the recipe's real clips."""
    model = load(loaded)
    if not path.exists():
        each = loaded.generator.num_candidates
        captions, samples = make(model, loaded, "candidates", loaded.prompts.num_prompts, each)
        scores_PK = torch.tensor(totals(captions, samples)).view(-1, each)
        usable_P = torch.tensor([not fault for fault in samples.faults]).view(-1, each).all(1)
        gaps_P = (scores_PK.amax(1) - scores_PK.amin(1)).where(usable_P, -torch.inf)
        kept = (gaps_P >= min_gap).nonzero().flatten()
        first = kept * each
        tensors.save(
            path,
            {
                "winners": samples.latents[first + scores_PK[kept].argmax(1)],
                "losers": samples.latents[first + scores_PK[kept].argmin(1)],
                "texts": torch.stack([samples.texts[captions[n]] for n in first.tolist()]),
            },
            metadata={"mean_gap": f"{gaps_P[kept].mean():.3f}"},
        )
    named = tensors.load(path)
    ids = [f"pair-{n}" for n in range(len(named["winners"]))]
    texts = dict(zip(ids, named.pop("texts"), strict=True))
    winners, losers = named["winners"], named["losers"]
    pairs = PreferenceSet(ids=ids, caption_keys=ids, texts=texts, winners=winners, losers=losers)
    return Lesson(pairs, _real(model, loaded) if loaded.align.real_nll_ratio else None)


def _real(model: Backbone, loaded: Config) -> RealClips:
    places = range(loaded.align.num_real_clips)
    frames_NFHW3, captions = world_sources.real_clips(loaded, places=places)
    parts = torch.from_numpy(frames_NFHW3).split(ENCODE)
    texts = encode_texts(model, captions=captions, batch_size=ENCODE)
    return RealClips(
        torch.cat([model.encode_clips(part).cpu() for part in parts]),
        torch.stack([texts[caption] for caption in captions]),
    )


def settle(folder: Path, settings: dict[str, Any]) -> None:
    """Keep the settings in `folder`; refuse to go on there with others."""
    atomic.make_folder(folder)
    path = folder / "asked.json"
    if path.exists() and atomic.read_json(path) != json.loads(json.dumps(settings)):
        raise ConfigError(f"{folder}: made with other settings. Choose another --runs.")
    atomic.write_json(path, settings)


def num_fresh(loaded: Config, num_pairs: int) -> int:
    """Count how often a pair is visited at most: so many slots are never seen twice."""
    return (loaded.align.max_train_steps * loaded.align.train_batch_size - 1) // num_pairs + 1


def train(loaded: Config, learnt: Lesson, num_slots: int, folder: Path) -> dict[str, Any]:
    """Train from the base with so many slots, test the result, and measure the time."""
    model = load(loaded)
    settings = loaded.align.model_copy(update={"num_slots": num_slots})
    seed = derive(loaded.seed, "slots", "align")
    path = folder / "reference.safetensors"
    start = time.process_time()
    with forward_pass(model.device, settings):
        reference.load_or_measure(
            model, preferences=learnt.pairs, settings=settings, seed=seed, path=path
        )
    setup = time.process_time() - start
    result = alignment.align(
        model,
        preferences=learnt.pairs,
        real=learnt.real,
        settings=settings,
        folder=folder,
        seed=seed,
    )
    remove_checkpoints(folder / "checkpoints")
    return {
        "num_slots": num_slots,
        "setup_seconds": setup,
        "training_seconds": time.process_time() - start - setup,
        "metrics": result.metrics,
        "scores": tested(model, loaded),
    }


def tested(model: Backbone, loaded: Config) -> Scores:
    """Sample the test clips, and return the oracle's totals by caption."""
    each = loaded.monitor.num_test_clips
    captions, samples = make(model, loaded, "test", loaded.prompts.num_test_prompts, each)
    by_caption: Scores = {}
    for caption, total in zip(captions, totals(captions, samples), strict=True):
        by_caption.setdefault(caption, []).append(total)
    return by_caption


def arms_of_seed(
    loaded: Config, slots: list[int], folder: Path, *, min_gap: float
) -> dict[str, dict[str, Any]]:
    """Measure every arm of a seed, the base first; an arm that was measured is read back."""
    settle(folder, {**config.leaves(loaded), "min_gap": min_gap})
    learnt = lesson(loaded, folder / "pairs.safetensors", min_gap=min_gap)
    fresh = num_fresh(loaded, len(learnt.pairs.ids))
    arms = {f"{num}": num for num in slots if num < fresh} | {FRESH: fresh}
    results: dict[str, dict[str, Any]] = {}
    for arm in ("base", *arms):
        path = folder / f"{arm}.json"
        if not path.exists():
            if arm == "base":
                scores = tested(load(loaded), loaded)
                result = {"num_pairs": len(learnt.pairs.ids), "scores": scores}
            else:
                result = train(loaded, learnt, arms[arm], folder / f"slots-{arm}")
            atomic.write_json(path, result)
            print(f"{folder.name}: {arm} done", flush=True)
        results[arm] = atomic.read_json(path)
    return results


def summary(seeds: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return each arm's mean total, its gain over the base, and its loss against fresh noise."""
    arms = [arm for arm in next(iter(seeds.values())) if all(arm in s for s in seeds.values())]
    pooled: dict[str, Scores] = {
        arm: {
            f"{seed} {prompt}": values
            for seed, of_seed in seeds.items()
            for prompt, values in of_seed[arm]["scores"].items()
        }
        for arm in arms
    }
    return {arm: _of_arm(arm, pooled, seeds) for arm in arms}


def _of_arm(arm: str, pooled: dict[str, Scores], seeds: dict[str, Any]) -> dict[str, Any]:
    means = [sum(values) / len(values) for values in pooled[arm].values()]
    values: dict[str, Any] = {"total": sum(means) / len(means)}
    for name, other in (("minus_base", "base"), ("minus_fresh", FRESH)):
        if arm not in ("base", other):
            values[name] = asdict(paired_difference(pooled[other], pooled[arm]))
    for name in ("num_slots", "num_pairs", "setup_seconds", "training_seconds"):
        if name in next(iter(seeds.values()))[arm]:
            values[name] = [of_seed[arm][name] for of_seed in seeds.values()]
    return values


def table(results: dict[str, Any]) -> str:
    """Format an arm a line, in markdown: its gain, and its loss against fresh noise."""
    heads = ["slots a pair", "total", "- base", "- fresh noise", "CPU seconds of the set-up"]
    rows = []
    for name in ("base", *sorted(filter(str.isdigit, results), key=int), FRESH):
        values = results[name]
        differences = [values.get(key) for key in ("minus_base", "minus_fresh")]
        cells = [difference(interval) if interval else "" for interval in differences]
        setup = f"{mean(values['setup_seconds']):.1f}" if "setup_seconds" in values else ""
        rows.append([name, three_decimals(values["total"]), *cells, setup])
    return Table(heads, rows).in_markdown()


def main() -> None:
    """Train the arms that are missing, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="such as align.max_train_steps=120")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--min-gap", type=float, default=0.1, help="between best and worst clip")
    parser.add_argument("--runs", type=Path, default=Path("runs/slots"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    by_seed = {}
    for seed in arguments.seeds:
        loaded = config.load(arguments.recipe, [*arguments.overrides, f"seed={seed}"])
        folder = arguments.runs / f"{arguments.recipe.stem}-{seed}"
        by_seed[f"{seed}"] = arms_of_seed(
            loaded, arguments.slots, folder, min_gap=arguments.min_gap
        )
    results = {
        "machine": platform.machine(),
        "generator": loaded.generator.pretrained_model_name_or_path,
        "overrides": arguments.overrides,
        "labels": "the oracle's order: this script alone",
        "num_steps": loaded.align.max_train_steps,
        "seeds": arguments.seeds,
        **summary(by_seed),
    }
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / f"slots-{arguments.recipe.stem}.json", results)
    print(json.dumps(results, indent=2))
    print(table(results))


if __name__ == "__main__":
    main()
