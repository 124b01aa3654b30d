"""The models that judge: VILA, VLMs of transformers, a server, a reward head, a table of scores."""
