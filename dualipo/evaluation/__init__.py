"""Layer 2: how good the generator and the critic are, and the reports of it, without torch."""
