"""docs/engines.md lists every rule of every release, with its source.

``SHARDPROOF_UPDATE_DOCS=1 pytest tests/test_engine_page.py`` writes the tables anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from optimizer.domain.engines import ENGINES

PAGE = Path(__file__).parents[1] / "docs" / "engines.md"
HEADING = "### "


def tables() -> str:
    """One table an engine: rule, condition, releases, source."""
    lines = []
    for name, releases in ENGINES.items():
        versions = ", ".join(f"{release.version} (from {release.since} on)" for release in releases)
        lines += [f"{HEADING}{name}", "", f"Releases: {versions}.", ""]
        lines += ["| rule | condition | releases | source |", "| --- | --- | --- | --- |"]
        seen = set()
        for release in reversed(releases):
            for rule in release.rules:
                if (rule.name, rule.statement) not in seen:
                    seen.add((rule.name, rule.statement))
                    own = tuple(r for r in releases if any(rule.statement == other.statement for other in r.rules))
                    where = "all" if len(own) == len(releases) else ", ".join(r.version for r in own)
                    lines.append(f"| `{rule.name}` | {rule.statement} | {where} | {rule.source} |")
        lines.append("")
    return "\n".join(lines)


def test_the_page_lists_every_rule() -> None:
    text = PAGE.read_text()
    head = text.partition(HEADING)[0]
    if os.environ.get("SHARDPROOF_UPDATE_DOCS"):
        PAGE.write_text(head + tables())
    else:
        assert text == head + tables()
