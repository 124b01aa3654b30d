"""What a recipe needs in one line: memory of a device, disk, hours and labels.

It is made of the estimates that `--dry-run` prints (`estimating`, `critic_memory`, `bill`).
"""

import math
from dataclasses import dataclass

from dualipo.amounts import storage
from dualipo.config import Config
from dualipo.rounds import bill, critic_memory, estimating


@dataclass(frozen=True)
class Needs:
    """The needs of a recipe: bytes on a device by use, bytes of disk, device-hours, and labels."""

    memory: dict[str, float]
    disk: float
    hours: float
    num_labels: int

    @property
    def largest(self) -> str:
        """The use that takes the most memory."""
        return max(self.memory, key=self.memory.__getitem__)

    def in_words(self, device: str) -> str:
        """Return the needs in one line."""
        return (
            f"{storage(self.memory[self.largest])} of a device ({self.largest}), "
            f"{storage(self.disk)} of disk, {self.hours:,.0f} hours of an {device} at least, and "
            f"{self.num_labels:,} labels"
        )


def of(config: Config, device: str) -> Needs:
    """Return what a recipe needs, with the hours of a device that `bill` knows by name."""
    uses = {
        "sampling": estimating.sampling_memory(config),
        "aligning": estimating.estimate(config).aligning_memory,
        **critic_memory.memory(config),
    }
    rate, _ = bill.speed(device)
    seeds = config.seed_labels
    return Needs(
        memory={use: sum(parts.values()) for use, parts in uses.items()},
        disk=sum(estimating.estimate(config).disk.values()),
        hours=sum(bill.operations(config).values()) / rate / bill.HOUR,
        num_labels=math.ceil(seeds.min_holdout / seeds.holdout_share),
    )
