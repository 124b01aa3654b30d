"""The self-contained report page of a run, with its charts, tables and texts."""
