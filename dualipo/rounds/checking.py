"""Self-checks of every critic version before it judges, on held-out seed pairs.

The checks are those of `critic.trust.checks`. Their results are recorded and reported. A refreshed
critic that fails a check which its parent passed, and is worse by more than chance, is reverted
(`refreshing`). A failed check that matters ends the run where `critic.check.on_failure` says so,
and so does a critic that can hardly be read. The checks that stop a stage are others: those of
`critic.judge`.
"""

import math
from dataclasses import asdict

from dualipo.config import LEARNING, Config
from dualipo.critic import vote_counts
from dualipo.critic.asks import Item
from dualipo.critic.trust.checks import Check, Checked
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.errors import StageError
from dualipo.evaluation import bootstrap
from dualipo.event_parts import CheckRow, ReliabilityBin
from dualipo.events import CriticCheckEvent
from dualipo.records import Verdict
from dualipo.rounds import asking, seed_labels
from dualipo.rounds.accuracy import pair_item
from dualipo.rounds.asking import SelfCheck
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import Run
from dualipo.rounds.versions import critic_of
from dualipo.store.ledger import Unit

# The checks that a critic must pass where `critic.check.on_failure` is "stop".
MATTERS = ("parse rate", "entropy", "position bias", "accuracy", "caption sensitivity")


def check_critic(run: Run, round: int, attempt: int) -> None:
    """Check the critic that judges an attempt; each version is checked once."""
    unit = Unit(round, attempt, "check")
    critic = critic_of(run, round, attempt)
    is_asked = run.config.critic.check.num_pairs > 0
    known = recorded(run, critic)
    if is_asked and known is None and not run.is_done(unit):
        clock, asked = Clock(), _asked(run, critic)
        run.progress.stage("check", round=round, attempt=attempt, total=len(asked.items))
        checked = asking.checked(run, asked)
        run.progress.advance(len(asked.items))
        require_words(critic, checked, run.config)
        known = as_event(critic, checked)
        run.commit(unit, clock=clock, events=[known])
        say_failures(run, critic, checked)
    if known is not None and run.config.critic.check.on_failure == "stop":
        require_passed(known, backend=run.config.critic.backend)


def require_trusted(run: Run, round: int) -> None:
    """Check a round's critic before the generator works for it; end the run where it cannot judge.

    Scores from a file may be made after the clips.
    """
    judges = run.config.rounds > 0 and run.config.critic.backend != "scores"
    if judges or run.config.critic.check.on_failure == "stop":
        check_critic(run, round, 0)


def require_words(critic: str, checked: Checked, config: Config) -> None:
    """Raise a StageError where so few answers can be read that a round's votes would stop the run.

    Even the highest parse rate that the answers allow (95 % interval) leaves too much unread after
    `critic.max_reasks` more tries. Nothing is committed, so that another try checks anew.
    """
    settings, num = config.critic, checked.num_answers
    if not num or config.align.loss_type == "kto":  # KTO compares no clips
        return
    [rate] = [check.number for check in checked.checks if check.name == "parse rate"]
    highest = bootstrap.wilson((rate or 0.0) * num, num).high
    if (1 - highest) ** (1 + settings.max_reasks) > settings.max_abstain_rate:
        raise StageError(
            f"critic {critic}: {rate or 0:.0%} of its {num} answers about held-out labels could be "
            "read. The votes of a round would stop the run (critic.max_abstain_rate is "
            f"{settings.max_abstain_rate:.0%}), so no clips are made for it. "
            f"{vote_counts.remedy(settings)}{checked.unread}"
        )


def require_passed(event: CriticCheckEvent, *, backend: str) -> None:
    """Raise a StageError where a version failed a check that matters."""
    failed = [row for row in event.checks if row.name in MATTERS and not row.passed]
    if not failed:
        return
    told = ", ".join(
        f"{row.name} is {row.number:.3f}, {'at least' if row.at_least else 'at most'} "
        f"{row.threshold:g} is asked"
        for row in failed
    )
    learns = "Train the warm start on more labels" if backend in LEARNING else "Use a better model"
    raise StageError(
        f"critic {event.critic_version}: it failed its check ({told}), and critic.check.on_failure "
        f'is "stop", so no clips are made for it. {learns}, or reword critic.questions, in another '
        'run. critic.check.on_failure = "warn" goes on with this one.'
    )


def recorded(run: Run, critic: str) -> CriticCheckEvent | None:
    """Return what the checks of a version found; None if they did not run."""
    events = (event for _, event in run.ledger.events(CriticCheckEvent))
    return next((event for event in events if event.critic_version == critic), None)


def as_event(critic: str, checked: Checked) -> CriticCheckEvent:
    """Return a version's checks for the ledger."""
    return CriticCheckEvent(
        critic_version=critic,
        passed=checked.passed,
        checks=[CheckRow(**asdict(check), passed=check.passed) for check in checked.checks],
        reliability=[ReliabilityBin(**asdict(column)) for column in checked.reliability],
        num_pairs=checked.num_pairs,
    )


def say_failures(run: Run, critic: str, checked: Checked) -> None:
    """Report each check that failed, or that there was no pair to check on."""
    if all(check.number is None for check in checked.checks):
        run.progress.say(f"critic {critic}: not checked, as no labelled pair is held out.")
    for check in checked.checks:
        if not check.passed:
            wanted = f"at {'least' if check.at_least else 'most'} {check.threshold:g} is wanted"
            run.progress.say(
                f"critic {critic} failed its check of {check.name}: {check.number:.3f}, {wanted} "
                f"({check.what})"
            )


def newly_failed(before: CriticCheckEvent | None, checked: Checked) -> list[str]:
    """Return the names of the checks that fail now, and passed in the event `before`.

    A number that moved no further than chance moves a share of so many pairs does not count: a
    critic as good as its parent fails now and then what that one passed narrowly.
    """
    reach = bootstrap.chance_reach(checked.num_pairs) if checked.num_pairs else 0.0
    passed = {row.name: row.number for row in before.checks if row.passed} if before else {}
    return [
        check.name
        for check in checked.checks
        if not check.passed and check.name in passed and _moved(check, passed[check.name]) > reach
    ]


def _moved(check: Check, number: float | None) -> float:
    """Return how far a check's number is from an earlier one; far where one was not measured."""
    if number is None or check.number is None:
        return math.inf
    return abs(check.number - number)


def check(run: Run, version: str, critic: Vlm) -> Checked:
    """Check a critic on `critic.check.num_pairs` held-out pairs; record nothing."""
    return asking.check(run, _asked(run, version), critic)


def _asked(run: Run, version: str) -> SelfCheck:
    pairs, _ = seed_labels.held_out_labels(run)
    items: list[Item] = []
    verdicts: dict[Place, Verdict] = {}
    for pair in pairs[: run.config.critic.check.num_pairs]:
        if pair.dimension != "overall":
            items.append(pair_item(pair, pair.dimension))
            verdicts[pair.pair_id, pair.dimension] = pair.verdict
    return SelfCheck(version, tuple(items), verdicts)
