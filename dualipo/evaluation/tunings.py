"""What a tuning came to, in a few lines: what it learned from, and what carried over."""

from collections.abc import Callable
from pathlib import Path

from dualipo.evaluation import bootstrap, run_history
from dualipo.evaluation.run_history import RunHistory
from dualipo.events import AlignEvent, PreferEvent
from dualipo.store.run_reader import RunReader

LORA = "pytorch_lora_weights.safetensors"
DASH = "—"
FEW = 20  # held-out preferences under which a share says too little


def text(path: Path) -> str:
    """Return the lines that `dualipo tune` prints at its end."""
    run = RunReader(path)
    history = run_history.read(run)
    lines = ["", *sentences(history)]
    version = run.serving("generator")
    assert version is not None and version.path, "a tuning ends with a generator of its own"
    folder = (path / version.path).parent
    adapter_path = folder / LORA
    if adapter_path.is_file():
        lines.append(f"The LoRA: {adapter_path}")
    lines += [
        f"The pipeline: dualipo export pipeline {path} FOLDER",
        f"The card: {path / 'cards' / f'{version.version_id}.md'}",
        f"The report with clips and curves: {path / 'report.html'}",
    ]
    return "\n".join(lines)


def sentences(history: RunHistory, *, shown: Callable[[str], str] = str) -> list[str]:
    """Say what a tuning learned from and what carried over; `shown` writes the labels' place."""
    facts = [_learned(history, shown), _steps(history), _carried_over(history)]
    return [fact for fact in facts if fact]


def _learned(history: RunHistory, shown: Callable[[str], str]) -> str:
    prefer, tuning = _event(history), history.tuning
    if prefer is None or tuning is None:
        return "Nothing is learned yet."
    kinds = " and ".join(
        f"{num} by {_MAKERS[kind]}" for kind, num in sorted(tuning.sources.items())
    )
    loss = str(history.settings["align.loss_type"]).upper()
    units = prefer.of if prefer.of == "pairs" else "labelled clips"
    return (
        f"The generator was aligned by Diffusion-{loss} on {prefer.kept} {units} from "
        f"{shown(tuning.preferences)} (labels: {kinds})."
    )


_MAKERS = {"human": "people", "simulated": "programs", "critic": "a critic"}


def _steps(history: RunHistory) -> str:
    aligned = _aligned(history)
    if aligned is None:
        return "The alignment is not finished."
    if aligned.best_step is None:
        return f"It took {aligned.num_steps} steps."
    return (
        f"It took {aligned.num_steps} steps; the weights are those after step {aligned.best_step}, "
        "which did best on the held-out preferences."
    )


def _carried_over(history: RunHistory) -> str:
    """Say how often the tuned generator agrees with held-out preferences, with its interval."""
    aligned = _aligned(history)
    if aligned is None or aligned.holdout_accuracy is None:
        return ""
    num = num_held_out(history)
    share = percent(aligned.holdout_accuracy)
    if num < FEW:
        return f"On {num} held-out preferences it agrees in {share}: too few to say."
    interval = bootstrap.wilson(round(aligned.holdout_accuracy * num), num)
    ends = f"{percent(interval.low)} to {percent(interval.high)}"
    verdict = "" if interval.low > 0.5 else " No preference is shown to carry over."
    return (
        f"On {num} held-out preferences it agrees in {share} (95 % interval {ends}; 50 % is "
        f"chance).{verdict}"
    )


def figures(history: RunHistory) -> list[tuple[str, str, str]]:
    """Return the headline numbers of a tuning: each with its name before it and a note behind."""
    prefer, aligned = _event(history), _aligned(history)
    learned = str(prefer.kept) if prefer else DASH
    asked = f"of {prefer.num_prompts} questions in the labels" if prefer else "not read yet"
    steps = str(aligned.num_steps) if aligned else DASH
    best = f"the best weights after {aligned.best_step}" if aligned and aligned.best_step else ""
    shown = [
        ("Preferences learned from", learned, asked),
        ("Steps of the alignment", steps, best),
    ]
    accuracy = aligned.holdout_accuracy if aligned else None
    if accuracy is None:
        return [*shown, ("Agreement on held-out preferences", DASH, "none were held out")]
    num = num_held_out(history)
    note = "too few to say" if num < FEW else f"{num} preferences; 50 % is chance"
    return [*shown, ("Agreement on held-out preferences", percent(accuracy), note)]


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.1f} %"


def num_held_out(history: RunHistory) -> int:
    """Return the number of held-out preferences, as the alignment counted them."""
    rows = [row for round_ in history.rounds for row in round_.metrics.get("align", [])]
    return int(max((row.get("num_holdout", 0) for row in rows), default=0))


def _event(history: RunHistory) -> PreferEvent | None:
    return next((e for r in history.rounds if (e := r.event(PreferEvent))), None)


def _aligned(history: RunHistory) -> AlignEvent | None:
    return next((e for r in history.rounds if (e := r.event(AlignEvent))), None)
