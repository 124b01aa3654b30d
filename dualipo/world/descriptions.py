"""Describes a clip in words: simulated annotators and the critic share this small vocabulary.

`describe` states facts about one dimension (METHOD.md section 2), in at most about thirty words:
what is shown, what the caption asks for in the same words, then what differs or goes wrong, the
worst first, how much (in three degrees) and when. A small critic that was not taught to say what is
asked saw a clip rightly and then named differences that were none. It never states a preference or
a grade.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

from dualipo.records import Dimension
from dualipo.world.captions import AXIS_WORDS
from dualipo.world.scenes import Figure, Relation, Scene
from dualipo.world.views import Look, View

NOTHING = "nothing clear is visible."
MATCHES = "all matches."
KEEPS = "all stays the same."
# A part of the score under the first number is named with the word.
DEGREES = ((0.3, "badly"), (0.6, "clearly"), (0.9, "a little"))
MAX_FAULTS = 3
# The sentence for each part of the score; `{much}` is the degree.
DIFFERING = ("background", "colour", "shape", "size", "relation")
FAULTS: dict[str, str] = {part: f"the {part} differs {{much}}." for part in DIFFERING} | {
    "number": "the number differs.",
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
) -> str:
    """Describe one dimension of a view in words, against the scene that the caption asks for.

    `parts` are the parts of the dimension's score by name (`oracle.parts`), each in [0, 1]; a part
    that an annotator overlooked is 1.
    """
    if not view.figures:
        return NOTHING
    faults = " ".join(_faults(view, parts))
    if dimension == "faithfulness":
        return (f"{_speak_look(view.look)}: " if view.look else "") + (faults or KEEPS)
    if dimension == "consistency":
        seen, wanted = _content(in_asked_order(view, asked)), _content(asked)
    else:
        path = ", ".join(f"{x} {y}" for x, y in view.path)
        seen, wanted = (f"path {path}: " if path else "") + _moves(view), _moves(asked)
    return f"{seen}. asked: {wanted}. {faults or MATCHES}"


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


def _content(shown: View | Scene) -> str:
    if len(shown.figures) > 2:
        things = "several things"
    elif len(shown.figures) == 1:
        things = f"a {shown.figures[0].size} {_noun(shown.figures[0])}"
    else:
        first, second = map(_noun, shown.figures)
        things = f"a {first} {shown.relation} a {second}"
    return f"{things} on {shown.background}"


def _noun(figure: Figure) -> str:
    return f"{figure.colour} {figure.shape}"


def _speak_look(look: Look) -> str:
    size = f"size {look.smallest} to {look.largest}"
    return f"seen {look.num_seen}, {look.sight}, {look.edge}, {look.form}, {size}"


def _moves(shown: View | Scene) -> str:
    motion = shown.motion
    who, s = ("they", "") if len(shown.figures) > 1 else ("it", "s")
    if motion is None or motion.kind == "rest" or motion.direction is None:
        return f"{who} stay{s} still"
    if motion.kind == "bounce":
        return f"{who} bounce{s} {AXIS_WORDS[motion.direction]}"
    assert motion.speed is not None
    return f"{who} move{s} {motion.direction} {SPEED_WORDS[motion.speed]}"
