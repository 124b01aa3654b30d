"""The program that runs in VBench's own Python environment: `python -I in_vbench.py REQUEST`.

It imports the standard library and `vbench`, nothing of dualipo. REQUEST is a JSON file:

    task      "check" or "score"
    answer    the JSON file to write; it is written last, so that it tells of success
    dimension, videos, prompts, output, name    for "score": what VBench.evaluate is given

`check` answers with versions, the device, the prompt file, and why a dimension cannot be imported.
"""

import importlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    *("vbench", "torch", "torchvision", "numpy", "transformers", "decord"),
    *("opencv-python", "opencv-python-headless"),
)


def main(request_path: str) -> None:
    """Do what the request asks, and write the answer."""
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    answer = {"check": check, "score": score}[request["task"]](request)
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Return what this environment can do."""
    folder = Path(str(importlib.import_module("vbench").__file__)).parent
    names = request["dimensions"]
    return {
        "versions": _versions(),
        "device": _device(),
        "prompts": str(folder / "VBench_full_info.json"),
        "unavailable": {name: why for name in names if (why := _import_error(name))},
    }


def score(request: dict[str, Any]) -> dict[str, Any]:
    """Let VBench score one dimension of a folder of clips; it writes its own result file."""
    device = _device()
    suite = importlib.import_module("vbench").VBench(
        _torch_device(device), request["prompts"], request["output"]
    )
    suite.evaluate(
        videos_path=request["videos"],
        name=request["name"],
        dimension_list=[request["dimension"]],
        local=False,
        read_frame=False,
        mode="vbench_standard",
        imaging_quality_preprocessing_mode="longer",
    )
    return {"device": device, "versions": _versions()}


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def _import_error(dimension: str) -> str:
    """Return why a dimension's module cannot be imported; "" where it can."""
    try:
        importlib.import_module(f"vbench.{dimension}")
    except Exception as error:  # whatever an old dependency raises is the answer
        return f"{type(error).__name__}: {error}"
    return ""


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def _torch_device(name: str) -> Any:
    try:
        import torch
    except ImportError:
        return name
    return torch.device(name)


if __name__ == "__main__":
    main(sys.argv[1])
