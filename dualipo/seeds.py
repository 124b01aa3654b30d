"""Every random draw has a seed that is named by where it happens (FAULTS.md, principles).

`derive(run_seed, round, stage, item, draw)` is a pure function, so a unit of work that is redone
draws the same numbers, on any worker and in any order. No generator is shared between units.
"""

import hashlib
import json


def derive(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part and on their order."""
    name = json.dumps(parts, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def chance(share: float, *parts: int | str) -> bool:
    """Return True for about `share` of all places; a larger share holds those of a smaller one."""
    return derive(*parts) < share * 2**63
