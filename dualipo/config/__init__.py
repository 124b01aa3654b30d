"""The configuration tree: strict, flat where it can be, every default of METHOD.md in one place.

A recipe is TOML (`recipes.py`), and `load` makes a `Config` of it. The tables of the tree stand in
modules by what they are about; `dualipo settings` shows every setting with its meaning. The
resolved tree is written to `config.json` in the run directory, and its leaves decide what may
change on resume (`MAY_CHANGE`).
"""

from dualipo.config.align import Align
from dualipo.config.catalogue import Setting, as_toml, groups, in_short, marked, settings
from dualipo.config.critic import LEARNING, Critic, CriticCheck, RewardHead
from dualipo.config.experiment import MAY_CHANGE, SERVERS, Config
from dualipo.config.fields import Group
from dualipo.config.generator import Generator, Prompts
from dualipo.config.learning import CriticPreference, CriticTraining, Rewriter, SeedLabels, Srpo
from dualipo.config.questions import WORLD, Questions
from dualipo.config.reading import (
    RETIRED,
    examine,
    from_leaves,
    leaves,
    load,
    refuse,
    resolve,
    without_retired,
)
from dualipo.config.rounds import HeldOutJudge, Monitor, Refresh
from dualipo.config.servers import Server
from dualipo.config.training import Optimizer
from dualipo.config.workers import Workers

__all__ = [
    "LEARNING",
    "MAY_CHANGE",
    "RETIRED",
    "SERVERS",
    "WORLD",
    "Align",
    "Config",
    "Critic",
    "CriticCheck",
    "CriticPreference",
    "CriticTraining",
    "Generator",
    "Group",
    "HeldOutJudge",
    "Monitor",
    "Optimizer",
    "Prompts",
    "Questions",
    "Refresh",
    "RewardHead",
    "Rewriter",
    "SeedLabels",
    "Server",
    "Setting",
    "Srpo",
    "Workers",
    "as_toml",
    "examine",
    "from_leaves",
    "groups",
    "in_short",
    "leaves",
    "load",
    "marked",
    "refuse",
    "resolve",
    "settings",
    "without_retired",
]
