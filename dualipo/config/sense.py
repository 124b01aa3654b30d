"""Settings that exclude each other although each is valid, and defaults that hang on another one.

`conflicts` returns every clash of a configuration, so that a user mends all of them at once. Files,
folders and devices are not looked at here: that is the preflight's work (`rounds/preflight.py`).
"""

from collections.abc import Iterator
from typing import Any

from dualipo.config.align import Align
from dualipo.config.critic import LEARNING, Critic
from dualipo.config.experiment import Config
from dualipo.config.learning import CriticTraining
from dualipo.config.training import Optimizer
from dualipo.records import DIMENSIONS

# The defaults where captions come from a file: what only the embedded world can serve is off.
OWN_CAPTIONS: dict[str, Any] = {
    "prompts.num_test_prompts": 16,
    "monitor.num_audit_labels": 0,
    "monitor.num_accuracy_pairs": 0,
    "monitor.clip_metrics": "blocks",
}
_NUM_VERDICTS, _NUM_DIMENSIONS = 2, 3  # a clear verdict is A or B, a clear grade Good or Bad


def with_defaults(flat: dict[str, Any]) -> dict[str, Any]:
    """Return leaves with the defaults that depend on where the recipe's captions come from.

    `prompts.path` alone means a file. Real clips are then a user's own, or none.
    """
    if flat.get("prompts.path") is not None:
        flat = {"prompts.source": "file"} | flat
    if flat.get("prompts.source") != "file":
        return flat
    own = dict(OWN_CAPTIONS)
    if flat.get("monitor.audit") == "people":
        del own["monitor.num_audit_labels"]
    flat = own | flat
    has_clips = flat.get("align.dataset_name") is not None
    return flat if has_clips else {"align.real_nll_ratio": 0.0} | flat


def conflicts(config: Config) -> list[str]:
    """Return a fact and a remedy for every clash between settings."""
    return [
        *_of_publishing(config),
        *_of_captions(config),
        *_of_judges(config),
        *_of_seed(config),
        *_of_critic(config),
        *_of_refresh(config),
        *_of_alignment(config),
        *_of_sharing(config),
        *_of_measuring(config),
    ]


def _of_publishing(config: Config) -> Iterator[str]:
    if config.push_to_hub and not config.hub_model_id:
        yield "push_to_hub is true, but hub_model_id is not set. Set it to OWNER/NAME."
    elif config.push_to_hub and str(config.hub_model_id).count("/") != 1:
        yield f"hub_model_id is {config.hub_model_id!r}, without an owner. Set it to OWNER/NAME."


def _of_captions(config: Config) -> Iterator[str]:
    prompts, monitor = config.prompts, config.monitor
    if config.refresh.max_dynamics_drop is not None and monitor.clip_metrics == "off":
        yield (
            "refresh.max_dynamics_drop reads the clips' motion, but monitor.clip_metrics is "
            '"off". Set monitor.clip_metrics = "blocks", or refresh.max_dynamics_drop to null.'
        )
    if prompts.source == "file":
        yield from _of_own_captions(config)
        return
    for name in ("test_path", "monitor_path"):
        if getattr(prompts, name) is not None:
            yield (
                f'prompts.{name} is set, but prompts.source is "world", whose annotators and '
                "oracle know the embedded world's own captions only. Set prompts.path to captions "
                f"of your own, or remove prompts.{name}."
            )
    if prompts.path is not None:
        yield (
            f'prompts.path is {prompts.path!r}, but prompts.source = "world" makes captions and '
            'reads no file. Set prompts.source = "file", or remove prompts.path.'
        )
    elif monitor.num_accuracy_pairs and not prompts.num_test_prompts:
        yield (
            "monitor.num_accuracy_pairs takes pairs of the test prompts' clips, but "
            "prompts.num_test_prompts is 0. Set it above 0, or monitor.num_accuracy_pairs = 0."
        )


