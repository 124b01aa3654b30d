"""The bill of a run: what is counted is what is computed, and grows as the recipe does."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dualipo.cli import main
from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.generator import backbone
from dualipo.rounds import bill, estimating
from dualipo.rounds.bill import Devices
from dualipo.rounds.run import model_folder


@pytest.mark.parametrize("name", ["embedded", "embedded-cogvideox"])
def test_the_autoencoder_is_counted_as_it_computes(name: str) -> None:
    config = Config.model_validate({"generator": {"pretrained_model_name_or_path": name}})
    settings, folder = config.generator, model_folder(name, "generator")
    counted = estimating.decoding(config).flops
    model = backbone.load(
        folder, max_sequence_length=settings.max_sequence_length, dtype=torch.float32, device="cpu"
    )
    model.load_decoder()
    shape = model.latent_shape(
        num_frames=settings.num_frames, height=settings.height, width=settings.width
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.decode(torch.zeros(1, *shape))
    # A run decodes with another cache, which leaves out what is cut off again.
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01) and counted > 0


def test_every_part_grows_with_what_it_depends_on() -> None:
    def operations(**changes: object) -> dict[str, float]:
        return bill.operations(Config.model_validate(changes))

    num = {"num_prompts": 100, "num_monitor_prompts": 1, "num_test_prompts": 0}
    one, two = (operations(rounds=1, prompts=num | {"num_prompts": n}) for n in (100, 200))
    assert two["text encoder"] * 101 == pytest.approx(201 * one["text encoder"])
    assert two["critic, judging"] == pytest.approx(2 * one["critic, judging"], rel=0.01)
    assert min(one["text encoder"], one["critic, judging"]) > 0
    assert two["critic, training"] == one["critic, training"] > 0  # before round 0
    adapter = operations(rounds=1, prompts=num, critic={"rank": 4})
    assert 0 < adapter["critic, training"] < one["critic, training"]
    served = operations(rounds=1, prompts=num, critic={"backend": "scores"})
    assert "critic, judging" not in served


def test_a_checked_device_bills_a_run_by_its_measured_rate(tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"parts": {"sample": {"tflops": 0.5}}}))
    config = Config()
    total = sum(bill.operations(config).values())
    compute, time, price = bill.lines(config, Devices(str(path), 4, price=3600 * 100.0))
    assert f"{total:.2g} FLOP" in compute and "0.5 TFLOP/s" in time and "on 4 of them" in time
    assert f"{total / 0.5e12 * 100:,.2f}" in price
    for wrong, named in (("h999", "rtx4090"), (str(tmp_path / "no.json"), "no.json")):
        with pytest.raises(Exception, match=named):
            bill.lines(config, Devices(wrong))
    path.write_text("{}")
    with pytest.raises(ConfigError, match="no measured sampling"):
        bill.lines(config, Devices(str(path)))
    assert main.main(["run", "recipes/smoke.toml", "--price", "2"]) == 2
    assert "Add --dry-run" in capsys.readouterr().err
    assert main.main(["plan", "recipes/smoke.toml", "--num-devices", "0"]) == 2
    assert main.main(["run", "recipes/smoke.toml", "--dry-run", "--device", "tpu"]) == 2
    assert "no time was measured on 'tpu'" in capsys.readouterr().err
    assert bill.speed("H100") == bill.speed("h100")
