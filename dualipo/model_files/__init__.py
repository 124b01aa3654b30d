"""The guard of model folders: every weight there, nothing random, a tokenizer that reads."""
