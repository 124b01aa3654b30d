"""Recipes that cannot work, by the kind of input that is wrong, and what must be said of each.

A recipe stands in a folder with captions, labels and real clips that work: `prepare` breaks one.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualipo.preferences import label_set
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS, Pair, Point
from dualipo.rounds import model_checks, preflight, room
from dualipo.rounds.run import model_folder
from dualipo.store.clips import encode_clip

ANIMALS = ("cat", "dog", "owl", "fox", "bee", "hen", "cow", "pig", "ant", "elk")
CAPTIONS = [f"a {animal} {verb}" for animal in ANIMALS for verb in ("runs", "sits", "eats", "naps")]
# Small numbers, so that forty captions last.
OWN = (
    *("rounds=1", "prompts.path=captions.txt", "prompts.num_prompts=4"),
    *("prompts.num_monitor_prompts=2", "prompts.num_test_prompts=2", "seed_labels.num_prompts=2"),
)
LABELLED = (*OWN, "seed_labels.path=labels", "seed_labels.min_per_verdict=1")
CLIPS = (*OWN, "align.dataset_name=clips", "align.num_real_clips=4")
SERVED = ("critic.backend=server", "refresh.update_critic=false")
VBENCH = ("monitor.suite=vbench", "monitor.suite_python=captions.txt")
_JUDGE = '{"name": "one", "backend": "scores"}'  # of the critic's default name
SCORES = ("critic.backend=scores", "refresh.update_critic=false")


def write_clips(num: int, *, num_frames: int = 9, column: str = "caption") -> None:
    folder = Path("clips")
    folder.mkdir(exist_ok=True)
    content = encode_clip(np.zeros((num_frames, 32, 32, 3), np.uint8), 8)
    for n in range(num):
        (folder / f"{n}.mp4").write_bytes(content)
    rows = [{"file_name": f"{n}.mp4", column: f"clip {n}"} for n in range(num)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def write_labels(
    *, pairs: bool = False, points: bool = False, num_captions: int = 20, verdicts: str = "ab"
) -> None:
    """Write labels of captions that are not in the list."""
    store = label_set.clip_store(Path("labels"))
    clips = [store.put(np.full((2, 32, 32, 3), level, np.uint8), 8) for level in (0, 200)]
    who: Any = {"source": "human", "annotator_or_critic_version": "ada"}
    places = [(n, d) for n in range(num_captions) for d in DIMENSIONS]
    made = [
        Pair(f"p{n}{d}", f"c{n}", f"a boat {n}", *clips, d, verdicts[n % len(verdicts)], **who)
        for n, d in places
    ]
    grades = ("good", "bad")
    graded = [
        Point(f"q{n}{d}", f"c{n}", f"a boat {n}", clips[0], d, grades[n % 2], **who)
        for n, d in places
    ]
    labels = LabelSet(tuple(made) if pairs else (), tuple(graded) if points else ())
    label_set.write(Path("labels"), labels, history=[])


def _copy(part: str, change: Callable[[Path], object], name: str = "model") -> None:
    """Copy a model that ships, and change the copy."""
    shutil.copytree(model_folder("embedded", part), name)
    change(Path(name))


def _set(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _write(name: str, text: str | bytes) -> Callable[[], object]:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda: Path(name).write_bytes(content)


def _generator(change: Callable[[Path], object]) -> Callable[[], object]:
    return lambda: _copy("generator", change)


def _critic(change: Callable[[Path], object]) -> Callable[[], object]:
    return lambda: _copy("critic", change)


GENERATOR = "generator.pretrained_model_name_or_path=model"
CRITIC = "critic.pretrained_model_name_or_path=model"


@dataclass(frozen=True)
class Wrong:
    """A recipe that cannot work: its overrides, what to do to the folder first, what is told."""

    overrides: Sequence[str]
    words: str
    prepare: Callable[[], object] = lambda: None


SETTINGS = {
    "unknown key": Wrong(["align.beta=1"], "no setting `align.beta`"),
    "value": Wrong(["align.beta_dpo=-1"], "must be greater than 0"),
    "hub without name": Wrong(["push_to_hub=true"], "hub_model_id is not set"),
    "hub without owner": Wrong(["push_to_hub=true", "hub_model_id=mine"], "without an owner"),
    "a judge that cannot learn": Wrong(["critic.backend=scores"], "cannot refine itself"),
    "an engine for weights that are elsewhere": Wrong(
        [*SERVED, 'critic.serving.command=["vllm", "{model}", "{port}"]'],
        "or leave the command out",
    ),
    "an audit without labels": Wrong(
        ['refresh.sources=["audit"]', "monitor.num_audit_labels=0"], "Set it above 0, or name"
    ),
    "newer clips that nobody labels": Wrong(
        ['refresh.sources=["newer"]', "monitor.num_audit_labels=0"], "Name other sources, or set"
    ),
    "four bits of all weights": Wrong(["critic.load_in_4bit=true"], "holds weights that cannot be"),
    "critic in half precision": Wrong(["critic.torch_dtype=bfloat16"], "critic.rank = 0 trains"),
    "a head in 4 bits": Wrong(
        ["critic.backend=reward_head", "critic.load_in_4bit=true"], "trains a head alone"
    ),
    "half precision": Wrong(["generator.torch_dtype=bfloat16"], "rounds its updates away"),
    "processes and Muon": Wrong(
        ["align.num_processes=2", "align.optimizer=muon"], "does not work with align.optim"
    ),
    "uneven batch": Wrong(["align.num_processes=3"], "align.train_batch_size = 16 and align.real"),
    "uneven machines": Wrong(
        ["align.num_processes=4", "align.num_nodes=3"], "cannot be divided evenly among"
    ),
    "uneven batches of the critic": Wrong(
        ["critic.num_processes=5"],
        "Set warm_start_sft.train_batch_size and warm_start_dpo.train_batch_size and refresh.srpo",
    ),
    "4 bits on several devices": Wrong(
        ["critic.num_processes=2", "critic.load_in_4bit=true", "critic.rank=4"],
        "works in one process alone",
    ),
    "a head on several devices": Wrong(
        ["critic.num_processes=2", "critic.backend=reward_head"], "is not trained by several"
    ),
    "short clips": Wrong(["critic.short_video=error"], "clips have 9 frames"),
    "audit of own captions": Wrong([*OWN, "monitor.num_audit_labels=4"], "num_audit_labels asks"),
    "oracle and own captions": Wrong(
        [*OWN, "monitor.num_accuracy_pairs=4"], "num_accuracy_pairs asks programs"
    ),
    "world clips and own captions": Wrong(
        [*OWN, "align.real_nll_ratio=0.1"], "align.dataset_name is not set"
    ),
    "a file without a name": Wrong(["prompts.source=file"], "needs prompts.path"),
    "a file that is not read": Wrong(
        ["prompts.source=world", "prompts.path=captions.txt"], "reads no file"
    ),
    "test captions of one's own in the world": Wrong(
        ["prompts.test_path=captions.txt"], "know the embedded world's own captions only"
    ),
    "judges of one name": Wrong(
        [f"monitor.judges=[{_JUDGE}, {_JUDGE}]"], "monitor.judges: two are called one"
    ),
    "judges without clips": Wrong(
        [*OWN, "prompts.num_test_prompts=0", f"monitor.judges=[{_JUDGE}]"], "of the test prompts"
    ),
    "the critic as its own judge": Wrong(
        [*SCORES, f"monitor.judges=[{_JUDGE}]"], "one is the critic that the generator learns from"
    ),
    "a judge that would train": Wrong(
        [f"monitor.judges=[{_JUDGE.replace('scores', 'reward_head')}]"], "is trained on the seed"
    ),
    "a limit of motion that nothing measures": Wrong(
        ["refresh.max_dynamics_drop=0.2"], "reads the clips' motion"
    ),
    "the world's suite and own captions": Wrong(
        [*OWN, "monitor.suite=world"], "judge the embedded world's own captions only"
    ),
    "VBench without its Python": Wrong(["monitor.suite=vbench"], "suite_python is not set"),
    "accuracy without clips": Wrong(["prompts.num_test_prompts=0"], "num_accuracy_pairs takes"),
    "few simulated pairs": Wrong(["seed_labels.num_pairs=20"], "seed_labels.num_pairs = 20 leaves"),
    "few simulated grades": Wrong(["seed_labels.num_points=9"], "num_points = 9 leaves too few"),
    "no labels": Wrong(["seed_labels.num_pairs=0", "seed_labels.num_points=0"], "are both 0"),
    "a head without pairs": Wrong(
        ["critic.backend=reward_head", "refresh.update_critic=false", "seed_labels.num_pairs=0"],
        'critic.backend = "reward_head" learns from pairs',
    ),
    "KTO without grades": Wrong(
        ["align.loss_type=kto", "seed_labels.num_points=0"], "never learns to grade a clip"
    ),
}

FILES = {
    "no captions": Wrong([*OWN, "prompts.path=no.txt"], "no.txt: "),
    "too few captions": Wrong(
        [*OWN, "rounds=9"], "40 distinct captions can be used, but 42 are needed (2 for prompts.num"
    ),
    "too few test captions": Wrong(
        [*OWN, "prompts.test_path=t.txt", "prompts.num_test_prompts=3"],
        "t.txt: 2 of its 3 captions can be used (0 were refused",
        _write("t.txt", "a cat\nA  CAT\na dog"),
    ),
    "captions that are screened": Wrong(
        OWN,
        "1 distinct captions can be used of 4 (2 repeated, 1 a control character",
        _write("captions.txt", "a cat\nA  CAT\na cat\na \x07 dog"),
    ),
    "captions without a column": Wrong(
        [*OWN, "prompts.path=c.csv"], "c.csv: ", _write("c.csv", "name\na cat\n")
    ),
    "captions in another encoding": Wrong(
        OWN, "not UTF-8", _write("captions.txt", "une fenêtre".encode("latin-1"))
    ),
    "captions that have labels": Wrong(
        LABELLED, "used before, or captions of labels",
        _write("captions.txt", "\n".join(f"a boat {n}" for n in range(20))),
    ),
    "no label set": Wrong([*LABELLED, "seed_labels.path=clips"], "clips: this is no label set"),
    "one-sided labels": Wrong(
        LABELLED, "too small or one-sided", lambda: write_labels(pairs=True, verdicts="a")
    ),
    "too little held out": Wrong(
        [*LABELLED, "seed_labels.min_holdout=500"],
        "and seed_labels.min_holdout asks for 500. They would tell the critic's accuracy to within",
    ),
    "nothing held out": Wrong(
        [*LABELLED, "seed_labels.holdout_share=0.01"], "none of its 20 captions is held out"
    ),
    "KTO from pairs": Wrong(
        [*LABELLED, "align.loss_type=kto"],
        "grades no single clip", lambda: write_labels(pairs=True),
    ),
    "a head from grades": Wrong(
        [*LABELLED, "critic.backend=reward_head", "refresh.update_critic=false"],
        "no label about consistency", lambda: write_labels(points=True),
    ),
    "a label's clip is gone": Wrong(
        LABELLED, "this clip is missing", lambda: shutil.rmtree("labels/clips")
    ),
    "no clip table": Wrong([*CLIPS, "align.dataset_name=no"], "no: no table of clips"),
    "no caption column": Wrong(CLIPS, "no column 'caption'", lambda: write_clips(4, column="text")),
    "too few real clips": Wrong(CLIPS, "3 of 3 could be used", lambda: write_clips(3)),
    "broken real clips": Wrong(
        CLIPS, "1 could not be used", lambda: Path("clips/2.mp4").write_bytes(b"no video")
    ),
    "short real clips": Wrong(CLIPS, "3 frames, where 9", lambda: write_clips(4, num_frames=3)),
    "scores of unknown columns": Wrong(
        [*SCORES, "critic.pretrained_model_name_or_path=s.csv"],
        "none of the known columns", _write("s.csv", "path,beauty\nx,1\n"),
    ),
    "scores of an unknown kind": Wrong(
        [*SCORES, "critic.pretrained_model_name_or_path=s.txt"],
        "scores are read from", _write("s.txt", "1"),
    ),
}  # fmt: skip

MODELS = {
    "no generator": Wrong([GENERATOR], "model: no such folder. Download the model first, or"),
    "a published generator": Wrong(
        ["generator.pretrained_model_name_or_path=m/CogVideoX-2b",
         "generator.max_sequence_length=226", "generator.num_frames=49"],
        "`hf download zai-org/CogVideoX-2b --local-dir m/CogVideoX-2b`",
    ),
    "another embedded one": Wrong(
        ["generator.pretrained_model_name_or_path=embedded-huge"], "no generator of this name"
    ),
    "no pipeline": Wrong(
        [GENERATOR], "no model_index.json", _generator(lambda f: (f / "model_index.json").unlink())
    ),
    "another pipeline": Wrong(
        [GENERATOR], "its pipeline is FluxPipeline",
        _generator(lambda f: _set(f / "model_index.json", _class_name="FluxPipeline")),
    ),
    "Wan2.2": Wrong(
        [GENERATOR], "two transformers",
        _generator(lambda f: _set(f / "model_index.json", boundary_ratio=0.9)),
    ),
    "no weights": Wrong(
        [GENERATOR], "model/vae",
        _generator(lambda f: [p.unlink() for p in (f / "vae").glob("*.safetensors")]),
    ),
    "frames that do not fit": Wrong(["generator.num_frames=10"], "10 frames of 32x32 do not fit"),
    "a size that does not fit": Wrong(["generator.height=36"], "9 frames of 36x32 do not fit"),
    "tokens of CogVideoX": Wrong(
        ["generator.pretrained_model_name_or_path=embedded-cogvideox",
         "generator.max_sequence_length=99"],
        "Set generator.max_sequence_length=32",
    ),
    "no critic": Wrong([CRITIC], "model: no such folder. Download the model first, or"),
    "a published critic": Wrong(
        ["critic.pretrained_model_name_or_path=m/VILA1.5-13b"], "hf download Efficient-Large"
    ),
    "another layout": Wrong(
        [CRITIC, "critic.backend=transformers_vlm"], 'Set critic.backend = "vila"',
        _critic(lambda f: None),
    ),
    "no weights of the critic": Wrong(
        [CRITIC], "model/llm", _critic(lambda f: (f / "llm" / "model.safetensors").unlink())
    ),
    "a context without room": Wrong(
        [CRITIC, "critic.max_frames=9"], "Set critic.max_frames = ",
        _critic(lambda f: _set(f / "config.json", model_max_length=240)),
    ),
}  # fmt: skip

MACHINE = {
    "no engine": Wrong(
        ['critic.serving.command=["no-vllm", "{model}", "{port}"]'], "no program 'no-vllm' is here"
    ),
    "no server": Wrong(
        [*SERVED, "critic.server.base_url=http://127.0.0.1:9/v1"], "9/v1: cannot be reached"
    ),
    "no address": Wrong([*SERVED, "critic.server.base_url=nowhere"], "it must be an address"),
    "no rewriter": Wrong(
        ["seed_labels.rewriter.model=m", "seed_labels.rewriter.base_url=http://127.0.0.1:9/v1"],
        "or give seed_labels.rewriter.base_url its address",
    ),
    "a dimension that VBench lacks": Wrong(
        [*VBENCH, 'monitor.suite_dimensions=["beauty"]'], "names beauty, which VBench does not"
    ),
    "a dimension twice": Wrong(
        [*VBENCH, 'monitor.suite_dimensions=["color", "color"]'], "names color twice"
    ),
    "no Python for VBench": Wrong(VBENCH, "captions.txt: it is no program that can be run"),
    "no tracker": Wrong(["report_to=trackio"], 'report_to = "trackio": its package'),
    "no token": Wrong(["push_to_hub=true", "hub_model_id=a/b"], "HF_TOKEN: not set"),
    "no optimizer": Wrong(["align.optimizer=adamw_8bit"], "bitsandbytes"),
    "another's folder": Wrong(["output_dir=clips"], "clips: in use, and not a dualipo run"),
    "a file for a folder": Wrong(["output_dir=captions.txt"], "captions.txt: in use, and not"),
    "no room": Wrong(
        ["prompts.num_prompts=1000000000", "generator.keep_latents=true"], "`--force-disk` begins"
    ),
    "no memory": Wrong(
        ["generator.pretrained_model_name_or_path=m/Wan2.1-T2V-14B-Diffusers",
         "generator.num_frames=5", "align.num_processes=1"],
        "the alignment needs",
    ),
}  # fmt: skip
# A table of wrong recipes, and the checks that are to find them.
TABLES: dict[str, tuple[dict[str, Wrong], Sequence[preflight.Check]]] = {
    "settings": (SETTINGS, ()),
    "files": (
        FILES,
        (preflight.captions, preflight.labels, preflight.real_clips, model_checks.critic),
    ),
    "models": (MODELS, (model_checks.generator, model_checks.critic)),
    "machine": (
        MACHINE,
        (
            preflight.folder,
            preflight.packages,
            preflight.suite,
            model_checks.servers,
            room.memory,
            room.disk,
        ),
    ),
}
ROWS = [(group, name) for group, (wrong, _) in TABLES.items() for name in wrong]
