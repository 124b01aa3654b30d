"""The critic at work in a round: score every candidate, confirm the best against the worst, and
turn both into preferences (METHOD.md 3.1, 3.4).

Votes go into the ledger unit by unit, their reasoning into parquet shards beside them. The checks
that stop a stage (faults 27, 31) read all of its votes at once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from dualipo.critic import judge, reasoning, voting
from dualipo.critic.asks import Item, SeedOf
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.served import ServedCritic
from dualipo.event_parts import Words
from dualipo.events import (
    CaptionsEvent,
    ConfirmEvent,
    PreferEvent,
    RefreshEvent,
    ScoreEvent,
    ScoreScaleEvent,
    ServedEvent,
    WordsEvent,
)
from dualipo.preferences import build
from dualipo.preferences.build import BuiltPairs, Confirmation, Contest
from dualipo.records import DIMENSIONS, Candidate, Dimension, Order, Pair, Prompt, Vote
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.store import clips as clip_files
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit

Kind = Literal["point", "pair"]
NUM_WORDS = 4  # pairs of a round whose reasoning the report shows
MAX_ALIKE = 0.2  # part of the prompts without contrast above which people are told (fault 24)


def score(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Pointwise votes on every candidate."""
    items = [Item(c.candidate_id, c.caption, (c.clip,)) for c in candidates]
    _keep_scale(run, round, attempt, candidates)
    votes = vote_on(
        run, Unit(round, attempt, "score"), items, critic=critic_of(run, round, attempt)
    )
    judge.require_readable(votes, settings=run.config.critic)
    judge.require_opinion(votes, settings=run.config.critic)


def _keep_scale(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Scores from a file: all of a round, on the scale that they had in the first one judged.

    The file grows between rounds; a reward that changed with it would change what a margin means.
    """
    unit = Unit(BASE_ROUND, 0, "score_scale")
    over = run.is_done(Unit(round, attempt, "judged"))
    if run.config.critic.backend != "scores" or over:
        return
    scores = run.score_file()
    scores.require((c.clip, c.caption) for c in candidates)
    if not run.is_done(unit):
        scale = scores.scale
        run.commit(unit, events=[ScoreScaleEvent(middle=scale.middle, spread=scale.spread)])
        run.forget_models()  # the judge may have read the file before it had these rows


def confirm(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Pairwise votes, in both orders, on each prompt's best and worst; KTO asks for none."""
    judged = Unit(round, attempt, "judged")
    if run.is_done(judged):
        return
    if run.config.align.loss_type == "kto":
        scored = [Item(c.candidate_id, c.caption, (c.clip,)) for c in candidates]
        votes = read_votes(run, Unit(round, attempt, "score"))
        run.commit(judged, events=_caption_events(run, judged, scored, votes))
        return
    contests, _ = choose_contests(run, round, attempt, candidates)
    items = contest_items(contests, candidates)
    votes = vote_on(
        run, Unit(round, attempt, "confirm"), items, critic=critic_of(run, round, attempt)
    )
    judge.require_readable(votes, settings=run.config.critic)
    judge.require_opinion(votes, settings=run.config.critic)
    run.commit(judged, events=_caption_events(run, judged, items, votes))


def _caption_events(
    run: Run, unit: Unit, items: Sequence[Item], votes: Sequence[Vote]
) -> list[CaptionsEvent]:
    """What is judged again without its caption, and of it what the caption turned (fault 38)."""
    every = run.config.critic.cross_check == "all"
    talking = [item for item in items if every or reasoning.suspicious(item.caption)]
    if not talking:
        return []
    flips = judge.caption_flips(
        run.critic(critic_of(run, unit.round, unit.attempt)),
        talking,
        votes,
        clips=run.clip,
        settings=run.config.critic,
        seed_of=seed_of(run, "neutral caption", unit.round, unit.attempt),
    )
    if flips:
        run.progress.say(
            f"{len(flips)} of {len(talking)} captions that talk to the critic turned what it says: "
            f"{', '.join(flips[:3])}. Look at these captions."
        )
    return [CaptionsEvent(talking=[item.item_id for item in talking], flipped=flips)]


def critic_of(run: Run, round: int, attempt: int) -> str:
    """The critic that judges an attempt: what served when the attempt began."""
    made = [
        (where.round, refresh.critic_version)
        for where, refresh in run.ledger.events(RefreshEvent)
        if refresh.outcome == "refreshed" and (where.round, where.attempt) < (round, attempt)
    ]
    return max(made)[1] if made else "warm"


def vote_on(run: Run, stage: Unit, items: Sequence[Item], *, critic: str) -> list[Vote]:
    """Every planned vote on the items exactly once (fault 4); returns all, with their reasoning."""
    settings = run.config.critic
    kind: Kind = "point" if items and len(items[0].clip_hashes) == 1 else "pair"
    per_item = settings.num_score_paths if kind == "point" else settings.num_votes
    per_unit = max(1, settings.judge_batch_size // (per_item * len(DIMENSIONS)))
    run.progress.stage(stage.stage, round=stage.round, attempt=stage.attempt, total=len(items))
    votes: list[Vote] = []
    for index, start in enumerate(range(0, len(items), per_unit)):
        some = items[start : start + per_unit]
        unit = Unit(stage.round, stage.attempt, stage.stage, index)
        path = shard_path(run, unit)
        if not run.is_done(unit):
            clock = Clock()
            ask = judge.score if kind == "point" else judge.confirm
            loaded = run.critic(critic)
            before = _troubles(loaded)
            made = ask(
                loaded,
                some,
                clips=run.clip,
                settings=settings,
                seed_of=seed_of(run, stage.stage, stage.round, stage.attempt),
            )
            tables.write_records(path, made, record_type=Vote)
            rows = [(kind, critic, one) for one in made]
            new = _troubles(loaded) - before
            events = [ServedEvent(troubles=dict(new))] if new else []
            run.commit(unit, files=(path,), votes=rows, clock=clock, events=events)
        votes += tables.read_records(path, record_type=Vote)
        run.progress.advance(len(some))
    _say_troubles(run, stage)
    return votes


def _troubles(critic: Judge) -> Counter[str]:
    """What a served critic has met so far; one that is here meets nothing."""
    return Counter(critic.failures) if isinstance(critic, ServedCritic) else Counter()


def _say_troubles(run: Run, stage: Unit) -> None:
    """What a stage met at a server: unanswered questions, labels without probabilities."""
    met: Counter[str] = Counter()
    for unit, served in run.ledger.events(ServedEvent):
        if (unit.round, unit.attempt, unit.stage) == (stage.round, stage.attempt, stage.stage):
            met.update(served.troubles)
    if met:
        told = ", ".join(f"{count} x {name}" for name, count in sorted(met.items()))
        run.progress.say(f"{stage.stage}: of the served critic {told}. See critic.server.")


def shard_path(run: Run, unit: Unit) -> Path:
    """Where a unit's votes are kept with their reasoning."""
    folder = run.directory.attempt_path(unit.round, unit.attempt) / unit.stage
    return folder / f"votes-{unit.index:04d}.parquet"


def read_votes(run: Run, stage: Unit) -> list[Vote]:
    """All votes of a finished stage with their reasoning."""
    folder = shard_path(run, stage).parent
    paths = sorted(folder.glob("votes-*.parquet"))
    return [vote for path in paths for vote in tables.read_records(path, record_type=Vote)]


def seed_of(run: Run, *where: int | str) -> SeedOf:
    """Draws named by where they happen; `again` counts re-asks."""

    def derive(item: str, dimension: Dimension, order: Order, draw: int, again: int) -> int:
        return run.seed("vote", *where, item, dimension, order, draw, again)

    return derive


def choose_contests(
    run: Run, round: int, attempt: int, candidates: Sequence[Candidate]
) -> tuple[list[Contest], Counter[build.DropReason]]:
    """Best and worst of each prompt by the expected scores in the ledger; else why not."""
    found = judge.expected_scores(run.ledger.votes(round, attempt, "point"))
    scores: dict[str, dict[str, dict[Dimension, float]]] = {}
    for c in candidates:
        scores.setdefault(c.prompt_id, {})[c.candidate_id] = {}
    prompt_of = {c.candidate_id: c.prompt_id for c in candidates}
    for (item, dimension), value in found.items():
        if item in prompt_of:
            scores[prompt_of[item]][item][dimension] = value
    contests: list[Contest] = []
    dropped: Counter[build.DropReason] = Counter()
    captions = {c.prompt_id: c.caption for c in candidates}
    clip_of = {c.candidate_id: c.clip for c in candidates}
    for prompt_id, of_candidates in scores.items():
        chosen = build.choose_contest(Prompt(prompt_id, captions[prompt_id]), of_candidates)
        if not isinstance(chosen, Contest):
            dropped[chosen] += 1
        elif clip_of[chosen.top] == clip_of[chosen.bottom]:
            dropped["no contrast"] += 1  # two paths about one clip may score it differently
        else:
            contests.append(chosen)
    return contests, dropped


def contest_items(contests: Sequence[Contest], candidates: Sequence[Candidate]) -> list[Item]:
    """What the critic is shown of each contest: the best as A, the worst as B, in both orders."""
    clip_of = {c.candidate_id: c.clip for c in candidates}
    return [
        Item(c.contest_id, c.prompt.caption, (clip_of[c.top], clip_of[c.bottom])) for c in contests
    ]


def prefer(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> list[Pair]:
    """Publish the attempt's preferences: A won, B lost, `pair_id` names both candidates."""
    unit = Unit(round, attempt, "prefer")
    path = run.directory.attempt_path(round, attempt) / "preferences.parquet"
    if not run.is_done(unit):
        contests, dropped = choose_contests(run, round, attempt, candidates)
        votes = read_votes(run, Unit(round, attempt, "confirm"))
        tallies = voting.tallies(votes)
        settings = run.config.critic
        built = build.build_pairs(
            contests,
            {c.contest_id: _confirmation(c, tallies) for c in contests},
            least_share=settings.confirm_vote_share,
            dimension_slack=settings.dimension_slack,
            margin_percentile=settings.margin_percentile,
        )
        clip_of = {c.candidate_id: c.clip for c in candidates}
        pairs = [_pair(run, unit, kept, tallies, clip_of) for kept in built.kept]
        tables.write_records(path, pairs, record_type=Pair)
        num_prompts, confirmed = len({c.prompt_id for c in candidates}), _confirm_event(votes)
        events = [
            _prefer_event(built, dropped, num_prompts, confirmed.mean_vote_share),
            score_event(run, candidates, run.ledger.votes(round, attempt, "point")),
            confirmed,
            WordsEvent(pairs=_words(votes, contests, tallies, clip_of)),
        ]
        run.commit(unit, files=(path,), events=events)
        _warn_if_alike(run, dropped["no contrast"], num_prompts)
    return tables.read_records(path, record_type=Pair)


def _warn_if_alike(run: Run, num_alike: int, num_prompts: int) -> None:
    if num_alike > MAX_ALIKE * num_prompts:
        run.progress.say(
            f"{num_alike} of {num_prompts} prompts have no contrast: their clips are the same, or "
            "the critic scores them alike. Look at the clips; raise generator.num_candidates or "
            "critic.num_score_paths."
        )


def _confirmation(contest: Contest, tallies: dict[Any, voting.Tally]) -> Confirmation:
    mine = {d: tally for (item, d), tally in tallies.items() if item == contest.contest_id}
    return Confirmation(
        verdicts={d: tally.majority for d, tally in mine.items()},
        shares={d: tally.share for d, tally in mine.items()},
        certainties={d: tally.certainty for d, tally in mine.items()},
    )


def _pair(
    run: Run,
    unit: Unit,
    kept: build.Kept,
    tallies: dict[Any, voting.Tally],
    clip_of: dict[str, str],
) -> Pair:
    contest = kept.contest
    counts = [tally for (item, _), tally in tallies.items() if item == contest.contest_id]
    winner, loser = contest.top, contest.bottom
    votes_a, votes_b = sum(tally.a for tally in counts), sum(tally.b for tally in counts)
    coin = run.seed("coin", unit.round, contest.prompt.prompt_id) % 2
    if run.config.verdicts == "coin_flip" and coin:
        winner, loser, votes_a, votes_b = loser, winner, votes_b, votes_a
    return Pair(
        pair_id=f"{winner}:{loser}",
        prompt_id=contest.prompt.prompt_id,
        prompt=contest.prompt.caption,
        video_a=clip_of[winner],
        video_b=clip_of[loser],
        dimension="overall",
        verdict="a",
        source="critic",
        annotator_or_critic_version=critic_of(run, unit.round, unit.attempt),
        certainty=kept.certainty,
        votes_a=votes_a,
        votes_b=votes_b,
        votes_tie=sum(tally.tie for tally in counts),
        votes_abstain=sum(tally.abstain for tally in counts),
        round=unit.round,
    )


def _prefer_event(
    built: BuiltPairs,
    dropped: Counter[build.DropReason],
    num_prompts: int,
    mean_vote_share: float | None,
) -> PreferEvent:
    return PreferEvent(
        num_prompts=num_prompts,
        kept=len(built.kept),
        dropped={str(why): num for why, num in (Counter(built.dropped) + dropped).items()},
        certainty=[kept.certainty for kept in built.kept],
        mean_vote_share=mean_vote_share,
    )


def _confirm_event(votes: Sequence[Vote]) -> ConfirmEvent:
    """Summarise the pairwise votes: how many could be read, and how much they agree."""
    tallies = voting.tallies(votes).values()
    return ConfirmEvent(
        num_votes=len(votes),
        abstain_rate=judge.abstain_rate(votes),
        position_bias=_position_bias(votes),
        mean_vote_share=_mean([tally.share for tally in tallies]),
        mean_entropy=_mean([tally.entropy for tally in tallies]),
        mean_order_agreement=_mean([tally.order_agreement for tally in tallies]),
    )


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def score_event(run: Run, candidates: Sequence[Candidate], votes: Sequence[Vote]) -> ScoreEvent:
    """Summarise the pointwise votes, and count the clips shorter than they should be (fault 21)."""
    settings = run.config.critic
    clips = {candidate.clip for candidate in candidates}
    wanted = min(settings.max_frames, run.config.generator.num_frames)
    num_short = count_short(run.clip_store, clips, num_wanted=wanted)
    return ScoreEvent(
        num_votes=len(votes),
        abstain_rate=judge.abstain_rate(votes),
        position_bias=_position_bias(votes),
        num_short=num_short,
        short_video=settings.short_video,
    )


def count_short(store: ClipStore, clips: Iterable[str], *, num_wanted: int) -> int:
    """Clips of fewer frames than are wanted; a header that does not say is not believed."""
    lengths = (
        clip_files.probe(store.path(clip)).num_frames or len(store.read(clip)) for clip in clips
    )
    return sum(length < num_wanted for length in lengths)


def _position_bias(votes: Sequence[Vote]) -> float | None:
    """Return the share of decided votes for the clip shown first, less a half."""
    decided = [cast for cast in votes if cast.outcome in ("a", "b")]
    num_first = sum((cast.outcome == "a") == (cast.order == "ab") for cast in decided)
    return num_first / len(decided) - 0.5 if decided else None


def _words(
    votes: Sequence[Vote],
    contests: Sequence[Contest],
    tallies: dict[Any, voting.Tally],
    clip_of: dict[str, str],
) -> list[Words]:
    """A few judged pairs with the critic's own reasoning, in the pair's own order."""
    by_place = voting.grouped(votes)
    told = []
    for n, contest in enumerate(contests[:NUM_WORDS]):
        places = [place for place in by_place if place[0] == contest.contest_id]
        if not places:
            continue
        place = places[n % len(places)]
        straight = [one.reasoning for one in by_place[place] if one.order == "ab"]
        told.append(
            Words(
                caption=contest.prompt.caption,
                clip_a=clip_of[contest.top],
                clip_b=clip_of[contest.bottom],
                dimension=place[1],
                question=reasoning.question("pair", place[1]),
                verdict=tallies[place].majority,
                certainty=tallies[place].certainty,
                reasonings=straight[:2],
            )
        )
    return told
