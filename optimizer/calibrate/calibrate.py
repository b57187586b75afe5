"""From measured runs to a calibrated hardware."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from optimizer.calibrate.fit import LEAST_RUNS, Fit, FitRow, calibration_of, fit, grouped, rows_of
from optimizer.calibrate.sample import Sample, Samples, samples_of
from optimizer.domain.calibration import Calibration
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.margins import margin_of
from optimizer.errors import SpecError
from optimizer.readers.runs import WrittenRun
from optimizer.readers.runs.run import RunPlace

FIGURES: Final = ("tpot_s", "ttft_s")
PARTS: Final[Mapping[str, Callable[[Sample], Any]]] = {
    "run_left_out": id,
    "layout_left_out": lambda sample: sample.degrees,
    "model_left_out": lambda sample: sample.problem.model.name,
}
"""What is left out, by the name of the error that it gives."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RunGroup:
    """A group of runs with its factors and its errors: `errors[figure][which]`, None where nothing tells."""

    calibration: Calibration
    errors: Mapping[str, Mapping[str, float | None]]

    def to_json(self) -> dict[str, Any]:
        """One entry of ``groups`` in ``shardproof/calibration/1``."""
        return self.calibration.model_dump(mode="json") | {
            "errors": {figure.removesuffix("_s"): dict(errors) for figure, errors in self.errors.items()}
        }


