"""Critics and baselines side by side on the seed's held-out labels, for people.

The judges are the run's critics, a reward head trained on the same seed, and scores that other
models wrote into files. Each gives a margin on the same pairs; accuracies follow VideoAlign's
calculation, with ties and without. Nothing is recorded in the run.
"""

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dualipo.config import LEARNING
from dualipo.critic.learning import reward_head
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import ScoreFile
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.errors import DataError
from dualipo.evaluation import accuracy
from dualipo.records import DIMENSIONS, Pair, Verdict
from dualipo.rounds import seed_labels
from dualipo.rounds.accuracy import pair_item
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.run import BASE_ROUND, SHIPPED, Run

Accuracies = dict[str, dict[str, float]]  # "motion Accuracy" -> with_ties, without_ties
OVERALL = "overall"


def compare(
    run: Run, critics: Sequence[str], score_files: Sequence[Path], *, with_reward_head: bool
) -> tuple[int, dict[str, Accuracies]]:
    """Return the number of labels, and the accuracy of every judge by name, baselines last."""
    pairs = [pair for pair in seed_labels.held_out_labels(run)[0] if pair.verdict != "abstain"]
    if not any(pair.verdict in ("a", "b") for pair in pairs):
        raise DataError(
            f"{run.directory.path}: no decided label is held out. Raise seed_labels.num_pairs or "
            "seed_labels.holdout_share in a run of its own."
        )
    _require_baselines(run, score_files, with_reward_head)
    judges = _judges(run, critics, score_files, with_reward_head)
    return len(pairs), {name: _accuracies(run, name, judge, pairs) for name, judge in judges}


def table(num_labels: int, compared: Mapping[str, Accuracies], *, dimensions: Sequence[str]) -> str:
    """Return a table in text: a line for each judge, with ties / without, by dimension."""
    columns = [*dimensions, OVERALL]
    lines = [f"{'judge':<24}" + "".join(f"{name:>16}" for name in columns)]
    for name, accuracies in compared.items():
        cells = (accuracies.get(f"{column} Accuracy") for column in columns)
        shown = (f"{c['with_ties']:.3f} / {c['without_ties']:.3f}" if c else "-" for c in cells)
        lines.append(f"{name:<24}" + "".join(f"{cell:>16}" for cell in shown))
    return "\n".join([*lines, f"(with ties / without; {num_labels} held-out labels)"])


def list_clips(run: Run, path: Path, *, unscored: Path | None) -> int:
    """Write path and caption of the run's clips as CSV; return how many.

    With `unscored`, a table of scores, only the clips that it does not hold.
    """
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


def _require_baselines(run: Run, score_files: Sequence[Path], with_reward_head: bool) -> None:
    """Refuse a baseline that cannot judge this run's labels; say which option to leave out."""
    settings, path = run.config.critic, run.directory.path
    if with_reward_head and settings.backend not in (*LEARNING, "reward_head"):
        raise DataError(
            f"{path}: --reward-head is trained on the vision tower of a critic in a local folder, "
            f'and this run has critic.backend = "{settings.backend}". Leave --reward-head out.'
        )
    options = [
        *(["--reward-head"] if with_reward_head else []),
        *(["--scores"] if score_files else []),
    ]
    if options and (own := [name for name in settings.questions.names if name not in DIMENSIONS]):
        raise DataError(
            f"{path}: critic.questions asks about {', '.join(own)}, and these baselines know "
            f"{', '.join(DIMENSIONS)} alone. Leave {' and '.join(options)} out."
        )


def _judges(
    run: Run, critics: Sequence[str], score_files: Sequence[Path], with_reward_head: bool
) -> Iterator[tuple[str, Vlm]]:
    """Yield every judge with its name, one at a time, as each may be a large model."""
    for version_id in critics:
        yield version_id, run.critic(version_id)
    run.forget_models()
    if with_reward_head:
        yield "reward head", _fitted_head(run)
    for path in score_files:
        yield path.name, RewardCritic(ScoreFile(path))


def _fitted_head(run: Run) -> RewardCritic:
    """Train a reward head on the part of the seed that the critic is trained on."""
    head, settings = run.load_reward_head(SHIPPED), run.config.critic.reward_head
    pairs, _ = seed_labels.training_labels(run)
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
    """Return accuracy per dimension over the pairs the judge answered; report how many it did not.

    A dimension without a decided label is left out.
    """
    asked = [(pair, pair.dimension) for pair in pairs if pair.dimension != "overall"]
    items = [pair_item(pair, dimension) for pair, dimension in asked]
    answers = forced_choice.margins(judge, items, clips=run.clip, settings=run.config.critic)
    if num_missing := len(items) - len(answers):
        run.progress.say(f"{name}: no answer to {num_missing} of {len(items)} labels, left out")
    margins: dict[str, list[float]] = {}
    labels: dict[str, list[Verdict]] = {}
    for pair, dimension in asked:
        if (pair.pair_id, dimension) in answers:
            for group in (dimension, OVERALL):
                margins.setdefault(group, []).append(answers[pair.pair_id, dimension])
                labels.setdefault(group, []).append(pair.verdict)
    decided = {group: own for group, own in labels.items() if {"a", "b"} & {*own}}
    return accuracy.videoalign(decided, margins)


def _shown(run: Run) -> Iterator[tuple[str, str]]:
    """Yield every clip that a judge may be asked about, with its caption."""
    for round_ in range(BASE_ROUND, run.config.rounds):
        for candidate in intact(run, run.ledger.candidates(round_)):
            yield candidate.clip, candidate.caption
    if run.config.seed_labels.path:
        training, held_out = seed_labels.training_labels(run), seed_labels.held_out_labels(run)
        for pair in [*training[0], *held_out[0]]:
            yield pair.video_a, pair.prompt
            yield pair.video_b, pair.prompt
