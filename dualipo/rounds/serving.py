"""A critic's version at an engine: started for the version, checked against its weights, ended.

    weights here   the answers to some of the stage's own questions    -> then freed
    servers        `critic.serving.command`, one for each part of the GPUs
    parity         every server must answer those questions as the weights do

Only then votes are asked for, over all servers. The critic's own trainings, and the readings that a
learner is compared with, stay with the weights here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dualipo.critic.asks import Item
from dualipo.critic.models.engine import EngineCritic, Look
from dualipo.critic.trust import parity
from dualipo.critic.trust.parity import Parity, Probe
from dualipo.rounds import engines
from dualipo.rounds.bench import Bench
from dualipo.served_events import ServingEvent
from dualipo.servers.fleet import Fleet
from dualipo.store.ledger import Version

_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Served:
    """A version that servers hold, and who asks them."""

    version_id: str
    fleet: Fleet
    critic: EngineCritic


def start(
    bench: Bench, version: Version, items: Sequence[Item], *, say: Callable[[str], None]
) -> Served:
    """Start the servers of a version; refuse those that judge otherwise than its weights.

    The items tell, which all are pairs or all single clips.
    """
    version_id = version.version_id
    settings = bench.config.critic.serving
    probe, look = _known(bench, version_id, items[: settings.num_parity_items])
    folder = bench.version_folder("critic", version_id) or bench.base_folder("critic")
    say(f"critic {version_id}: starting {settings.num_servers} servers for it")
    fleet = Fleet(
        settings.command,
        folder.absolute(),
        environments=_environments(settings.num_servers),
        log_folder=bench.path / "logs",
        ready_timeout=settings.ready_timeout,
    )
    try:
        critic, event = _checked(bench, version, fleet, probe, look)
    except BaseException:  # whatever ends this, its servers hold the GPUs
        fleet.stop()
        raise
    say(
        f"critic {version_id}: its servers judge as its weights do (labels differ by "
        f"{event.gap:.4f} in {event.num_questions} questions)"
    )
    return Served(version_id, fleet, critic)


def _checked(
    bench: Bench, version: Version, fleet: Fleet, probe: Probe, look: Look
) -> tuple[EngineCritic, ServingEvent]:
    """Start the servers and compare each with the weights here; return who asks all of them."""
    [listed, *_] = fleet.start()
    at = partial(
        EngineCritic,
        listed["id"],
        look=look,
        settings=bench.config.critic,
        fps_of=bench.clip_fps,
    )
    results = [_compared(bench, at(base_urls=[url]), probe, url) for url in fleet.base_urls]
    critic = at(base_urls=fleet.base_urls)
    critic.serving = ServingEvent(
        critic_version=version.version_id,
        sha256=version.sha256,
        engine=listed["owned_by"],
        num_servers=len(results),
        num_questions=len(probe.asks),
        gap=max(each.mean_gap for each in results),
    )
    return critic, critic.serving


def _known(bench: Bench, version_id: str, items: Sequence[Item]) -> tuple[Probe, Look]:
    """Ask the weights here; they are freed when this returns."""
    critic = bench.load_critic(version_id)
    critic.freeze()
    probe = parity.probe(critic, items, clips=bench.clip, settings=bench.config.critic)
    return probe, Look.of(critic)


def _compared(bench: Bench, server: EngineCritic, probe: Probe, url: str) -> Parity:
    result = parity.compare(probe, server, clips=bench.clip)
    parity.require(result, max_gap=bench.config.critic.serving.max_parity_gap, server=url)
    return result


def _environments(num_servers: int) -> list[dict[str, str]]:
    """Return what each server finds in its environment: its share of this machine's GPUs."""
    devices = [each[_DEVICES] for each in engines.environments(None) if each]
    if not devices:
        return [{} for _ in range(num_servers)]
    share = max(1, len(devices) // num_servers)
    starts = [(number * share) % len(devices) for number in range(num_servers)]
    return [{_DEVICES: ",".join(devices[start : start + share])} for start in starts]
