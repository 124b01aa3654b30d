"""`dualipo study` from clips to result, through the page's own server."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from dualipo.cli.main import main
from tests.cli.conftest import ROOT, Ended
from tests.video_files import write_clip

Dualipo = Callable[..., Ended]
LEVELS = {"good": 200, "plain": 120, "bad": 40}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Write clips of three generators, four prompts and one seed; brighter clips are better."""
    rows = []
    for name, level in LEVELS.items():
        for prompt in range(4):
            video = f"{name}/{prompt}.mp4"
            write_clip(
                tmp_path / "theirs" / video, np.full((3, 16, 16, 3), level + prompt, np.uint8), 8
            )
            row = {"generator": name, "prompt": f"caption {prompt}", "seed": 1, "video": video}
            rows.append(json.dumps(row))
    path = tmp_path / "theirs" / "clips.jsonl"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.slow
def test_a_study_from_clips_to_result(dualipo: Dualipo, manifest: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "mine", "--manifest", str(manifest), "--answers", "2") as lines:
        assert lines[0] == "12 pairs, each in 4 dimensions.\n"
        links = re.findall(r"^(\w+): (http://[\d.:]+)/join#(\S+)$", "".join(lines), re.M)
        assert [name for name, _, _ in links] == ["ada", "ben", "organiser"]
        shown = [answer_all(base, token, tmp_path) for _, base, token in links[:2]]
    assert shown == [12 * 4, 12 * 4]
    ended = dualipo("study", "result", "mine")
    assert ended.returncode == 0, ended.stderr
    assert "96 answers about 4 prompts by 2 people; 0 could not tell" in ended.stdout
    result = json.loads((tmp_path / "mine/study/result.json").read_text())
    assert result["generators"] == ["bad", "good", "plain"]
    rates = {(c["a"], c["b"]): c["win_rate"]["mean"] for c in result["comparisons"]}
    assert rates == {("bad", "good"): 0, ("bad", "plain"): 0, ("good", "plain"): 1}
    ratings = {r["generator"]: r["rating"]["mean"] for r in result["ratings"]}
    assert ratings["good"] > ratings["plain"] > ratings["bad"]
    page = (tmp_path / "mine/study/result.html").read_text()
    assert page.count("<svg") == 3 and "<script" not in page


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[list[str]]:
    """Serve a study to two people, and yield the lines that the command prints first."""
    options = [*arguments, "--repeats", "0", "--port", "0", "--invite", "ada", "ben"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dualipo.cli.main", "study", "ask", *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield [process.stdout.readline() for _ in range(5)]
    finally:
        process.terminate()
        process.wait(10)


def answer_all(base: str, token: str, folder: Path) -> int:
    """Answer every question of a person by preferring the brighter clip; return their number."""
    from dualipo.store.clips import read_clip

    num, seen = 0, folder / f"{token}.mp4"
    headers = {"authorization": f"Bearer {token}", "origin": base}
    with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=30) as client:
        state = client.get("/api/state").json()
        while step := state["step"]:
            levels = []
            for clip in step["clips"]:
                seen.write_bytes(client.get(clip["url"]).content)
                levels.append(read_clip(seen).mean())
            outcome = "a" if levels[0] > levels[1] else "b"
            body = {"key": f"key-{num:06d}", "task": step["task"], "dimension": step["dimension"]}
            state = client.post("/api/answers", json=body | {"outcome": outcome}).json()
            num += 1
    seen.unlink()
    return num


def test_size(dualipo: Dualipo) -> None:
    ended = dualipo(
        "study", "size", "--win-rate", "0.6", "--ties", "0", "--answers-per-prompt", "1"
    )
    assert ended.stdout.startswith("194 prompts with 194 answers in each dimension are enough")


@pytest.mark.parametrize(
    "given",
    [
        ["size", "--win-rate", "0.6", "--answers-per-prompt", "0"],
        ["ask", "mine", "--num-prompts", "-2"],
        ["ask", "mine", "--answers", "0"],
    ],
    ids=lambda given: given[-2],
)
def test_a_study_asks_at_least_one_of_everything(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["study", *given])
    assert "Give 1 or more." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["size", "--win-rate", "0.5"], "must differ from 0.5"),
        (["result", "nowhere"], "there is no study yet"),
        (["ask", "nowhere", "--generators", "a", "b"], "nowhere: there is no run here"),
        (["ask", "mine", "--manifest", "outside.jsonl"], "../secret.mp4 lies outside"),
        (
            ["ask", "mine", "--manifest", "broken.jsonl"],
            "broken.jsonl:1: seed missing or of another type",
        ),
        (["ask", "mine", "--manifest", "alone.jsonl"], "1 generators, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_explained(
    dualipo: Dualipo, manifest: Path, tmp_path: Path, given: list[str], said: str
) -> None:
    row = {"generator": "x", "prompt": "p", "seed": 1, "video": "theirs/good/0.mp4"}
    changes = {"outside": {"video": "../secret.mp4"}, "broken": {"seed": "one"}, "alone": {}}
    for name, change in changes.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row | change))
    ended = dualipo("study", *given)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr
