"""The blind study: what it asks, how large it must be, and what its answers say."""
