"""Leaves out most of a denoising step where the first block says that little has changed.

First Block Cache, as diffusers has it: if the first block's residual differs from that of the last
whole step by less than a share, the other blocks' residual is taken from there. The share is of the
whole batch, so that a clip depends on those beside it: fixed units of work keep it repeatable, and
the exact mode (no threshold) is untouched. What it does to the critic's ranking is measured by
`benchmarks/step_caching.py`, not assumed. Leaves out caches that must be fitted to a model.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from diffusers import FirstBlockCacheConfig


@contextlib.contextmanager
def cached(module: Any, *, threshold: float) -> Iterator[None]:
    """Sample one batch inside; 0 is exact. What is remembered is forgotten at the end."""
    if not threshold:
        yield
        return
    module.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    try:
        yield
    finally:
        module.disable_cache()


def branch(module: Any, name: str) -> contextlib.AbstractContextManager[None]:
    """With a caption or free of it: each remembers its own residuals."""
    context: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if module.is_cache_enabled:
        context = module.cache_context(name)
    return context
