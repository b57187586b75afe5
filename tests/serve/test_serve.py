"""The what-if page: its answers are those of the commands, and nobody else can ask."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from optimizer import read_problem, solve
from optimizer.cli.main import run
from optimizer.figures.objective_text import objective_text
from optimizer.serve import application

START: dict[str, Any] = {
    "model": "qwen3-32b",
    "hardware": "h200-sxm-8",
    "devices": 4,
    "workload": {"input_tokens": 1000, "output_tokens": 200},
    "limits": {"tpot": "40 ms"},
}
TOKEN = "secret-of-this-run"  # noqa: S105 - a test's


@pytest.fixture
def client() -> TestClient:
    served = application(START, None, token=TOKEN, hosts=("127.0.0.1:9",))
    return TestClient(served, base_url="http://127.0.0.1:9", headers={"X-Token": TOKEN})


def test_the_answer_is_that_of_solve(client: TestClient) -> None:
    given = {"devices": "2", "tpot": "30 ms", "objective": "throughput"}
    found = client.post("/answer", json=given).json()
    asked = read_problem({**START, "devices": 2, "limits": {"tpot": "30 ms"}, "objective": "throughput"})
    best = solve(asked)
    assert found["status"] == best.status == "optimal"
    page = client.get(f"/frame/{found['frame']}").text
    assert objective_text("throughput_tokens_per_s", float(best.best.value)) in page  # type: ignore[union-attr]
    copied = YAML(typ="safe").load(found["yaml"])
    assert read_problem(copied).digest == asked.digest


def test_the_command_line_to_copy_asks_the_same(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    every = {"model": "qwen3-32b", "hardware": "h200-sxm-8", "devices": "2", "input_tokens": "1000"}
    found = client.post("/answer", json={**every, "output_tokens": "200", "tpot": "30 ms"}).json()
    words = shlex.split(found["command"])
    assert words[:2] == ["shardproof", "solve"]
    assert run([*words[1:], "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["problem"]["digest"] == read_problem(YAML(typ="safe").load(found["yaml"])).digest


def test_an_empty_control_takes_a_limit_away(client: TestClient) -> None:
    found = client.post("/answer", json={"tpot": ""}).json()
    assert "tpot" not in YAML(typ="safe").load(found["yaml"])["limits"]


def test_a_price_goes_into_the_hardware_in_full(client: TestClient) -> None:
    found = client.post("/answer", json={"price": "3 $/h", "objective": "cost"}).json()
    assert found["status"] == "optimal"
    assert found["command"] is None
    asked = read_problem(YAML(typ="safe").load(found["yaml"]))
    assert asked.hardware.device.price == 3


def test_what_is_wrong_names_its_control(client: TestClient) -> None:
    response = client.post("/answer", json={"tpot": "40 parsecs", "devices": "-4"})
    assert response.status_code == 422
    assert {fault["field"].split(".")[-1] for fault in response.json()["faults"]} >= {"tpot"}
    for broken in (b"{", b"[]", b'{"tpot": 3}'):
        assert client.post("/answer", content=broken).status_code == 422


def test_nothing_that_fits_shows_what_is_in_conflict(client: TestClient) -> None:
    found = client.post("/answer", json={"tpot": "1 us"}).json()
    assert found["status"] == "infeasible"
    assert "tpot" in client.get(f"/frame/{found['frame']}").text


def test_the_curve_falls(client: TestClient) -> None:
    points = client.post("/curve", json={}).json()["points"]
    assert len(points) >= 3
    assert all(a["tpot_s"] <= b["tpot_s"] for a, b in itertools.pairwise(points))
    assert all(a["per_device"] <= b["per_device"] for a, b in itertools.pairwise(points))
    assert client.post("/curve", json={"phase": "prefill"}).status_code == 200


def test_nobody_else_can_ask(client: TestClient) -> None:
    for path in ("/", "/static/page.js", "/frame/x"):
        assert client.get(path, headers={"X-Token": "wrong"}).status_code == 403
        assert client.get(path, headers={"Host": "evil.example:9"}).status_code == 421
    assert client.post("/answer", json={}, headers={"X-Token": "wrong"}).status_code == 403
    assert client.get("/static/../app.py").status_code in {403, 404}
    home = client.get("/")
    assert "script-src 'self'" in home.headers["content-security-policy"]
    assert "http" not in home.text.replace("http-equiv", "")


@pytest.fixture
def running() -> Iterator[str]:
    command = [sys.executable, "-m", "optimizer", "serve", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while '"address"' not in text or "}" not in text:
            text += process.stdout.readline()
        yield json.loads(text)["address"]
        process.terminate()


@pytest.mark.slow
def test_in_a_browser(running: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser on this machine")
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(running)
        sync_api.expect(page.locator("#state")).to_contain_text("optimal", timeout=30_000)
        assert page.frame_locator("#answer").locator("h1").inner_text()
        page.wait_for_selector("#curve circle")
        page.screenshot(path=tmp_path / "page.png")
        # a narrow page gets a narrow drawing with letters of the same size, at round values
        page.set_viewport_size({"width": 390, "height": 900})
        page.wait_for_function("document.querySelector('#curve').viewBox.baseVal.width < 400")
        letters = page.locator("#curve text").all_text_contents()
        assert all(float(text.replace(",", "")) % 1 == 0 for text in letters if text[0].isdigit())
        height = page.locator("#curve text").first.bounding_box()
        assert height is not None
        assert height["height"] > 9
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size({"width": 1280, "height": 900})
        page.fill("#tpot", "1 us")
        sync_api.expect(page.locator("#state")).to_contain_text("infeasible", timeout=30_000)
        page.fill("#tpot", "fast")
        page.wait_for_selector("#tpot[aria-invalid=true]")
        page.wait_for_selector("main.stale")
        browser.close()
    assert not wrong or all("422" in text for text in wrong)
