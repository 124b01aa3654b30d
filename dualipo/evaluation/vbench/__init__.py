"""VBench, which runs in a Python environment of its own: prompts, child processes, exact totals."""
