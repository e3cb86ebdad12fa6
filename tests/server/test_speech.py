"""POST /v1/audio/speech: formats, streams, events, seeds, honest answers, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import threading

import numpy as np
import pytest
import soundfile

from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.tiny import RATE

FORMATS = ["mp3", "opus", "flac", "wav", "pcm"]
TYPES = dict(zip(FORMATS, ["audio/mpeg", "audio/ogg", "audio/flac", "audio/wav", "audio/pcm"], strict=True))


def speak(client, text="Hello there.", **content):
    return client.post("/v1/audio/speech", json={"input": text, "model": "tiny", "voice": "buzz", **content})


def pcm(content):
    return np.frombuffer(content, "<i2") / 32767


def events(response):
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stream", [True, False])
def test_every_format_is_sound_streamed_and_whole(client, format, stream):
    response = speak(client, response_format=format, stream=stream, seed=1)
    assert (response.status_code, response.headers["content-type"]) == (200, TYPES[format])
    assert (response.headers["x-speechgen-seed"], response.headers["x-speechgen-sample-rate"]) == ("1", str(RATE))
    assert ("content-length" in response.headers) is not stream
    if format == "pcm":
        assert len(response.content) >= RATE
    else:
        with soundfile.SoundFile(io.BytesIO(response.content)) as file:
            assert file.samplerate == RATE and len(file.read(RATE // 4)) == RATE // 4
            assert format == "wav" and stream or "synthetic speech" in file.comment
    assert speak(client, response_format=format, stream=stream, seed=1).content == response.content


def test_the_whole_is_what_the_engine_makes(client):
    made = Engine("cpu").synthesize(SynthesisRequest.checked({"text": "Hello there.", "pipeline": "tiny", "seed": 4}))
    response = speak(client, response_format="pcm", stream=False, seed=4)
    np.testing.assert_allclose(pcm(response.content), made.samples.clamp(-1, 1).numpy(), atol=1e-4)
    assert float(response.headers["x-speechgen-seconds"]) == pytest.approx(made.seconds, abs=1e-3)


def test_mp3_is_what_openais_clients_expect_by_default(client):
    response = client.post("/v1/audio/speech", json={"input": "Hello.", "model": "tiny", "voice": {"id": "buzz"}, "speed": 1.0})
    assert response.status_code == 200 and response.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("stream", [True, False])
def test_events_carry_the_same_bytes(client, stream):
    told = events(speak(client, stream_format="sse", response_format="pcm", stream=stream, seed=2))
    *deltas, done = told
    assert {event["type"] for event in deltas} == {"speech.audio.delta"} and done["type"] == "speech.audio.done"
    sound = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert sound == speak(client, response_format="pcm", stream=stream, seed=2).content
    assert done["seconds"] == pytest.approx(len(sound) / 2 / RATE, abs=0.001) and done["seed"] == 2
    assert done["usage"]["input_tokens"] == len("Hello there.")


def test_our_own_settings_change_the_sound(client):
    plain = speak(client, response_format="pcm", seed=1).content
    for setting in ({"speed": 1.7}, {"temperature": 0.1}, {"pitch": 3.0}, {"steps": 5}, {"guidance": 3.0}, {"seed": 2}):
        assert speak(client, response_format="pcm", **{"seed": 1, **setting}).content != plain, setting


def test_instructions_are_accepted_and_answered_honestly(client):
    response = speak(client, instructions="Whisper.", stream=False)
    assert json.loads(response.headers["x-speechgen-warnings"])[0] == "instructions were not used: pipeline tiny follows none"
    done = events(speak(client, instructions="Whisper.", stream_format="sse"))[-1]
    assert "instructions were not used" in done["warnings"][0]
    assert "instructions" not in str(speak(client).headers)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"input": ""}, 400, "input: String should have at least 1 character"),
        ({"input": "   "}, 400, "the text is empty"),
        ({"input": "?!"}, 400, "nothing to speak"),
        ({"input": "a" * 4097}, 400, "input: String should have at most 4096 characters"),
        ({"input": "<script>alert(1)</script>"}, 400, "script"),
        ({"input": '<audio src="http://x/y">'}, 400, "audio"),
        ({"input": 7}, 400, "input: Input should be a valid string"),
        ({"model": "tny"}, 404, "unknown model 'tny': did you mean 'tiny'"),
        ({"model": "/etc/passwd"}, 404, "unknown model"),
        ({"model": "../../pipelines/tiny.yaml"}, 404, "unknown model"),
        ({"voice": "bus"}, 400, "unknown voice 'bus': did you mean 'buzz'"),
        ({"voice": "http://example.org/voice.wav"}, 400, "unknown voice"),
        ({"voice": "/etc/passwd"}, 400, "unknown voice"),
        ({"voice": "../voices/buzz"}, 400, "unknown voice"),
        ({"voice": {"id": "buzz", "path": "/etc"}}, 400, "unknown key 'path'"),
        ({"response_format": "aac"}, 400, "response_format: Input should be 'mp3', 'opus', 'flac', 'wav' or 'pcm'"),
        ({"speed": 3}, 400, "speed: Input should be less than or equal to 2 (given: 3)"),
        ({"speed": "1"}, 400, "speed: Input should be a valid number"),
        ({"duration": 5.0}, 400, "this pipeline speaks as long as its text takes"),
        ({"duration": 0}, 400, "duration: Input should be greater than 0"),
        ({"seed": -1}, 400, "seed: Input should be greater than or equal to 0"),
        ({"seed": 10**30}, 400, "seed: "),
        ({"sped": 1}, 400, "unknown key 'sped': did you mean 'speed'"),
        ({"ref": "/etc/passwd"}, 400, "unknown key 'ref'"),
        ({"language": "xx-nowhere"}, 400, "xx-nowhere"),
        ({"language": "../../etc"}, 400, "../../etc"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_cannot_be_spoken_is_refused_with_a_sentence(client, content, status, message, stream):
    response = (
        speak(client, stream=stream, **content) if "input" not in content else speak(client, content["input"], stream=stream)
    )
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, "not_found_error" if status == 404 else "invalid_request_error")
    assert message in error["message"] and "\n" not in error["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"input": "Hello.", "speed": NaN}', "application/json"),
        (b'{"input": "Hello.", "speed": 1e999}', "application/json"),
        (b'{"input": "\\ud800"}', "application/json"),
        (b'{"input": "Hello.", "seed": ' + b"9" * 5000 + b"}", "application/json"),
        (b"[" * 100000, "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b'{"input": "Hello."}', "text/plain"),
        (b"input=Hello.", "application/x-www-form-urlencoded"),
        (b"", "application/json"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_are_no_request_are_refused(client, body, kind):
    response = client.post("/v1/audio/speech", content=body, headers={"content-type": kind})
    assert response.status_code in (400, 415), response.text
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    [
        "مرحبا بالعالم.",
        "Hello \u202eworld\u202c.",
        "He\u0301llo\u200b there.",
        "Hello\x00 there.",
        "Z" + "\u0335" * 500,
        "Hello 👩‍👩‍👧‍👦 there.",
    ],
    ids=["arabic", "turned", "combining", "nul", "piled", "emoji"],
)
def test_unicode_tricks_are_spoken_or_refused(client, text):
    response = speak(client, text, response_format="pcm")
    assert response.status_code == 200 and len(response.content) > 1000 or response.status_code == 400, response.text


def test_a_full_queue_answers_429_and_when_to_come_again(client, queue):
    gate = threading.Event()
    jobs = [queue.run(lambda engine, progress: gate.wait(30)) for _ in range(3)]
    try:
        response = speak(client)
    finally:
        gate.set()
    assert response.status_code == 429 and int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["code"] == "queue_full" and "try again" in response.json()["error"]["message"]
    assert all(job.wait(10) for job in jobs)
    assert speak(client).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_takes_too_long_is_told_so(home, stream):
    from tests.server.conftest import served

    with served(timeout=0.02) as client:
        response = speak(client, "One two three four five. " * 100, stream=stream)
    assert response.status_code == 504 and "longer than 0.02 s" in response.json()["error"]["message"]


def test_a_fault_of_the_program_is_told_without_its_details(client, monkeypatch, caplog):
    def broken(self, request, progress=None):
        raise ZeroDivisionError("/secret/place")

    monkeypatch.setattr(Engine, "synthesize", broken)
    response = speak(client, stream=False)
    assert response.status_code == 500
    assert response.json()["error"] == {
        "message": "the server failed: its log says why", "type": "server_error", "param": None, "code": "server_error",
    }  # fmt: skip
    assert "/secret/place" in caplog.text
