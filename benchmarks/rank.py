"""How few comparisons find a prompt's best and worst clip: agreement with the full round-robin.

    python benchmarks/rank.py runs/world --prompts 32
    python benchmarks/rank.py runs/smoke --critic sft --prompts 3 --output out

Of each prompt's candidates in round 0 of a run, one critic chooses the top and the bottom
- `round robin`: every pair in both orders; a clip's rank is its share of all votes,
- `knockout`: winners meet winners for the top, losers meet losers for the bottom,
- `pointwise`: the expected score alone,
- `confirmed`: the expected score, and then the pairwise votes on top against bottom must agree,
  as in a run; a prompt without that is dropped.
How often top, bottom and both equal the round-robin's, with 95 % bootstraps over prompts; the
oracle's gap between the two, for people; and the cost a prompt: votes, prefixes that are run (a
pair in an order, or a clip) and seconds. Votes disagree with themselves: `half against half`
compares the round-robins of the even and of the odd draws, half the votes each. Chance is 1 in the
number of candidates. Repeating the command goes on where it stopped.
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
Ends = tuple[int, int]  # places of the top and of the bottom among a prompt's candidates
Shares = dict[tuple[int, int], float]  # of the votes on a pair, what the first of it was given


def candidates_of(run: Run) -> dict[str, list[Candidate]]:
    """Round 0's candidates by prompt, where all of a prompt's are usable."""
    if not run.is_done(Unit(0, 0, f"sample.{sampling.ROUND}", -1)):
        raise DataError(f"{run.directory.path}: no candidates. Run its round 0 first.")
    found: dict[str, list[Candidate]] = {}
    for one in sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0)):
        found.setdefault(one.prompt_id, []).append(one)
    return {key: some for key, some in found.items() if len({c.clip for c in some}) == len(some)}


def measure(run: Run, critic: str, some: Sequence[Candidate]) -> dict[str, Any]:
    """What every way chooses of one prompt's candidates, and what it costs."""
    settings = run.config.critic.model_copy(update={"early_stop": False})
    asked = {
        "clips": run.clip,
        "settings": settings,
        "seed_of": judging.seed_of(run, "rank", critic, some[0].prompt_id),
    }
    loaded = run.critic(critic)
    points = [Item(str(n), c.caption, (c.clip,)) for n, c in enumerate(some)]
    scores, point_seconds = timed(lambda: judge.score(loaded, points, **asked))
    pairs = {
        name: Item(name, some[a].caption, (some[a].clip, some[b].clip))
        for name, (a, b) in pairs_of(len(some)).items()
    }
    votes, pair_seconds = timed(lambda: judge.confirm(loaded, list(pairs.values()), **asked))
    point_cost = {"votes": len(scores), "prefixes": len(points), "seconds": point_seconds}
    pair_cost = {"votes": len(votes), "prefixes": 2 * len(pairs), "seconds": pair_seconds}
    ends, prices = choices(some, scores, votes, settings)
    return {
        "prompt_id": some[0].prompt_id,
        "num_candidates": len(some),
        "ends": ends,
        "costs": {
            way: {
                name: has_points * point_cost[name] + num_pairs * pair_cost[name] / len(pairs)
                for name in pair_cost
            }
            for way, (has_points, num_pairs) in prices.items()
        },
        "oracle": [
            statistics.fmean(one.values())
            for one in world_sources.oracle_scores(
                [(c.caption, c.clip) for c in some], clips=run.clip
            )
        ],
    }


def pairs_of(num: int) -> dict[str, tuple[int, int]]:
    """Return all pairs of `num` candidates by the name of the item that shows them."""
    return {pair_id(str(a), str(b)): (a, b) for a, b in combinations(range(num), 2)}


