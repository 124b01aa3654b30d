"""Self-checks of a critic before it is trusted: each is a number, a threshold and a verdict.

On held-out labelled pairs: does it follow the grammar, answer differently on different clips,
prefer no position, agree with the labels, know how certain it is, read the caption, and not obey
one? And are the number of frames and the frame rate as they should be? A number that could not be
measured is None and fails nobody. A critic that refuses short clips is asked nothing while the
pairs hold any.
"""

import importlib.util
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dualipo.config import Critic
from dualipo.critic import judge, vote_counts, voting
from dualipo.critic.asks import Clips, Item, SeedOf
from dualipo.critic.trust import calibration, forced_choice, hostile
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.records import Verdict, Vote


@dataclass(frozen=True)
class Check:
    """A number that must be at least, or at most, its threshold."""

    name: str
    number: float | None
    threshold: float
    at_least: bool
    what: str  # explains the number to people; a key of the ledger's event

    @property
    def passed(self) -> bool:
        """True if the number keeps its threshold, or could not be measured."""
        if self.number is None:
            return True
        return self.number >= self.threshold if self.at_least else self.number <= self.threshold


@dataclass(frozen=True)
class Checked:
    """The outcome of all checks, with the reliability diagram of the critic's certainties.

    They ask about `num_pairs`. `num_answers` were read for the parse rate; `unread` shows some that
    could not be.
    """

    checks: tuple[Check, ...]
    reliability: tuple[calibration.Bin, ...]
    num_pairs: int = 0
    num_answers: int = 0
    unread: str = ""

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)


def run(
    vlm: Vlm,
    items: Sequence[Item],
    verdicts: Mapping[Place, Verdict],
    *,
    clips: Clips,
    fps: Mapping[str, float],
    expected_fps: float,
    expected_frames: int,
    settings: Critic,
    seed_of: SeedOf,
    fps_of: str = "generator.fps",
) -> Checked:
    """Check a critic on labelled pairs; `fps` holds the frame rate of each clip's file.

    `fps_of` names for people what `expected_fps` is.
    """
    frames, rate = _contract(items, clips, fps, expected_fps, expected_frames, settings)
    rate = replace(rate, what=f"clips' fps from {fps_of}")
    if settings.short_video == "error" and not frames.passed:
        return Checked((frames, rate), ())
    margins = forced_choice.margins(vlm, items, clips=clips, settings=settings)
    against_labels, bins = _against_labels(margins, verdicts, settings)
    # One answer in each order.
    once = settings.model_copy(update={"num_votes": 2, "max_reasks": 0, "early_stop": False})
    votes = judge.confirm(vlm, items, clips=clips, settings=once, seed_of=seed_of)
    checks = (
        frames,
        rate,
        *_of_answers(votes, settings),
        *against_labels,
        *_captions(vlm, items, clips, settings, seed_of),
    )
    unread = vote_counts.examples(vote_counts.unread(votes))
    return Checked(checks, tuple(bins), len(items), len(votes), unread)


def table(checked: Checked) -> str:
    """Write the checks as a table for people, one line each."""
    lines = [f"{'check':<22}{'number':>9}  {'threshold':<11}verdict"]
    for check in checked.checks:
        number = "-" if check.number is None else f"{check.number:.3f}"
        bound = f"{'>=' if check.at_least else '<='} {check.threshold:g}"
        verdict = "not measured" if check.number is None else "ok" if check.passed else "FAILED"
        lines.append(f"{check.name:<22}{number:>9}  {bound:<11}{verdict:<14}{check.what}")
    return "\n".join(lines)


def _contract(
    items: Sequence[Item],
    clips: Clips,
    fps: Mapping[str, float],
    expected_fps: float,
    expected_frames: int,
    settings: Critic,
) -> tuple[Check, Check]:
    """Check the clips' length and frame rate against the generator's settings."""
    shown = {clip_hash for item in items for clip_hash in item.clip_hashes}
    lengths = [len(clips(clip_hash)) for clip_hash in sorted(shown)]
    rates = [abs(fps[clip_hash] - expected_fps) for clip_hash in shown if clip_hash in fps]
    least = {
        "use_all": min(settings.max_frames, expected_frames),
        "repeat": 1,
        "error": settings.max_frames,
    }[settings.short_video]
    return (
        Check("frames", min(lengths, default=None), least, True, "in the shortest clip"),
        Check("frame rate", max(rates, default=None), 0.01, False, "clips' fps from expected"),
    )


def _of_answers(votes: Sequence[Vote], settings: Critic) -> list[Check]:
    """Check parse rate, entropy and position bias of the answers."""
    shown = [vote_counts.as_shown(vote) for vote in votes if vote.outcome != "abstain"]
    decided = [position for position in shown if position != "tie"]
    bias = abs(decided.count("first") / len(decided) - 0.5) if decided else None
    want = settings.check
    parsed = 1.0 - judge.abstain_rate(votes) if votes else None
    entropy = voting.entropy(Counter(shown).values()) if shown else None
    return [
        Check("parse rate", parsed, 1 - settings.max_abstain_rate, True, "answers in the grammar"),
        Check("entropy", entropy, settings.min_entropy, True, "of its answers, in nats"),
        Check("position bias", bias, want.max_position_bias, False, "of the first clip, from half"),
    ]