@dataclass(frozen=True)
class Calibrated:
    """A hardware with what runs say of it.

    Attributes
    ----------
    set_aside, first_set_aside
        Runs that were not used, by reason, and where the first of them stands.
    few
        Groups with fewer runs than are needed, with how many they have.
    errors
        As a group's, of all runs that were used.
    columns_left_out
        Of each table of runs, the columns that nothing was read from.
    """

    hardware: HardwareSpec
    groups: tuple[RunGroup, ...]
    set_aside: Counter[str]
    first_set_aside: Mapping[str, RunPlace]
    few: Mapping[str, int]
    errors: Mapping[str, Mapping[str, float | None]]
    columns_left_out: Mapping[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """``shardproof/calibration/1``, the file it was written to aside."""
        return {
            "schema": "shardproof/calibration/1",
            "hardware": self.hardware.name,
            "runs": sum(g.calibration.runs for g in self.groups if g.calibration.model is not None),
            "set_aside": dict(self.set_aside),
            "first_set_aside": {reason: str(place) for reason, place in self.first_set_aside.items()},
            "few": dict(self.few),
            "columns_left_out": {source: list(names) for source, names in self.columns_left_out.items()},
            "errors": {figure.removesuffix("_s"): dict(errors) for figure, errors in self.errors.items()},
            "groups": [group.to_json() for group in self.groups],
        }


def calibrate(
    runs: Sequence[WrittenRun],
    deployment: Mapping[str, str],
    hardware: HardwareSpec,
    *,
    name: str,
    files: str,
    progress: Progress | None = None,
) -> Calibrated:
    """Fit the factors of each engine, format and model to runs on a hardware.

    A row for other models is added where factors of some models err less on one left out than the shipped ones do.

    Parameters
    ----------
    deployment
        What takes the place of what files say of the deployment.
    name
        Of the calibrated hardware.
    files
        Their names, for its provenance.

    Raises
    ------
    SpecError
        As `samples_of`, or too few runs to fit anything.
    """
    read = samples_of(runs, deployment, hardware)
    by_group: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in read.samples:
        by_group.setdefault(sample.group, []).append(sample)
    enough = {key: members for key, members in sorted(by_group.items()) if len(members) >= LEAST_RUNS}
    few = {f"{model} in {weights} on {engine}": len(members)
           for (engine, weights, model), members in sorted(by_group.items()) if len(members) < LEAST_RUNS}  # fmt: skip
    if not enough:
        raise SpecError(_too_few(few, read))
    total, rows = sum(map(len, enough.values())), []
    for sample in (sample for members in enough.values() for sample in members):
        rows += rows_of([sample])
        if progress is not None:
            progress("runs", len({id(row.sample) for row in rows}), total)
    today = datetime.now(UTC).date().isoformat()
    groups, fits = [], []
    for members in grouped(rows, lambda sample: sample.group).values():
        fitted = fit(members)
        fits.append(fitted)
        groups.append(_group(fitted, files, today, wider=False))
    for members in grouped(rows, lambda sample: sample.group[:2]).values():
        wider = _wider(members, files, today)
        if wider is not None:
            groups.append(wider)
    calibrated = hardware.model_copy(update={"name": name, "calibration": tuple(group.calibration for group in groups)})
    left_out = {run.place.source: run.place.left_out for run in runs if run.place.left_out}
    return Calibrated(calibrated, tuple(groups), read.set_aside, read.first, few, _together(fits), left_out)


def _too_few(few: Mapping[str, int], read: Samples) -> str:
    counted = [f"{title}: {count} run{'s' * (count > 1)}" for title, count in few.items()]
    counted += [f"set aside from {read.first[reason]}, {reason}: {n}" for reason, n in read.set_aside.most_common()]
    return f"no engine, format and model has the {LEAST_RUNS} runs that a fit needs ({'; '.join(counted) or 'no runs'})"


def _errors(fitted: Fit) -> dict[str, dict[str, float | None]]:
    by_part = {name: fitted.left_out(part) for name, part in PARTS.items()}
    return {
        figure: {
            "before": fitted.error(fitted.shipped, figure),
            "after": fitted.error(fitted.residuals, figure),
            **{name: fitted.error(logs, figure) for name, logs in by_part.items()},
        }
        for figure in FIGURES
    }


def _group(fitted: Fit, files: str, today: str, *, wider: bool) -> RunGroup:
    sample = fitted.rows[0].sample
    shipped = margin_of(moe=sample.problem.model.moe is not None, engine=sample.group[0])
    errors, count = _errors(fitted), len({id(row.sample) for row in fitted.rows})
    model = "each model predicted by the others" if wider else "each run predicted by the others"
    source = f"fitted to {count} runs of {files} by shardproof calibrate on {today}; spread: {model}"
    residuals = fitted.left_out(PARTS["model_left_out" if wider else "run_left_out"])
    name = None if wider else sample.group[2]
    return RunGroup(calibration_of(fitted, shipped, source, model=name, residuals=residuals), errors)


def _wider(rows: Sequence[FitRow], files: str, today: str) -> RunGroup | None:
    """Factors for models without runs of their own; None where they are not shown to help."""
    if len({row.sample.group[2] for row in rows}) == 1:
        return None
    group = _group(fit(rows), files, today, wider=True)
    errors = group.errors["tpot_s"]
    before, unseen = errors["before"], errors["model_left_out"]
    return group if before is not None and unseen is not None and unseen < before else None


def _together(fits: Sequence[Fit]) -> dict[str, dict[str, float | None]]:
    """Mean errors over the runs of all groups."""
    errors: dict[str, dict[str, float | None]] = {figure: {} for figure in FIGURES}
    counts = {figure: [sum(row.figure == figure for row in one_fit.rows) for one_fit in fits] for figure in FIGURES}
    group_errors = [_errors(one_fit) for one_fit in fits]
    for figure in FIGURES:
        for name in group_errors[0][figure]:
            pairs = [
                (one_fit[figure][name], count) for one_fit, count in zip(group_errors, counts[figure], strict=True)
            ]
            known = [(error, count) for error, count in pairs if error is not None]
            total = sum(count for _, count in known)
            errors[figure][name] = sum(error * count for error, count in known) / total if total else None
    return errors


def hardware_yaml(text: str, hardware: HardwareSpec) -> str:
    """The text of a hardware file (YAML or JSON) under another name, with another calibration."""
    yaml = YAML()
    yaml.width = 10**6
    data = yaml.load(text)
    data["name"] = hardware.name
    data["calibration"] = CommentedSeq(
        [_block(group.model_dump(mode="json", exclude_none=True)) for group in hardware.calibration]
    )
    data.yaml_set_comment_before_after_key(
        "calibration", before="what runs on these devices say: times are multiplied by the factors of the fitting group"
    )
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue().rstrip() + "\n"


def _block(group: dict[str, Any]) -> CommentedMap:
    """A group of a line for each fact: factors and quantiles on one line each."""
    block = CommentedMap(group)
    block["factors"] = CommentedMap({name: _line(CommentedMap(factor)) for name, factor in group["factors"].items()})
    for figure in ("tpot_s", "ttft_s"):
        if figure in block:
            block[figure] = _line(CommentedSeq(block[figure]))
    return block


def _line(node: Any) -> Any:  # noqa: ANN401 - a mapping or a sequence of ruamel's
    node.fa.set_flow_style()
    return node
