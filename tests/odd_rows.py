"""Example rows of every format that can be imported, and mutations that make them odd.

`tests.fuzz` and `test_fuzz` import what comes out. A mutation puts an odd value anywhere in a row,
takes a part away, or damages the row's text.
"""

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.video_files import write_clip

Row = dict[str, Any]
CAPTION = "A red ball rolls over a lawn."
_TURNS = [
    {"from": "human", "value": f"<video>\n{CAPTION} Please identify the motion issues."},
    {"from": "gpt", "value": "Bad. It jumps."},
]
_PAIRWISE = {"from_name": "motion", "type": "pairwise", "value": {"selected": "left"}}
_REASON = {"from_name": "reason", "type": "textarea", "value": {"text": ["A is smooth."]}}
_MESSAGES = [{"role": "user", "content": [{"type": "text", "text": CAPTION}]}]
_NATIVE = {
    "schema_version": 1,
    "pair_id": "p1",
    "prompt_id": "c1",
    "prompt": CAPTION,
    "dimension": "motion",
    "source": "human",
    "annotator_or_critic_version": "ann",
    "votes_a": 3,
    "certainty": 0.75,
}

_SCORES = "visual quality: 4\ntext-to-video alignment: 3\ntemporal consistency: 2\n"
_SCORES += "physical/common-sense consistency: 2"


def _asked(answer: str) -> list[Row]:
    question = f"its text prompt: {CAPTION}\n\nBased on the video content. Text Prompt: [{CAPTION}]"
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


