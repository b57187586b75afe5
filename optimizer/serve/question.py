"""What the page asks: a problem file's content, the controls that change it, and the answer as a person copies it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from optimizer.domain.limits import LATENCIES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.explain import brief
from optimizer.readers import catalog
from optimizer.readers.document import load_text
from optimizer.readers.read import problem_in
from optimizer.report.html import page
from optimizer.report.subject import read_subject
from optimizer.solve import Solved, solve

SOURCE: Final = "controls"
PRICE: Final = ("hardware", "device", "price")


@dataclass(frozen=True)
class Control:
    """One control: its name, the place in the problem file that it sets, and the option that says the same.

    `choices` are offered, not enforced: whatever a problem file may hold can be typed.
    """

    name: str
    at: tuple[str, ...]
    label: str
    option: str | None
    placeholder: str = ""
    choices: tuple[str, ...] = ()


def controls(engines: tuple[str, ...]) -> tuple[Control, ...]:
    """The controls of the page, in its order."""
    return (
        Control("model", ("model",), "Model", "--model", choices=tuple(catalog.names("models"))),
        Control("hardware", ("hardware",), "Hardware", "--hardware", choices=tuple(catalog.names("hardware"))),
        Control("devices", ("devices",), "Devices", "--devices"),
        Control("input_tokens", ("workload", "input_tokens"), "Input tokens", "--isl"),
        Control("output_tokens", ("workload", "output_tokens"), "Output tokens", "--osl"),
        Control("request_rate", ("workload", "request_rate"), "Requests/s", "--request-rate", "no rate"),
        Control("ttft", ("limits", "ttft"), "TTFT at most", "--ttft", "no limit, or 5 s"),
        Control("tpot", ("limits", "tpot"), "TPOT at most", "--tpot", "no limit, or 50 ms"),
        Control(
            "memory_utilization", ("limits", "memory_utilization"), "Memory used at most", "--memory-utilization",
            "the engine's",
        ),
        Control("objective", ("objective",), "Objective", "--objective", "the default", choices=tuple(OBJECTIVES)),
        Control("engine", ("engine",), "Engine", "--engine", "any", choices=engines),
        Control("price", PRICE, "Price of a device", None, "the catalog's, or 2 $/h"),
    )  # fmt: skip


def _put(data: dict[str, Any], at: tuple[str, ...], value: object) -> None:
    for step in at[:-1]:
        data = data.setdefault(step, {})
    if value is None:
        data.pop(at[-1], None)
    else:
        data[at[-1]] = value


def _value(text: str, control: Control) -> object:
    if control.name in LATENCIES and "=" in text:
        return {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in text.split(","))}
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text


@dataclass(frozen=True)
class EditedProblem:
    """The content of a problem file with the controls' values in it."""

    data: dict[str, Any]
    changed: dict[str, str]
    file: str | None

    @property
    def problem(self) -> Problem:
        """The problem asked.

        Raises
        ------
        SpecError
            Everything that is wrong, each with its field.
        """
        return problem_in(load_text(json.dumps(self.data), self.file or SOURCE))

    @property
    def yaml(self) -> str:
        """The problem file to copy."""
        out = StringIO()
        writer = YAML()
        writer.default_flow_style = False
        writer.dump(self.data, out)
        return out.getvalue()

    def command(self, shown: tuple[Control, ...]) -> str | None:
        """The command line to copy; None where an answer needs what no option says, such as a price."""
        words = ["shardproof", "solve", *([self.file] if self.file else [])]
        for control in shown:
            text = self.changed.get(control.name)
            if not text:
                continue
            if control.option is None:
                return None
            words += [control.option, text]
        return shlex.join(words)


def ask(
    start: Mapping[str, Any], file: str | None, texts: Mapping[str, str], shown: tuple[Control, ...]
) -> EditedProblem:
    """The start with every control's value put where it belongs; an empty control takes a value out.

    Raises
    ------
    SpecError
        Where hardware that a price is put into cannot be read.
    """
    data: dict[str, Any] = json.loads(json.dumps(start))
    values = {name: text.strip() for name, text in texts.items()}
    if values.get("devices"):
        data.pop("nodes", None)
    if values.get("price") and isinstance(data.get("hardware"), str):
        # A catalog name has the catalog's price: another one needs the hardware in full.
        named = values.get("hardware") or data["hardware"]
        data["hardware"] = catalog.load_hardware(named).model_dump(mode="json", exclude_none=True)
        values.pop("hardware", None)
    changed = {}
    for control in shown:
        text = values.get(control.name)
        if text is None or (control.at == PRICE and not text):
            continue
        if text and (file is None or text != as_text(start, control)):
            changed[control.name] = text
        _put(data, control.at, _value(text, control) if text else None)
    return EditedProblem(data, changed, file)


def as_text(data: Mapping[str, Any], control: Control) -> str:
    """What a control shows of a problem file's content."""
    content: Any = data
    for step in control.at:
        content = content.get(step) if isinstance(content, Mapping) else None
    if control.name in LATENCIES and isinstance(content, Mapping):
        return ",".join(f"{key}={value}" for key, value in content.items())
    return "" if content is None or isinstance(content, Mapping) else str(content)


def answer(question: EditedProblem, *, time_limit_s: float) -> dict[str, Any]:
    """The answer's page, its status and what was worked out in how long.

    Raises
    ------
    SpecError
        Where the question is wrong.
    """
    started = time.perf_counter()
    result = solve(question.problem, time_limit_s=time_limit_s)
    document = result.answer()
    if result.status == "infeasible":
        document["conflict"] = brief(question.problem)
    shown = page(read_subject(load_text(json.dumps(document), SOURCE), None))
    return {"status": result.status, "page": shown, "wall_s": time.perf_counter() - started}


_STEPS: Final = 9
"""Limits on TPOT between the least and the one that no longer binds, each a problem of its own."""


def curve(question: EditedProblem, *, time_limit_s: float) -> list[dict[str, Any]]:
    """Best throughput a device under each of several limits on TPOT, from the least there is, exact at each.

    Raises
    ------
    SpecError
        Where the question is wrong, or its phase has no TPOT.
    """
    problem = question.problem
    if not problem.workload.decodes:
        return []
    extremes = _under(problem, "tpot", None, time_limit_s), _under(problem, "throughput_per_device", None, time_limit_s)
    ends = [Fraction(result.best.point.timing.tpot_s or 0) for result in extremes if result.best is not None]
    if len(ends) < len(extremes):
        return []
    least, most = ends
    ratio = float(most / least) ** (1 / (_STEPS - 1))
    limits = [least, *(least * Fraction(ratio**step) for step in range(1, _STEPS - 1)), most]
    points = []
    for limit in dict.fromkeys(limits):
        best = _under(problem, "throughput_per_device", limit, time_limit_s).best
        if best is not None:
            tpot = float(best.point.timing.tpot_s or 0)
            points.append({"tpot_s": tpot, "per_device": float(best.value), "devices": best.layout.devices})
    return points


def _under(problem: Problem, objective: str, tpot: Fraction | None, time_limit_s: float) -> Solved:
    limit = None if tpot is None else tpot * problem.sure["tpot"]
    limits = problem.limits.model_copy(update={"tpot": limit})
    return solve(problem.model_copy(update={"objective": objective, "limits": limits}), time_limit_s=time_limit_s)


def faults(error: SpecError) -> list[dict[str, Any]]:
    """What is wrong, each with the field that it is wrong in."""
    return [{"field": fault.field, "message": fault.message, "suggestion": fault.suggestion} for fault in error.faults]
