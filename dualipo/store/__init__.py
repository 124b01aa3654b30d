"""The run directory, its ledger, its files, and the book of people's labels (layer 1).

Only `tensors`, `stored` and `checkpoint` import torch, so that the web app can read a run without
it.
"""
