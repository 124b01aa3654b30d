"""From votes to preferences; label sets, and their import and export."""
