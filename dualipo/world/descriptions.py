"""Describes a clip in words: simulated annotators and the critic share this small vocabulary.

`describe` states facts about one dimension (METHOD.md section 2), in at most about thirty words:
what is shown, then what differs from the caption or goes wrong, the worst first, how much (in three
degrees) and when. It never states a preference or a grade.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np

from dualipo.records import Dimension
from dualipo.world.captions import AXIS_WORDS
from dualipo.world.scenes import Figure, Motion, Relation, Scene, pick
from dualipo.world.views import Look, View

NOTHING = ("no clear object is visible.", "nothing clear is visible.")
MATCHES = ("all matches.", "everything is as asked.")
KEEPS = ("it keeps its shape, colour and size.", "its shape, colour and size stay the same.")
BOTH_KEEP = (
    "both keep their shape, colour and size.",
    "their shape, colour and size stay the same.",
)
AS_ASKED = ("as asked.", "as the caption asks.")
# A part of the score under the first number is named with the word.
DEGREES = ((0.3, "badly"), (0.6, "clearly"), (0.9, "a little"))
MAX_FAULTS = 3
# The sentence for each part of the score; `{much}` is the degree.
FAULTS: dict[str, str] = {
    "background": "the background differs {much}.",
    "number": "the number differs.",
    "colour": "the colour differs {much}.",
    "shape": "the shape differs {much}.",
    "size": "the size differs {much}.",
    "relation": "the relation differs {much}.",
    "stray": "there are stray pixels {much}.",
    "morph": "the shape changes {much}{change}.",
    "recolour": "the colour changes {much}{change}.",
    "pulse": "the size pulses {much}.",
    "flicker": "{subject} flickers {much}.",
    "vanish": "{subject} vanishes {much}.",
    "smear": "{subject} is smeared {much}.",
    "jitter": "{subject} trembles {much}.",
    "way": "the direction differs {much}.",
    "travel": "the speed differs {much}.",
    "kind": "the kind of motion differs {much}.",
    "rest": "the caption asks for rest.",
    "freeze": "{subject} freezes {much}.",
}
SPEED_WORDS = {"slow": "slowly", "fast": "fast"}
OPPOSITE: dict[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


def describe(
    view: View,
    dimension: Dimension,
    *,
    asked: Scene,
    parts: Mapping[str, float],
    rng: np.random.Generator,
) -> str:
    """Describe one dimension of a view in words, against the scene that the caption asks for.

    `parts` are the parts of the dimension's score by name (`oracle.parts`), each in [0, 1]; a part
    that an annotator overlooked is 1.
    """
    if not view.figures:
        return pick(rng, NOTHING)
    faults = " ".join(_faults(view, parts))
    if dimension == "consistency":
        view = in_asked_order(view, asked)
        return f"{_name(view)} on {view.background}. {faults or pick(rng, MATCHES)}"
    if dimension == "faithfulness":
        kept = faults or pick(rng, KEEPS if len(view.figures) == 1 else BOTH_KEEP)
        return f"{_speak_look(view.look)}: {kept}" if view.look else kept
    if view.motion is None:
        return faults
    shown = _speak(view.motion, many=len(view.figures) > 1)
    if view.path:
        shown = f"path {', '.join(f'{x} {y}' for x, y in view.path)}: {shown}"
    return f"{shown}. {faults}" if faults else f"{shown}, {pick(rng, AS_ASKED)}"


def _faults(view: View, parts: Mapping[str, float]) -> list[str]:
    """List the faults, the worst first; of two figures' parts the worse one counts."""
    worst: dict[str, float] = {}
    for name, value in parts.items():
        kind = name.split(" ")[0]  # "colour 1" is the colour of the second figure
        worst[kind] = min(value, worst.get(kind, 1.0))
    if worst.get("number", 1.0) < DEGREES[-1][0]:  # then the other parts compare the wrong figures
        worst = {kind: worst[kind] for kind in ("number", "background") if kind in worst}
    faults = sorted((value, kind) for kind, value in worst.items() if value < DEGREES[-1][0])
    return [_fault(kind, value, view) for value, kind in faults[:MAX_FAULTS]]


def _fault(kind: str, value: float, view: View) -> str:
    much = next(word for below, word in DEGREES if value < below)
    change = {"morph": view.shape_change, "recolour": view.colour_change}.get(kind)
    from_to = f", from {change.before} to {change.after} at frame {change.frame}" if change else ""
    subject = "it" if len(view.figures) == 1 else "one"
    return FAULTS[kind].format(much=much, change=from_to, subject=subject)


def in_asked_order(view: View, asked: Scene) -> View:
    """Reorder the view's figures as the caption names them, as far as they can be told apart."""
    seen = view.figures[:4]

    def agreement(order: tuple[int, ...]) -> int:
        return sum(_alike(seen[i], figure) for i, figure in zip(order, asked.figures, strict=False))

    order = max(permutations(range(len(seen))), key=agreement)
    swapped = view.relation is not None and order == (1, 0)
    relation = OPPOSITE[view.relation] if swapped and view.relation else view.relation
    return replace(view, figures=tuple(seen[i] for i in order), relation=relation)


def _alike(seen: Figure, asked: Figure) -> int:
    return 2 * (seen.colour == asked.colour) + (seen.shape == asked.shape)


def _name(view: View) -> str:
    if len(view.figures) > 2:
        return "several things"
    if len(view.figures) == 1:
        figure = view.figures[0]
        return f"a {figure.size} {_noun(figure)}"
    return f"a {_noun(view.figures[0])} {view.relation} a {_noun(view.figures[1])}"


def _noun(figure: Figure) -> str:
    return f"{figure.colour} {figure.shape}"


def _speak_look(look: Look) -> str:
    size = f"size {look.smallest} to {look.largest}"
    return f"seen {look.num_seen}, {look.sight}, {look.edge}, {look.form}, {size}"


def _speak(motion: Motion, *, many: bool) -> str:
    who, s = ("they", "") if many else ("it", "s")
    if motion.kind == "rest" or motion.direction is None:
        return f"{who} stay{s} still"
    if motion.kind == "bounce":
        return f"{who} bounce{s} {AXIS_WORDS[motion.direction]}"
    assert motion.speed is not None
    return f"{who} move{s} {motion.direction} {SPEED_WORDS[motion.speed]}"
