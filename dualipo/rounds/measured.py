"""What a run will take and measure, in lines for people, before it begins.

A signal that a recipe cannot have is named with the reason, so that nobody waits for it.
"""

from collections import Counter
from collections.abc import Mapping

from dualipo.config import LEARNING, WORLD, Config
from dualipo.preferences.label_set import LabelSet
from dualipo.prompts import corpus
from dualipo.rounds import ahead, file_sources, gating, preflight, seed_labels
from dualipo.rounds.run import EMBEDDED

_NOT = "not measured, because"


def lines(config: Config) -> list[str]:
    """Return a line for each signal: what measures it, or why nothing does."""
    monitor, own = config.monitor, config.prompts.source == "file"
    audit = _by(
        monitor.num_audit_labels,
        "labels of people, for whom the run waits"
        if monitor.audit == "people"
        else "labels of simulated annotators",
        "monitor.num_audit_labels",
        own,
    )
    ordered = "pairs that the embedded world's oracle orders"
    accuracy = _by(monitor.num_accuracy_pairs, ordered, "monitor.num_accuracy_pairs", own)
    held_out = "held-out pairs at most, before a critic's first judgement"
    return [
        f"the critic on labels it never saw: {_held_out(config)}",
        f"the critic on fresh labels of each round's clips: {audit}",
        f"the critic's accuracy, for people: {accuracy}",
        "the critic's self-checks: "
        + _by(config.critic.check.num_pairs, held_out, "critic.check.num_pairs"),
        f"a round against the one before: measured by the critic's votes on clips of "
        f"{config.prompts.num_monitor_prompts} monitor prompts",
        "the fit to the preferences: measured by the alignment's own losses",
        *_gate(config),
        f"scores of test clips, for people: {_scores(config)}",
        f"clips to look at, and for a blind study: {_gallery(config)}",
        f"motion, flicker and the like of each version's clips: {_pixels(config)}",
        f"each version against the base, by judges that never train: {_judges(config)}",
        f"a suite's total, for the triggers: {_suite(config)}",
    ]


def inputs(config: Config) -> list[str]:
    """Return what files will give: captions and labels, and how much of them cannot be used."""
    told = []
    if config.prompts.source == "file":
        listed = file_sources.captions(config)
        folded = corpus.fold(listed, right_to_left=config.prompts.right_to_left)
        state = ahead.of(config)
        wanted = sum(preflight.wanted_captions(config, state).values())
        reasons = preflight.left_out(folded, num_listed=len(listed.captions))
        told.append(
            f"captions: {len(folded.prompts)} can be used{reasons}; {wanted} are still to be drawn"
        )
    if (seed := file_sources.imported_seed(config)) is not None:
        told += _seed(config, seed.labels)
        if reasons := _counted(seed.excluded):
            told.append(f"labels that are left out: {reasons}")
    elif config.prompts.source == "file":
        told.append(
            "labels: none yet. The run samples clips for people to label, and ends; "
            "seed_labels.path names their labels when it goes on"
        )
    return [*told, _questions(config)]


def _counted(reasons: Mapping[str, int]) -> str:
    """List reasons with their counts, for example "in a circle (6), motion (2)"."""
    return ", ".join(f"{reason} ({num})" for reason, num in sorted(reasons.items()))


def _questions(config: Config) -> str:
    """Return what the critic is asked about, and where the embedded world's words may not fit."""
    asked = config.critic.questions
    told = f'questions: "{asked.name}", about {", ".join(asked.names)}'
    is_shipped = config.critic.pretrained_model_name_or_path.startswith(EMBEDDED)
    if asked == WORLD and config.prompts.source == "file" and not is_shipped:
        told += ', for the embedded world\'s clips. For real videos set critic.questions = "video"'
    return told


def _seed(config: Config, labels: LabelSet) -> list[str]:
    """Return how many labels of whom a label set has, and what a lack of grades means."""
    if not labels.every:
        return ["labels: none can be used"]
    people = Counter(f"{label.annotator_or_critic_version}" for label in labels.every)
    shown = ", ".join(f"{name or 'unnamed'} {num}" for name, num in people.most_common(5))
    sources = Counter(label.source for label in labels.every)
    told = [
        f"labels: {len(labels.pairs)} pairs and {len(labels.points)} grades "
        f"({', '.join(f'{num} {source}' for source, num in sources.items())}; by {shown})"
    ]
    if config.critic.backend in LEARNING and not labels.points:
        told.append(
            "labels: they compare clips and grade none, so the critic is not taught to grade a "
            "clip, which comes first in every round; grades as well would teach it"
        )
    return told


def _held_out(config: Config) -> str:
    seed, share = config.seed_labels, config.seed_labels.holdout_share
    if (imported := file_sources.imported_seed(config)) is not None:
        labels = imported.labels.every
        num = len(seed_labels.keep_part(config, labels, held_out=True))
        return f"measured by {num} of {len(labels)} labels, those of held-out captions"
    if config.prompts.source == "file":
        return f"measured by about {share:.0%} of the labels that people give"
    return f"measured by about {share:.0%} of {seed.num_pairs} simulated pairs"


def _by(num: int, what: str, setting: str, own: bool = False) -> str:
    """Return what measures a signal; where `num` is 0 the reason, which is captions of one's `own`.

    No program can judge clips of those.
    """
    if num:
        return f"measured by {num} {what}"
    return (
        f"{_NOT} {'no program can label clips of your own captions' if own else f'{setting} is 0'}"
    )


def _gate(config: Config) -> list[str]:
    too_few = gating.power(config)
    return [f"whether a refreshed critic is better: {too_few}"] if too_few else []


def _pixels(config: Config) -> str:
    if config.monitor.clip_metrics == "off":
        return f'{_NOT} monitor.clip_metrics is "off"'
    return f"measured from the pixels of {config.prompts.num_monitor_prompts} monitor prompts"


def _judges(config: Config) -> str:
    if not config.monitor.judges:
        return f"{_NOT} monitor.judges names none"
    names = ", ".join(judge.name for judge in config.monitor.judges)
    return f"measured by {names} on {config.prompts.num_test_prompts} test prompts"


def _suite(config: Config) -> str:
    monitor = config.monitor
    if monitor.suite == "none":
        return f'{_NOT} monitor.suite is "none"'
    if monitor.suite == "world":
        num = config.prompts.num_monitor_prompts
        return f"measured by pixels and simulated people on {num} monitor prompts"
    known = f"measured by VBench on {monitor.suite_prompts} prompts of its own"
    if config.prompts.source == "world":
        return f"{known}, about things that a generator of the embedded world was never shown"
    return known


def _scores(config: Config) -> str:
    if not config.prompts.num_test_prompts:
        return f"{_NOT} prompts.num_test_prompts is 0"
    if config.prompts.source == "file":
        return f"{_NOT} no program can judge clips of your own captions"
    return f"measured by the oracle on clips of {config.prompts.num_test_prompts} test prompts"


def _gallery(config: Config) -> str:
    if num := config.prompts.num_test_prompts:
        return f"{num * config.monitor.num_test_clips} clips of each generator"
    return "none, because prompts.num_test_prompts is 0"
