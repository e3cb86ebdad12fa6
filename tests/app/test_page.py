"""The parts of the page that need no browser."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import struct
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

gradio = pytest.importorskip("gradio", reason="the page needs the extra app")

from app import abx, components, layout, live, work  # noqa: E402
from app.guard import JSON_BYTES, UPLOAD_BYTES, PageGuard  # noqa: E402
from speechgen.service import UserError  # noqa: E402
from speechgen.service.requests import SynthesisRequest  # noqa: E402


@pytest.fixture
def loop() -> Iterator[None]:
    """Gradio opens an event loop if there is none, and leaves it open."""
    opened = asyncio.new_event_loop()
    asyncio.set_event_loop(opened)
    yield
    asyncio.set_event_loop(None)
    opened.close()


def test_tabs_are_the_files_of_their_folder(repository: Path):
    files = {path.stem for path in (repository / "app" / "tabs").glob("*.py")} - {"__init__"}
    found = layout.tabs()
    assert {tab.__name__.rpartition(".")[2] for tab in found} == files
    assert [tab.TITLE for tab in found] == ["Speak", "Dialogue", "Edit", "Music", "Compare", "Waveforms", "Voices"]


def test_controls_are_labelled_by_the_request(loop: None):
    assert components.about("speed").lower() == (SynthesisRequest.model_fields["speed"].description or "").lower()
    with gradio.Blocks(analytics_enabled=False):
        speed = components.slider("speed", 1.0, 0.05)
        assert (speed.minimum, speed.maximum) == (0.5, 2.0)
        settings = components.Settings.build()
    left_alone = {control: control.value for control in settings.inputs}
    request = SynthesisRequest.checked({**settings.content(left_alone), "text": "Hello."})
    assert request == SynthesisRequest.checked({"text": "Hello.", "pipeline": request.pipeline})


@pytest.mark.parametrize(("given", "value"), [("", None), (None, None), (" 8 ", 8), ("0,5", 0.5)])
def test_a_number_may_be_left_out(given: str | None, value: float | None):
    assert components.value_of("steps", given) == value


def test_no_number_is_refused():
    with pytest.raises(UserError, match="steps is 'many': give a number"):
        components.value_of("steps", "many")


def test_what_is_said_is_escaped_and_names_no_path():
    assert "<img" not in components.said("<img src=x>", warnings=["<b>"]) and "<b>" not in components.said("", warnings=["<b>"])
    said = components.sentence(UserError("/tmp/page/1/voice.wav is silent: give sound"), "/tmp/page/1/voice.wav")
    assert said == "The recording is silent: give sound."
    assert "RuntimeError" in components.sentence(RuntimeError("/secret"))
    assert "secret" not in components.sentence(RuntimeError("/secret"))


# ---- sound on its way ----


async def _all(sound: live.LiveSound) -> bytes:
    return b"".join([part async for part in sound.read()])


def test_a_live_sound_is_its_rate_and_its_samples():
    sounds = live.LiveSounds()
    token, sound = sounds.open()
    sound.push(torch.tensor([0.0, 1.0, -2.0]), 24000)
    sound.push(torch.tensor([0.5]), 24000)
    sound.close()
    taken = sounds.take(token)
    assert taken is sound and sounds.take(token) is None
    assert asyncio.run(_all(sound)) == struct.pack("<I4h", 24000, 0, 32767, -32767, 16384)


def test_sounds_that_nobody_fetches_are_forgotten():
    sounds = live.LiveSounds()
    tokens = [sounds.open()[0] for _ in range(3 * live.MOST)]
    assert sum(sounds.take(token) is not None for token in tokens) <= live.MOST + 1


# ---- the guard ----


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


def ask(content: bytes | None, kind: str = "application/json", headers: dict[str, str] | None = None) -> httpx.Response:
    server = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    transport = httpx.ASGITransport(PageGuard(server, "/page"))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.post("/page/queue/join", content=content, headers={"content-type": kind, **(headers or {})})

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["http://example.org/a.wav", "https://127.0.0.1/a.wav", "file:///etc/passwd", "ftp://a/b"])
def test_files_named_by_an_address_are_refused(path: str):
    content = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()
    answer = ask(content)
    assert answer.status_code == 400 and "not named by an address" in answer.json()["detail"]


def test_other_requests_pass_with_headers():
    content = json.dumps({"data": ["see http://example.org", {"path": "/tmp/upload/a.wav"}]}).encode()
    answer = ask(content)
    assert (answer.status_code, answer.json()) == (200, {"size": len(content)})
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_large_and_deep_requests_are_refused():
    assert ask(b"[" * 200 + b"]" * 200).status_code == 400
    assert ask(b"1" * (JSON_BYTES + 1)).status_code == 413
    assert ask(b"", headers={"content-length": str(10**9)}).status_code == 413
    assert ask(b"x" * (JSON_BYTES + 1), "multipart/form-data; boundary=x").status_code == 200
    assert ask(b"x" * (UPLOAD_BYTES + 2**17), "multipart/form-data; boundary=x").status_code == 413
    assert ask(b"", headers={"content-length": "many"}).status_code == 400


def test_an_open_page_does_not_hold_up_the_end():
    async def beat() -> AsyncIterator[bytes]:
        while True:
            yield b"beat"
            await asyncio.sleep(0.05)

    async def opened(request: Request) -> StreamingResponse:
        return StreamingResponse(beat())

    async def listen() -> bytes:
        guard = PageGuard(Starlette(routes=[Route("/heartbeat", opened)]), "/", ending=lambda: True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://page") as client:
            return (await asyncio.wait_for(client.get("/heartbeat"), 10)).content

    assert asyncio.run(listen()).startswith(b"beat")


# ---- the blind test ----


def test_chance_is_the_binomial_tail():
    assert abx.chance(0, 8) == 1
    assert abx.chance(8, 8) == 1 / 256
    assert abx.chance(7, 8) == 9 / 256


def test_answers_are_collected(home: Path):
    for _ in range(2):
        test = abx.AbxTest("=1+1", ("default", "default, steps 16"))
        assert set(test.hidden) <= {"A", "B"} and len(test.hidden) == abx.TRIALS
        while not test.over:
            test.answers.append(test.x)
        assert test.right == abx.TRIALS and "you hear a difference" in test.verdict()
        path = abx.store(test)
    assert path == home / "listening" / "abx.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert len(rows) == 2 * abx.TRIALS
    assert {row["text"] for row in rows} == {"'=1+1"} and {row["right"] for row in rows} == {"1"}


def test_the_collection_does_not_grow_for_ever(home: Path):
    path = abx.answers_file()
    path.parent.mkdir()
    path.write_bytes(b"x" * (abx.LARGEST_BYTES + 1))
    with pytest.raises(UserError, match="move it away"):
        abx.store(abx.AbxTest("a", ("a", "b"), ("A",), ["A"]))


# ---- the whole ----


@dataclass
class _Job:
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


def test_stop_stops_what_it_was_pressed_for():
    page = work.Page(queue=None)  # type: ignore[arg-type]
    turns, jobs = [work.Turn(), work.Turn()], [_Job(), _Job()]

    def updates(turn: work.Turn, job: _Job) -> Generator[work.Update, None, None]:
        yield {"before": turn.name}
        turn.begin(job)  # type: ignore[arg-type]
        yield {"after": turn.name}

    first = page.alone("me", "Speak", turns[0], updates(turns[0], jobs[0]))
    assert [next(first), next(first)] == [{"before": turns[0].name}, {"before": turns[0].name, "after": turns[0].name}]
    second = page.alone("me", "Speak", turns[1], updates(turns[1], jobs[1]))
    next(second)
    assert jobs[0].cancelled  # begun anew
    page.stop("me", turns[0].name)  # late
    assert list(first) == [{"before": gradio.skip(), "after": gradio.skip()}]
    assert list(second) == [{"before": turns[1].name, "after": turns[1].name}]
    assert not jobs[1].cancelled


def test_stop_before_there_is_a_job_stops_it():
    turn, job = work.Turn(), _Job()
    turn.stop()
    turn.begin(job)  # type: ignore[arg-type]
    assert job.cancelled


def test_a_tab_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch):
    from app.tabs import speak

    monkeypatch.setattr(speak.catalog, "pipelines", dict[str, Any])
    assert "speechgen doctor" in speak.missing()


def test_a_tab_is_one_file_and_shows_only_what_it_lacks(loop: None, monkeypatch: pytest.MonkeyPatch):
    sentence = "No model for it is here: `speechgen models pull music`."
    lacking = SimpleNamespace(TITLE="Music", PLACE=50, missing=lambda: sentence, build=lambda page: pytest.fail("built"))
    monkeypatch.setattr(layout, "tabs", lambda: [lacking])
    blocks, _ = layout.assemble(queue=None)  # type: ignore[arg-type]
    parts = [part["props"] for part in blocks.get_config_file()["components"]]
    assert "Music" in [part.get("label") for part in parts] and sentence in [part.get("value") for part in parts]


def test_the_command_refuses_other_addresses(capsys: pytest.CaptureFixture[str]):
    from speechgen.cli.main import run

    assert run(["app", "--host", "0.0.0.0"]) == 2
    assert "answers this machine alone" in capsys.readouterr().err
