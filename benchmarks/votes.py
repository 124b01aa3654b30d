"""Compares hard and soft votes by what a round keeps: how much, how often right, how far apart.

    dualipo run recipes/world.toml rounds=1 output_dir=runs/votes
    python benchmarks/votes.py runs/votes --output benchmarks/results/votes.json

The run's critic votes anew on the contests of a round, and on `--pairs` further pairs of its
candidates. The same sampled paths are counted twice: by the label that each ends with, and by the
probability of every label in its place. Printed for each way to count:

- the pairs that the generator would learn from (`critic.confirm_vote_share` and the other rules of
  the run), the share of them that the oracle orders alike, and the oracle's mean difference;
- the verdicts that the critic would learn from, at several least vote shares.

Votes are kept beside the run while they are drawn; the same command goes on where it stopped. The
oracle only reports. Intervals are 95 % bootstraps clustered by prompt.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from intervals import with_ends

from dualipo.critic import judge, voting
from dualipo.critic.asks import Item
from dualipo.critic.voting import Tally
from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.charts import percent
from dualipo.preferences import build
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Dimension, Vote
from dualipo.rounds import contests, judging, preferring, sampling, world_sources
from dualipo.rounds.commands import config_of
from dualipo.rounds.loop import opened
from dualipo.rounds.questions import pair_questions
from dualipo.rounds.run import Run
from dualipo.rounds.versions import critic_of
from dualipo.store import atomic, tables

SHARES = (0.55, 0.65, 0.75, 0.85, 0.95)
PER_UNIT = 8  # items of which the votes are written at once
Gaps = Mapping[str, Mapping[Dimension, float]]  # the oracle's score of A minus that of B, by item


def main() -> None:
    """Vote, count both ways, write the data and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    with opened(config_of(arguments.run), PlainProgress()) as run:
        result = compare(run, arguments.round, num_extra=arguments.pairs)
    atomic.write_text(arguments.output, json.dumps(result, indent=1) + "\n")
    print(table(result))


def compare(run: Run, round: int, *, num_extra: int) -> dict[str, Any]:
    """Return what hard and soft votes keep of a round's contests and further pairs."""
    prompts = sampling.choose_prompts(run, round)
    candidates = sampling.sample_candidates(run, round, prompts)
    chosen = judging.contests_of(run, round, 0, candidates)
    met = contests.items_of(chosen, candidates, run.config.critic.questions)
    extra = further_pairs(candidates, known={item.item_id for item in met}, num=num_extra)
    votes = cast(run, round, [*met, *extra])
    gaps = oracle_gaps(run, [*met, *extra])
    prompt_of = {item.item_id: item.caption for item in [*met, *extra]}
    hard = [replace(vote, probabilities=None) for vote in votes]
    ways = {"hard": hard, "soft": votes}
    return {
        "round": round,
        "contests": len(met),
        "items": len(met) + len(extra),
        "pairs": {name: kept_pairs(run, chosen, way, gaps) for name, way in ways.items()},
        "verdicts": {name: kept_verdicts(way, gaps, prompt_of) for name, way in ways.items()},
    }


def further_pairs(candidates: Sequence[Candidate], *, known: set[str], num: int) -> list[Item]:
    """Draw pairs of candidates that do not meet in a contest."""
    names = {candidate.clip: candidate.candidate_id for candidate in candidates}
    items: dict[str, Item] = {}
    for prompt, a, b, _ in pair_questions(candidates, num=6 * num, seed=0):
        item_id, mirrored = f"{names[a]}:{names[b]}", f"{names[b]}:{names[a]}"
        if not {item_id, mirrored} & known:
            items[item_id] = Item(item_id, prompt.caption, (a, b))
    return list(items.values())[:num]


