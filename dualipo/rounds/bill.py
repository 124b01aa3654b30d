"""The bill of a run before it starts: operations by part, device-hours, wall time and money.

| part | counted by |
|---|---|
| sampling, reference, alignment | forward passes of the transformer (`estimating.py`) |
| text encoder | two operations a parameter and token, once a caption |
| autoencoder | one clip's decoding on the meta device, once a clip |
| critic, judging and training | two operations a parameter and token of prompts and answers |

It is the least that a run takes: a critic that writes token by token waits for its memory more than
it computes, and a GPU waits for files. `dualipo plan --measured` knows what a small run took.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dualipo.amounts import duration
from dualipo.config import LEARNING, Config
from dualipo.errors import ConfigError
from dualipo.rounds import critic_memory, estimating
from dualipo.rounds.device_speed import matmul_rate
from dualipo.rounds.planning import plan
from dualipo.store import atomic

HOUR = 3600.0
_CHARACTERS = 4  # of a question, a token: about what English takes


@dataclass(frozen=True)
class Devices:
    """The devices that a run is billed for; no name means this machine's."""

    name: str | None = None
    num: int = 1
    price: float | None = None  # of one device for an hour


@dataclass(frozen=True)
class Rate:
    """The measured time of one clip of a published model on a device, and who measured it."""

    model: str
    size: Mapping[str, int]
    seconds: float
    source: str


_COGVIDEOX = {"num_frames": 49, "height": 480, "width": 720, "max_sequence_length": 226}
_WAN = {"num_frames": 81, "height": 480, "width": 832, "max_sequence_length": 512}
RATES = {
    "a100": Rate("CogVideoX-5b", _COGVIDEOX, 180, "README of CogVideoX-5b: 50 steps"),
    "h100": Rate("CogVideoX-5b", _COGVIDEOX, 90, "README of CogVideoX-5b: 50 steps"),
    "rtx4090": Rate("Wan2.1-T2V-1.3B-Diffusers", _WAN, 240, "README of Wan2.1: about 4 minutes"),
}
_STEPS, _GUIDED = 50, 2  # of the clips that were measured


def lines(config: Config, devices: Devices | None = None) -> list[str]:
    """Return the bill in words."""
    flops = operations(config)
    total = sum(flops.values())
    parts = ", ".join(f"{name} {part / total:.1%}" for name, part in flops.items() if part)
    return [
        f"compute: {total:.2g} FLOP ({parts or 'nothing'})",
        *_times(total, devices or Devices()),
    ]


def operations(config: Config) -> dict[str, float]:
    """Return the floating-point operations of a run by part, if no critic is refreshed."""
    needs, units = estimating.estimate(config), plan(config)
    num_clips = sum(num for stage, num in units.items() if stage.startswith("sample."))
    fixed = config.prompts.num_test_prompts + config.prompts.num_monitor_prompts
    num_captions = config.rounds * config.prompts.num_prompts + fixed
    encoding = 2 * needs.footprint.num_text_parameters * config.generator.max_sequence_length
    return {
        **needs.flops,
        "text encoder": encoding * num_captions,
        "autoencoder": num_clips * estimating.decoding(config).flops,
        **_critic(config, units),
    }


def _critic(config: Config, units: Mapping[str, int]) -> dict[str, float]:
    """Return what a critic of this program computes; one that is served elsewhere costs nothing."""
    settings = config.critic
    if settings.backend not in (*LEARNING, "reward_head"):
        return {}
    number, tokens = critic_memory.num_parameters(config), tokens_of(config)
    num_pairs = units.get("confirm", 0) + units.get("win_rate", 0)
    judged = units.get("score", 0) * tokens["clip"] + num_pairs * tokens["pair"]
    passes = 2 if settings.rank else 3  # a pass back through frozen weights counts as one
    taught = sum(
        # A preference has two answers, and the reference reads both once more.
        units.get(name, 0) * part.train_batch_size * num_answers
        for name, part, num_answers in (
            ("warm_start_sft", config.warm_start_sft, passes),
            ("warm_start_dpo", config.warm_start_dpo, 2 * (passes + 1)),
        )
    )
    return {
        "critic, judging": 2 * number * judged,
        "critic, training": 2 * number * taught * tokens["question"],
    }


def tokens_of(config: Config) -> dict[str, float]:
    """Return the tokens of a clip that is graded, of a pair that is judged, and of one question.

    Questions about the same clips in the same order share their clips' tokens. Answers are counted
    at their full length.
    """
    settings, names = config.critic, config.critic.questions.names
    clip = settings.max_frames * critic_memory.tokens_a_frame(config)
    form = len(settings.instructions("pair")) / _CHARACTERS  # shared, as the clips are
    asked = max(len(settings.questions.question("pair", name)) for name in names)
    question, answer = asked / _CHARACTERS, settings.max_new_tokens
    answers = len(names) * settings.num_votes * answer
    return {
        "clip": clip + form + len(names) * (question + settings.num_score_paths * answer),
        "pair": 2 * (2 * clip + form + len(names) * question) + answers,
        "question": 2 * clip + form + question + answer,
    }


def _times(total: float, devices: Devices) -> list[str]:
    rate, source = speed(devices.name)
    seconds = total / rate
    name = devices.name or _own_name()
    shared = ""
    if devices.num > 1:
        each = duration(seconds / devices.num, "estimated")
        shared = f" ({each} on {devices.num} of them, if all of it is shared)"
    told = [
        f"time, at least: {duration(seconds, 'estimated')} on one {name}{shared}, which keeps "
        f"{rate / 1e12:.3g} TFLOP/s ({source})",
    ]
    if devices.price is not None:
        hours = seconds / HOUR
        price = hours * devices.price
        least = f"{price:,.2f}" if price >= 1 or not price else f"{price:.2g}"
        told.append(f"price, at least: {least}, for {hours:,.3g} device-hours at {devices.price:g}")
    return told


def _own_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU like this"


def speed(name: str | None) -> tuple[float, str]:
    """Return the FLOP/s that a device keeps, and where the number is from."""
    if name is None:
        return matmul_rate(), "a matrix product here, measured now"
    if (path := Path(name)).suffix == ".json":
        return _checked_rate(path), f"as {path} measured its sampling"
    if (name := name.lower()) not in RATES:
        raise ConfigError(
            f"--device: no time was measured on {name!r}. Choose {', '.join(RATES)}, name the file "
            "that launch/gpu_check.sh wrote, or leave it out for this machine's device."
        )
    return _rate_of(name), f"by {RATES[name].source}, one clip in {RATES[name].seconds:g} s"


def _checked_rate(path: Path) -> float:
    """Return the rate of sampling that `launch/gpu_check.sh` measured on a device."""
    try:
        return float(atomic.read_json(path)["parts"]["sample"]["tflops"]) * 1e12
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"--device: {path} holds no measured sampling. Name the file that "
            "`sh launch/gpu_check.sh FILE.json` wrote."
        ) from None


@functools.cache
def _rate_of(name: str) -> float:
    measured = RATES[name]
    generator: dict[str, Any] = {"pretrained_model_name_or_path": measured.model, **measured.size}
    config = Config.model_validate({"generator": generator})
    one_pass = estimating.estimate(config).footprint.flops
    clip = one_pass * _STEPS * _GUIDED + estimating.decoding(config).flops
    return clip / measured.seconds
