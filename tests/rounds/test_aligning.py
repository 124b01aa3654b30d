"""An alignment beside real clips from a disk instead of the world's."""

from pathlib import Path

from tests.generator.test_footage import camera_clip
from tests.rounds import harness as harnesses


def test_real_clips_of_a_folder_are_encoded_once(models_folder: Path, memory: Path) -> None:
    folder = memory / "footage"
    folder.mkdir()
    for n in range(5):
        camera_clip(folder / f"{n}.mp4", num_frames=30, fps=24, size=(48, 80))
    rows = [f'{{"file_name": "{n}.mp4", "caption": "clip {n}"}}' for n in range(5)]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    path = memory / "with-footage" / "run"
    settings = harnesses.recipe(
        models_folder,
        path,
        "rounds=1",
        "refresh.force_rounds=[]",
        "align.loss_type=kto",
        "align.kto_labels=extremes",
        f"align.dataset_name={folder}",
    )
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    assert harnesses.events(path, "encode_real") == [{"num": 4, "num_skipped": 0}]
    assert (path / "latents" / "real.safetensors").is_file()
