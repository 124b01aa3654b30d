"""Dual-IPO: a text-to-video generator and the critic that judges it improve in turns.

`dualipo.open_run(folder)` reads a run, finished or at work, as tables and clips. Everything else
is done on the command line, or in the parts that `docs/develop/` describes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualipo.store.run_reader import RunReader, open_run

__all__ = ["RunReader", "open_run"]


def __getattr__(name: str) -> Any:
    # Only now, so that `import dualipo` stays quick: the reader needs pyarrow and FFmpeg.
    if name in __all__:
        from dualipo.store import run_reader

        return getattr(run_reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
