"""`dualipo pretrain PART`: makes the embedded models again, from nothing.

The order is vae, generator, critic; each goes on from its last checkpoint when repeated. Then the
manifest of hashes, which `dualipo doctor` reads, is written anew. `--variant` makes the other
generators that a recipe can name; `large` needs the autoencoder of `small`.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from dualipo.cli import weights
from dualipo.cli.terminal import watching
from dualipo.cli.verbs import add_verb
from dualipo.config import Optimizer
from dualipo.errors import ConfigError
from dualipo.pretraining import settings
from dualipo.pretraining.settings import VARIANTS, Variant
from dualipo.progress import Progress
from dualipo.store import atomic

PARTS = ("vae", "generator", "critic", "gates")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "pretrain",
        "Make the embedded models again, which takes hours. Nobody needs this to use dualipo.",
        epilog="The order is vae, generator, critic, gates.",
    )
    parser.add_argument(
        "part", choices=PARTS, help='The model to train; "gates" measures them and writes a card.'
    )
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        default="small",
        help="The variant of the generator (default: %(default)s).",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=weights.FOLDER,
        help="The folder of the weights (default: the package's own).",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("pretraining"),
        help="The folder of checkpoints (default: %(default)s).",
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Pretrain one part and write the manifest."""
    part, output, work = arguments.part, arguments.output, arguments.work
    if part == "gates":
        return _gates(output)
    _require_sense(part, arguments.variant, output)
    variant = VARIANTS[arguments.variant]
    folder = output / {"vae": variant.vae_folder, "generator": variant.folder}.get(part, part)
    stages = _stages(part, variant)
    with watching() as progress:
        on_step = _steps(progress, stages, work=work)
        _pretrain(part, variant)(folder, work, on_step=on_step)
    weights.write_manifest(output)
    print(folder)
    return 0


def _pretrain(part: str, variant: Variant) -> Callable[..., None]:
    """Return the part's function; its module is loaded here because it imports torch."""
    if part == "generator":
        generator: Any = import_module("dualipo.pretraining.generator")
        return lambda *paths, **others: generator.pretrain(*paths, variant=variant, **others)
    name = "cogvideox_vae" if part == "vae" and variant.family == "cogvideox" else part
    pretrain: Callable[..., None] = import_module(f"dualipo.pretraining.{name}").pretrain
    return pretrain


def _require_sense(part: str, name: str, output: Path) -> None:
    """Raise ConfigError for a part that is made another way, or whose basis is missing."""
    variant = VARIANTS[name]
    if part == "critic" and name != "small":
        raise ConfigError("pretrain critic: there is one critic only. Leave out --variant.")
    if part == "vae" and not variant.vae_folder.startswith(f"{variant.folder}/"):
        raise ConfigError(
            f"pretrain vae: the variant {name} uses {variant.vae_folder}. Go on with `dualipo "
            f"pretrain generator --variant {name}`."
        )
    needed = {"generator": variant.vae_folder, "critic": "generator"}.get(part)
    if needed and not (output / needed).is_dir():
        option = f" --variant {name}" if variant.family == "cogvideox" else ""
        first = "generator" if part == "critic" else f"vae{option}"
        raise ConfigError(
            f"{output / needed}: there is no such folder. Run `dualipo pretrain {first}` first."
        )


def _stages(part: str, variant: Variant) -> dict[str, Optimizer]:
    """Return the settings of a part's trainings in order, by the name of their folder in `work`."""
    if part == "generator":
        return {variant.folder: variant.training}
    if part == "vae" and variant.family == "cogvideox":
        return {"vae-cogvideox": settings.COG_VAE_TRAINING}
    if part == "vae":
        return {"vae": settings.VAE_TRAINING, "decoder": settings.DECODER_TRAINING}
    return {
        "tower": settings.TOWER_TRAINING,
        "critic": settings.CRITIC_TRAINING,
        "familiar": settings.FAMILIAR_TRAINING,
    }


def _gates(output: Path) -> int:
    """Measure the weights, write their card and manifest, and return 1 if a gate is missed."""
    from dualipo.pretraining import card, gates

    measured = gates.measure_all(output, sampling=settings.SAMPLING)
    atomic.write_json(output / "gates.json", measured)
    atomic.write_text(output / "README.md", card.weights_card(measured))
    weights.write_manifest(output)
    print(card.weights_card(measured))
    return 0 if all(all(model["passed"].values()) for model in measured.values()) else 1


def _steps(
    progress: Progress, stages: dict[str, Optimizer], *, work: Path
) -> Callable[[int, dict[str, float]], None]:
    """Return an `on_step` that shows progress; a step number that falls begins the next stage."""
    totals = {name: optimizer.max_train_steps for name, optimizer in stages.items()}
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
