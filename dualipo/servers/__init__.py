"""OpenAI-compatible servers that are asked: an exchange that cannot hang, and its answers."""
