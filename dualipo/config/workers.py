"""The settings of workers: who computes the units of sampling and judging.

They change no bit of what is computed, so a resumed run may change all of them.
"""

from typing import Literal

from pydantic import Field

from dualipo.config.fields import Group


class Workers(Group):
    """Which processes do a stage's units of work, how many there are, and when one is given up."""

    engine: Literal["inline", "processes", "ray"] = Field(
        "inline",
        description='The processes that sample and judge: "inline" is the run\'s own, "processes" '
        'starts one for each device of this machine, "ray" starts actors on a cluster (needs '
        "dualipo[ray]).",
    )
    num_workers: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="The number of workers; null is one for each device, and on a CPU one, and "
        "those that a cluster has no room for begin when a node joins.",
    )
    unit_timeout: float = Field(
        7200.0,
        gt=0,
        le=1e7,
        description="The seconds after which a worker that answers nothing is ended and its unit "
        "given to another, loading a model included; a larger value suits slower devices.",
    )
    max_failures: int = Field(
        3,
        ge=1,
        le=100,
        description="How often a unit may fail before it is set aside; the stage does all other "
        "units and then stops.",
    )
    address: str | None = Field(
        None,
        description='The Ray cluster to join: "auto" is the one of this machine, HOST:PORT or '
        "ray://HOST:PORT another; null starts one here.",
    )
    num_gpus: float | None = Field(
        None,
        ge=0,
        le=64,
        description="The GPUs that each Ray worker holds; null is 1 where the cluster has GPUs, "
        "and 0 otherwise.",
    )
