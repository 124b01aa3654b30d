"""Tests the imports against the architecture's layers: which part may import which."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dualipo"

LAYERS = {
    0: {"", "config"},
    1: {"store", "training", "servers", "model_files", "workers"},
    2: {"prompts", "preferences", "critic", "generator", "evaluation", "world"},
    3: {"rounds", "pretraining"},
    4: {"cli", "web"},
}
LAYER_OF = {folder: layer for layer, folders in LAYERS.items() for folder in folders}
# The package itself may import this module, because it offers `dualipo.open_run`.
PUBLIC = ("dualipo", "dualipo.store.run_reader")
WEB_MAY_IMPORT = {"web", "store", "preferences", "evaluation"}
# The only files of the store that may import torch.
TORCH_IN_STORE = {"dualipo.store.stored", "dualipo.store.tensors", "dualipo.store.checkpoint"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def folder_of(module: str) -> str:
    """Return the part to which a module belongs; "" for a root module."""
    parts = module.split(".")
    is_folder = len(parts) > 2 or MODULES[module].name == "__init__.py"
    return parts[1] if is_folder and len(parts) > 1 else ""


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Return the full names of everything that a module imports, also inside its functions."""
    tree = ast.parse(MODULES[module].read_text())
    return frozenset(name for node in ast.walk(tree) for name in _named(node))


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "absolute imports only: a reader searches for full names"
        assert node.module
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module


def own_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES} - {module}


def test_every_folder_has_its_layer() -> None:
    assert {folder_of(module) for module in MODULES} - {""} <= LAYER_OF.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    part = folder_of(module)
    layer = LAYER_OF.get(part, 0)
    for name in own_imports(module):
        imported = folder_of(name)
        if name == "dualipo" or imported == part or (module, name) == PUBLIC:
            continue
        # Only in layers 0 and 1 may a part import another one of its layer.
        below = LAYER_OF.get(imported, 0) < layer or LAYER_OF.get(imported, 0) == layer <= 1
        below = below or (part, imported) == ("cli", "web")
        assert below, f"{module} imports {name}"
        assert part != "web" or imported in WEB_MAY_IMPORT | LAYERS[0], f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if folder_of(name) in LAYERS[0]])
def test_root_modules_need_only_the_standard_library_and_pydantic(module: str) -> None:
    foreign = {name.split(".")[0] for name in imports(module)}
    assert foreign <= sys.stdlib_module_names | {"pydantic", "dualipo"}


def test_modules_form_no_cycle() -> None:
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in finished:
            for name in sorted(own_imports(module)):
                visit(name, (*path, module))
            finished.add(module)

    for module in MODULES:
        visit(module, ())


def runs_without_torch(code: str) -> None:
    script = f"import sys\n{code}\nassert 'torch' not in sys.modules, 'torch was imported'"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_help_starts_without_torch() -> None:
    ask = "from dualipo.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    runs_without_torch(ask)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["store", "evaluation", "world", "web"])
def test_what_reads_a_run_starts_without_torch(folder: str) -> None:
    modules = {name for name in MODULES if folder_of(name) == folder} - TORCH_IN_STORE
    runs_without_torch("\n".join(f"import {name}" for name in sorted(modules)))


def test_the_package_and_its_reader_start_without_torch() -> None:
    runs_without_torch("import dualipo\nassert 'pyarrow' not in sys.modules\ndualipo.open_run")
