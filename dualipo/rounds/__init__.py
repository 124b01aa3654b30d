"""The rounds of a run: `loop.py` reads like the paper, and its stages stand beside it."""
