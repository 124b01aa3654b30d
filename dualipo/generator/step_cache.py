"""First Block Cache of diffusers: denoising steps skip most blocks where little has changed.

    step k    run block 1; compare its residual with that of the last whole step
      differs by less than a share: add the other blocks' residual of the last whole step, and skip
                                    the blocks themselves
      else:                         run them all; this is the last whole step now

The conditional and the unconditional pass of guidance each have a memory of their own (`branch`).
The share is over the whole batch, so that a clip depends on those beside it: fixed units of work
keep it repeatable. A threshold of 0 is the exact mode, and touches nothing. What caching does to
the critic's ranking is measured by `benchmarks/step_caching.py`. Leaves out caches that must be
fitted to a model.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from diffusers import FirstBlockCacheConfig


@contextlib.contextmanager
def cached(module: Any, *, threshold: float) -> Iterator[None]:
    """Cache the steps of one batch inside this context; a threshold of 0 caches nothing."""
    if not threshold:
        yield
        return
    module.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    try:
        yield
    finally:
        module.disable_cache()


def branch(module: Any, name: str) -> contextlib.AbstractContextManager[None]:
    """Name the pass that runs inside this context, so that it has residuals of its own."""
    context: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if module.is_cache_enabled:
        context = module.cache_context(name)
    return context
