"""The text-to-video generator: sampling candidates, and aligning it with preferences."""