def _of_judges(config: Config) -> Iterator[str]:
    """Yield judges that could tell nothing: of one name, without clips, or the critic itself."""
    judges = config.monitor.judges
    names = [judge.name for judge in judges]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        yield f"monitor.judges: two are called {repeated[0]}. Give each a name of its own."
    if judges and not config.prompts.num_test_prompts:
        yield (
            "monitor.judges compare clips of the test prompts, but prompts.num_test_prompts is 0. "
            "Set it above 0."
        )
    for judge in judges:
        asked = [
            (critic.backend, critic.pretrained_model_name_or_path, critic.server.base_url)
            for critic in (judge, config.critic)
        ]
        if config.critic.backend not in LEARNING and asked[0] == asked[1]:
            yield (
                f"monitor.judges: {judge.name} is the critic that the generator learns from, so "
                "it shows nothing new. Name another model."
            )


def _of_own_captions(config: Config) -> Iterator[str]:
    """Yield what mixes a user's captions with the embedded world's judges and clips."""
    if config.prompts.path is None:
        yield 'prompts.source = "file" needs prompts.path. Set it to a list of captions.'
    asking = ["num_accuracy_pairs"]
    if config.monitor.audit != "people":
        asking = ["num_audit_labels", *asking]
    if named := [f"monitor.{name}" for name in asking if getattr(config.monitor, name)]:
        yield (
            f'prompts.source is "file", but {" and ".join(named)} '
            f"{'ask' if len(named) > 1 else 'asks'} programs that judge clips of the embedded "
            f"world's own captions only. Set {'both' if len(named) > 1 else 'it'} to 0."
        )
    if config.rounds and config.align.real_nll_ratio and config.align.dataset_name is None:
        yield (
            'prompts.source is "file", but align.dataset_name is not set, so '
            "align.real_nll_ratio would train on clips of the embedded world. Name your real "
            "clips, or set align.real_nll_ratio to 0."
        )


def _of_seed(config: Config) -> Iterator[str]:
    """Yield what the simulated annotators' labels, whose number the recipe says, cannot give."""
    seed = config.seed_labels
    if seed.path is not None or config.prompts.source == "file":
        return
    least = _NUM_VERDICTS * _NUM_DIMENSIONS * seed.min_per_verdict
    takes_pairs = config.critic.backend == "reward_head"
    for name in ("num_pairs", "num_points"):
        num = getattr(seed, name)
        if 0 < num * (1 - seed.holdout_share) < least:
            yield (
                f"seed_labels.{name} = {num} leaves too few labels for "
                f"seed_labels.min_per_verdict = {seed.min_per_verdict}: {_NUM_VERDICTS} verdicts "
                f"in {_NUM_DIMENSIONS} dimensions need {least} at least, beside those held out. "
                "Raise the one, or lower the other."
            )
    if takes_pairs and not seed.num_pairs:
        yield (
            'critic.backend = "reward_head" learns from pairs, but seed_labels.num_pairs is 0. '
            "Set it above 0."
        )
    elif config.critic.backend in LEARNING and not (seed.num_pairs or seed.num_points):
        yield (
            "seed_labels.num_pairs and seed_labels.num_points are both 0, so the critic has "
            "nothing to learn from. Set one of them above 0."
        )
    elif config.critic.backend in LEARNING and learns_from_grades(config) and not seed.num_points:
        yield without_grades("seed_labels.num_points is 0", "Set it above 0")


def learns_from_grades(config: Config) -> bool:
    """Tell whether the generator learns from the critic's grades of single clips."""
    return config.align.loss_type == "kto" and config.align.kto_labels == "grades"


def without_grades(fact: str, remedy: str) -> str:
    """Return the clash of a critic that is taught no grades with labels that are made of them."""
    return (
        f'{fact}, so the critic never learns to grade a clip, but align.loss_type = "kto" with '
        f'align.kto_labels = "grades" learns from its grades. {remedy}, or set align.kto_labels = '
        '"extremes".'
    )