# The rows of each format; A and B stand for the hashes of the two clips.
EXAMPLES: dict[str, list[Row]] = {
    "native": [
        _NATIVE | {"video_a": "A", "video_b": "B", "verdict": "a", "grade_a": "good"},
        _NATIVE | {"video_a": "A", "grade_a": "bad"},
    ],
    "trl": [
        {"prompt": CAPTION, "chosen": "a.mp4", "rejected": "b.mp4", "source": "human"},
        {
            "prompt": _MESSAGES,
            "chosen": [{"role": "assistant", "content": [{"type": "video", "video": "a.mp4"}]}],
            "rejected": [{"role": "assistant", "content": "b.mp4"}],
        },
        {
            "chosen": [*_MESSAGES, {"role": "assistant", "content": "a.mp4"}],
            "rejected": [*_MESSAGES, {"role": "assistant", "content": "b.mp4"}],
        },
    ],
    "trl-kto": [{"prompt": CAPTION, "completion": "a.mp4", "label": True}],
    "videoalign": [
        {"path_A": "a.mp4", "path_B": "b.mp4", "prompt": CAPTION}
        | {"VQ": "A", "MQ": "same", "TA": "invalid", "Overall": "B", "fps_A": 8.0}
    ],
    "visionreward": [
        {
            "prompt": CAPTION,
            "video_path": "a.mp4",
            "annotation": {"alignment": 4, "clear": 3, "image quality stability": 3}
            | {"detail refinement": 2, "shape throughout": 2}
            | {"movement smoothness": 4, "movement reality": 0},
        },
        {"prompt": CAPTION, "video1_path": "a.mp4", "video2_path": "b.mp4"}
        | {"standard_answer": "video1"},
    ],
    "videofeedback": [
        {"id": "a", "images": ["a.png", "b.png"], "text prompt": CAPTION, "visual quality": 3}
        | {"temporal consistency": 2.0, "dynamic degree": 3, "text-to-video alignment": 1}
        | {"factual consistency": 2}
    ],
    "videodpo": [{"video1": 0, "video2": 1, "frame_caption": [CAPTION], "score": 0.5}],
    "hpdv3": [
        {"prompt": CAPTION, "path1": "a.png", "path2": "b.png", "confidence": 0.9}
        | {"choice_dist": [12, 7]}
    ],
    "pickapic": [
        {"caption": CAPTION, "jpg_0": "a.png", "jpg_1": "b.png", "label_0": 0.5}
        | {"has_label": True, "user_id": 7}
    ],
    "diffusion-kto": [{"file_name": "a.png", "split": "exclusive_win", "caption": CAPTION}],
    "lift": [
        {"id": "q", "video": "a.mp4", "conversations": _TURNS},
        {"video": "a.mp4", "caption": CAPTION, "semantic consistency": "Good."}
        | {"fidelity issues": "Bad. Blurred.", "motion issues": "Normal."},
    ],
    "videofolder": [
        {"chosen_file_name": "a.mp4", "rejected_file_name": "b.mp4", "prompt": CAPTION}
        | {
            "dimension": "motion",
            "verdict": "b",
            "votes_a": 2,
            "certainty": 0.5,
            "source": "human",
        },
        {"a_file_name": "a.mp4", "b_file_name": "b.mp4", "caption": CAPTION, "verdict": "tie"},
        {"file_name": "a.mp4", "text": CAPTION, "grade": "good", "round": 1},
    ],
    "chosen-rejected": [
        {"prompt": CAPTION, "chosen_video_path": "a.mp4", "rejected_video_path": "b.mp4"}
    ],
    "flow-factory": [
        {
            "schema_version": 2,
            "input": {"prompt": CAPTION, "media": []},
            "supervision": {
                "type": "preference",
                "chosen": {"media": [{"type": "video", "path": "a.mp4"}]},
                "rejected": {"media": [{"type": "video", "path": "b.mp4"}]},
            },
            "metadata": {"dimension": "motion", "source": "human"},
        }
    ],
    "simpletuner": [
        {"id": "w", "dataset_type": "video", "instance_data_dir": "win"}
        | {"caption_strategy": "textfile", "conditioning_data": ["l"]},
        {"id": "l", "conditioning_type": "reference_strict", "instance_data_dir": "lose"}
        | {"source_dataset_id": "w"},
    ],
    "rapidata": [
        {"prompt": CAPTION, "file_name1": "a.mp4", "file_name2": "b.mp4"}
        | {"weighted_results1_Alignment": 0.7, "weighted_results2_Alignment": 0.3}
    ],
    "genai-bench": [
        {"prompt": CAPTION, "left_video": "a.mp4", "right_video": "b.mp4"}
        | {"vote_type": "leftvote"}
    ],
    "mj-video": [
        {"video_0_path": "a.mp4", "video_1_path": "b.mp4", "prompt": CAPTION}
        | {"overall_preference": "Same", "category_preference": {"Fineness": "Video 1 better"}}
    ],
    "unified-reward": [
        {"problem": f"Text Caption: [{CAPTION}]", "solution": "Video 1 is better"}
        | {"images": ["a.png", "b.png"]},
        {"conversations": _asked("<think>Both.</think> Both videos are equally good.")}
        | {"videos": ["a.mp4", "b.mp4"]},
        {"conversations": _asked(_SCORES), "images": ["a.png"]},
    ],
    "videoscore2": [
        {"prompt": CAPTION, "video_name": "a"}
        | {"visual_score": 4, "t2v_score": 3, "phy_score": 1.5},
        {"conversations": _asked(_SCORES), "videos": ["a.mp4"]},
    ],
    "hpdv2": [
        {"prompt": CAPTION, "image_path": ["a.png", "b.png"], "human_preference": [1, 0]},
        {"prompt": CAPTION, "file_path": ["a.png", "b.png"], "rank": [1, 2]},
    ],
    "imagereward": [
        {"prompt": CAPTION, "prompt_id": "7", "image_path": "a.png", "rank": 1},
        {"prompt": CAPTION, "prompt_id": "7", "image_path": "b.png", "rank": 2},
    ],
    "table": [{"caption": CAPTION, "a": "a.mp4", "b": "b.mp4", "verdict": "left", "certainty": 1}],
    "label-studio": [
        {
            "id": 1,
            "data": {"prompt": CAPTION, "video_a": "a.mp4", "video_b": "b.mp4"},
            "annotations": [{"completed_by": {"id": 5}, "result": [_PAIRWISE, _REASON]}],
        },
        {"id": 2, "prompt": CAPTION, "video1": "a.mp4", "video2": "b.mp4", "annotator": 4}
        | {"pw": [{"selected": "right"}], "reason": "B jumps."},
    ],
}
# What a file's own columns do not say is given by the user.
MAPS = {"table": {name: name for name in ("caption", "a", "b", "verdict", "certainty")}}

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 7, 0.5, 2**31, 2**63, -(2**70), 10**400, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "NaN", "1e999", "1" * 5000, "0x10", "٣"),
    *("", " ", "a", "A", "B", "tie", "good", "human", "x" * 300, "y" * 5000, "\x00", "a\x00.mp4"),
    *("\ud800", "\u202e", "\u2028", "\ufeff", "\x85", "e\u0301", "<b>&amp;", "🎬" * 40, "\r\n"),
    *("/etc/hostname", "../b.mp4", "a.mp4/b", ".", "/", "~", "http://127.0.0.1:9/a.mp4"),
    *(
        "concat:a|b",
        "//host/a",
        "C:\\a.mp4",
        "none.mp4",
        "folder",
        "text.mp4",
        "empty.mp4",
        "a.png",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [1, "a"],
        ["a.mp4"],
        {"a": 1},
        {"": ""},
        {"value": None},
        [{}],
        "http://[",
    ),
    *({"path": "a.mp4"}, {"bytes": "x"}, {"text": None}, {"selected": ["left"]}, [{"text": 3}]),
)


