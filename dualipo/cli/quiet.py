"""Keeps the libraries' chatter off the screen and one thread a process.

All of it is environment, set before the libraries are imported and left alone where the user has
set it: `DIFFUSERS_VERBOSITY=info dualipo run ...` brings the chatter back.
"""

import os

DEFAULTS = {
    # Their bars and notes interleave with our progress and say nothing about the run.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # As torchrun does: small models on shared cores are many times slower with more.
    "OMP_NUM_THREADS": "1",
}


def prepare() -> None:
    """Set what the user has not set."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
