"""A calibrated hardware as YAML: the file that it started from, remarks and sources kept, with what the runs say."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from optimizer.domain.hardware import HardwareSpec


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


def _line(own: Any) -> Any:  # noqa: ANN401 - a mapping or a sequence of ruamel's
    own.fa.set_flow_style()
    return own
