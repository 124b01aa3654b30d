"""Layer 4: the pages. They read runs and label books, and never import torch."""
