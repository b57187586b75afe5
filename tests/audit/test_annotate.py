from __future__ import annotations

from optimizer.audit import audit_document
from optimizer.audit.annotate import annotated

WRITTEN = "We serve gpt-oss-120b in BF16 on 8 × H100 80 GB.\n\nThe model has 48 layers.\n"


def test_a_figure_is_told_once_in_the_unit_of_the_document() -> None:
    lines = [line.strip() for line in annotated(audit_document(WRITTEN, "note.md"))]
    assert "layers: 36" in lines
    assert lines.count("layers: 36") == 1
    assert "devices × memory: 8 × 80 GB = 640 GB" in lines
    assert not any("36 = 36" in line for line in lines)


def test_a_figure_in_json_is_not_repeated() -> None:
    claims = audit_document(WRITTEN, "note.md").to_json()["claims"]
    layers = next(claim for claim in claims if claim["name"] == "layers")
    assert (layers["formula"], layers["substituted"]) == ("layers", "36")