def _of_critic(config: Config) -> Iterator[str]:
    critic, num_frames = config.critic, config.generator.num_frames
    if sorted(critic.questions.names) != sorted(DIMENSIONS):
        yield from _of_other_dimensions(config)
    if critic.backend not in LEARNING and config.refresh.update_critic:
        yield (
            f'critic.backend = "{critic.backend}" cannot refine itself. Set '
            f"refresh.update_critic = false, or use one of: {', '.join(LEARNING)}."
        )
    if critic.load_in_4bit and critic.backend == "reward_head":
        yield (
            "critic.load_in_4bit = true holds the layers that a LoRA learns on, and critic.backend "
            '= "reward_head" trains a head alone. Set critic.load_in_4bit = false.'
        )
    if critic.serving.command and critic.backend not in LEARNING:
        yield (
            "critic.serving.command serves weights that are here, but critic.backend is "
            f'"{critic.backend}". '
            f"Use one of: {', '.join(LEARNING)}, or leave the command out."
        )
    if critic.backend in LEARNING and any(
        trained.max_train_steps for trained in _trainings(config)
    ):
        yield from _of_trained_weights(config)
    if critic.short_video == "error" and 0 < num_frames < critic.max_frames:
        yield (
            f"clips have {num_frames} frames (generator.num_frames), but the critic needs "
            f'{critic.max_frames} with critic.short_video = "error". Set critic.max_frames = '
            f'{num_frames}, or critic.short_video = "repeat".'
        )


def _trainings(config: Config) -> list[CriticTraining]:
    """Return the trainings that the critic will have."""
    refreshes = [config.refresh.srpo] if config.rounds and config.refresh.update_critic else []
    return [config.warm_start_sft, config.warm_start_dpo, *refreshes]


def _of_trained_weights(config: Config) -> Iterator[str]:
    """Yield formats of the critic's weights in which nothing could be learned."""
    critic = config.critic
    if not critic.rank and critic.load_in_4bit:
        yield (
            "critic.load_in_4bit = true holds weights that cannot be trained, and critic.rank = 0 "
            "trains all of them. Set critic.rank = 64 to train a LoRA, or critic.load_in_4bit = "
            "false."
        )
    if not critic.rank and critic.torch_dtype != "float32":
        yield (
            f'critic.rank = 0 trains every weight, and critic.torch_dtype = "{critic.torch_dtype}" '
            'rounds its updates away. Set it to "float32", or critic.rank = 64 to train a LoRA.'
        )


def _of_refresh(config: Config) -> Iterator[str]:
    """Yield sources of pairs that would stay empty: nobody labels what they read."""
    sources, monitor = config.refresh.sources, config.monitor
    if not (config.rounds and config.refresh.update_critic):
        return
    if "audit" in sources and not monitor.num_audit_labels:
        yield (
            'refresh.sources names "audit", but monitor.num_audit_labels is 0. Set it above 0, or '
            "name other sources."
        )
    can_ask = config.prompts.source == "world" and monitor.num_audit_labels
    if "newer" in sources and not can_ask:
        yield (
            'refresh.sources names "newer", whose pairs fresh labels of the simulated annotators '
            "must find right, and this recipe asks for none. Name other sources, or set "
            'monitor.num_audit_labels above 0 with prompts.source = "world".'
        )


def _of_other_dimensions(config: Config) -> Iterator[str]:
    """Yield what knows no dimensions but the three standard ones."""
    named = f"critic.questions asks about {', '.join(config.critic.questions.names)}, but"
    if config.prompts.source == "world":
        yield (
            f"{named} the embedded world's annotators judge {', '.join(DIMENSIONS)} alone. Set "
            'critic.questions = "world", or prompts.path to captions of your own.'
        )
    makes = [
        name
        for name, num in (
            ("refresh.sources", "constructed" in config.refresh.sources),
            ("seed_labels.num_constructed", config.seed_labels.num_constructed),
        )
        if num
    ]
    if makes:
        yield (
            f"{named} clips are damaged in {', '.join(DIMENSIONS)} alone. Leave constructed pairs "
            f"out of {' and '.join(makes)}."
        )
    if config.critic.backend in ("reward_head", "scores"):
        yield (
            f'{named} critic.backend = "{config.critic.backend}" knows {", ".join(DIMENSIONS)} '
            'alone. Set critic.questions = "video", or another backend.'
        )


