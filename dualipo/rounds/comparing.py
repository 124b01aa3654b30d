"""Critics and baselines side by side on the seed's held-out labels, for people.

The run's critics in their own words, a reward head trained on the same seed, and scores that other
models wrote into files: all are asked for a margin on the same pairs, and compared by VideoAlign's
calculation, with ties and without. Nothing is recorded in the run.
"""

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dualipo.critic.asks import Item
from dualipo.critic.learning import reward_head
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import ScoreFile
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.errors import DataError
from dualipo.evaluation import accuracy
from dualipo.records import DIMENSIONS, Pair, Verdict
from dualipo.rounds import warming
from dualipo.rounds.run import BASE_ROUND, Run

Accuracies = dict[str, dict[str, float]]  # "motion Accuracy" -> with_ties, without_ties
OVERALL = "overall"


def compare(
    run: Run, critics: Sequence[str], score_files: Sequence[Path], *, with_reward_head: bool
) -> tuple[int, dict[str, Accuracies]]:
    """On how many labels, and the accuracy of every judge by its name; the baselines come last."""
    pairs = [pair for pair in warming.seed_labels(run, held_out=True)[0] if _is_asked(pair)]
    if not any(pair.verdict in ("a", "b") for pair in pairs):
        raise DataError(
            f"{run.directory.path}: no decided label is held out. Raise seed_labels.num_pairs or "
            "seed_labels.holdout_share in a run of its own."
        )
    judges = _judges(run, critics, score_files, with_reward_head)
    return len(pairs), {name: _accuracies(run, name, judge, pairs) for name, judge in judges}


def table(num_labels: int, compared: Mapping[str, Accuracies]) -> str:
    """One line a judge: with ties / without, by dimension and overall."""
    columns = [*DIMENSIONS, OVERALL]
    lines = [f"{'judge':<24}" + "".join(f"{name:>16}" for name in columns)]
    for name, found in compared.items():
        cells = (found.get(f"{column} Accuracy") for column in columns)
        shown = (f"{c['with_ties']:.3f} / {c['without_ties']:.3f}" if c else "-" for c in cells)
        lines.append(f"{name:<24}" + "".join(f"{cell:>16}" for cell in shown))
    return "\n".join([*lines, f"(with ties / without; {num_labels} held-out labels)"])


def list_clips(run: Run, path: Path, *, unscored: Path | None) -> int:
    """Write path and caption of the run's clips as CSV; only those that a table lacks, if named."""
    known = ScoreFile(unscored) if unscored and unscored.exists() else None
    shown = dict.fromkeys(_shown(run))
    rows = [
        (clip, caption)
        for clip, caption in shown
        if not known or not known.knows(clip, caption=caption)
    ]
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "prompt"))
        writer.writerows((run.clip_store.path(clip).resolve(), text) for clip, text in rows)
    return len(rows)


def _judges(
    run: Run, critics: Sequence[str], score_files: Sequence[Path], with_reward_head: bool
) -> Iterator[tuple[str, Vlm]]:
    """One at a time: each may be a large model."""
    for version_id in critics:
        yield version_id, run.critic(version_id)
    run.forget_models()
    if with_reward_head:
        yield "reward head", _fitted_head(run)
    for path in score_files:
        yield path.name, RewardCritic(ScoreFile(path))


def _fitted_head(run: Run) -> RewardCritic:
    """Trained on the part of the seed that the critic is trained on."""
    head, settings = run.load_reward_head(warming.SHIPPED), run.config.critic.reward_head
    pairs, _ = warming.seed_labels(run, held_out=False)
    steps = settings.max_train_steps
    run.progress.stage("reward head", round=BASE_ROUND, attempt=0, total=steps)
    with tempfile.TemporaryDirectory() as folder:
        reward_head.train(
            head,
            pairs,
            clips=run.clip,
            settings=settings,
            checkpoint_folder=Path(folder),
            seed=run.seed("warm_start_sft"),
            on_step=lambda step, metrics: run.progress.advance(1, loss=metrics["loss"]),
        )
    return RewardCritic(head)


def _accuracies(run: Run, name: str, judge: Vlm, pairs: Sequence[Pair]) -> Accuracies:
    """Of the pairs that the judge answered; how many it did not is said."""
    items = [
        Item(p.pair_id, p.prompt, (p.video_a, p.video_b), (p.dimension,))  # type: ignore[arg-type]
        for p in pairs
    ]
    found = forced_choice.margins(judge, items, clips=run.clip, settings=run.config.critic)
    if missing := len(items) - len(found):
        run.progress.say(f"{name}: no answer to {missing} of {len(items)} labels, left out")
    margins: dict[str, list[float]] = {}
    labels: dict[str, list[Verdict]] = {}
    for item, pair in zip(items, pairs, strict=True):
        [dimension] = item.dimensions
        if (item.item_id, dimension) in found:
            for group in (dimension, OVERALL):
                margins.setdefault(group, []).append(found[item.item_id, dimension])
                labels.setdefault(group, []).append(pair.verdict)
    decided = {group: some for group, some in labels.items() if {"a", "b"} & {*some}}
    return accuracy.videoalign(decided, margins)


def _is_asked(pair: Pair) -> bool:
    return pair.dimension in DIMENSIONS and pair.verdict != "abstain"


def _shown(run: Run) -> Iterator[tuple[str, str]]:
    """Every clip that a judge may be asked about, under its caption."""
    for round_ in range(BASE_ROUND, run.config.rounds):
        for candidate in run.ledger.candidates(round_):
            yield candidate.clip, candidate.caption
    if run.config.seed_labels.path:
        for held_out in (False, True):
            for pair in warming.seed_labels(run, held_out=held_out)[0]:
                yield pair.video_a, pair.prompt
                yield pair.video_b, pair.prompt
