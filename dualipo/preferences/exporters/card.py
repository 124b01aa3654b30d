"""Writes a data set's card: how many labels of which kind, who gave them, what was left out.

People's names do not leave the project: `nameless` puts "person 1", "person 2" in their place.
The card names no licence, because the publisher has to choose it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point

Label = TypeVar("Label", Pair, Point)

_WHOSE = {
    "human": "People made these labels; their names are replaced by numbers.",
    "simulated": "**Simulated labels**: programs stand in for annotators. No human gave them.",
    "critic": "A critic, a vision-language model, gave these labels. No human did.",
}


def nameless(labels: LabelSet) -> LabelSet:
    """Replace people's names by numbers, in the order in which they first appear."""
    people = [x.annotator_or_critic_version for x in labels.every if x.source == "human"]
    numbers = {name: f"person {n}" for n, name in enumerate(dict.fromkeys(people), start=1)}

    def hidden(label: Label) -> Label:
        if label.source != "human":
            return label
        return replace(
            label, annotator_or_critic_version=numbers[label.annotator_or_critic_version]
        )

    return LabelSet(
        tuple(hidden(pair) for pair in labels.pairs),
        tuple(hidden(point) for point in labels.points),
    )


def dataset_card(labels: LabelSet, outlet: Outlet) -> str:
    """Return the markdown card of the labels that the outlet wrote as a videofolder."""
    sources = sorted({label.source for label in labels.every})
    voices = {label.annotator_or_critic_version for label in labels.every}
    parts = [
        _header(labels, sources),
        "# Preferences about generated clips",
        "Made with dualipo: clips of text-to-video models, compared in pairs or graded one by one. "
        "Every row names its clip by file, its prompt, the dimension that was judged, who judged "
        "and, where they said it, why.",
        "\n\n".join(_WHOSE[source] for source in sources),
        _table(labels),
        f"{len(voices)} annotators or critics; {len(labels.clips)} clips of "
        f"{len({label.prompt_id for label in labels.every})} prompts.",
        f"## What was written and what was not\n\n```\n{outlet.text()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _header(labels: LabelSet, sources: Sequence[str]) -> str:
    tags = ["text-to-video", "preference", "dual-ipo"]
    tags += ["simulated-labels"] if "simulated" in sources else []
    verdicts = {pair.verdict for pair in labels.pairs}
    names = ["pairs"] * bool(verdicts & {"a", "b"}) + ["ties"] * ("tie" in verdicts)
    names += ["points"] * bool(labels.points)
    configs = [line for name in names for line in _config(name)]
    return "\n".join(["---", "tags:", *(f"- {tag}" for tag in tags), "configs:", *configs, "---"])


def _config(name: str) -> list[str]:
    return [f"- config_name: {name}", f"  data_dir: {name}"]


def _table(labels: LabelSet) -> str:
    """Return a markdown table of the number of labels by dimension and answer."""
    pairs = Counter(("pair", pair.dimension, pair.verdict) for pair in labels.pairs)
    points = Counter(("clip", point.dimension, point.grade) for point in labels.points)
    rows = [f"| {' | '.join(key)} | {num} |" for key, num in sorted((pairs + points).items())]
    head = ["| of a | dimension | answer | labels |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])
