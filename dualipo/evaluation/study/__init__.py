"""The blind study: its questions, the size it needs, and the result of its answers."""
