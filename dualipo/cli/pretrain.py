"""`dualipo pretrain PART`: make the embedded models again, from nothing.

The order is vae, generator, critic; each goes on from its last checkpoint when repeated. Then the
manifest of hashes is written anew, which `dualipo doctor` reads.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from dualipo.cli import weights
from dualipo.cli.terminal import watching
from dualipo.errors import ConfigError
from dualipo.progress import Progress
from dualipo.store import atomic

# Each part's folder below the weights, and its stages in pretraining/settings.py.
FOLDERS = {"vae": "generator/vae", "generator": "generator", "critic": "critic"}
STAGES = {
    "vae": ["vae", "decoder"],
    "generator": ["generator"],
    "critic": ["tower", "critic", "familiar"],
}
NEEDS = {"generator": "vae", "critic": "generator"}


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("pretrain", help="make the embedded models again (hours)")
    parser.add_argument("part", choices=[*FOLDERS, "gates"])
    parser.add_argument(
        "--output", type=Path, default=weights.FOLDER, help="default: the package's own weights"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("pretraining"), help="checkpoints; default: pretraining/"
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Pretrain one part and write the manifest."""
    part, output = arguments.part, arguments.output
    if part == "gates":
        return _gates(output)
    _require_earlier(part, output)
    module = import_module(f"dualipo.pretraining.{part}")
    with watching() as progress:
        on_step = _steps(progress, part, work=arguments.work)
        module.pretrain(output / FOLDERS[part], arguments.work, on_step=on_step)
    weights.write_manifest(output)
    print(output / FOLDERS[part])
    return 0


def _require_earlier(part: str, output: Path) -> None:
    needed = NEEDS.get(part)
    if needed and not (output / FOLDERS[needed]).is_dir():
        raise ConfigError(f"{output / FOLDERS[needed]}: no {needed}. Pretrain `{needed}` first.")


def _gates(output: Path) -> int:
    """Measure the weights, write their card and manifest; 1 if a gate is missed."""
    from dualipo.pretraining import card, gates, settings

    measured = gates.measure(output, sampling=settings.SAMPLING)
    atomic.write_json(output / "gates.json", measured)
    atomic.write_text(output / "README.md", card.card(measured))
    weights.write_manifest(output)
    print(card.card(measured))
    return 0 if all(measured["passed"].values()) else 1


def _steps(progress: Progress, part: str, *, work: Path) -> Callable[[int, dict[str, float]], None]:
    """Show steps; a step number that falls begins the part's next stage."""
    from dualipo.pretraining import settings

    settings_of = {name: getattr(settings, f"{name.upper()}_TRAINING") for name in STAGES[part]}
    totals = {name: optimizer.max_train_steps for name, optimizer in settings_of.items()}
    coming = [name for name, n in totals.items() if not (work / name / f"step-{n:06d}").exists()]
    last = -1

    def on_step(step: int, metrics: dict[str, float]) -> None:
        nonlocal last
        if last < 0 or step <= last:
            name = coming.pop(0)
            progress.stage(name, round=-1, attempt=0, total=totals[name] - step)
        last = step
        progress.advance(1, loss=metrics["loss"])

    return on_step
