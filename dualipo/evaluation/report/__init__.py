"""The self-contained page about a run, and the charts, tables and texts that it is made of."""
