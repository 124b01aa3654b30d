"""The one training loop, its optimizer, and what it needs; it serves every model here."""
