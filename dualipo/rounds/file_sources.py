"""A recipe's sources in files: captions of a list, labels of a label set, clips on disk."""

from dataclasses import replace
from pathlib import Path

from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.generator.footage import Footage, listing
from dualipo.preferences import contradictions, label_set
from dualipo.prompts.corpus import CaptionList, read_captions
from dualipo.seeds import derive


def captions(config: Config) -> CaptionList:
    """Return all captions of the file or folder `prompts.path`."""
    if config.prompts.path is None:
        raise ConfigError('prompts.source = "file" needs prompts.path, a list of captions.')
    return read_captions(Path(config.prompts.path))


def imported_seed(config: Config) -> contradictions.Usable | None:
    """Return the label set that the recipe names, without labels that contradict one another.

    None where it names none. Labels of the dimension "overall" are left out and counted, as the
    critic is asked about one dimension at a time.
    """
    if config.seed_labels.path is None:
        return None
    usable = contradictions.usable(label_set.read_source(Path(config.seed_labels.path)))
    pairs = tuple(pair for pair in usable.labels.pairs if pair.dimension != "overall")
    points = tuple(point for point in usable.labels.points if point.dimension != "overall")
    num_overall = len(usable.labels.every) - len(pairs) - len(points)
    excluded = usable.excluded | ({"overall": num_overall} if num_overall else {})
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
