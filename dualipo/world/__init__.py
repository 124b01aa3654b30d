"""The embedded world: moving shapes, their captions, simulated annotators, and an oracle."""
