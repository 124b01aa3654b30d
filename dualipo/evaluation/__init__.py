"""Layer 2: how good the generator and the critic are, and the page that says so. Never torch."""
