"""One self-contained page about a result: nothing is fetched, hovering and folding work from disk, and it prints."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from optimizer.domain.limit_table import bounds_of
from optimizer.domain.margins import accuracy
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.workload import UNPRICED_DRAFTS
from optimizer.figures.accuracy_text import accuracy_text, confidence_text
from optimizer.figures.derivation_figure import Figure
from optimizer.figures.objective_text import objective_text
from optimizer.report.experts import experts_section
from optimizer.report.html_budgets import memory_section, time_section
from optimizer.report.html_layout import layout_section
from optimizer.report.html_map import map_section
from optimizer.report.html_parts import conflict_list, element, paragraph, section, shell
from optimizer.report.html_search import certificate_section, pareto_section, search_section, ties_section
from optimizer.report.subject import Subject
from optimizer.units import Dimension, format_quantity, named

_TILES: Final = {
    **{
        row.unit: row.words
        for row in map(OBJECTIVES.__getitem__, ("throughput_per_device", "throughput", "ttft", "tpot"))
    },
    "memory_bytes": "memory, fullest device",
    "memory_utilization": "memory used",
    "compute_utilization": "compute used",
    "hbm_utilization": "memory bandwidth used",
    "cost_per_token_dollars": "cost per token",
}


def _called(subject: Subject) -> str:
    """The problem's name, or what it is about where nobody gave it one."""
    problem = subject.problem
    if problem.name != "problem":
        return problem.name
    return f"{problem.model.name} on {problem.devices:,} × {problem.hardware.name}"


def _headline(subject: Subject) -> str:
    status, objective = str(subject.document.get("status", "")), subject.document.get("objective") or {}
    value, gap, check = objective.get("value"), objective.get("gap"), subject.check
    proof = {
        "optimal": "nothing in the lattice is better",
        "feasible": "no bound yet" if gap is None else f"at most {float(gap):.2%} from the best there is",
        "infeasible": "no layout keeps every limit",
    }.get(status, "")
    checked = "certificate not checked"
    if check is not None:
        checked = "certificate accepted" if check.accepted else "certificate rejected"
    good = status in ("optimal", "feasible") and (check is None or check.accepted)
    headline = status + (f": {objective_text(str(objective.get('name', '')), value)}" if value is not None else "")
    return element(
        "p",
        element("strong", escape(headline), class_="good" if good else "bad"),
        escape(f" · {proof} · {checked}"),
        class_="lead",
    )


def _question(subject: Subject) -> str:
    problem = subject.problem
    work = problem.workload
    parts = [
        f"{problem.model.name} on up to {problem.devices:,} × {problem.hardware.name}",
        work.told() + (f", {UNPRICED_DRAFTS}" if work.mtp_tokens and problem.model.mtp is None else ""),
        f"engine {problem.engine_name}",
    ]
    parts += [limit.told(bound) for limit, bound in bounds_of(problem)]
    if work.request_rate is not None:
        parts.append(f"≥ {format_quantity(work.request_rate, Dimension.PER_SECOND)}")
    confidence = confidence_text(problem)
    return paragraph("; ".join(parts) + ".") + (
        paragraph(f"Limits on times are {escape(confidence)}.") if confidence else ""
    )


def _answer(subject: Subject) -> str:
    layout = subject.layout
    if layout is None:
        return paragraph("No layout keeps every limit.") + conflict_list(subject.document.get("conflict"))
    degrees = {"TP": layout.tp, "CP": layout.cp, "DP": layout.dp, "PP": layout.pp}
    if subject.problem.model.moe is not None:
        degrees |= {"expert TP": layout.etp, "EP": layout.ep, "expert copies": layout.edp}
    degrees |= {"devices": layout.devices, "idle devices": max(0, subject.problem.devices - layout.devices)}
    degrees |= {"replicas": layout.replicas, "batch a rank": layout.batch}
    if layout.prefill_chunk is not None:
        degrees["prompt tokens a step"] = layout.prefill_chunk
    if layout.overlap == "two_batch":
        degrees["micro-batches a step"] = 2
    if layout.redundant_slots:
        degrees["redundant experts"] = layout.redundant_slots
    return element(
        "dl", *(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in degrees.items()), class_="degrees"
    )


def _tiles(figures: Mapping[str, Figure]) -> str:
    shown = []
    for name, title in _TILES.items():
        figure = figures.get(name)
        if figure is None:
            continue
        bound = f"{figure.bound_text} at rated peaks" if figure.bound_text else ""
        shown.append(
            element(
                "div", element("span", title), element("b", escape(figure.result_text)), element("small", escape(bound))
            )
        )
    return element("div", *shown, class_="tiles") if shown else ""


def _accuracy(subject: Subject) -> str:
    """Intervals of times, and the share of runs that keep the limits."""
    if subject.layout is None:
        return ""
    stated_figures = {name: float(figure.value) for name, figure in subject.figures.items()}
    accuracy_document = accuracy(subject.problem.margin, stated_figures, subject.problem.asked)
    return "".join(paragraph(escape(line) + ".") for line in accuracy_text(accuracy_document, subject.problem))


def _figures(figures: Mapping[str, Figure]) -> str:
    if not figures:
        return ""
    folded = []
    for name, figure in figures.items():
        chain = [part for part in (figure.formula, figure.substituted, figure.result_text) if part]
        lines = [element("div", escape(f"= {part}")) for part in chain]
        if figure.bound_text:
            lines.append(element("div", escape(f"at rated peaks: {figure.bound_text}"), class_="note"))
        summary = element("summary", element("span", escape(named(name)[0])), element("b", escape(figure.result_text)))
        folded.append(element("details", summary, element("div", *lines, class_="derivation"), class_="figure"))
    button = '<button type="button" id="unfold">unfold all</button>'
    return section("figures", "Figures and where they come from", button, *folded)


def _launch(launch: Mapping[str, str]) -> str:
    blocks = [element("h3", escape(name)) + element("pre", escape(text)) for name, text in launch.items()]
    return section("launch", "To launch it", *blocks) if blocks else ""


def page(subject: Subject, launch: Mapping[str, str] | None = None) -> str:
    """The page as HTML text.

    Parameters
    ----------
    launch
        Launch commands or files, by name.
    """
    called = _called(subject)
    title = f"{called}: {subject.document.get('status', '')}"
    makers = (
        layout_section, memory_section, time_section, ties_section, pareto_section, experts_section, map_section,
        search_section, certificate_section,
    )  # fmt: skip
    parts = [*(make(subject) for make in makers), _figures(subject.figures), _launch(launch or {})]
    head = element("h1", escape(called)) + _headline(subject) + _question(subject)
    return shell(title, f"{head}{_answer(subject)}{_tiles(subject.figures)}{_accuracy(subject)}", parts)
