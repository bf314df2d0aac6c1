"""`OpenAIGenerator` against a server of this process that speaks chat completions over real sockets."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lusirag.errors import InvalidArgumentError, LusiragError, MissingDependencyError, ModelError
from lusirag.rag import Generator, Message, OpenAIGenerator
from lusirag.rag.generator import approximate_tokens

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"])]

MESSAGES: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "¿Qué? 什么？"}]


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return base | more


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body | {"path": self.path, "key": self.headers["Authorization"]})
        self.server.answer(self, body)

    def log_message(self, *_: Any) -> None:
        pass

    def fail(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, data: Any) -> None:
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def stream(self, *events: Any) -> None:
        self.begin()
        for data in [*events, "[DONE]"]:
            self.event(data)
        self.end()


class Server(ThreadingHTTPServer):
    """Answers with `answer(handler, request)`; remembers requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.answer: Callable[[Handler, dict[str, Any]], None] = lambda handler, _: handler.stream(
            chunk("Yes"), chunk(finish="stop")
        )
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no error."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def generators() -> Iterator[Callable[..., OpenAIGenerator]]:
    """Makes generators, and closes their connections."""
    made: list[OpenAIGenerator] = []

    def make(url: str, **options: Any) -> OpenAIGenerator:
        made.append(OpenAIGenerator("m", base_url=url, **{"max_retries": 0, "timeout": 20.0} | options))
        return made[-1]

    yield make
    for generator in made:
        generator._client.close()


Make = Callable[..., OpenAIGenerator]


def said(generator: OpenAIGenerator, max_tokens: int = 50) -> list[str]:
    return list(generator.generate(MESSAGES, max_tokens=max_tokens))


def failure(generator: OpenAIGenerator) -> str:
    with pytest.raises(ModelError) as raised:
        said(generator)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"m at {generator._client.base_url}: ")
    return str(raised.value)


def test_the_request_and_the_pieces_of_the_answer(server: Server, generators: Make) -> None:
    server.answer = lambda handler, _: handler.stream(
        chunk(None, usage=None), chunk(""), chunk("Sí "), chunk("是。"), chunk(finish="stop"),
        chunk(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    )  # fmt: skip
    generator = generators(server.url, temperature=0.5, context_tokens=100)
    assert isinstance(generator, Generator)
    assert (generator.name, generator.context_tokens) == ("m", 100)
    assert said(generator) == ["Sí ", "是。"]
    assert server.requests == [
        {
            "path": "/v1/chat/completions", "key": "Bearer none", "model": "m", "messages": MESSAGES, "stream": True,
            "temperature": 0.5, "max_tokens": 50,
        }
    ]  # fmt: skip
    assert generator.count_tokens(MESSAGES) == approximate_tokens(MESSAGES)


def test_pieces_come_while_the_server_is_writing(server: Server, generators: Make) -> None:
    heard = threading.Event()

    def answer(handler: Handler, _: Any) -> None:
        handler.begin()
        handler.event(chunk("One"))
        assert heard.wait(20)
        handler.event(chunk("two", "stop"))
        handler.end()

    server.answer = answer
    pieces = generators(server.url).generate(MESSAGES, max_tokens=5)
    assert next(pieces) == "One"
    heard.set()
    assert list(pieces) == ["two"]


def test_who_stops_listening_hangs_up(server: Server, generators: Make) -> None:
    gone = threading.Event()

    def answer(handler: Handler, _: Any) -> None:
        handler.begin()
        try:
            while True:
                handler.event(chunk("word " * 1000))
        except OSError:
            gone.set()

    server.answer = answer
    with closing(generators(server.url).generate(MESSAGES, max_tokens=5)) as pieces:  # type: ignore[type-var]
        next(pieces)
    assert gone.wait(20)


@pytest.mark.parametrize(
    ("finish", "message"),
    [
        ("length", "the answer was cut after 50 tokens; allow more with max_tokens"),
        ("content_filter", "cut by the content filter"),
        (None, "ended without saying so"),
        ("stop", None),
    ],
)
def test_how_an_answer_ends(
    server: Server, generators: Make, caplog: pytest.LogCaptureFixture, finish: str | None, message: str | None
) -> None:
    server.answer = lambda handler, _: handler.stream(chunk("Half an", finish), chunk(choices=[]))
    assert said(generators(server.url)) == ["Half an"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (message is not None)
    assert message is None or message in warnings[0]


def refusing(**reasons: str) -> Callable[[Handler, dict[str, Any]], None]:
    def answer(handler: Handler, body: dict[str, Any]) -> None:
        for name, reason in reasons.items():
            if name in body:
                error = {"message": reason, "type": "invalid_request_error"}
                return handler.fail(400, {"error": error | ({"param": name} if not reason else {})})
        return handler.stream(chunk("Yes", "stop"))

    return answer


@pytest.mark.parametrize(
    "reason", ["", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", "no 'max_tokens' here"]
)
def test_a_refused_name_is_changed_now_and_from_now_on(server: Server, generators: Make, reason: str) -> None:
    server.answer = refusing(max_tokens=reason)
    generator = generators(server.url)
    assert said(generator, 7) == ["Yes"]
    assert said(generator, 8) == ["Yes"]
    sent = [(request.get("max_tokens"), request.get("max_completion_tokens")) for request in server.requests]
    assert sent == [(7, None), (None, 7), (None, 8)]
    assert all(request["temperature"] == 0 for request in server.requests)


def test_a_refused_temperature_is_left_out(server: Server, generators: Make) -> None:
    server.answer = refusing(temperature="'temperature' does not support 0", max_tokens="no 'max_tokens'")
    generator = generators(server.url)
    assert said(generator) == said(generator) == ["Yes"]
    assert [sorted({"temperature", "max_tokens", "max_completion_tokens"} & set(sent)) for sent in server.requests] == [
        ["max_tokens", "temperature"],
        ["max_tokens"],
        ["max_completion_tokens"],
        ["max_completion_tokens"],
    ]


def test_threads_that_meet_the_same_refusals(server: Server, generators: Make) -> None:
    server.answer = refusing(temperature="'temperature' is fixed", max_tokens="no 'max_tokens'")
    generator = generators(server.url)
    found: list[Any] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        try:
            found.append(said(generator))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["Yes"]] * 6


def test_other_refusals_are_told(server: Server, generators: Make) -> None:
    server.answer = refusing(model="the model is\nasleep")
    assert "the model is" in failure(generators(server.url))
    server.answer = refusing(max_tokens="no 'max_tokens'", max_completion_tokens="nor 'max_completion_tokens'")
    assert failure(generators(server.url)).endswith(": nor 'max_completion_tokens'")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"error": {"message": "bad key"}}, "refuses the API key; set OPENAI_API_KEY"),
        (403, {"error": {"message": "no"}}, "refuses the API key"),
        (404, {"error": {"message": "there is no model m"}}, "no such model or address (there is no model m)"),
        (404, "<html>\nnot found</html>", "no such model or address"),
        (422, {"error": {"message": "cannot"}}, "cannot"),
        (429, {"error": {"message": "slow down"}}, "too many requests, or no credit left (slow down)"),
        (500, {"error": {"message": "it burns"}}, "it burns"),
        (500, "", "the server failed (Error code: 500); try again later"),
        (503, {"error": {"message": "x" * 100_000}}, "the server failed (xxx"),
    ],
)
def test_statuses_in_words(server: Server, generators: Make, status: int, body: Any, message: str) -> None:
    server.answer = lambda handler, _: handler.fail(status, body)
    told = failure(generators(server.url))
    assert message in told
    assert len(told) < 500


