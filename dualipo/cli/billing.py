"""The options that say which devices a run is billed for."""

import argparse
import math
from typing import TYPE_CHECKING

from dualipo.errors import ConfigError

if TYPE_CHECKING:
    from dualipo.rounds.bill import Devices


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, `--num-devices` and `--price`."""
    parser.add_argument(
        "--device",
        help="Bill the run for this device: a name, e.g. h100, or the file that "
        "launch/gpu_check.sh wrote (default: this machine's).",
    )
    parser.add_argument("--num-devices", type=int, help="How many devices share the work.")
    parser.add_argument(
        "--price", type=float, help="What a device costs in an hour, in any currency."
    )


def devices_of(arguments: argparse.Namespace) -> "Devices":
    """Return the devices that the options name; raise ConfigError for an odd name or number."""
    from dualipo.rounds import bill

    num = arguments.num_devices
    if num is not None and num < 1:
        raise ConfigError(f"--num-devices: {num} is no number of devices. Give one from 1 upwards.")
    require_price(arguments.price)
    if arguments.device is not None:
        bill.speed(arguments.device)  # refuses a device that nobody measured
    return bill.Devices(arguments.device, num or 1, arguments.price)


def require_price(price: float | None) -> None:
    """Raise ConfigError for a price that is negative, infinite or no number."""
    if price is not None and not 0 <= price < math.inf:
        raise ConfigError(f"--price: {price} is no price. Give a number from 0 upwards.")


def refuse_devices(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where a run is asked for on devices that only a forecast knows."""
    for name in ("device", "num_devices", "price"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')}: this says what a forecast is billed for. Add "
                "--dry-run; `[workers]` says which devices a run takes."
            )
