"""Layer 1: the run directory, its ledger and its files. torch is imported by `tensors` and
`checkpoint` alone, so that the web app can read a run without it.
"""
