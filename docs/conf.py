"""How the documentation is built, and the pages that are written from the code itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import optimizer
from optimizer.cli.main import COMMANDS, application
from optimizer.cli.schemas import KINDS, schema_of

project = "shardproof"
copyright = "The shardproof developers"  # noqa: A001 - the name that Sphinx reads
version = release = optimizer.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
html_theme = "furo"
html_title = "shardproof"
exclude_patterns = ["_build"]
suppress_warnings = ["mystnb.unknown_mime_type"]

GENERATED = Path(__file__).parent / "generated"


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_kind(part) for part in schema[several]))
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _rows(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        said = str(field.get("description", "")).replace("\n", " ").replace("|", "\\|")
        default = field.get("default")
        must = "yes" if name in required else ("" if default is None else f"`{default}`")
        yield f"| `{prefix}{name}` | {_kind(field)} | {must} | {said} |"
        if "properties" in field:
            yield from _rows(field, f"{prefix}{name}.")
        if "properties" in field.get("items", {}):
            yield from _rows(field["items"], f"{prefix}{name}[].")


def _table(schema: dict[str, Any]) -> list[str]:
    rows = list(_rows(schema))
    return (
        ["| field | what it holds | required, or default | |", "| --- | --- | --- | --- |", *rows, ""] if rows else []
    )


def _formats() -> str:
    lines = [
        "# File formats",
        "",
        "Every file that is read or written, with every field, from the schemas that `shardproof schema KIND` prints.",
        "",
    ]
    for kind, what in KINDS.items():
        schema = schema_of(kind)
        lines += [f"## {kind}", "", f"{what[:1].upper()}{what[1:]}.", "", *_table(schema)]
        for name, part in sorted(schema.get("$defs", {}).items()):
            if table := _table(part):
                lines += [f"### {name} ({kind})", "", str(part.get("description", "")).strip(), "", *table]
    return "\n".join(lines)


def _commands() -> str:
    import typer.main  # noqa: PLC0415 - only this page needs it

    lines = ["# Commands", "", "What `shardproof COMMAND --help` says.", ""]
    for name, command in typer.main.get_group(application(list(COMMANDS))).commands.items():  # type: ignore[attr-defined]
        lines += [f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
        lines += ["| option | what it does |", "| --- | --- |"]
        for parameter in command.params:
            flags = ", ".join(f"`{flag}`" for flag in parameter.opts) or f"`{parameter.name}`"
            said = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {flags} | {said} |")
        lines.append("")
    return "\n".join(lines)


def write_pages(_app: Sphinx | None = None) -> None:
    """Write the pages that come from the code: formats and commands."""
    GENERATED.mkdir(exist_ok=True)
    (GENERATED / "formats.md").write_text(_formats(), encoding="utf-8")
    (GENERATED / "commands.md").write_text(_commands(), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