def cast(run: Run, round: int, items: Sequence[Item]) -> list[Vote]:
    """Draw soft votes on the items by the critic that judged the round."""
    version = critic_of(run, round, 0)
    settings = run.config.critic.model_copy(update={"votes": "soft", "early_stop": False})
    folder = run.directory.path.with_name(f"{run.directory.path.name}-votes")
    votes: list[Vote] = []
    for start in range(0, len(items), PER_UNIT):
        path = folder / f"round-{round}-{len(items)}-{start}.parquet"
        if not path.exists():
            drawn = judge.confirm(
                run.critic(version),
                items[start : start + PER_UNIT],
                clips=run.clip,
                settings=settings,
                seed_of=judging.seed_of(run, "confirm", round, 0),
            )
            tables.write_records(path, drawn, record_type=Vote)
        votes += tables.read_records(path, record_type=Vote)
    return votes


def oracle_gaps(run: Run, items: Sequence[Item]) -> Gaps:
    """Return how much better the oracle finds each item's A than its B, by dimension."""
    asked = [(item.caption, clip) for item in items for clip in item.clip_hashes]
    scores = iter(world_sources.oracle_scores(asked, clips=run.clip))
    gaps = {}
    for item in items:
        of_a, of_b = next(scores), next(scores)
        gaps[item.item_id] = {d: of_a[d] - of_b[d] for d in DIMENSIONS}
    return gaps


def kept_pairs(
    run: Run, chosen: contests.Contests, votes: Sequence[Vote], gaps: Gaps
) -> dict[str, Any]:
    """Build the round's pairs from the votes, as a run does, and compare them with the oracle."""
    tallies: dict[str, dict[Dimension, Tally]] = {}
    for (item, dimension), tally in voting.tallies(votes).items():
        tallies.setdefault(item, {})[dimension] = tally
    settings = run.config.critic
    built = build.build_pairs(
        chosen.chosen,
        {c.contest_id: preferring.confirmation(tallies[c.contest_id]) for c in chosen.chosen},
        least_share=settings.confirm_vote_share,
        dimension_slack=settings.dimension_slack,
        margin_percentile=settings.margin_percentile,
    )
    won = [
        (sum(gaps[kept.contest.contest_id].values()) / 3, kept.contest.prompt.caption)
        for kept in built.kept
    ]
    return summary(won) | {"dropped": built.dropped}


def kept_verdicts(
    votes: Sequence[Vote], gaps: Gaps, prompt_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Summarise the verdicts that reach each of `SHARES`."""
    rows = []
    for share in SHARES:
        won = [
            (gaps[item][dimension] * (1 if tally.majority == "a" else -1), prompt_of[item])
            for (item, dimension), tally in voting.tallies(votes).items()
            if tally.majority in ("a", "b") and tally.share >= share
        ]
        rows.append({"share": share, **summary(won)})
    return rows


def summary(won: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Return the number of preferences, how many are right, and the oracle's mean difference.

    `won` holds the winner's lead by the oracle, and the prompt. An equal pair counts a half.
    """
    leads = [lead for lead, _ in won]
    hits = [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in leads]
    result: dict[str, Any] = {"num": len(won)}
    captions = [caption for _, caption in won]
    if len(set(captions)) > 1:
        for name, values in (("right", hits), ("lead", leads)):
            interval = bootstrap.clustered_mean(values, clusters=captions)
            result[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return result


def table(result: Mapping[str, Any]) -> str:
    """Write both ways to count as a table in markdown."""
    lines = ["| kept | votes | number | right | oracle's lead |", "|---|---|---|---|---|"]
    for name in ("hard", "soft"):
        lines.append(_row(f"pairs of {result['contests']} contests", name, result["pairs"][name]))
    for n, share in enumerate(SHARES):
        for name in ("hard", "soft"):
            row = result["verdicts"][name][n]
            lines.append(_row(f"verdicts, share at least {share}", name, row))
    return "\n".join(lines)


def _row(kept: str, name: str, row: Mapping[str, Any]) -> str:
    right = with_ends(row["right"], percent) if "right" in row else "-"
    lead = with_ends(row["lead"]) if "lead" in row else "-"
    return f"| {kept} | {name} | {row['num']} | {right} | {lead} |"


if __name__ == "__main__":
    main()
