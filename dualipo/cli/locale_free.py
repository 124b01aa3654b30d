"""Makes a command mean the same in every locale: names of files and folders are UTF-8.

In a Latin-1 locale Python would spell `ü` in a file's name as one byte, and another program, or
the same one on another day, would find a different folder. So such a process starts itself once
more in Python's UTF-8 mode; what it prints stays in the terminal's own encoding.
"""

import os
import sys


def require_utf8() -> None:
    """Start this command again in UTF-8 mode, where the locale has another encoding."""
    is_tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() == "utf-8" or is_tried or not sys.orig_argv:
        return
    os.environ["PYTHONUTF8"] = "1"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ.setdefault("PYTHONIOENCODING", f"{encoding}:backslashreplace")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
