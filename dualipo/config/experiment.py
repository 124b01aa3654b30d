"""The whole tree of settings, and which of them a resumed run may change."""

import os
from typing import Literal

from pydantic import Field, field_validator

from dualipo.config.align import Align
from dualipo.config.critic import Critic
from dualipo.config.fields import MAX_COUNT, Group
from dualipo.config.generator import Generator, Prompts
from dualipo.config.learning import CriticPreference, CriticTraining, SeedLabels
from dualipo.config.rounds import Monitor, Refresh
from dualipo.config.servers import Server, Serving
from dualipo.config.workers import Workers


class Config(Group):
    """One experiment, as a recipe describes it and a run's `config.json` keeps it."""

    output_dir: str = Field("runs/dualipo", description="The folder of the run.")
    seed: int = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="The number from which every random draw is derived; the same one repeats a "
        "run.",
    )
    rounds: int = Field(
        3,
        ge=0,
        le=10_000,
        description="The number of rounds; 0 ends after the warm start, from where `dualipo fork` "
        "goes on.",
    )
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = Field(
        "none",
        description='The tracker that gets the metrics beside metrics.jsonl: "none", '
        '"tensorboard", "wandb" or "trackio".',
    )
    logging_dir: str | None = Field(
        None, description="The folder of the tracker; null is a folder inside the run."
    )
    push_to_hub: bool = Field(
        False,
        description="Whether the last generator is published on the Hugging Face Hub, with the "
        "token in HF_TOKEN.",
    )
    hub_model_id: str | None = Field(
        None,
        description="The repository on the Hub as OWNER/NAME, which is made private if it is new.",
    )
    verdicts: Literal["critic", "coin_flip"] = Field(
        "critic",
        description='The judge of which clip is better: "critic", or "coin_flip" as a control '
        "experiment.",
    )
    prompts: Prompts = Prompts()
    generator: Generator = Generator()
    seed_labels: SeedLabels = SeedLabels()
    critic: Critic = Critic()
    warm_start_sft: CriticTraining = CriticTraining()
    warm_start_dpo: CriticPreference = CriticPreference()
    align: Align = Align()
    refresh: Refresh = Refresh()
    monitor: Monitor = Monitor()
    workers: Workers = Workers()

    @field_validator("output_dir")
    @classmethod
    def _is_a_folder(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is empty, but it must name a folder")
        return os.path.expanduser(value)  # a recipe is read by no shell


SERVERS = ("critic.server", "seed_labels.rewriter")

# A resumed run may change these at any time, and others until they are read (`uses.py`, fault 47).
# A server may move, its model stays.
MAY_CHANGE = (
    *("align.checkpointing_steps", "align.checkpoints_total_limit", "rounds"),
    # Sums round differently, and nothing else changes (fault 46).
    *(
        f"{group}.{name}"
        for group in ("align", "critic")
        for name in ("num_processes", "num_nodes")
    ),
    *(
        "critic.server.base_urls",
        "critic.check.on_failure",
        "refresh.stop_early",
        "critic.clip_memory_mb",
        "critic.decoded_clips_mb",
    ),
    *("monitor.suite_python", "monitor.suite_timeout"),
    *("generator.keep_latents", "report_to", "logging_dir", "push_to_hub", "hub_model_id"),
    *(f"{group}.{name}" for group in SERVERS for name in Server.model_fields),
    *(f"critic.serving.{name}" for name in Serving.model_fields),
    *(f"workers.{name}" for name in Workers.model_fields),
)
