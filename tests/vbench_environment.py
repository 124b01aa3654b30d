"""A stand-in for VBench's own environment: a real virtual environment with a small `vbench` in it.

Its class has the interface of VBench 0.1.5, finds clips by the same names, skips unreadable ones as
VBench's temporal flickering does, and writes the same files: the clips of imaging quality have
points of 100, and color has no result for a clip in which it sees no object. Its scores are read
off the clips' bytes. `behaviour.json` in the package lists dimensions that fail or hang.
"""

import json
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.evaluation.vbench.totals import DIMENSIONS

# The prompts of VBench by the dimensions that score them together.
GROUPS: dict[tuple[str, ...], int] = {
    ("temporal_flickering",): 75,
    ("subject_consistency", "dynamic_degree", "motion_smoothness"): 72,
    ("overall_consistency", "aesthetic_quality", "imaging_quality"): 93,
    ("scene", "background_consistency"): 86,
    ("human_action",): 100,
    ("temporal_style",): 100,
    ("appearance_style",): 90,
    ("color",): 85,
    ("spatial_relationship",): 84,
    ("multiple_objects",): 82,
    ("object_class",): 79,
}
SHARED = ("The bund Shanghai, oil painting", "A beach by Hokusai, in the style of Ukiyo")
# A prompt that a shell would obey, and letters of a file name that is not ASCII.
HOSTILE = "a dog $(touch owned); `touch owned` && touch owned 'x' \"y\" | -rf ~ *"
FACADES = "the ancient city of Petra with its enigmatic rock-carved façades"

_PACKAGE = """
import json, os, time
from pathlib import Path

BEHAVIOUR = json.loads(Path(__file__).with_name("behaviour.json").read_text())


class VBench(object):
    def __init__(self, device, full_info_dir, output_path):
        self.device, self.full_info_dir, self.output_path = device, full_info_dir, output_path
        os.makedirs(self.output_path, exist_ok=True)

    def evaluate(self, videos_path, name, prompt_list=[], dimension_list=None, local=False,
                 read_frame=False, mode="vbench_standard", **kwargs):
        print("evaluating", name, flush=True)
        for dimension in dimension_list:
            if dimension in BEHAVIOUR["hang"]:
                time.sleep(600)
            if dimension in BEHAVIOUR["fail"]:
                raise FileNotFoundError("the weights of " + dimension)
        videos = os.listdir(videos_path)
        rows = json.load(open(self.full_info_dir, encoding="utf-8"))
        rows = [row for row in rows if set(dimension_list) & set(row["dimension"])]
        for row in rows:
            names = [row["prompt_en"] + "-%d.mp4" % k for k in range(5)]
            row["video_list"] = [os.path.join(videos_path, n) for n in names if n in videos]
        self.save(rows, name + "_full_info.json")
        self.save({d: self.score(d, rows) for d in dimension_list}, name + "_eval_results.json")

    def score(self, dimension, rows):
        scored = []
        for row in rows:
            for path in row["video_list"] if dimension in row["dimension"] else ():
                content = open(path, "rb").read()
                if content[4:8] == b"ftyp":  # another file is unreadable: VBench passes it by
                    score = sum(content) % 256 / 255.0
                    scored.append({"video_path": path, "video_results": score})
        mean = sum(s["video_results"] for s in scored) / len(scored) if scored else float("nan")
        for clip in scored if dimension == "imaging_quality" else ():
            clip["video_results"] *= 100
        return [mean, scored]

    def save(self, value, name):
        with open(os.path.join(self.output_path, name), "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=4)
"""


def make(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    fail: Sequence[str] = (),
    hang: Sequence[str] = (),
    unavailable: Sequence[str] = (),
) -> Path:
    """Make the environment and return its Python."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    package = next(folder.glob("lib/python*/site-packages")) / "vbench"
    package.mkdir()
    (package / "__init__.py").write_text(_PACKAGE)
    (package / "behaviour.json").write_text(json.dumps({"fail": list(fail), "hang": list(hang)}))
    (package / "VBench_full_info.json").write_text(json.dumps(list(rows)), encoding="utf-8")
    for dimension in DIMENSIONS:
        why = "import a_package_that_nobody_installed" if dimension in unavailable else ""
        (package / f"{dimension}.py").write_text(why)
    metadata = package.with_name("vbench-0.1.5.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n")
    return folder / "bin" / "python"


def full_rows() -> list[dict[str, Any]]:
    """Return as many prompts as VBench has, two of which are another row's, too."""
    rows = [
        {"prompt_en": f"{' and '.join(dimensions)} number {n}", "dimension": list(dimensions)}
        for dimensions, num in GROUPS.items()
        for n in range(num)
    ]
    for prompt, first in zip(SHARED, ("overall_consistency", "overall_consistency"), strict=True):
        for group in (first, "appearance_style"):
            row = next(r for r in rows if group in r["dimension"] and r["prompt_en"] not in SHARED)
            row["prompt_en"] = prompt
    return rows


def few_rows() -> list[dict[str, Any]]:
    """Return two prompts for each group, among them hostile, shared and foreign ones."""
    rows = [
        {"prompt_en": f"{dimensions[0]} {n}", "dimension": list(dimensions)}
        for dimensions in GROUPS
        for n in range(2)
    ]
    names = {0: HOSTILE, 1: FACADES, 4: SHARED[0], 12: SHARED[0]}
    for place, prompt in names.items():
        rows[place]["prompt_en"] = prompt
    return rows


def write_results(folder: Path, raw: Mapping[str, float]) -> None:
    """Write the two files of one call of VBench about five clips of each of the few prompts.

    `raw` holds each dimension's mean. Color has no result for its last clip.
    """
    folder.mkdir()
    rows = [
        row | {"video_list": [f"./videos/{row['prompt_en']}-{k}.mp4" for k in range(5)]}
        for row in few_rows()
        if set(row["dimension"]) & {*raw}
    ]
    results = {name: [mean, _clip_results(name, mean, rows)] for name, mean in raw.items()}
    (folder / "all_full_info.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "all_eval_results.json").write_text(json.dumps(results), encoding="utf-8")


def _clip_results(dimension: str, mean: float, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a result for each clip as VBench has them: numbers, or whether it passed."""
    paths = [path for row in rows if dimension in row["dimension"] for path in row["video_list"]]
    results: list[Any] = [100 * mean if dimension == "imaging_quality" else mean] * len(paths)
    if dimension in ("dynamic_degree", "human_action"):
        results = [place < round(mean * len(paths)) for place in range(len(paths))]
    each = [
        {"video_path": path, "video_results": result}
        for path, result in zip(paths, results, strict=True)
    ]
    return each[:-1] if dimension == "color" else each
