"""The configuration: strict, helpful about mistakes, and the same words for the same things."""

import functools
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from dualipo.config import (
    MAY_CHANGE,
    RETIRED,
    Align,
    Config,
    examine,
    from_leaves,
    groups,
    leaves,
    load,
    marked,
    resolve,
    settings,
    without_retired,
)
from dualipo.errors import ConfigError


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 3\n[align]\nbeta-dpo = 3000\nmax_train_steps = 7\n")
    return path


def test_a_recipe_and_its_overrides_become_leaves(recipe: Path) -> None:
    overrides = ["align.max-train-steps=9", "refresh.force_rounds=[1, 2]", "output_dir=runs/x"]
    config = load(recipe, [*overrides, "refresh.srpo.pce=sigmoid", "refresh.update_critic=false"])
    assert (config.seed, config.align.beta_dpo, config.align.max_train_steps) == (3, 3000.0, 9)
    assert config.refresh.force_rounds == (1, 2) and config.output_dir == "runs/x"
    flat = leaves(config)
    assert flat["refresh.srpo.pce"] == "sigmoid" and flat["refresh.force_rounds"] == [1, 2]
    assert flat["refresh.update_critic"] is False


def test_leaves_round_trip_through_overrides() -> None:
    tree: dict = {}
    for key, value in leaves(Config()).items():
        *groups, leaf = key.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = value
    assert resolve(tree, subject="test") == Config()
    assert set(MAY_CHANGE) <= set(leaves(Config()))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("align.beta_dop=1", ["no setting `align.beta_dop`. Did you mean `align.beta_dpo`?"]),
        ("aling.beta_dpo=1", ["no setting `aling`. Did you mean `align`?"]),
        ("align.max_pixels=1", ["Did you mean `critic.max_pixels`?"]),
        ("zzz=1", ["no setting `zzz`. `dualipo settings` lists them all."]),
        ("align.beta_dpo=-1", ["align.beta_dpo is -1, but it must be greater than 0. "]),
        (
            "align.beta_dpo=high",
            ["'high', but it must be a number. `dualipo settings align.beta_dpo` says"],
        ),
        ("align.loss_type=magic", ["align.loss_type is 'magic', but it must be 'dpo' or 'kto'."]),
        (
            "align.num_processes=3",
            ["align.train_batch_size = 16 and align.real_batch_size = 16", "to a multiple of 3"],
        ),
        ("generator.num_frames=3.5", ["must be a whole number"]),
        ("push_to_hub=maybe", ["push_to_hub is 'maybe', but it must be true or false."]),
        ("refresh.force_rounds=1", ["must be a list"]),
        ("align=1", ["must be a table of settings"]),
        ("align.lora_dropout=0.1", ["it is no setting any more", "Remove it."]),
        ("critic.cross_check=all", ["'all'", "Set critic.cross_check_share, where 1 tries every"]),
        ("push_to_hub=true", ["push_to_hub is true, but hub_model_id is not set. Set it"]),
        ("prompts.source=file", ['prompts.source = "file" needs prompts.path. Set it to a list']),
        ("seed.x=1", ["`seed` is a value"]),
        ("seed", ["group.key=value"]),
    ],
)
def test_a_mistake_names_the_key_the_fact_and_the_remedy(recipe: Path, override, words) -> None:
    with pytest.raises(ConfigError) as refused:
        load(recipe, [override])
    assert all(word in str(refused.value) for word in words), refused.value


REALITY = sorted((Path(__file__).parents[2] / "recipes").glob("*-*.toml"))


