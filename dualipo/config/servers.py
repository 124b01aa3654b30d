"""The settings of OpenAI-compatible servers: their addresses, patience, and how they are asked."""

from typing import Literal

from pydantic import Field, field_validator

from dualipo import redaction
from dualipo.config.fields import Group


class Server(Group):
    """An OpenAI-compatible server; its key is no setting."""

    base_url: str = Field(
        "http://127.0.0.1:8000/v1",
        description="The address of the OpenAI-compatible server, as http://HOST:PORT/v1.",
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        description="The environment variable that holds the server's key, which is written "
        "nowhere: its name, in capital letters.",
    )
    timeout: float = Field(
        120.0, gt=0, le=86_400, description="The seconds within which a whole answer has to arrive."
    )
    max_retries: int = Field(
        4, ge=0, le=1_000, description="The number of times that a failed request is sent again."
    )
    max_concurrency: int = Field(
        8,
        ge=1,
        le=10_000,
        description="The number of requests that are under way at the same time.",
    )

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not redaction.is_variable_name(value):
            raise ValueError(
                "it must be the name of an environment variable in capital letters, such as "
                "OPENAI_API_KEY. What it is now is not shown, as it may be the key itself"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _is_plain_address(cls, value: str) -> str:
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "it holds a user or password, which would be written into the run. Put the key "
                "into the environment variable that api_key_env names"
            )
        if not redaction.is_address(value):
            raise ValueError("it must be an address such as http://127.0.0.1:8000/v1")
        return value


Structured = Literal["none", "response_format", "guided_choice"]


class CriticServer(Server):
    """The OpenAI-compatible server that `critic.backend = "server"` asks, and how it is asked."""

    base_urls: tuple[str, ...] = Field(
        (),
        description="Further addresses that serve the same model: a request goes to the one with "
        "the fewest under way, and one that fails rests until it answers again.",
    )
    structured: Structured = Field(
        "none",
        description='The form of answer that the server is told to enforce: "response_format" a '
        'JSON object, "guided_choice" (vLLM) a bare label without reasons, "none" any text.',
    )
    image_format: Literal["png", "jpeg"] = Field(
        "png",
        description='How frames are sent: "png" keeps every pixel, "jpeg" is many times smaller.',
    )
    jpeg_quality: int = Field(
        90,
        ge=1,
        le=100,
        description="The quality of frames that are sent as JPEG; a higher one is truer and "
        "larger.",
    )

    @field_validator("base_urls")
    @classmethod
    def _hold_no_user(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(cls._is_plain_address, value))


class Serving(Group):
    """The engine that serves each version of a critic that learns here."""

    command: tuple[str, ...] = Field(
        (),
        description="The command that starts an OpenAI-compatible engine, word by word, with "
        "{model} for the folder of the weights and {port} for its port; without one the critic "
        "judges in the run's own processes.",
    )
    num_servers: int = Field(
        1,
        ge=1,
        le=1_000,
        description="The number of servers that are started for each version and share its "
        "questions; this machine's GPUs are divided among them.",
    )
    ready_timeout: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="The seconds within which a started server has to list its model.",
    )
    num_parity_items: int = Field(
        16,
        ge=1,
        le=10_000,
        description="The number of pairs or clips whose labels each server and the weights here "
        "weigh before that server judges; more find smaller differences.",
    )
    max_parity_gap: float = Field(
        0.02,
        gt=0,
        le=1,
        description="The largest mean distance between a server's probabilities of the labels and "
        "those of the weights here; a larger one lets less precise engines judge.",
    )

    @field_validator("command")
    @classmethod
    def _can_be_filled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        missing = [name for name in ("{model}", "{port}") if name not in " ".join(value)]
        if value and missing:
            raise ValueError(f"it holds no {missing[0]}, in whose place the run puts its own")
        return value