def _of_alignment(config: Config) -> Iterator[str]:
    align = config.align
    if config.rounds and not align.rank and config.generator.torch_dtype != "float32":
        yield (
            "align.rank = 0 trains every weight, and generator.torch_dtype = "
            f'"{config.generator.torch_dtype}" rounds its updates away. Set it to "float32"; '
            'generator.mixed_precision and align.mixed_precision = "bf16" compute in bfloat16. '
            "Or set align.rank to train a LoRA."
        )
    if align.patience and not align.num_holdout:
        yield (
            f"align.patience = {align.patience} waits for gains on held-out preferences, but "
            "align.num_holdout is 0. Set it above 0, or align.patience = 0."
        )


def _of_sharing(config: Config) -> Iterator[str]:
    """Yield what keeps the processes of a training from sharing its batches evenly."""
    critic, align = config.critic, config.align
    real = {"align.real_batch_size": align.real_batch_size} if align.real_nll_ratio else {}
    yield from _shared("align", align, {"align": align}, real)
    learning: dict[str, Optimizer] = {
        "warm_start_sft": config.warm_start_sft,
        "warm_start_dpo": config.warm_start_dpo,
        "refresh.srpo": config.refresh.srpo,
    }
    yield from _shared("critic", critic, learning, {})
    if critic.num_processes > 1 and critic.backend not in LEARNING:
        yield (
            f'critic.backend = "{critic.backend}" is not trained by several processes. Set '
            "critic.num_processes = 1."
        )
    if critic.num_processes > 1 and critic.load_in_4bit:
        yield (
            "critic.load_in_4bit = true works in one process alone. Set it to false, as several "
            "processes share the weights, or set critic.num_processes = 1."
        )


def _shared(
    group: str, asked: Align | Critic, trainings: dict[str, Optimizer], sizes: dict[str, int]
) -> Iterator[str]:
    """Yield what the trainings of a group have in the way of its number of processes.

    `sizes` are further batches beside those of the trainings themselves.
    """
    num = asked.num_processes
    if num % asked.num_nodes:
        yield (
            f"{group}.num_processes = {num} cannot be divided evenly among {group}.num_nodes = "
            f"{asked.num_nodes} machines. Set it to a multiple of {asked.num_nodes}."
        )
    for name, training in trainings.items() if num > 1 else ():
        if training.optimizer == "muon":
            yield (
                f'{group}.num_processes = {num} does not work with {name}.optimizer = "muon". Set '
                f'it to "adamw" or "adamw_8bit", or set {group}.num_processes = 1.'
            )
    sizes = {
        f"{name}.train_batch_size": t.train_batch_size for name, t in trainings.items()
    } | sizes
    if uneven := {key: size for key, size in sizes.items() if size % num}:
        told = " and ".join(f"{key} = {size}" for key, size in uneven.items())
        yield (
            f"{told} cannot be shared evenly by {group}.num_processes = {num}. Set "
            f"{' and '.join(uneven)} to a multiple of {num}, or set {group}.num_processes = 1."
        )


def _of_measuring(config: Config) -> Iterator[str]:
    if config.monitor.audit == "people" and not config.monitor.num_audit_labels:
        yield (
            'monitor.audit is "people", but monitor.num_audit_labels is 0, so nobody is asked. Set '
            "it above 0."
        )
    if config.monitor.suite == "world" and config.prompts.source == "file":
        yield (
            'monitor.suite is "world", but prompts.source is "file", and simulated people judge '
            'the embedded world\'s own captions only. Set monitor.suite to "vbench" or "none".'
        )
    if config.monitor.suite == "vbench" and not config.monitor.suite_python:
        yield (
            f'monitor.suite is "{config.monitor.suite}", but monitor.suite_python is not set. Set '
            "it to the Python of the environment in which the suite is installed."
        )
