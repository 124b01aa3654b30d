"""Metrics survive a kill; secrets reach no file."""

import os
from pathlib import Path

import pytest

from dualipo.config import Config, leaves, marked, resolve
from dualipo.errors import ConfigError, DataError
from dualipo.redaction import KEY_FORMATS, REDACTED, redact
from dualipo.store.labels import LabelBook
from dualipo.store.rundir import RunDir
from dualipo.tracking import Metrics, read_metrics


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


def test_lines_of_work_are_passed_over_where_trainings_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        for step, stage in enumerate(["work.score", "align", "round", "work.align"]):
            metrics.log(step, stage=stage, note='"stage": "work.x"')
    path.write_text(path.read_text() + "x" * 200_000)  # a torn line that is longer than one look
    Metrics(path).close()
    assert [row["stage"] for row in read_metrics(path, of_training=True)] == ["align"]
    assert len(read_metrics(path)) == 4


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
    assert clean["server"] == "https://host/v1" and token not in str(clean)
    assert redact(leaves(Config())) == leaves(Config())  # max_new_tokens is no secret


# One made-up key in the format of each service, put together here so that no scanner takes it for
# a real one.
KEYS = {
    "Hugging Face": "hf_" + "aB3" * 10,
    "OpenAI, Anthropic, DeepSeek, OpenRouter": "sk-ant-" + "api03-" + "aB3" * 10,
    "GitHub": "ghp_" + "aB3" * 12,
    "GitLab": "glpat-" + "aB3" * 7,
    "AWS": "AKIA" + "AB34" * 4,
    "Google": "AIza" + "aB3-_" * 7,
    "Slack": "xoxb-" + "123-" * 4 + "abc",
    "Stripe": "sk_live_" + "aB3" * 8,
    "npm": "npm_" + "aB3" * 12,
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" * 2,
    "Groq": "gsk_" + "aB3" * 16,
    "Replicate": "r8_" + "aB3" * 12,
    "xAI": "xai-" + "aB3" * 20,
    "Perplexity": "pplx-" + "aB3" * 16,
    "NVIDIA": "nvapi-" + "aB3" * 20,
    "Fireworks": "fw_" + "aB3" * 8,
    "Together": "tgp_v1_" + "aB3" * 14,
    "Weights & Biases": "wandb_v1_" + "aB3" * 14,
    "Databricks": "dapi" + "0a1b" * 8,
    "DigitalOcean": "dop_v1_" + "0a1b" * 16,
    "Docker": "dckr_pat_" + "aB3" * 9,
    "SendGrid": "SG." + "aB3" * 7 + "." + "aB3" * 14,
    "JSON Web Tokens": "eyJ" + "hbGciOi" * 3 + "." + "eyJzdWIi" * 2 + "." + "aB3" * 9,
    "RunPod": "rpa_" + "aB3" * 12,
    "Cerebras": "csk-" + "aB3" * 12,
    "webhooks": "https://hooks.slack.com/services/" + "T01/B02/" + "aB3" * 8,
    "settings": "SERVER_API_KEY=" + "aB3" * 5,
    "HTTP headers": "Bearer " + "aB3" * 9,
    "private keys": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
}


def test_fault_62_keys_in_the_formats_of_many_services_are_redacted() -> None:
    assert KEYS.keys() == KEY_FORMATS.keys()
    for service, key in KEYS.items():
        assert redact(f"use {key} here") == f"use {REDACTED} here", service
        with pytest.raises(ConfigError) as refused:
            resolve({"critic": {"server": {"api_key_env": key}}}, subject="recipe")
        assert key not in str(refused.value) and "OPENAI_API_KEY" in str(refused.value)
    for text in ("x-api-key: 'aB3aB3aB3'", "host/v1?api_key=aB3aB3aB3", '"token": "aB3aB3aB3"'):
        assert "aB3" not in redact(text)
    plain = "skip a task-based sky-blue desk-lamp, masks-and-more, AKIA, hf_, a basic instinct"
    plain += ", 12345678 tokens: 3, a key: low, token: 250002, max_tokens: 123456789"
    assert redact(plain) == plain


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://T0KEN@host/v1", "https://host/v1"),
        ("https://a:b@host:8000/v1?api_key=T0KEN#T0KEN", "https://host:8000/v1"),
        ("http://host/v1?x=T0KEN", "http://host/v1"),
        ("s3://T0KEN:T0KEN@bucket/a b", "s3://bucket/a b"),
        ("a 'http://host/?T0KEN' and (https://T0KEN@b#T0KEN)", "a 'http://host/' and (https://b)"),
        ("https://p@T0KEN@host", "https://host"),
        ("a@b.example and 5://x", "a@b.example and 5://x"),
    ],
)
def test_fault_62_addresses_lose_user_query_and_fragment(address: str, shown: str) -> None:
    assert redact(address) == shown


def test_fault_62_a_dry_run_shows_no_secret() -> None:
    address = "http://host/v1?api_key=T0KEN"
    lines = marked(resolve({"critic": {"server": {"base_url": address}}}, subject="recipe"))
    assert not any("T0KEN" in line for line in lines)
    assert '* critic.server.base_url = "http://host/v1"' in "\n".join(lines)
    with pytest.raises(ConfigError, match="it holds a user or password") as refused:
        resolve({"critic": {"server": {"base_url": "http://T0KEN@host/v1"}}}, subject="recipe")
    assert "T0KEN" not in str(refused.value)


def test_fault_62_what_a_run_keeps_is_its_owner_s_to_read(tmp_path: Path) -> None:
    run = RunDir.open(tmp_path / "run", Config())
    run.ledger.backup(tmp_path / "run" / "copy.sqlite")
    LabelBook(tmp_path / "run" / "labels.sqlite").invite("ada")
    private = sorted((tmp_path / "run").glob("*.sqlite*"))
    assert len(private) >= 5  # with what SQLite keeps beside them
    for path in (*private, tmp_path / "run" / "config.json"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    run.close()
    (tmp_path / "run" / "ledger.sqlite").chmod(0o644)  # an older program's
    RunDir.open(tmp_path / "run", Config()).close()
    assert (tmp_path / "run" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


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
