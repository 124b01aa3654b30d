"""Units of work handed to workers, which give rows back; nothing here knows what a model is.

    job.py        what an engine is given (a job and its units) and what it gives back
    inline.py     the engine that works in the driver's own process
    dispatch.py   the engine over a crew: who gets which unit, silence, failures, units set aside
    crew.py       what a crew of workers must offer, and what it tells
    processes.py  the crew of spawned processes on this machine; process.py is such a process
    actors.py     the crew of Ray actors on a cluster
    worker.py     the worker's side: it opens what a job needs, does a unit, reports

A unit is a fixed list of items, so who computes it never changes a bit. Only the driver writes the
ledger: a worker publishes files in the run directory and returns small rows.
"""
