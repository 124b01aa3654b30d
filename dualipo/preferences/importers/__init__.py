"""Readers of other people's label formats: `formats.py` lists them, `load.py` imports files."""
