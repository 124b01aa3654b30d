"""The one inner loop and its optimizer; it serves every model that this project trains."""
