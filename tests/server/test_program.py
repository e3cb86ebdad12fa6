"""`speechgen serve` as a program on the loopback: streams, clients that go away, its end; and OpenAI's own client."""

from __future__ import annotations

import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import openai
import pytest

from speechgen.cli.main import run
from tests.tiny import RATE, voice_like

pytestmark = pytest.mark.timeout(240)  # each starts a program
LONG = "One two three four five six seven eight nine ten. " * 40


def ask(text="Hello there.", **content):
    return {"input": text, "model": "tiny", "voice": "buzz", "response_format": "pcm", **content}


def until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def idle(http, address):
    health = http.get(address + "/health").json()
    return health["running"] == health["waiting"] == 0


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.address + "/v1", api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def test_openais_client_speaks_streams_and_lists(client, tmp_path):
    asked = {"model": "tiny", "voice": "buzz", "input": "Hello there."}
    whole = client.audio.speech.create(**asked, response_format="pcm", extra_body={"seed": 1})
    assert len(whole.content) >= RATE
    with client.audio.speech.with_streaming_response.create(**asked, response_format="pcm", extra_body={"seed": 1}) as response:
        assert b"".join(response.iter_bytes()) == whole.content
        assert response.headers["x-speechgen-seed"] == "1"
    with client.audio.speech.with_streaming_response.create(**asked, instructions="Softly.", speed=1.2) as response:
        response.stream_to_file(tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").stat().st_size > 1000
    assert "tiny" in [model.id for model in client.models.list()]
    assert client.models.retrieve("tiny").id == "tiny"


def test_openais_client_understands_refusals(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(model="gpt-4o-mini-tts", voice="buzz", input="Hello.")
    assert missing.value.code == "model_not_found" and "allowed: " in missing.value.body["message"]
    with pytest.raises(openai.BadRequestError) as unknown:
        client.audio.speech.create(model="tiny", voice="alloy", input="Hello.")
    assert unknown.value.param == "voice"


def test_sound_comes_before_all_of_it_is_made(server, http):
    with http.stream("POST", server.address + "/v1/audio/speech", json=ask(LONG)) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        times = [time.monotonic() for part in response.iter_raw() if part]
    assert len(times) > 5 and times[-1] - times[0] > 0.5


@pytest.mark.parametrize("content", [{"stream": True}, {"stream": False}, {"stream_format": "sse"}], ids=str)
def test_the_job_ends_when_its_client_goes_away(server, http, content):
    place = urlsplit(server.address)
    body = httpx.Request("POST", server.address, json=ask(LONG * 2, **content)).content
    with socket.create_connection((place.hostname, place.port)) as line:
        head = "POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        line.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: http.get(server.address + "/health").json()["running"] == 1)
        if content.get("stream"):
            assert line.recv(100).startswith(b"HTTP/1.1 200")
    begun = time.monotonic()
    until(lambda: idle(http, server.address))
    assert time.monotonic() - begun < 10
    assert http.post(server.address + "/v1/audio/speech", json=ask()).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished_before_the_end(program, http, number):
    server = program("--grace", "60")
    got = []

    def read():
        with http.stream("POST", server.address + "/v1/audio/speech", json=ask(LONG[:500])) as response:
            got.extend(response.iter_raw())

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: got)
    code = server.stop(number, timeout=60)
    reader.join(10)
    assert len(b"".join(got)) > 5 * RATE and code in (-number, 130)
    with pytest.raises(httpx.ConnectError):
        http.get(server.address + "/health")


def test_the_end_does_not_wait_longer_than_it_was_told(program, http):
    server = program("--grace", "1")
    with (
        pytest.raises(httpx.RemoteProtocolError),
        http.stream("POST", server.address + "/v1/audio/speech", json=ask(LONG * 2)) as response,
    ):
        begun = time.monotonic()
        parts = response.iter_raw()
        next(parts)
        server.stop()
        assert time.monotonic() - begun < 20
        list(parts)


def test_a_slow_reader_holds_nobody_up(server, http):
    with http.stream("POST", server.address + "/v1/audio/speech", json=ask(LONG)) as response:
        next(response.iter_raw())
        until(lambda: idle(http, server.address), 60)  # all is made while nobody reads
        with httpx.Client(trust_env=False, timeout=60) as other:
            assert other.post(server.address + "/v1/audio/speech", json=ask()).status_code == 200


def test_a_voice_can_be_stored_over_the_wire(server, http, tmp_path):
    sound = (voice_like(2.0).numpy() * 32767).astype(np.int16).tobytes()
    from speechgen.audio.encode import wav_header

    files = {"audio_sample": ("anna.wav", wav_header(RATE, len(sound) // 2) + sound, "audio/wav")}
    assert http.post(server.address + "/v1/audio/voices", data={"name": "anna"}, files=files).status_code == 200
    assert http.post(server.address + "/v1/audio/speech", json=ask(voice="anna")).status_code == 200


def test_a_gigabyte_is_not_read(server):
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname, place.port), timeout=20) as line:
        line.sendall(
            b"POST /v1/audio/voices HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        block, sent = b"100000\r\n" + bytes(2**20) + b"\r\n", 0
        try:
            while sent < 1024:
                line.sendall(block)
                sent += 1
        except OSError:
            pass  # it hung up
        assert sent < 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "others could reach 0.0.0.0: set a key"),
        (("--host", "192.0.2.1", "--api-key", "secret"), "cannot listen on 192.0.2.1"),
        (("--device", "cuda:99"), "cuda"),
        (("--warm-up", "--pipeline", "nowhere", "--port", "0"), "unknown pipeline 'nowhere'"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused_in_one_line(home, capsys, monkeypatch, options, message):
    assert run(["serve", *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_port_that_is_taken_is_named(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
