"""`dualipo dashboard RUN`: watch a run in the browser while it runs; the page changes nothing.

The page is served to this machine alone, and no option changes that: from another machine, `ssh -L`
reaches it.
"""

import argparse
from typing import Any

from dualipo.cli.label import require_web
from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_port, add_run, add_verb


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "dashboard",
        "Serve a page that shows a run while it runs. Only this machine can open it.",
        epilog="From another machine, run `ssh -L 8766:127.0.0.1:8766 HOST` and open the printed "
        "address there.",
    )
    add_run(parser)
    add_port(parser, default=8766)
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print the address and serve until stopped."""
    require_run(arguments.run)
    require_web()
    from dualipo.web import server
    from dualipo.web.dashboard import create_app

    listening = server.listen("127.0.0.1", arguments.port)
    print(server.address(listening, "127.0.0.1"), flush=True)
    print("Ctrl-C ends this page. The run goes on without it.", flush=True)
    server.serve(create_app(arguments.run), listening)
    return 0
