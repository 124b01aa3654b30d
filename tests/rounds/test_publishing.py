"""A version as a pipeline's folder gives stock diffusers the samples that its backbone gives.

The versions are trained for real, two rounds on tiny models of both families; the code that runs is
the card's own.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from dualipo import config, open_run
from dualipo.cli.main import main
from dualipo.config import Config, Generator
from dualipo.errors import DataError, ModelError
from dualipo.evaluation.share import diffusers_usage, hub, model_card
from dualipo.event_parts import Signals
from dualipo.events import AlignEvent, Event, MonitorEvent
from dualipo.generator import backbone
from dualipo.generator.align import align
from dualipo.generator.preference_sets import PreferenceSet
from dualipo.rounds import publishing
from dualipo.rounds.run import model_folder
from dualipo.store import atomic
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import RunDir
from tests.generator.conftest import make_cogvideox, make_pipeline

pytestmark = pytest.mark.slow

SIZES: dict[str, Any] = {
    "num_frames": 9,
    "height": 32,
    "width": 32,
    "num_inference_steps": 3,
    "guidance_scale": 2.0,
    "max_sequence_length": 8,
}
ALIGN: dict[str, Any] = {
    "max_train_steps": 4,
    "train_batch_size": 4,
    "learning_rate": 5e-3,
    "lr_warmup_steps": 0,
    "num_slots": 2,
    "real_nll_ratio": 0.0,
}
CASES = [(family, rank) for family in ("wan", "cogvideox") for rank in (0, 4)]
LAST = "g001.0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """Align two rounds of each family: all weights (rank 0), and a LoRA on the round before."""
    root = tmp_path_factory.mktemp("publishing")
    for family, pipeline in (("wan", make_pipeline()), ("cogvideox", make_cogvideox(rotary=True))):
        pipeline.save_pretrained(root / family)
    (root / "wan" / "LICENSE.txt").write_text("may be shared")
    (root / "wan" / "vae" / "diffusion_pytorch_model.bin").write_text("a pickle")
    return {case: make_run(root, *case) for case in CASES}


def make_run(root: Path, family: str, rank: int) -> Path:
    name = {"pretrained_model_name_or_path": str(root / family)}
    tree = {"generator": SIZES | name, "align": ALIGN | {"rank": rank}}
    settings = config.resolve(tree, subject="test")
    run = RunDir.open(root / f"{family}-{rank}", settings)
    base = Version("generator", "base", None, -1, 0, "", "ab" * 32)
    run.ledger.commit_unit(Unit(-1, 0, "base"), versions=[base])
    parent = base
    for round in range(2):
        parent = align_round(run, settings, round, parent)
    run.close()
    return run.path


def align_round(run: RunDir, settings: Config, round: int, parent: Version) -> Version:
    started = run.path / parent.path if parent.path else None
    base = Path(settings.generator.pretrained_model_name_or_path)
    model = backbone.load(base, max_sequence_length=8, transformer_folder=started)
    folder = run.attempt_path(round, 0) / "generator"
    result = align(
        model,
        preferences=pairs(model, round),
        real=None,
        settings=settings.align,
        folder=folder,
        seed=round,
    )
    paths = [*result.transformer_folder.iterdir(), *filter(None, [result.adapter_path])]
    path = run.relative(result.transformer_folder)
    version_id, sha256 = f"g{round:03d}.0", result.generator_hash
    version = Version("generator", version_id, parent.version_id, round, 0, path, sha256)
    run.ledger.commit_unit(
        Unit(round, 0, "align"),
        files={run.relative(file): atomic.sha256_file(file) for file in paths},
        versions=[version],
        heads={"generator": version_id},
        events=preferred(version_id),
    )
    return version


def preferred(version_id: str) -> list[Event]:
    """Return what a round records whose version the critic clearly prefers."""
    signals = Signals(win_rate=0.8, num_win_rate_prompts=40)
    return [
        AlignEvent(num_steps=1, generator_version=version_id, critic_version="warm"),
        MonitorEvent(signals=signals, triggers=[], stop=[], winner_gap=None),
    ]


def pairs(model: Any, seed: int) -> PreferenceSet:
    generator = torch.Generator().manual_seed(seed)
    shape = model.latent_shape(num_frames=9, height=32, width=32)
    winners, losers = (torch.randn(4, *shape, generator=generator) + mean for mean in (1, -1))
    texts = {"x": model.encode_text(["a red ball"])[0]}
    return PreferenceSet(
        ids=[f"p{k}" for k in range(4)],
        caption_keys=["x"] * 4,
        texts=texts,
        winners=winners,
        losers=losers,
    )


def base_of(run: Path) -> Path:
    return run.parent / run.name.split("-")[0]


def of_backbone(run: Path, version: str | None) -> Tensor:
    """Return the latent that a version's backbone samples."""
    folder = run / f"rounds/{version[1:4]}/attempt-0/generator/transformer" if version else None
    model = backbone.load(base_of(run), max_sequence_length=8, transformer_folder=folder)
    text_BLD = model.encode_text(["a red ball"])
    return model.sample(text_BLD, seeds=[5], settings=Generator(**SIZES))


