"""Keeps the libraries' chatter off the screen and their threads from spinning.

Nearly all of it is done by environment variables. They are set before the libraries are imported,
and a variable that the user has set stays: `DIFFUSERS_VERBOSITY=info dualipo run ...` brings the
chatter back, `python -W default` the warnings.
"""

import io
import logging
import os
import sys
import warnings

DEFAULTS = {
    # Their bars and notes interleave with our progress and say nothing about the run.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # Where cores are shared, threads that spin while they wait make two many times slower than one.
    "OMP_WAIT_POLICY": "PASSIVE",
}
# torch warns once a process where bf16 meets a norm that is kept in float32, as it should be.
WARNING = "Mismatch dtype between input and weight"


def prepare() -> None:
    """Set the variables that the user has not set, hide two warnings, and let any text be shown."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the terminal lacks is shown as \\u1234; no line is lost for it.
            stream.reconfigure(errors="backslashreplace")
    # peft imports bitsandbytes if it is installed, which then misses a kernel that nobody needs.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", message=WARNING)
