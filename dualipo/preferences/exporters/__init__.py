"""Writers of other programs' label formats, which `export.py` lists."""
