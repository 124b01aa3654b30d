"""The configuration: strict, helpful about mistakes, and the same words for the same things."""

from pathlib import Path

import pytest

from dualipo.config import MAY_CHANGE, Config, leaves, load, resolve
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
        ("align.beta_dop=1", ["unknown key `align.beta_dop`", "`align.beta_dpo`"]),
        ("aling.beta_dpo=1", ["unknown key `aling`"]),
        ("align.beta_dpo=-1", ["align.beta_dpo", "greater than 0", "-1"]),
        ("align.beta_dpo=high", ["align.beta_dpo", "'high'"]),
        ("align.loss_type=magic", ["align.loss_type", "'magic'"]),
        ("seed.x=1", ["`seed` is a value"]),
        ("seed", ["group.key=value"]),
    ],
)
def test_a_mistake_names_the_key_the_fact_and_the_remedy(recipe: Path, override, words) -> None:
    with pytest.raises(ConfigError) as refused:
        load(recipe, [override])
    assert all(word in str(refused.value) for word in words), refused.value


REALITY = sorted((Path(__file__).parents[1] / "recipes").glob("*-*.toml"))


@pytest.mark.parametrize("path", REALITY, ids=lambda path: path.stem)
def test_the_documented_way_to_train_every_weight_over_devices_loads(path: Path) -> None:
    docs = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    (line,) = (line for line in docs.splitlines() if "align.num_processes=8" in line)
    overrides = [word for word in line.partition("#")[0].split() if "=" in word]
    settings = load(path, overrides)
    assert (settings.align.num_processes, settings.align.rank) == (8, 0)
    assert settings.align.learning_rate <= 1e-5  # METHOD.md 4.5
    half = [word for word in overrides if not word.startswith("generator.torch_dtype")]
    with pytest.raises(ConfigError, match=r'"bfloat16" rounds its updates away. Set it to'):
        load(path, half)


def test_a_recipe_that_is_missing_or_torn_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.toml: no such recipe"):
        load(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[align\nbeta_dpo")
    with pytest.raises(ConfigError, match=r"b\.toml: not TOML"):
        load(tmp_path / "b.toml")


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().align.beta_dpo = 1.0
