"""Sharing a run: model cards, the Hugging Face Hub, trackers, and the recipe that repeats it."""
