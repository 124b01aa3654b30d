"""One thread: where cores are shared, two OpenMP threads are ten times slower than one.

It stands before anything imports torch, which reads it once.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