def make_folder(folder: Path) -> dict[str, str]:
    """Fill a folder with the clips and images that the examples name; return the clips' hashes."""
    hashes = {}
    for shade, name in enumerate(("A", "B"), start=1):
        frames = np.full((3, 16, 16, 3), 70 * shade, np.uint8)
        hashes[name] = write_clip(folder / f"{name.lower()}.mp4", frames, 8)
        source = folder / f"{name.lower()}.mp4"
        stored = folder / "clips" / hashes[name][:2] / f"{hashes[name]}.mp4"
        tuned = folder / ("win" if name == "A" else "lose") / "1.mp4"
        for path in (stored, tuned):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
        Image.new("RGB", (16, 16), (70 * shade,) * 3).save(source.with_suffix(".png"))
    (folder / "win" / "1.txt").write_text(f"{CAPTION}\n", encoding="utf-8")
    (folder / "text.mp4").write_text("no clip", encoding="utf-8")
    (folder / "empty.mp4").touch()
    (folder / "folder").mkdir()
    clips = [{"basic": {"clip_path": name}} for name in ("a.mp4", "b.mp4")]
    (folder / "metadata.json").write_text(json.dumps(clips), encoding="utf-8")
    return hashes


def named(value: Any, hashes: dict[str, str]) -> Any:
    """Put the clips' hashes in the place of A and B in a native row."""
    return {
        k: hashes.get(v, v) if k.startswith("video") and isinstance(v, str) else v
        for k, v in value.items()
    }


def mutated(row: Row, rng: random.Random) -> Row:
    """Return a copy of a row with one to three odd places."""
    odd_row: Row = copy.deepcopy(row)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(odd_row))
        if not places:
            break
        holder, key = rng.choice(places)
        fate = rng.randrange(10)
        if fate == 0:
            del holder[key]
        elif fate == 1 and isinstance(holder, dict):
            holder[rng.choice(("", "a", "source", "annotator", "\x00", "k" * 300))] = odd(rng)
        elif fate == 2:
            holder[key] = [holder[key]]
        elif fate == 3 and isinstance(holder[key], str):
            holder[key] = cut(holder[key], rng)
        else:
            holder[key] = odd(rng)
    return odd_row


def odd(rng: random.Random) -> Any:
    """Draw an odd value, sometimes inside lists."""
    value = copy.deepcopy(rng.choice(ODD))
    if rng.randrange(40) == 0:
        for _ in range(rng.choice((2, 60, 70, 200))):
            value = [value]
    return value


def text_of(row: Row, rng: random.Random) -> str:
    """Spell a row as JSON, sometimes with damage."""
    text = json.dumps(row, ensure_ascii=rng.random() < 0.5)
    if rng.randrange(200) == 0:
        value = rng.choice(("[" * 3000 + "]" * 3000, "9" * 5000))
        text = text.replace(":", f': {value}, "more":', 1)
    if rng.randrange(12) == 0:
        text = cut(text, rng)
    if rng.randrange(30) == 0:
        text = text.replace("{", '{"prompt": 1, ', 1)
    return text


def as_bytes(text: str, rng: random.Random) -> bytes:
    """Encode a text; sometimes in Latin-1, or with a byte that no UTF-8 has."""
    if rng.randrange(50) == 0:
        return text.encode("latin-1", "replace")
    content = text.encode("utf-8", "surrogatepass")
    if rng.randrange(50) == 0:
        place = rng.randrange(len(content) + 1)
        content = (
            content[:place]
            + rng.choice((b"\xff", b"\x00", b"\r", b"\xed\xa0\x80"))
            + content[place:]
        )
    return content


def cut(text: str, rng: random.Random) -> str:
    """Take a part of a text away, or put it elsewhere."""
    start, end = sorted(rng.choices(range(len(text) + 1), k=2))
    return text[:start] + text[end:] if rng.random() < 0.5 else text[:end] + text[start:]


def _places(value: Any) -> Any:
    """Yield every list or object within a row, with each of its indices or names."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