@pytest.mark.parametrize("path", REALITY, ids=lambda path: path.stem)
def test_the_documented_way_to_train_every_weight_over_devices_loads(path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    (line,) = (line for line in docs.splitlines() if "align.num_processes=8" in line)
    overrides = [word for word in line.partition("#")[0].split() if "=" in word]
    settings = load(path, overrides)
    assert (settings.align.num_processes, settings.align.rank) == (8, 0)
    assert settings.align.learning_rate <= 1e-5  # METHOD.md 4.5
    half = [word for word in overrides if not word.startswith("generator.torch_dtype")]
    with pytest.raises(ConfigError, match=r'"bfloat16" rounds its updates away. Set it to'):
        load(path, half)


def test_own_captions_alone_ask_for_nothing_that_only_the_embedded_world_can_give(
    recipe: Path,
) -> None:
    own = load(recipe, ["prompts.path=mine.txt"])
    assert own.prompts.source == "file" and own.align.real_nll_ratio == 0
    assert (own.monitor.num_audit_labels, own.monitor.num_accuracy_pairs) == (0, 0)
    with_clips = load(recipe, ["prompts.path=mine.txt", "align.dataset_name=clips"])
    assert with_clips.align.real_nll_ratio == Align().real_nll_ratio > 0
    assert from_leaves(leaves(own), subject="config.json") == own
    world = ["prompts.path=mine.txt", "monitor.num_audit_labels=4", "align.real_nll_ratio=0.1"]
    with pytest.raises(ConfigError) as refused:
        load(recipe, world)
    asks, trains = str(refused.value).splitlines()
    assert "monitor.num_audit_labels asks programs" in asks and "Set it to 0." in asks
    assert "align.dataset_name is not set" in trains


def test_all_problems_of_a_recipe_are_told_at_once_and_defaults_stand_in(recipe: Path) -> None:
    wrong = ["align.beta_dpo=-1", "aling.rank=4", "push_to_hub=true", "seed", "seed.x=1"]
    config, problems = examine(recipe, [*wrong, "align.lora_dropout=0.5", "rounds=2"])
    told = "\n".join(map(str, problems))
    for word in ("beta_dpo is -1", "`aling`", "hub_model_id", "group.key", "`seed` is a value"):
        assert word in told
    assert "align.lora_dropout is 0.5" in told and len(problems) == 6
    assert (config.align.beta_dpo, config.rounds) == (Align().beta_dpo, 2)


def test_a_recipe_that_is_missing_or_torn_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.toml: there is no such recipe"):
        load(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[align\nbeta_dpo")
    with pytest.raises(ConfigError, match=r"b\.toml:1: it is not TOML"):
        load(tmp_path / "b.toml")


def test_a_retired_setting_is_left_out_where_it_says_what_is_always_so(recipe: Path) -> None:
    assert load(recipe, ["align.lora_dropout=0"]) == load(recipe)
    old = {**leaves(Config()), **RETIRED}
    assert from_leaves(old, subject="config.json") == Config()
    assert without_retired(old, subject="config.json") == leaves(Config())
    assert not RETIRED.keys() & leaves(Config()).keys()


def test_every_setting_says_in_a_sentence_what_it_means() -> None:
    shown = settings()
    assert [setting.key for setting in shown] == list(leaves(Config()))
    for setting in shown:
        words = setting.description.split()
        assert len(words) >= 4 and words[0][0].isupper(), setting
        assert re.fullmatch(r"(?!.*\. [A-Z]).*\.", setting.description), f"one sentence: {setting}"
    assert {setting.group for setting in shown} == set(groups())
    assert all(sentence.endswith(".") for sentence in groups().values())


@pytest.mark.parametrize("name", sorted(groups()))
def test_a_meaning_names_every_value_that_can_be_chosen(name: str) -> None:
    group: Any = functools.reduce(getattr, name.split(".") if name else [], Config())
    for field_name, field in type(group).model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        for choice in choices:
            assert f'"{choice}"' in (field.description or ""), f"{name}.{field_name}"


def test_marks_show_what_differs_from_the_defaults() -> None:
    lines = marked(Config(align=Align(beta_dpo=300.0)))
    assert "* align.beta_dpo = 300.0  (default: 500.0)" in lines
    assert "  align.beta_kto = 1000.0" in lines and len(lines) == len(leaves(Config()))


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().align.beta_dpo = 1.0


def numeric_fields() -> dict[str, Any]:
    """Return the fields that hold a number, by their keys, also those whose default is null."""
    fields = {}
    for name in groups():
        group: Any = functools.reduce(getattr, name.split(".") if name else [], Config())
        for field_name, field in type(group).model_fields.items():
            if field.annotation in (int, float, int | None, float | None):
                fields[f"{name}.{field_name}".lstrip(".")] = field
    return fields


@pytest.mark.parametrize("key", numeric_fields())
def test_fault_76_every_number_has_its_range_and_is_finite(recipe: Path, key: str) -> None:
    bounds = {type(bound).__name__ for bound in numeric_fields()[key].metadata}
    assert bounds & {"Ge", "Gt"} and bounds & {"Le", "Lt"}, f"{key} has no range"
    for nonsense in (
        "NaN",
        '"nan"',
        "Infinity",
        "-1e999",
        "9" * 400,
        "-1e31",
        "1e31",
        "true",
        "[]",
    ):
        with pytest.raises(ConfigError, match=re.escape(key.rpartition(".")[0])):
            load(recipe, [f"{key}={nonsense}"])


NO_ADDRESSES = (
    *("http://[::1", "ftp://host", "file:///etc/passwd", "http:///v1", "host:8000/v1", ""),
    *("http://host:99999/v1", "http://host:0", '" http://host"', '"http://ho st"', "http://h:x"),
)


@pytest.mark.parametrize(
    "override",
    [
        *("align.adam_beta1=2", "align.adam_beta2=1", "align.adam_epsilon=0", "align.rank=-1"),
        *("generator.fps=0", "generator.height=0", "generator.width=-8", "generator.num_frames=0"),
        *("generator.max_sequence_length=0", "generator.guidance_scale=-1", "seed=-1"),
        *("align.learning_rate=NaN", "refresh.min_vote_share=NaN", "refresh.max_audit_drop=-0.1"),
        *("refresh.srpo.pce_tau=0", "refresh.force_rounds=[-1]", 'refresh.force_rounds=["x"]'),
        *(
            "critic.server.timeout=Infinity",
            "critic.reward_head.num_heads=3",
            "monitor.min_oracle_gap=2",
        ),
        *(f"critic.server.base_url={address}" for address in NO_ADDRESSES),
        'critic.serving.command=["vllm", "serve", "{model}"]',
        *('output_dir=""', "output_dir= ", 'critic.server.base_urls=["file:///etc/hosts"]'),
        *("align.adam_weight_decay=-1", "align.lora_alpha=NaN", "refresh.stop_win_rate=1.5"),
    ],
)
def test_fault_76_a_setting_without_sense_is_refused(recipe: Path, override: str) -> None:
    key = override.partition("=")[0].rpartition(".")[0]
    with pytest.raises(ConfigError, match=key):
        load(recipe, [override])


@pytest.mark.parametrize(
    ("text", "overrides", "fact"),
    [
        ("[align]\nbeta_dpo = 1.0\nbeta-dpo = 2.0\n", (), "`align.beta_dpo` stands there twice"),
        ("[warm-start-sft]\n[warm_start_sft]\n", (), "`warm_start_sft` stands there twice"),
        ('"align.rank" = 1\n[align]\nrank = 2\n', (), "`align.rank` stands there twice"),
        ("[align]\nrank = 1\nrank = 2\n", (), "toml:3: it is not TOML"),
        ("", ("align.beta-dpo=1", "align.beta_dpo=2"), "given twice, also as align.beta-dpo"),
    ],
)
def test_fault_76_a_key_in_two_spellings_is_refused(tmp_path: Path, text, overrides, fact) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match=fact):
        load(tmp_path / "a.toml", overrides)


def test_a_recipe_s_folder_may_begin_at_the_home(recipe: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load(recipe, ["output_dir=~/runs/a"]).output_dir == "/home/ada/runs/a"
    assert load(recipe, ["output_dir=runs/~a"]).output_dir == "runs/~a"


def test_fault_75_a_recipe_is_utf_8_with_or_without_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "ü.toml"
    path.write_bytes(b"\xef\xbb\xbf" + 'output_dir = "läufe/日"\r\n'.encode())
    assert load(path).output_dir == "läufe/日"
    path.write_bytes('seed = 1\noutput_dir = "läufe"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"ü\.toml:2: it is not UTF-8 \(byte 0xe4\)"):
        load(path)
