"""What a critic must show before it is trusted: each check is a number, a threshold and a verdict.

On held-out labelled pairs: does it speak the grammar, say different things of different clips,
prefer no position, agree with the labels, know how certain it is, care about the caption, and not
obey one? And are frames and frame rate what it is meant to see? A number that could not be measured
is None and fails no one. A critic that refuses short clips is asked nothing while there are some.
"""

import importlib.util
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dualipo.config import Critic
from dualipo.critic import judge, voting
from dualipo.critic.asks import Clips, Item, SeedOf
from dualipo.critic.trust import calibration, forced_choice, hostile
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.records import Dimension, Verdict

# A caption should not matter to these.
CAPTIONLESS: tuple[Dimension, ...] = ("faithfulness", "motion")


@dataclass(frozen=True)
class Check:
    """`number` must be at least, or at most, `threshold`."""

    name: str
    number: float | None
    threshold: float
    at_least: bool
    what: str

    @property
    def passed(self) -> bool:
        """Whether the critic may be trusted in this respect."""
        if self.number is None:
            return True
        return self.number >= self.threshold if self.at_least else self.number <= self.threshold


@dataclass(frozen=True)
class Checked:
    """All checks, and the reliability diagram of the certainties that they were calibrated to."""

    checks: tuple[Check, ...]
    reliability: tuple[calibration.Bin, ...]

    @property
    def passed(self) -> bool:
        """Whether all passed."""
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
) -> Checked:
    """Check a critic on labelled pairs; `fps` is what the file of each clip says."""
    frames, rate = _contract(items, clips, fps, expected_fps, expected_frames, settings)
    if settings.short_video == "error" and not frames.passed:
        return Checked((frames, rate), ())
    margins = forced_choice.margins(vlm, items, clips=clips, settings=settings)
    against_labels, bins = _against_labels(margins, verdicts, settings)
    found = (
        frames,
        rate,
        *_answers(vlm, items, clips, settings, seed_of),
        *against_labels,
        *_captions(vlm, items, clips, settings, seed_of),
    )
    return Checked(found, tuple(bins))


def table(checked: Checked) -> str:
    """One line a check, for people."""
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
    """Clips as long and as fast as the generator's, as far as the critic would see of them."""
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
        Check("frame rate", max(rates, default=None), 0.01, False, "clips' fps from generator.fps"),
    )


def _answers(
    vlm: Vlm, items: Sequence[Item], clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[Check]:
    """Parse rate, entropy and position bias of one answer in each order."""
    once = settings.model_copy(update={"num_votes": 2, "max_reasks": 0, "early_stop": False})
    votes = judge.confirm(vlm, items, clips=clips, settings=once, seed_of=seed_of)
    shown = [judge.as_shown(one) for one in votes if one.outcome != "abstain"]
    decided = [one for one in shown if one != "tie"]
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
    """Accuracy, and how far certainty is from it."""
    want, error, bins = settings.check, *_calibration(margins, verdicts, settings)
    right = forced_choice.accuracy(margins, verdicts)
    what = "between how certain it is and how often it is right"
    return [
        Check("accuracy", right, want.min_accuracy, True, "forced choice, held-out labels"),
        Check("calibration error", error, want.max_calibration_error, False, what),
    ], bins


def _calibration(
    margins: Mapping[Place, float], verdicts: Mapping[Place, Verdict], settings: Critic
) -> tuple[float | None, list[calibration.Bin]]:
    """Of the probability that the critic gives to the side it leans to; fitted where it can be."""
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
    """A critic has to read the caption, and not to obey it."""
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
    """Part of the clips with a higher score under their own caption than under the next one's."""
    captions = [item.caption for item in items]
    own = [
        Item(f"{item.item_id} own", item.caption, item.clip_hashes[:1], ("consistency",))
        for item in items
    ]
    other = [
        Item(
            f"{item.item_id} other",
            captions[(n + 1) % len(items)],
            one.clip_hashes,
            ("consistency",),
        )
        for n, (item, one) in enumerate(zip(items, own, strict=True))
    ]
    votes = judge.score(vlm, [*own, *other], clips=clips, settings=settings, seed_of=seed_of)
    scores = judge.expected_scores(votes)
    gaps = [
        scores[a.item_id, "consistency"] - scores[b.item_id, "consistency"]
        for a, b in zip(own, other, strict=True)
        if a.caption != b.caption
        and (a.item_id, "consistency") in scores
        and (b.item_id, "consistency") in scores
    ]
    return sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps) if gaps else None


def _obedience(vlm: Vlm, items: Sequence[Item], clips: Clips, settings: Critic) -> float | None:
    """Leans turned by a hostile caption instead of a neutral one, less those that the real turns.

    On the dimensions that need no caption.
    """
    plain = [replace(item, dimensions=CAPTIONLESS) for item in items[::2]]  # each is asked thrice
    neutral = [replace(item, caption=judge.NEUTRAL_CAPTION) for item in plain]
    step = max(1, len(hostile.CORPUS) // max(1, len(plain)))
    lies = [
        replace(item, caption=hostile.CORPUS[n * step % len(hostile.CORPUS)])
        for n, item in enumerate(plain)
    ]
    real, base, forged = (
        forced_choice.margins(vlm, some, clips=clips, settings=settings)
        for some in (plain, neutral, lies)
    )
    answered = base.keys() & real.keys() & forged.keys()
    if not answered:
        return None

    def turned(margins: Mapping[Place, float]) -> float:
        return sum(margins[place] * base[place] < 0 for place in answered) / len(answered)

    return turned(forged) - turned(real)
