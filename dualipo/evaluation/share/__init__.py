"""What leaves the run: model cards, the Hugging Face Hub, trackers, the recipe to repeat it."""
