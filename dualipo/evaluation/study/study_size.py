"""The size of a study: how many prompts it needs, decided before it starts.

To tell a win rate p from 1/2 at a level of 1 - alpha with a power of 1 - beta, where a share t of
the answers are ties (a score is 1, 1/2 or 0, and its variance (1 - t)/4 - (p - 1/2)^2):

    n = ((z_{1-alpha/2} sqrt((1 - t)/4) + z_{1-beta} sqrt((1 - t)/4 - (p - 1/2)^2)) / (p - 1/2))^2
    answers = n (1 + (m - 1) rho)

m answers about one prompt are alike (rho is their correlation), so they count for less than m.
People differ too; the formula assumes that there are many of them.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from dualipo.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StudySize:
    """The prompts that a study needs, and its answers in each dimension."""

    num_prompts: int
    num_answers: int


def smallest_study(
    win_rate: float,
    *,
    ties: float = 0.2,
    answers_per_prompt: int = 3,
    likeness: float = 0.3,
    power: float = 0.8,
    level: float = 0.95,
) -> StudySize:
    """Return the smallest study that can tell `win_rate` from 1/2; a tie counts half."""
    shares = {"ties": ties, "likeness": likeness}
    for name, share in {**shares, "power": power, "level": level}.items():
        least = 0 if name in shares else math.ulp(0.0)  # nobody plans a study that notices nothing
        if not least <= share < 1:
            raise ConfigError(f"{name}: {share} is not a share from 0 to 1. Give one.")
    gap = abs(win_rate - 0.5)
    if not 0 < gap <= (1 - ties) / 2:
        raise ConfigError(
            f"win rate {win_rate}: with {ties:.0%} ties it must differ from 0.5 and stay within "
            f"{ties / 2:.2f} and {1 - ties / 2:.2f}. Choose the smallest difference that matters."
        )
    z = NormalDist().inv_cdf
    spread = math.sqrt((1 - ties) / 4)
    spread_if_true = math.sqrt((1 - ties) / 4 - gap**2)
    independent = ((z((1 + level) / 2) * spread + z(power) * spread_if_true) / gap) ** 2
    alike = 1 + (answers_per_prompt - 1) * likeness
    num_prompts = math.ceil(independent * alike / answers_per_prompt)
    return StudySize(num_prompts, num_prompts * answers_per_prompt)
