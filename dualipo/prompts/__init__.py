"""Captions: read, screened, folded and drawn."""
