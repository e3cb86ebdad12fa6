"""The bench of codes: all ways make all codes, are counted, and published code that does not run is one clear line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.evaluation.speed import Percentiles
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig
from speechgen.service import bench_tokens as measures
from speechgen.service.bench_tokens import Made, TokensBench, bench_tokens


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    monkeypatch.setattr(measures, "SMALL_SOUNDSTORM", SoundStormConfig.tiny())
    monkeypatch.setattr(measures, "SMALL_MAGNET", MAGNeTConfig.tiny())


def test_every_way_makes_all_codes_in_as_many_passes_as_it_needs():
    """10 frames of 3 codebooks: 4 + 1 + 1 passes, 10 + 3 - 1 slots, 10 x 3 slots."""
    report = bench_tokens(seconds=10 / 46.875, steps=4, runs=2, threads=1)
    passes = {name: way.passes for name, way in report.ways.items()}
    wanted = {"parallel": 6, "one by one, delay,": 12, "one by one, flat,": 30}
    assert passes == {f"{way} {precision}": count for way, count in wanted.items() for precision in measures.PRECISIONS}
    assert all(way.cpu.p50 > 0 for way in report.ways.values()) and report.published is None
    fast, slow = report.ways["parallel float32"], report.ways["one by one, flat, float32"]
    gains = [gain("parallel float32", "one by one, flat, float32") for gain in (report.speedup, report.saving)]
    assert gains == [slow.seconds.p50 / fast.seconds.p50, slow.cpu.p50 / fast.cpu.p50]
    assert report.speedup("parallel float32", "published float32") is None
    assert json.loads(report.to_json())["ways"]["parallel float32"]["passes"] == 6


def test_magnet_is_measured_beside_its_own_causal_mode(capsys):
    assert run(["bench", "tokens", "magnet", "--seconds", "0.5", "--steps", "3", "--runs", "1", "--threads", "1", "-q"]) == 0
    shown = capsys.readouterr().out
    assert "one by one, delay, float32" in shown and "magnet, 3 codebooks of 0.5 s" in shown
    with pytest.raises(UserError, match="up to 1 s: give --seconds"):
        bench_tokens("magnet", seconds=30)


def test_latency_is_compared_by_the_clock_and_work_beside_it(monkeypatch, capsys):
    """Four cores work for one: a quarter of the latency, as much work."""
    percentiles = [Percentiles(seconds, seconds) for seconds in (1.0, 4.0, 6.0, 8.0)]
    ways = {
        "parallel float32": Made(percentiles[0], percentiles[1], 6),
        "one by one, delay, float32": Made(*percentiles[2:], 12),
    }
    made = TokensBench("magnet", ways, 1.0, 3, 1, 1, 4, None, "2", "a machine")
    monkeypatch.setattr(measures, "bench_tokens", lambda *given, **more: made)
    assert run(["bench", "tokens", "magnet"]) == 0
    shown = capsys.readouterr().out
    heading, *rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in shown.splitlines()]
    (row,) = (row for row in rows if row[:1] == ["one by one, delay, float32"])
    assert heading[-2:] == ["latency, x", "processor, x"] and row[-2:] == ["6.00 x", "2.00 x"]
    assert "x: how many times that of parallel float32" in shown


def test_what_cannot_be_measured_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no 'sound': give one of soundstorm, magnet"):
        bench_tokens("sound")
    with pytest.raises(UserError, match=r"does not run with .*soundstorm.*pip install"):
        bench_tokens(python=Path(sys.executable), seconds=0.3, runs=1)
    with pytest.raises(UserError, match="cannot run .*nowhere"):
        bench_tokens(python=tmp_path / "nowhere", seconds=0.3, runs=1)
    assert run(["bench", "tokens", "--orders", "sideways"]) == 2
