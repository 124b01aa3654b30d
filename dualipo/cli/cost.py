"""`dualipo cost RUN`: device time by stage and round, and what it came to."""

import argparse
import json
from typing import Any

from dualipo.cli.billing import require_price
from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_run, add_verb


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "cost", "Print a run's device time by stage and round, and its price.")
    add_run(verb)
    verb.add_argument("--price", type=float, help="What a device costs in an hour.")
    verb.add_argument("--json", action="store_true", help="Print the same figures as JSON.")
    verb.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Read the clocks of the run's units, and print the table."""
    require_run(arguments.run)
    require_price(arguments.price)
    from dualipo.evaluation import costs

    spent = costs.read(arguments.run)
    if arguments.json:
        print(json.dumps(costs.as_dict(spent, price=arguments.price), indent=2))
    else:
        print(costs.in_words(spent, price=arguments.price))
    return 0