def choices(
    some: Sequence[Candidate], scores: Sequence[Vote], votes: Sequence[Vote], settings: Critic
) -> tuple[dict[str, Ends | None], dict[str, tuple[int, int]]]:
    """The ends by every way, and its price: whether clips were scored, and how many pairs met."""
    num = len(some)
    shares = shares_of(votes, num)
    knocked, num_met = knockout(shares, num)
    contest = contest_of(some, scores)
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
    """Of each pair the mean over dimensions of its first clip's part; a tie or silence is half."""
    worth = {"a": 1.0, "b": 0.0}
    found: dict[str, list[float]] = {}
    for (item, _), group in voting.grouped(votes).items():
        found.setdefault(item, []).append(
            statistics.fmean(worth.get(v.outcome, 0.5) for v in group)
        )
    pairs = pairs_of(num)
    return {pairs[item]: statistics.fmean(parts) for item, parts in found.items()}


def robin(shares: Shares, num: int) -> Ends | None:
    """The most and the least of all votes, of equals the first; none without votes."""
    if not shares:
        return None
    totals = [0.0] * num
    for (a, b), part in shares.items():
        totals[a] += part
        totals[b] += 1 - part
    return totals.index(max(totals)), totals.index(min(totals))


def knockout(shares: Shares, num: int) -> tuple[Ends, int]:
    """The last winner and the last loser, and how many pairs met; both share the first turn."""
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


def contest_of(some: Sequence[Candidate], scores: Sequence[Vote]) -> build.Contest | None:
    """Top and bottom by expected score, as a run chooses them."""
    by_candidate: dict[str, dict[Any, float]] = {str(n): {} for n in range(len(some))}
    for (item, dimension), value in judge.expected_scores(scores).items():
        by_candidate[item][dimension] = value
    chosen = build.choose_contest(Prompt(some[0].prompt_id, some[0].caption), by_candidate)
    return chosen if isinstance(chosen, build.Contest) else None


def agrees(contest: build.Contest, votes: Sequence[Vote], settings: Critic) -> bool:
    """Whether the pairwise votes confirm the contest, as in a run."""
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
    """What it made, and the seconds."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Agreement, oracle gap and cost of every way over the prompts."""
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
    """How often two ways choose the same top, the same bottom, and both."""
    rows = [row for row in rows if row["ends"][way] and row["ends"][other]]
    same = [
        [a == b for a, b in zip(row["ends"][way], row["ends"][other], strict=True)] for row in rows
    ]
    return {
        "top": interval([float(top) for top, _ in same]),
        "bottom": interval([float(bottom) for _, bottom in same]),
        "both": interval([float(all(one)) for one in same]),
    }


def table(found: Mapping[str, Any]) -> str:
    """What each way agrees with, and costs, in markdown."""
    heads = ["way", "prompts kept", "same top", "same bottom", "both", "oracle gap"]
    heads += ["votes a prompt", "prefixes a prompt"]
    rows = []
    for way in ("round robin", "knockout", "pointwise", "confirmed"):
        one = found[way]
        ends = [with_ends(one["agreement"][end], percent) for end in AGREED]
        cost = [f"{one['cost_a_prompt'][name]:.0f}" for name in ("votes", "prefixes")]
        gap = with_ends(one["oracle_gap"])
        rows.append([way, str(one["num_kept"]), *ends, gap, *cost])
    halves = [with_ends(found["half against half"][end], percent) for end in AGREED]
    rows.append(["round robin, half against half", str(found["num_prompts"]), *halves, "", "", ""])
    return Table(heads, rows).in_markdown()


def interval(values: Sequence[float]) -> dict[str, Any] | None:
    """A value a prompt; one prompt alone has no interval."""
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
    rows = []
    with loop.opened(commands.config_of(arguments.run), PlainProgress()) as run:
        for prompt_id, some in list(candidates_of(run).items())[: arguments.prompts]:
            path = arguments.work / name / f"{prompt_id}.json"
            if not path.exists():
                atomic.write_json(path, measure(run, arguments.critic, some))
                print(f"{len(rows) + 1} of {arguments.prompts} prompts", flush=True)
            rows.append(atomic.read_json(path))
        found = {
            "machine": platform.machine(),
            "critic": arguments.critic,
            "num_votes": run.config.critic.num_votes,
            "num_score_paths": run.config.critic.num_score_paths,
            **summary(rows),
        }
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / f"rank-{name}.json", found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
