"""A clip as an answer: whole, or the range of bytes that a player asks for (RFC 9110, 14).

The content is held in memory, as a file response would tell the file's date, and with it the round
(fault 58). Several ranges in one request get the whole clip, which the standard allows.
"""

import re

from fastapi import Request, Response

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def clip_response(content: bytes, request: Request) -> Response:
    """Return the bytes of an MP4 file that a request asks for."""
    size, headers = len(content), {"accept-ranges": "bytes"}
    span = _ONE_RANGE.fullmatch(request.headers.get("range", "").strip())
    if span is None or span.groups() == ("", ""):
        return Response(content, media_type="video/mp4", headers=headers)
    first, last = span.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        headers |= {"content-range": f"bytes */{size}"}
        return Response(status_code=416, headers=headers)
    headers |= {"content-range": f"bytes {start}-{stop - 1}/{size}"}
    return Response(content[start:stop], 206, headers, media_type="video/mp4")
