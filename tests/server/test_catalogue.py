"""Models, voices, health, metrics and the OpenAPI document; and uploads that are no voice."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
import soundfile

from speechgen.audio.encode import Encoder, wav_header
from speechgen.service import catalog
from speechgen.service.voices import read_stored
from tests.tiny import RATE, voice_like

SOUND = voice_like(2.0).numpy()


def recording(seconds=2.0, rate=RATE, channels=1, format="WAV", subtype=None):
    samples = np.tile(voice_like(seconds, rate).numpy()[:, None], (1, channels))
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=format, subtype=subtype)
    return content.getvalue()


def upload(client, content=None, name="anna", file="anna.wav", kind="audio/wav", **form):
    files = {"audio_sample": (file, recording() if content is None else content, kind)}
    return client.post("/v1/audio/voices", data={"name": name, **form}, files=files)


def zip_bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.wav", bytes(2**24))
    return content.getvalue()


def lying_wav(frames):
    """A header that tells of more than there is."""
    return wav_header(RATE, frames) + recording()[44:]


def silent_flac(seconds):
    """Hours in some kilobytes."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", RATE, 1, format="FLAC") as file:
        for _ in range(seconds):
            file.write(np.zeros(RATE))
    return content.getvalue()


def endless_flac():
    with Encoder("flac", RATE) as encoder:
        return encoder.push(voice_like(3.0)) + encoder.close()


def nan_wav():
    content = io.BytesIO()
    soundfile.write(content, np.where(np.arange(RATE * 2) == 9, np.nan, 0.1), RATE, format="WAV", subtype="FLOAT")
    return content.getvalue()


def test_models_are_pipelines(client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list" and "tiny" in [model["id"] for model in listed["data"]]
    assert client.get("/v1/models/tiny").json()["object"] == "model"
    missing = client.get("/v1/models/tni")
    assert missing.status_code == 404 and "did you mean 'tiny'" in missing.json()["error"]["message"]


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_uploaded_voice_is_stored_listed_spoken_with_and_removed(client, home, format):
    answer = upload(client, recording(format=format), file=f"anna.{format.lower()}")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["kind"]) == ("anna", "stored") and answer.json()["seconds"] > 1
    assert {voice["id"]: voice["kind"] for voice in client.get("/v1/audio/voices").json()["data"]}["anna"] == "stored"
    spoken = client.post("/v1/audio/speech", json={"input": "Hello.", "model": "tiny", "voice": "anna"})
    assert spoken.status_code == 200 and spoken.headers["x-speechgen-voice"] == "anna"
    assert client.delete("/v1/audio/voices/anna").json()["deleted"]
    assert "anna" not in catalog.voices()


def test_what_a_voice_says_is_stored_and_read_by_pipelines_that_need_it(client, home):
    assert upload(client, transcript="The seven words that it says.").status_code == 200
    assert read_stored(home / "voices" / "anna.safetensors").info.transcript == "The seven words that it says."
    asked = {"input": "Hello there.", "model": "tiny-reader", "voice": "anna", "stream": False, "response_format": "wav"}
    spoken = client.post("/v1/audio/speech", json=asked)
    assert spoken.status_code == 200 and "heard" not in str(spoken.headers)
    assert upload(client, name="bob", transcript="x" * 1001).status_code == 400


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(client):
    assert upload(client).status_code == 200
    again = upload(client)
    assert again.status_code == 409 and "send replace=true" in again.json()["error"]["message"]
    assert upload(client, replace="true").status_code == 200
    over = upload(client, name="buzz", replace="true")
    assert over.status_code == 409 and "buzz already: choose another name" in over.json()["error"]["message"]


def test_only_stored_voices_can_be_removed(client, home):
    assert client.delete("/v1/audio/voices/buzz").status_code == 409
    assert client.delete("/v1/audio/voices/nobody").status_code == 404
    assert client.delete("/v1/audio/voices/..%2F..%2Fpipelines%2Ftiny").status_code in (400, 404)
    assert (home / "voices" / "buzz.wav").is_file() and (home / "pipelines" / "tiny.yaml").is_file()


