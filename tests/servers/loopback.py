"""An OpenAI-compatible server on the loopback that answers by a script, or misbehaves by one."""

import base64
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Say = Callable[[dict[str, Any], int], Any]  # body, how often asked -> text, or a way to misbehave


class Handler(BaseHTTPRequestHandler):
    """A handler that answers as `server.say` decides."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server: Any = self.server
        with server.lock:
            server.requests.append((self.path, dict(self.headers), body))
            count = len(server.requests)
        said = server.say(body, count)
        if callable(said):
            said(self)
            return
        whole = completion(said, body) if isinstance(said, str) else said
        self.answer(200, json.dumps(whole).encode())

    def do_GET(self) -> None:
        """List the served models, or refuse the key where the server has one."""
        server: Any = self.server
        is_known = server.key is None or self.headers["Authorization"] == f"Bearer {server.key}"
        listed = {"data": [{"id": name} for name in server.models]}
        self.answer(200 if is_known else 401, json.dumps(listed).encode())

    def answer(self, status: int, text: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text) if length is None else length))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Write no log."""


def serve_for_ever(say: Say, *, port: int, models: list[str]) -> None:
    """Be a server's process."""
    server = _made(say, port=port)
    server.models = models
    server.serve_forever()


def _made(say: Say, *, port: int = 0) -> Any:
    server: Any = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.say, server.requests, server.lock = say, [], threading.Lock()
    server.models, server.key = [], None
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    return server


@contextmanager
def serving(say: Say) -> Iterator[Any]:
    """Run a server with a `url` that keeps the `requests` it gets."""
    server = _made(say)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield server
    finally:  # the thread would keep a failed test's process alive
        server.shutdown()
        server.server_close()


def completion(text: str, body: dict[str, Any]) -> dict[str, Any]:
    """Write a completion of `n` equal choices; words and tags are equally likely tokens."""
    if body.get("continue_final_message"):
        tag = "<" + body["messages"][-1]["content"].rpartition("<")[2]
        text = text.partition(tag)[2][: body["max_tokens"]]
    tokens = [part for part in text.replace("<", "\0<").replace(">", ">\0").split("\0") if part]
    top = [{"token": "A", "logprob": -0.5}, {"token": "good", "logprob": -0.6}]
    content = [
        {"token": t, "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": -0.1}, *top]}
        for t in tokens
    ]
    choice = {
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": content},
    }
    return {"choices": [choice] * body["n"]}


def brightness(body: dict[str, Any]) -> list[float]:
    """Return the mean brightness of each clip in a request."""
    means: list[list[float]] = []
    [turn] = [message for message in body["messages"] if message["role"] == "user"]
    for part in turn["content"]:
        if part["type"] == "text" and part["text"].lstrip().startswith("Video"):
            means.append([])
        elif part["type"] == "image_url":
            encoded = part["image_url"]["url"].partition("base64,")[2]
            picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
            means[-1].append(float(np.asarray(picture).mean()))
    return [float(np.mean(frames)) for frames in means]


def brighter(body: dict[str, Any], count: int) -> str:
    """Answer honestly: prefer the brighter clip."""
    light = brightness(body)
    if len(light) == 1:
        return f"light\n<grade>{'good' if light[0] > 127 else 'bad'}</grade>"
    return f"A: light\nB: light\n<verdict>{'A' if light[0] > light[1] else 'B'}</verdict>"


def sure(body: dict[str, Any], count: int) -> dict[str, Any]:
    """Answer as `brighter` does, and be the surer of a grade the brighter a clip is."""
    light = brightness(body)
    answer = completion(brighter(body, count), body)
    if len(light) == 1:
        good = -1e-3 - (1 - light[0] / 256)
        for token in answer["choices"][0]["logprobs"]["content"]:
            token["top_logprobs"] = [
                {"token": "good", "logprob": good},
                {"token": "bad", "logprob": math.log(1 - math.exp(good))},
            ]
    return answer


def failing(status: int, text: bytes = b"{}") -> Callable[[Handler], None]:
    """Answer with this status and text."""
    return lambda handler: handler.answer(status, text)


def torn(handler: Handler) -> None:
    """Close the connection in the middle of the answer."""
    handler.answer(200, b'{"choices": [', length=500)
    handler.close_connection = True


def dripping(handler: Handler) -> None:
    """Answer with a byte now and then, for ever."""
    dripping_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")(handler)


def dripping_after(begun: bytes) -> Callable[[Handler], None]:
    """Begin an answer at once, then send a byte now and then, for ever."""

    def drip(handler: Handler) -> None:
        handler.close_connection = True
        try:
            handler.wfile.write(begun)
            for _ in range(1000):
                handler.wfile.write(b"0")
                time.sleep(0.05)
        except OSError:
            pass

    return drip


def bare(body: dict[str, Any], count: int) -> dict[str, Any]:
    """Answer as `brighter` does, without any log-probabilities."""
    answer = completion(brighter(body, count), body)
    answer["choices"] = [choice | {"logprobs": None} for choice in answer["choices"]]
    return answer