def test_an_overload_is_tried_again(server: Server, generators: Make) -> None:
    def answer(handler: Handler, _: Any) -> None:
        if len(server.requests) < 2:
            handler.fail(503, {"error": {"message": "busy"}})
        else:
            handler.stream(chunk("Yes", "stop"))

    server.answer = answer
    assert said(generators(server.url, max_retries=1)) == ["Yes"]
    server.requests.clear()
    assert "busy" in failure(generators(server.url, max_retries=0))


def test_nobody_there(generators: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = failure(generators(f"http://127.0.0.1:{port}/v1"))
    assert "cannot be reached" in told
    assert "is the server running" in told


@pytest.mark.parametrize("url", ["127.0.0.1:1/v1", "no address", "ftp://127.0.0.1"])
def test_no_address(generators: Make, url: str) -> None:
    with pytest.raises(LusiragError, match="address") as raised:
        said(generators(url))
    assert "protocol" in str(raised.value)


def test_an_address_that_cannot_be_one() -> None:
    with pytest.raises(InvalidArgumentError, match="must be an address such as http://localhost:11434/v1"):
        OpenAIGenerator("m", base_url="http://\x01")


@pytest.mark.parametrize("hard", [False, True])
def test_a_connection_that_is_lost(server: Server, generators: Make, hard: bool) -> None:
    def answer(handler: Handler, _: Any) -> None:
        handler.begin()
        handler.event(chunk("Half"))
        handler.wfile.flush()
        if hard:  # a reset instead of an end
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True

    server.answer = answer
    generator = generators(server.url)
    pieces = generator.generate(MESSAGES, max_tokens=5)
    with pytest.raises(ModelError, match="cannot be reached") as raised:
        list(pieces)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_server_that_falls_silent(server: Server, generators: Make, pieces: int) -> None:
    done = threading.Event()

    def answer(handler: Handler, _: Any) -> None:
        if pieces:
            handler.begin()
            handler.event(chunk("Half"))
        done.wait(20)
        handler.close_connection = True

    server.answer = answer
    try:
        assert "no sign of life in time; raise the timeout" in failure(generators(server.url, timeout=0.3))
    finally:
        done.set()


def test_an_error_in_mid_stream(server: Server, generators: Make) -> None:
    server.answer = lambda handler, _: handler.stream(chunk("Half"), {"error": {"message": "out of memory"}})
    assert "out of memory" in failure(generators(server.url))


def test_a_server_that_speaks_something_else(server: Server, generators: Make) -> None:
    server.answer = lambda handler, _: handler.stream("this is no JSON")
    assert "does not speak chat completions" in failure(generators(server.url))


def test_keys(server: Server, generators: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no API key: set OPENAI_API_KEY, or give base_url"):
        OpenAIGenerator("m")
    said(generators(server.url, api_key="mine"))
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    said(generators(server.url))
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with closing(OpenAIGenerator("m")._client):
        pass
    assert [request["key"] for request in server.requests] == ["Bearer mine", "Bearer theirs"]


@pytest.mark.parametrize("options", [{"context_tokens": 0}, {"temperature": -1}, {"timeout": 0}, {"max_retries": -1}])
def test_numbers_out_of_range(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(InvalidArgumentError, match=f"{name.removeprefix('m')}.* {value}"):
        OpenAIGenerator("m", base_url="http://127.0.0.1:1", **options)


def test_the_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "lusirag\[openai\]"'):
        OpenAIGenerator("m", base_url="http://127.0.0.1:1")
