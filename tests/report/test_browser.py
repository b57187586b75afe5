"""The page in a real Chromium, opened from disk: it draws, hovers, folds, and complains of nothing."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from optimizer.certificate import certify
from optimizer.readers.document import load_text
from optimizer.readers.read import Override, read_problem
from optimizer.report.html import page
from optimizer.report.subject import read_subject
from optimizer.solve import solve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1000,900",
    "--virtual-time-budget=4000",
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

PROBE = """
<script>
window.__errors = [];
addEventListener("error", (event) => __errors.push(String(event.message)), true);
addEventListener("securitypolicyviolation", (event) => __errors.push(event.violatedDirective));
console.error = (...words) => __errors.push(words.join(" "));
addEventListener("load", () => setTimeout(() => {
  const tip = document.getElementById("tip"), said = {};
  const hover = (node, x = 0.5, y = 0.5) => {
    node.scrollIntoView();
    const box = node.getBoundingClientRect();
    const at = { clientX: box.left + box.width * x, clientY: box.top + box.height * y, bubbles: true };
    node.dispatchEvent(new MouseEvent("mousemove", at));
    return tip.hidden ? null : tip.textContent;
  };
  for (const one of document.querySelectorAll("svg.picture")) {
    const box = one.getBoundingClientRect(), node = one.querySelector("[data-tip]");
    const drawn = [...one.querySelectorAll("[data-tip]")].filter((n) => n.getBBox().width > 0).length;
    said[one.id] = { width: box.width, height: box.height, drawn, tip: node && hover(node) };
  }
  const heat = [...document.querySelectorAll("img.heat")].map((node) => ({ id: node.id, width: node.naturalWidth,
    tip: hover(node, 0.01, 0.01) }));
  hover(document.body);
  const hidden = tip.hidden;
  const fold = document.querySelector("details.figure"), inside = fold && fold.querySelector(".derivation");
  const folded = fold && inside.checkVisibility();
  if (fold) fold.querySelector("summary").click();
  const unfolded = fold && inside.checkVisibility();
  document.getElementById("unfold")?.click();
  const open = [...document.querySelectorAll("details.figure")].every((one) => one.open);
  const seats = () => [...document.querySelectorAll(".seat")].map((seat) => seat.getAttribute("class")).join();
  const before = seats(), radios = [...document.querySelectorAll("input[name=scheme]")];
  radios.at(-1)?.click();
  const wide = document.documentElement.scrollWidth > innerWidth;
  const widest = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth
    && !one.closest(".scroll, pre, svg")).map((one) => `${one.tagName} ${one.className}`);
  const timing = performance.getEntriesByType("navigation")[0];
  const answer = { said, heat, hidden, folded, unfolded, open, recoloured: before !== seats(), schemes: radios.length,
    wide, widest, loaded_ms: timing.loadEventEnd, fetched: performance.getEntriesByType("resource").map((r) => r.name),
    errors: __errors, dark: getComputedStyle(document.body).backgroundColor };
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(answer);
  document.body.append(out);
}, 50));
</script>
"""


def visit(text: str, folder: Path, *flags: str) -> dict[str, Any]:
    file = folder / "page.html"
    file.write_text(text.replace("</head>", PROBE + "</head>", 1))
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(unescape(found[1]))
    return answer


def report(name: str, changes: list[Override] | None = None, **more: Any) -> str:
    document = solve(read_problem(name, changes or ())).to_json() | more
    return page(read_subject(load_text(json.dumps(document)), certify(document)))


def check(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert seen["fetched"] == [] or all(name.startswith("data:") for name in seen["fetched"])
    for name, one in seen["said"].items():
        assert one["width"] > 100, name
        assert one["height"] > 10, name
        assert one["drawn"] > 0, name
        assert one["tip"], name
    assert seen["hidden"]
    assert not seen["wide"], seen["widest"]
    assert (seen["folded"], seen["unfolded"], seen["open"]) == (False, True, True)


def test_deepseek_v3_on_320_devices_opens_fast_and_is_small(tmp_path: Path) -> None:
    text = report("deepseek-v3-decode-h800-320")
    assert len(text.encode()) < 6_000_000
    seen = visit(text, tmp_path)
    check(seen)
    wanted = {"layout-picture", "memory-bars", "time-decode", "candidate-map", "search-bars", "check-bars"}
    assert wanted <= set(seen["said"])
    assert seen["said"]["layout-picture"]["drawn"] == 320
    assert "device 0, node 0; replica 0" in seen["said"]["layout-picture"]["tip"]
    assert seen["schemes"] >= 3
    assert seen["recoloured"]
    assert seen["loaded_ms"] < 2000


def test_stages_prompt_steps_and_a_frontier_are_drawn(tmp_path: Path) -> None:
    points = [{"values": {"throughput": i, "tpot": 0.01 * i}, "layout": {"tp": i}} for i in range(1, 6)]
    seen = visit(report("llama-3.1-405b-h100-16", pareto=points), tmp_path)
    check(seen)
    assert {"stages-picture", "time-decode", "time-prompt", "pareto-plot"} <= set(seen["said"])
    assert seen["said"]["pareto-plot"]["drawn"] == 5
    assert seen["said"]["pareto-plot"]["tip"] == "throughput 1, tpot 0.01; tp 1"


def test_experts_are_shown_before_and_after(tmp_path: Path) -> None:
    changes = [
        Override("e", ("experts",), {"load": ["zipf:0.8"], "redundant_slots": [16]}),
        Override("s", ("search",), {"tp": [1], "ep": [16], "pp": [1], "prefill_chunk": [512]}),
    ]
    seen = visit(report("qwen3-235b-a22b-placement-h200-16", changes), tmp_path)
    check(seen)
    assert [one["id"] for one in seen["heat"]] == ["heat-before", "heat-after"]
    assert all(
        one["width"] == 16 and re.match(r"layer \d+, device 0: \d\.\d\d × mean", one["tip"]) for one in seen["heat"]
    )


def test_light_and_dark(tmp_path: Path) -> None:
    text = report("llama-3.1-8b-l4-1")
    light, dark = (visit(text, tmp_path, *flags) for flags in ((), ("--force-dark-mode",)))
    check(light)
    check(dark)
    assert light["dark"] != dark["dark"]


def test_narrow_windows_do_not_scroll_sideways(tmp_path: Path) -> None:
    seen = visit(report("llama-3.1-405b-h100-16"), tmp_path, "--window-size=500,800")
    assert not seen["wide"], seen["widest"]
