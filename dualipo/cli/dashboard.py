"""`dualipo dashboard RUN`: watch a run in the browser while it runs; it only shows.

It is served to this machine alone and there is no switch for more: from afar, `ssh -L` brings it.
"""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.label import require_web
from dualipo.cli.show import require_run


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "dashboard",
        help="watch a run in the browser while it runs",
        description="Serve a page that shows a run, also while it runs, to this machine alone.",
        epilog="From another machine: ssh -L 8766:127.0.0.1:8766 HOST, then the printed address.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    parser.add_argument("--port", type=int, default=8766, help="default: %(default)s; 0: any")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print the address and serve until stopped."""
    require_run(arguments.run)
    require_web()
    from dualipo.web import server
    from dualipo.web.dashboard import create_app

    listening = server.listen("127.0.0.1", arguments.port)
    print(server.address(listening, "127.0.0.1"), flush=True)
    print("Ctrl-C ends the server; the run goes on without it.", flush=True)
    server.serve(create_app(arguments.run), listening)
    return 0