def of_stock(pipe: Any) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    seeded = [torch.Generator().manual_seed(5)]
    return pipe("a red ball", generator=seeded, output_type="latent", **SIZES).frames


def blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def opened(block: str, run: Path, **folders: Path) -> Any:
    """Run a block of the card with its placeholders filled in; return its `pipe`."""
    for name, folder in {"RUN": run, "BASE": base_of(run), **folders}.items():
        block = re.sub(rf'"{name}(?=["/])', f'"{folder}', block)
    names: dict[str, Any] = {}
    exec(re.sub(r"\bframes = .*", "", block, flags=re.DOTALL), names)
    return names["pipe"]


@contextlib.contextmanager
def changed(path: Path, content: str) -> Iterator[None]:
    before = path.read_bytes()
    path.write_text(content)
    yield
    path.write_bytes(before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stock_pipeline_from_the_folder_is_the_version(
    runs: dict[tuple[str, int], Path], case: tuple[str, int], tmp_path: Path
) -> None:
    run, out = runs[case], tmp_path / "out"
    assert main(["export", "pipeline", str(run), str(out)]) == 0
    expected = of_backbone(run, LAST)
    stock = DiffusionPipeline.from_pretrained(out)
    torch.testing.assert_close(of_stock(stock), expected, rtol=1e-5, atol=1e-5)
    for other in (None, "g000.0"):
        assert (of_backbone(run, other) - expected).abs().max() > 1e-2
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers") and f"# `{LAST}`" in card
    torch.testing.assert_close(
        of_stock(opened(blocks(card)[0], run, FOLDER=out)), expected, rtol=1e-5, atol=1e-5
    )
    assert not (out / "pytorch_lora_weights.safetensors").exists()
    again = backbone.load(out, max_sequence_length=8)  # another run may begin from it
    assert again.hash() == hub.trained_version(run, LAST).sha256


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_every_way_of_loading_that_the_card_shows_is_the_version(
    runs: dict[tuple[str, int], Path], family: str, tmp_path: Path
) -> None:
    # From the pipeline, the transformer, the LoRA on its round's start, and all LoRA stacked.
    run, out, start = runs[family, 4], tmp_path / "out", tmp_path / "start"
    card = model_card.render(run, LAST)
    assert "library_name" not in card and "--version g000.0" in card
    publishing.export_pipeline(run, out)
    publishing.export_pipeline(run, start, version_id="g000.0")
    folders = {"OUT": out, "START": start, "FOLDER": run / "rounds/001/attempt-0/generator"}
    expected, shown = of_backbone(run, LAST), blocks(card)
    assert len(shown) == 4
    for block in shown:
        latent = of_stock(opened(block, run, **folders))
        torch.testing.assert_close(latent, expected, rtol=1e-4, atol=1e-4)
    wrong = opened(shown[2].replace("START", "BASE"), run, **folders)
    assert (of_stock(wrong) - expected).abs().max() > 1e-2
    first = blocks(model_card.render(run, "g000.0"))[-1]
    torch.testing.assert_close(
        of_stock(opened(first, run)), of_backbone(run, "g000.0"), rtol=1e-4, atol=1e-4
    )


def test_the_card_s_call_fits_the_model_that_ships(runs: dict[tuple[str, int], Path]) -> None:
    run = runs["wan", 0]
    version = hub.trained_version(run)
    text = diffusers_usage.section(
        config.leaves(Config()), open_run(run), version, is_pipeline=True
    )
    names: dict[str, Any] = {}
    shipped = model_folder("embedded", "generator")
    exec(blocks(text)[0].replace("FOLDER", str(shipped)), names)
    assert names["frames"].shape == (9, 32, 32, 3)
    model = backbone.load(shipped, max_sequence_length=32)  # its text encoder is kept in float16
    sizes: dict[str, Any] = {
        "height": 32,
        "width": 32,
        "num_inference_steps": 2,
        "guidance_scale": 2.5,
    }
    text_BLD = model.encode_text(["a red disc"])
    expected = model.sample(text_BLD, seeds=[5], settings=Generator(num_frames=9, **sizes))
    asked = {"num_frames": 8, "max_sequence_length": 32, "output_type": "latent", **sizes}
    sampled = names["pipe"]("a red disc", generator=torch.Generator().manual_seed(5), **asked)
    torch.testing.assert_close(sampled.frames, expected, rtol=1e-5, atol=1e-5)


def test_the_folder_holds_the_base_s_parts_and_terms_but_no_pickle(
    runs: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    run, out, linked = runs["wan", 0], tmp_path / "out", runs["wan", 0].parent / "linked"
    publishing.export_pipeline(run, out)
    publishing.export_pipeline(run, linked, link=True)
    for folder in (out, linked):
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
        assert {"model_index.json", "LICENSE.txt", "recipe.toml"} < files
        assert not [name for name in files if name.endswith(".bin")]
    same = "vae/config.json"
    assert (linked / same).samefile(base_of(run) / same)
    assert not (out / same).samefile(base_of(run) / same)


def test_a_whole_pipeline_can_be_pushed(
    runs: dict[tuple[str, int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["wan", 4]
    assert main(["push", "model", str(run), "ada/thing", "--pipeline", "--dry-run"]) == 0
    card, names = capsys.readouterr().out.rsplit("\n\n", 1)
    assert card.startswith("---\nlibrary_name: diffusers") and "RUN/rounds/001" in card
    whole = {"README.md", "model_index.json", "vae/config.json", "transformer/config.json"}
    assert whole < {*names.split()}
    assert not [name for name in names.split() if "lora" in name]


def test_what_cannot_be_exported_is_refused(
    runs: dict[tuple[str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = runs["wan", 0], tmp_path / "out"
    for words, message in [
        ((run, out, "--version", "g009.0"), "no generator 'g009.0'. Known: base, g000.0, g001.0"),
        ((run, out, "--version", "base"), "'base' is the model that the recipe names"),
        ((run, tmp_path), "exists already. Delete it, or give another name"),
        ((tmp_path, out), "there is no run here"),
        ((run, out, "--round", "1"), "Give --version"),
    ]:
        assert main(["export", "pipeline", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
    assert main(["export", "trl", str(run), str(out), "--version", "g000.0"]) == 2
    assert "Leave it out" in capsys.readouterr().err
    assert not out.exists()


def test_a_lora_is_exported_under_the_names_of_a_program(
    runs: dict[tuple[str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(runs["wan", 4]), tmp_path / "out"
    assert main(["export", "lora", run, str(out), "--names", "peft"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert main(["export", "lora", str(runs["wan", 0]), str(tmp_path / "none")]) == 2
    assert "its round trained all weights" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_is_damaged_or_gone_is_named(
    runs: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    run, out = runs["wan", 0], tmp_path / "out"
    base, other = base_of(run), runs["cogvideox", 0]
    weights = run / "rounds/001/attempt-0/generator/transformer/config.json"
    with changed(weights, "{}"), pytest.raises(DataError, match=r"config\.json: its content"):
        publishing.export_pipeline(run, out)
    index = base / "model_index.json"
    hostile = json.loads(index.read_text()) | {"../vae": ["diffusers", "AutoencoderKLWan"]}
    with changed(index, json.dumps(hostile)), pytest.raises(ModelError, match="names no part"):
        publishing.export_pipeline(run, out)
    shutil.move(base / "vae", tmp_path / "vae")
    with pytest.raises(ModelError, match="its part vae is missing"):
        publishing.export_pipeline(run, out)
    shutil.move(tmp_path / "vae", base / "vae")
    shutil.move(base_of(other), tmp_path / "moved")
    with pytest.raises(ModelError, match=r"the base model of .* is not there"):
        publishing.export_pipeline(other, out)
    shutil.move(tmp_path / "moved", base_of(other))
    assert not out.exists()
