"""The cost of finding a prompt's best and worst clip, and the agreement with a full round-robin.

    python benchmarks/rank.py runs/world --prompts 32
    python benchmarks/rank.py runs/smoke --critic sft --prompts 3 --output out

One critic chooses the top and the bottom of each prompt's candidates in round 0 of a run, in ways:
- `round robin`: every pair in both orders; a clip's rank is its share of all votes,
- `knockout`: winners meet winners for the top, losers meet losers for the bottom,
- `pointwise`: the expected score alone,
- `confirmed`: the expected score, and the pairwise votes on top against bottom must agree, as in a
  run; other prompts are dropped.
The result says how often top, bottom and both are those of the round-robin, with 95 % bootstraps
over prompts; the oracle's gap between top and bottom, for people; and the cost per prompt: votes,
prefixes that are run (a pair in one order, or a clip) and seconds. Votes also disagree with
themselves: `half against half` compares the round-robins of the even and of the odd draws, half the
votes each. Chance is 1 in the number of candidates. The command goes on where it stopped when it is
repeated.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from intervals import with_ends

from dualipo.config import Critic
from dualipo.critic import judge, reasoning, voting
from dualipo.critic.asks import Item
from dualipo.errors import DataError
from dualipo.evaluation.bootstrap import clustered_mean
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.preferences import build
from dualipo.progress import PlainProgress
from dualipo.records import Candidate, Prompt, Vote, pair_id
from dualipo.rounds import commands, judging, loop, sampling, world_sources
from dualipo.rounds.run import Run
from dualipo.store import atomic
from dualipo.store.ledger import Unit

AGREED = ("top", "bottom", "both")
Ends = tuple[int, int]  # indices of the top and the bottom among a prompt's candidates
Shares = dict[tuple[int, int], float]  # pair -> share of its votes for its first clip


def candidates_of(run: Run) -> dict[str, list[Candidate]]:
    """Return round 0's candidates by prompt; prompts with equal clips are left out."""
    if not run.is_done(Unit(0, 0, f"sample.{sampling.ROUND}", -1)):
        raise DataError(f"{run.directory.path}: no candidates. Run its round 0 first.")
    groups: dict[str, list[Candidate]] = {}
    for candidate in sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0)):
        groups.setdefault(candidate.prompt_id, []).append(candidate)
    return {
        prompt_id: group
        for prompt_id, group in groups.items()
        if len({candidate.clip for candidate in group}) == len(group)
    }