HOSTILE = {
    "path as name": ({"name": "../../pipelines/evil"}, 400, "name: String should match pattern"),
    "absolute name": ({"name": "/tmp/evil"}, 400, "name"),
    "name with line break": ({"name": "a\r\nX-Evil: 1"}, 400, "name"),
    "name in other letters": ({"name": "аnna"}, 400, "name"),
    "long name": ({"name": "a" * 65}, 400, "name"),
    "no name": ({"name": ""}, 400, "name"),
    "zip bomb": ({"content": zip_bomb}, 400, "not readable audio"),
    "script": ({"content": lambda: b"<script>alert(1)</script>"}, 400, "not readable audio"),
    "empty": ({"content": lambda: b""}, 400, ""),
    "ten minutes": ({"content": lambda: silent_flac(600)}, 400, "lasts 600.0 s, at most 30 s are allowed"),
    "no length": ({"content": endless_flac}, 400, "lasts an unknown time, at most 30 s"),
    "too short": ({"content": lambda: recording(0.5)}, 400, "lasts 0.50 s, at least 1 s"),
    "silence": ({"content": lambda: silent_flac(5)}, 400, "is silent"),
    "many channels": ({"content": lambda: recording(channels=16)}, 400, "16 channels, at most 2"),
    "high rate": ({"content": lambda: recording(1.5, 384000)}, 400, "384000 samples per second, at most 192000"),
    "nan": ({"content": nan_wav}, 400, "NaN or infinite"),
    "cut header": ({"content": lambda: recording()[:30]}, 400, "not readable audio"),
    "rate of nothing": (
        {"content": lambda: recording()[:24] + struct.pack("<I", 0) + recording()[28:]}, 400, "not readable audio",
    ),
    "no samples": ({"content": lambda: wav_header(RATE, 0)}, 400, ""),
    "noise": ({"content": lambda: np.random.default_rng(0).bytes(100000)}, 400, "not readable audio"),
}  # fmt: skip


@pytest.mark.parametrize("given", HOSTILE.values(), ids=HOSTILE)
def test_uploads_that_are_no_voice_are_refused_and_nothing_is_written(client, home, given):
    form, status, message = given
    before = sorted(path for path in home.rglob("*"))
    answer = upload(client, **{key: value() if key == "content" else value for key, value in form.items()})
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]
    assert str(home) not in answer.text
    assert sorted(path for path in home.rglob("*")) == before


def test_a_header_that_tells_of_more_than_there_is_is_not_believed(client, home):
    assert upload(client, lying_wav(2**30)).status_code in (200, 400)
    assert {path.name for path in (home / "voices").iterdir()} <= {"buzz.wav", "anna.safetensors"}


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("..\\..\\evil.wav", "evil.wav"),
        ('a";\r\nX-Evil: 1.wav', None),
        ("<script>.wav", "<script>.wav"),
        ("voice\u202egnp.wav", "voicegnp.wav"),
        ("a" * 500 + ".wav", "a" * 80),
    ],
)
def test_file_names_are_labels_and_nothing_else(client, home, file, kept):
    answer = upload(client, file=file)
    assert answer.status_code == 200 and "x-evil" not in answer.headers
    assert {path.name for path in (home / "voices").iterdir()} == {"buzz.wav", "anna.safetensors"}
    source = read_stored(home / "voices" / "anna.safetensors").info.source
    assert source == kept if kept else source.isprintable()


@pytest.mark.parametrize("body", [{"json": {"name": "anna"}}, {"data": {"name": "anna"}}, {"content": b"RIFF"}])
def test_an_upload_of_another_type_is_refused(client, body):
    assert client.post("/v1/audio/voices", **body).status_code == 400


def test_the_state_is_told(client):
    health = client.get("/health").json()
    assert (health["status"], health["device"], health["capacity"]) == ("ok", "cpu", 2)
    client.post("/v1/audio/speech", json={"input": "Hello.", "model": "tiny"})
    client.get("/nowhere/at/all")
    told = client.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    assert 'speechgen_requests_total{method="POST",route="/v1/audio/speech",status="200"} 1.0' in told.text
    assert 'route="other",status="404"' in told.text and "speechgen_jobs_waiting 0.0" in told.text
    assert "speechgen_first_sound_seconds_count 1.0" in told.text and "process_resident_memory_bytes" in told.text


def test_the_openapi_document_tells_every_endpoint_and_limit(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/audio/speech", "/v1/audio/music", "/v1/models", "/v1/models/{name}", "/v1/audio/voices", "/v1/audio/voices/{name}",
        "/health", "/metrics",
    }  # fmt: skip
    fields = document["components"]["schemas"]["SpeechRequest"]["properties"]
    assert fields["input"]["maxLength"] == 4096 and all("description" in field for field in fields.values())
    music = document["components"]["schemas"]["MusicBody"]["properties"]
    assert music["duration"]["maximum"] == 600 and all("description" in field for field in music.values())
