"""Metrics survive a kill; secrets reach no file."""

import os
from pathlib import Path

import pytest

from dualipo.config import Config, leaves, resolve
from dualipo.errors import DataError
from dualipo.store.rundir import RunDir
from dualipo.tracking import REDACTED, Metrics, read_metrics, redact


def test_lines_are_whole_and_a_torn_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        metrics.log(1, stage="align", loss=0.6931)
        assert read_metrics(path) == [{"step": 1, "stage": "align", "loss": 0.6931}]  # flushed
        metrics.log(2, stage="align", loss=float("nan"))
    with open(path, "ab") as stream:
        stream.write(b'{"step": 3, "lo')
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    with Metrics(path) as metrics:  # a resumed run repeats step 2
        metrics.log(2, stage="align", loss=0.5)
    rows = read_metrics(path)
    assert [row["loss"] for row in rows] == [0.6931, 0.5] and len(path.read_text().split("\n")) == 4
    path.write_text("torn\n" + path.read_text())
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: this is not JSON"):
        read_metrics(path)
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_fault_62_what_is_named_or_looks_like_a_secret_is_redacted() -> None:
    token = "hf_" + "aB3" * 10
    tree = {
        "hub": {"token": "x", "api_key": "y", "HF_TOKEN": "z", "password": ""},
        "path": f"https://user:{token}@host/model",
        "note": ["Bearer abcdefgh12345", f"use {token} here"],
        "server": "https://me:pass1@host/v1",
    }
    clean = redact(tree)
    hidden = {"token": REDACTED, "api_key": REDACTED, "HF_TOKEN": REDACTED, "password": ""}
    assert clean["hub"] == hidden
    assert clean["note"] == [REDACTED, f"use {REDACTED} here"]
    assert clean["server"] == f"https://{REDACTED}@host/v1" and token not in str(clean)
    assert redact(leaves(Config())) == leaves(Config())  # max_new_tokens is no secret


def test_fault_62_no_secret_reaches_the_run_directory(tmp_path: Path, monkeypatch) -> None:
    token = "hf_" + "Zq9" * 10
    monkeypatch.setenv("HF_TOKEN", token)
    address = f"https://user:{token}@host/prompts.txt"
    tree = {"prompts": {"path": address}}
    for _ in range(2):  # a redacted config resumes too
        run = RunDir.open(tmp_path / "run", resolve(tree, subject="test"))
        with Metrics(run.metrics_path) as metrics:
            metrics.log(1, url=address)
        run.close()
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) >= 5 and not any(os.fsencode(token) in content for content in written)