def _against_labels(
    margins: Mapping[Place, float], verdicts: Mapping[Place, Verdict], settings: Critic
) -> tuple[list[Check], list[calibration.Bin]]:
    """Check accuracy, and how far the critic's certainty is from it."""
    want, error, bins = settings.check, *_calibration(margins, verdicts, settings)
    accuracy = forced_choice.accuracy(margins, verdicts)
    meaning = "between how certain it is and how often it is right"
    return [
        Check("accuracy", accuracy, want.min_accuracy, True, "forced choice, held-out labels"),
        Check("calibration error", error, want.max_calibration_error, False, meaning),
    ], bins


def _calibration(
    margins: Mapping[Place, float], verdicts: Mapping[Place, Verdict], settings: Critic
) -> tuple[float | None, list[calibration.Bin]]:
    """Return the calibration error of the probability given to the preferred clip, and its bins.

    The probabilities are fitted to the labels first where scikit-learn is installed.
    """
    certainties, hits = [], []
    for place, margin in margins.items():
        verdict = verdicts.get(place)
        if verdict in ("a", "b"):
            certainties.append(1 / (1 + math.exp(-min(abs(margin), 700.0))))
            toward = margin if verdict == "a" else -margin
            hits.append(1.0 if toward > 0 else 0.5 if toward == 0 else 0.0)
    if not hits:
        return None, []
    if importlib.util.find_spec("sklearn"):
        method = settings.check.calibration
        certainties = calibration.cross_fitted(certainties, hits, method=method)
    bins = calibration.reliability(certainties, hits)
    return calibration.expected_calibration_error(certainties, hits), bins


def _captions(
    vlm: Vlm, items: Sequence[Item], clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[Check]:
    """Check that the critic reads a caption, and that it does not obey one."""
    want = settings.check
    sensitivity = _sensitivity(vlm, items, clips, settings, seed_of)
    obedience = _obedience(vlm, items, clips, settings)
    match = "clips that match their own caption better than another's"
    turned = "leans turned by captions that give orders, beyond those that any turns"
    return [
        Check("caption sensitivity", sensitivity, want.min_caption_sensitivity, True, match),
        Check("caption obedience", obedience, want.max_caption_obedience, False, turned),
    ]


def _sensitivity(
    vlm: Vlm, items: Sequence[Item], clips: Clips, settings: Critic, seed_of: SeedOf
) -> float | None:
    """Return the share of clips that score higher under their own caption than under the next.

    The first dimension that needs the caption is asked about; None where there is none.
    """
    free = settings.questions.captionless()
    dimension = next((name for name in settings.questions.names if name not in free), None)
    if dimension is None:
        return None
    captions = [item.caption for item in items]
    own = [
        Item(f"{item.item_id} own", item.caption, item.clip_hashes[:1], (dimension,))
        for item in items
    ]
    other = [
        Item(
            f"{item.item_id} other",
            captions[(n + 1) % len(items)],
            item.clip_hashes[:1],
            (dimension,),
        )
        for n, item in enumerate(items)
    ]
    votes = judge.score(vlm, [*own, *other], clips=clips, settings=settings, seed_of=seed_of)
    scores = judge.expected_scores(votes)
    gaps = [
        scores[a.item_id, dimension] - scores[b.item_id, dimension]
        for a, b in zip(own, other, strict=True)
        if a.caption != b.caption
        and (a.item_id, dimension) in scores
        and (b.item_id, dimension) in scores
    ]
    return sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps) if gaps else None


def _obedience(vlm: Vlm, items: Sequence[Item], clips: Clips, settings: Critic) -> float | None:
    """Return the share of preferences that hostile captions turn, less what real captions turn.

    Both are compared with a neutral caption, on the dimensions that need none.
    """
    free = settings.questions.captionless()
    plain = [replace(item, dimensions=free) for item in items[::2]]  # each is asked thrice
    neutral = [replace(item, caption=judge.NEUTRAL_CAPTION) for item in plain]
    step = max(1, len(hostile.CORPUS) // max(1, len(plain)))
    lies = [
        replace(item, caption=hostile.CORPUS[n * step % len(hostile.CORPUS)])
        for n, item in enumerate(plain)
    ]
    real, base, forged = (
        forced_choice.margins(vlm, asked, clips=clips, settings=settings)
        for asked in (plain, neutral, lies)
    )
    answered = base.keys() & real.keys() & forged.keys()
    if not answered:
        return None

    def turned(margins: Mapping[Place, float]) -> float:
        return sum(margins[place] * base[place] < 0 for place in answered) / len(answered)

    return turned(forged) - turned(real)
