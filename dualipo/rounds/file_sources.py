"""A recipe's sources in files: captions of a list, labels of a label set, clips on disk."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dualipo.config import Config
from dualipo.errors import ConfigError, DataError
from dualipo.generator.footage import Footage, listing
from dualipo.preferences import contradictions, label_set
from dualipo.prompts import corpus
from dualipo.prompts.corpus import CaptionList, Folded, read_captions
from dualipo.seeds import derive


def captions(config: Config) -> CaptionList:
    """Return all captions of the file or folder `prompts.path`."""
    if config.prompts.path is None:
        raise ConfigError('prompts.source = "file" needs prompts.path, a list of captions.')
    return read_captions(Path(config.prompts.path))


def fixed_path(config: Config, name: str) -> str | None:
    """Return the file of the set "test" or "monitor"; None where it is drawn as the rounds' are."""
    paths = {"test": config.prompts.test_path, "monitor": config.prompts.monitor_path}
    return paths.get(name)


def fixed_prompts(config: Config, name: str, *, exclude: Iterable[str] = ()) -> Folded:
    """Return the first prompts of a fixed set's own file, as many as the recipe asks for."""
    path, num = fixed_path(config, name), getattr(config.prompts, f"num_{name}_prompts")
    assert path is not None, f"prompts.{name}_path names the file"
    listed = read_captions(Path(path))
    folded = corpus.fold(listed, exclude=exclude, right_to_left=config.prompts.right_to_left)
    if len(folded.prompts) < num:
        raise DataError(
            f"{path}: {len(folded.prompts)} of its {len(listed.captions)} captions can be used "
            f"({len(folded.refused)} were refused; one that labels or another fixed set have is "
            f"left out), but prompts.num_{name}_prompts is {num}. Add captions, or lower it."
        )
    return replace(folded, prompts=folded.prompts[:num])


def imported_seed(config: Config) -> contradictions.Usable | None:
    """Return the label set that the recipe names, without labels that contradict one another.

    None where it names none. Labels of "overall", and of any other dimension that the critic is
    not asked about, are left out and counted.
    """
    if config.seed_labels.path is None:
        return None
    usable = contradictions.usable(label_set.read_source(Path(config.seed_labels.path)))
    asked = config.critic.questions.names
    pairs = tuple(pair for pair in usable.labels.pairs if pair.dimension in asked)
    points = tuple(point for point in usable.labels.points if point.dimension in asked)
    others = (label.dimension for label in usable.labels.every if label.dimension not in asked)
    excluded = usable.excluded | dict(Counter(others))
    return replace(usable, labels=label_set.LabelSet(pairs, points), excluded=excluded)


def footage(config: Config) -> Footage:
    """Return the clips of `align.dataset_name`, to be read one by one."""
    align = config.align
    assert align.dataset_name is not None
    rows = listing(
        align.dataset_name,
        video_column=align.video_column,
        caption_column=align.caption_column,
    )
    seed = derive(config.seed, "real clips")
    return Footage(rows, align.num_real_clips, config.generator, seed)