def measure(run: Run, critic: str, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return every way's choice among one prompt's candidates, and its cost."""
    settings = run.config.critic.model_copy(update={"early_stop": False})
    asked: dict[str, Any] = {
        "clips": run.clip,
        "settings": settings,
        "seed_of": judging.seed_of(run, "rank", critic, candidates[0].prompt_id),
    }
    loaded = run.critic(critic)
    points = [Item(str(n), c.caption, (c.clip,)) for n, c in enumerate(candidates)]
    scores, point_seconds = timed(lambda: judge.score(loaded, points, **asked))
    pairs = {
        name: Item(name, candidates[a].caption, (candidates[a].clip, candidates[b].clip))
        for name, (a, b) in pairs_of(len(candidates)).items()
    }
    votes, pair_seconds = timed(lambda: judge.confirm(loaded, list(pairs.values()), **asked))
    point_cost = {"votes": len(scores), "prefixes": len(points), "seconds": point_seconds}
    pair_cost = {"votes": len(votes), "prefixes": 2 * len(pairs), "seconds": pair_seconds}
    ends, prices = choices(candidates, scores, votes, settings)
    return {
        "prompt_id": candidates[0].prompt_id,
        "num_candidates": len(candidates),
        "ends": ends,
        "costs": {
            way: {
                name: has_points * point_cost[name] + num_pairs * pair_cost[name] / len(pairs)
                for name in pair_cost
            }
            for way, (has_points, num_pairs) in prices.items()
        },
        "oracle": [
            statistics.fmean(by_dimension.values())
            for by_dimension in world_sources.oracle_scores(
                [(c.caption, c.clip) for c in candidates], clips=run.clip
            )
        ],
    }


def pairs_of(num: int) -> dict[str, tuple[int, int]]:
    """Return all pairs of `num` candidates by the name of the item that shows them."""
    return {pair_id(str(a), str(b)): (a, b) for a, b in combinations(range(num), 2)}


def choices(
    candidates: Sequence[Candidate], scores: Sequence[Vote], votes: Sequence[Vote], settings: Critic
) -> tuple[dict[str, Ends | None], dict[str, tuple[int, int]]]:
    """Return every way's ends and price: whether it scores clips, and the pairs that meet."""
    num = len(candidates)
    shares = shares_of(votes, num)
    knocked, num_met = knockout(shares, num)
    contest = contest_of(candidates, scores)
    pointwise = (int(contest.top), int(contest.bottom)) if contest else None
    confirmed = contest is not None and agrees(contest, votes, settings)
    ends: dict[str, Ends | None] = {
        "round robin": robin(shares, num),
        "even half": robin(shares_of([v for v in votes if v.draw % 2 == 0], num), num),
        "odd half": robin(shares_of([v for v in votes if v.draw % 2], num), num),
        "knockout": knocked,
        "pointwise": pointwise,
        "confirmed": pointwise if confirmed else None,
    }
    prices = {
        "round robin": (0, num * (num - 1) // 2),
        "knockout": (0, num_met),
        "pointwise": (1, 0),
        "confirmed": (1, int(contest is not None)),
    }
    return ends, prices


def shares_of(votes: Sequence[Vote], num: int) -> Shares:
    """Return each pair's share of votes for its first clip, averaged over the dimensions.

    A tie or an abstention counts half.
    """
    worth = {"a": 1.0, "b": 0.0}
    parts_by_item: dict[str, list[float]] = {}
    for (item_id, _), group in voting.grouped(votes).items():
        parts_by_item.setdefault(item_id, []).append(
            statistics.fmean(worth.get(v.outcome, 0.5) for v in group)
        )
    pairs = pairs_of(num)
    return {pairs[item_id]: statistics.fmean(parts) for item_id, parts in parts_by_item.items()}


def robin(shares: Shares, num: int) -> Ends | None:
    """Return the clips with the most and the least of all votes, the first among equals."""
    if not shares:
        return None
    totals = [0.0] * num
    for (a, b), part in shares.items():
        totals[a] += part
        totals[b] += 1 - part
    return totals.index(max(totals)), totals.index(min(totals))


def knockout(shares: Shares, num: int) -> tuple[Ends, int]:
    """Return the last winner and the last loser, and how many pairs met.

    Both tournaments share the pairs of the first turn.
    """
    met: set[tuple[int, int]] = set()

    def last(*, winner: bool) -> int:
        left = list(range(num))
        while len(left) > 1:
            turn = list(zip(left[::2], left[1::2], strict=False))
            met.update(turn)
            odd = left[len(turn) * 2 :]
            left = [a if (shares[a, b] >= 0.5) == winner else b for a, b in turn] + odd
        return left[0]

    return (last(winner=True), last(winner=False)), len(met)


def contest_of(candidates: Sequence[Candidate], scores: Sequence[Vote]) -> build.Contest | None:
    """Choose top and bottom by expected score, as a run does."""
    by_candidate: dict[str, dict[Any, float]] = {str(n): {} for n in range(len(candidates))}
    for (item, dimension), value in judge.expected_scores(scores).items():
        by_candidate[item][dimension] = value
    chosen = build.choose_contest(
        Prompt(candidates[0].prompt_id, candidates[0].caption), by_candidate
    )
    return chosen if isinstance(chosen, build.Contest) else None


def agrees(contest: build.Contest, votes: Sequence[Vote], settings: Critic) -> bool:
    """Tell whether the pairwise votes confirm the contest, as in a run."""
    top, bottom = int(contest.top), int(contest.bottom)
    name = pair_id(str(min(top, bottom)), str(max(top, bottom)))
    tallies = {d: t for (item, d), t in voting.tallies(votes).items() if item == name}
    verdicts = {
        d: t.majority if top < bottom else reasoning.swap_verdict(t.majority)
        for d, t in tallies.items()
    }
    confirmation = build.Confirmation(
        verdicts,
        {d: t.share for d, t in tallies.items()},
        {d: t.certainty for d, t in tallies.items()},
    )
    reason = build.objection(
        contest,
        confirmation,
        least_share=settings.confirm_vote_share,
        dimension_slack=settings.dimension_slack,
    )
    return reason is None


def timed(work: Callable[[], list[Vote]]) -> tuple[list[Vote], float]:
    """Do some work; return the votes that it drew, and the seconds."""
    start = time.perf_counter()
    votes = work()
    return votes, time.perf_counter() - start


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise every way's agreement, oracle gap and cost over the prompts."""
    ways = [*rows[0]["costs"]]
    table: dict[str, Any] = {
        "num_prompts": len(rows),
        "chance": statistics.fmean(1 / row["num_candidates"] for row in rows),
        "half against half": agreement(rows, "even half", "odd half"),
    }
    for way in ways:
        kept = [row for row in rows if row["ends"][way]]
        gaps = [
            row["oracle"][row["ends"][way][0]] - row["oracle"][row["ends"][way][1]] for row in kept
        ]
        table[way] = {
            "num_kept": len(kept),
            "agreement": agreement(rows, way, "round robin"),
            "oracle_gap": interval(gaps),
            "cost_a_prompt": {
                name: statistics.fmean(row["costs"][way][name] for row in rows)
                for name in rows[0]["costs"][way]
            },
        }
    return table


def agreement(rows: Sequence[Mapping[str, Any]], way: str, other: str) -> dict[str, Any]:
    """Return how often two ways choose the same top, the same bottom, and both."""
    rows = [row for row in rows if row["ends"][way] and row["ends"][other]]
    same = [
        [a == b for a, b in zip(row["ends"][way], row["ends"][other], strict=True)] for row in rows
    ]
    return {
        "top": interval([float(top) for top, _ in same]),
        "bottom": interval([float(bottom) for _, bottom in same]),
        "both": interval([float(all(ends)) for ends in same]),
    }


def table(result: Mapping[str, Any]) -> str:
    """Write each way's agreement and cost as a table in markdown."""
    heads = ["way", "prompts kept", "same top", "same bottom", "both", "oracle gap"]
    heads += ["votes a prompt", "prefixes a prompt"]
    rows = []
    for way in ("round robin", "knockout", "pointwise", "confirmed"):
        of_way = result[way]
        ends = [with_ends(of_way["agreement"][end], percent) for end in AGREED]
        cost = [f"{of_way['cost_a_prompt'][name]:.0f}" for name in ("votes", "prefixes")]
        gap = with_ends(of_way["oracle_gap"])
        rows.append([way, str(of_way["num_kept"]), *ends, gap, *cost])
    halves = [with_ends(result["half against half"][end], percent) for end in AGREED]
    rows.append(["round robin, half against half", str(result["num_prompts"]), *halves, "", "", ""])
    return Table(heads, rows).in_markdown()


def interval(values: Sequence[float]) -> dict[str, Any] | None:
    """Return the mean of one value per prompt with its interval; one prompt has none."""
    if len(values) < 2:
        return None
    return asdict(clustered_mean(values, clusters=[str(n) for n in range(len(values))]))


def main() -> None:
    """Measure the prompts that are missing, and write the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--critic", default="warm")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--work", type=Path, default=Path("runs/rank"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    name = f"{arguments.run.name}-{arguments.critic}"
    atomic.make_folder(arguments.work / name)
    rows: list[dict[str, Any]] = []
    with loop.opened(commands.config_of(arguments.run), PlainProgress()) as run:
        for prompt_id, candidates in list(candidates_of(run).items())[: arguments.prompts]:
            path = arguments.work / name / f"{prompt_id}.json"
            if not path.exists():
                atomic.write_json(path, measure(run, arguments.critic, candidates))
                print(f"{len(rows) + 1} of {arguments.prompts} prompts", flush=True)
            rows.append(atomic.read_json(path))
        result = {
            "machine": platform.machine(),
            "critic": arguments.critic,
            "num_votes": run.config.critic.num_votes,
            "num_score_paths": run.config.critic.num_score_paths,
            **summary(rows),
        }
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / f"rank-{name}.json", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
