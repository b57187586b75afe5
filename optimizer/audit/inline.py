"""Blanks out inline markup without moving a character: what is left stands in the column where it was written."""

import html
import re

BREAK = "\x1f"
"""Stands where text must not be read across: a removed tag, a struck-out passage."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]{0,500}>|<https?://[^<>\s]{1,2000}>", re.DOTALL)
_NOT_BREAK = re.compile(r"[^\n]")
_LINK = re.compile(r"(!?\[)([^\[\]\n]{0,500})(\]\([^()\s]{0,2000}(?:\s\"[^\"\n]{0,200}\")?\))")
_URL = re.compile(r"https?://[^\s<>)]{1,2000}")
_STRUCK = re.compile(r"~~(?=\S)[^~\n]{1,2000}~~")
_STARS = re.compile(r"\*+")
_UNDERSCORES = re.compile(r"(?<![A-Za-z0-9])_{1,3}(?=\S)|(?<=\S)_{1,3}(?![A-Za-z0-9_])")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,200})\}\{([^{}]{1,200})\}")
_EXPONENT = re.compile(r"\^\{(-?\d{1,6})\}")
_THOUSANDS = re.compile(r"\d{1,3}(?:\{,\}\d{3}){1,9}(?!\d)")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|boxed)\{([^{}]{0,200})\}")
_LATEX = {
    "times": "×", "cdot": "×", "div": "÷", "approx": "≈", "simeq": "≈", "to": "→", "rightarrow": "→", "implies": "→",
    "Rightarrow": "→", "left": "", "right": "", "quad": "", "qquad": "", "sim": "~", "ast": "×", "lceil": "⌈",
    "rceil": "⌉", "lfloor": "⌊", "rfloor": "⌋", "neq": "≠", "ne": "≠", "equiv": "=",
}  # fmt: skip
_COMMAND = re.compile(r"\\(" + "|".join(sorted(_LATEX, key=len, reverse=True)) + r")(?![A-Za-z])")
_DOLLAR = re.compile(r"\$\$?(?=[^\d\s])|(?<=[\w)}])\$\$?(?![\d])|(?<!\w)\$(?=\d[^$\n]{0,200}\\[a-z])")
_MATH = re.compile(r"(?<![\w$])\$(?=[^\s$])([^$\n]{0,300}?[=≈<>^+×·][^$\n]{0,300}?)(?<=\S)\$(?![\d$\w])")
"""Inline mathematics: as in Pandoc, its signs stand close to what they hold, and no digit follows."""
_SPACES = str.maketrans(dict.fromkeys("\t\v\f\u2003\u2002\u2001\u2000\u200b\ufeff\x00", " "))
_DIGIT = re.compile(r"\d")
_SUSPECT = re.compile(r"[*_`~<&\\\[$]|\{,\}|https?:")


def has_digit(text: str) -> bool:
    """Whether any figure can stand in ``text``."""
    return _DIGIT.search(text) is not None


def blank(text: str) -> str:
    """``text`` with Markdown, HTML and LaTeX markup replaced by spaces or its sign, length unchanged."""
    text = text.translate(_SPACES)
    if _SUSPECT.search(text) is None:
        return text
    if "<" in text:
        text = _TAG.sub(lambda match: BREAK + _NOT_BREAK.sub(" ", match[0][1:]), text)
    if "~~" in text:
        text = _STRUCK.sub(lambda match: BREAK + " " * (len(match[0]) - 2) + BREAK, text)
    if "](" in text:
        text = _LINK.sub(lambda match: " " * len(match[1]) + match[2] + " " * len(match[3]), text)
    if "http" in text:
        text = _URL.sub(lambda match: " " * len(match[0]), text)
    if "&" in text:
        text = _ENTITY.sub(_entity, text)
    if "$" in text:
        text = _MATH.sub(lambda match: f" {match[1]} ", text)
        text = _DOLLAR.sub(lambda match: " " * len(match[0]), text)
    if "{,}" in text:
        text = _THOUSANDS.sub(lambda m: m[0].replace("{,}", ",").rjust(len(m[0])), text)
    if "\\" in text:
        text = _latex(text)
    text = text.replace("`", " ")
    if "*" in text:
        text = _STARS.sub(_star, text)
    if "_" in text:
        text = _UNDERSCORES.sub(lambda match: " " * len(match[0]), text)
    return text


def _entity(match: re.Match[str]) -> str:
    sign = html.unescape(match[0])
    if sign.isspace():
        return " " * len(match[0])
    return sign.ljust(len(match[0])) if len(sign) <= len(match[0]) else match[0]


def _latex(text: str) -> str:
    text = _EXPONENT.sub(lambda m: f"^{m[1]}".ljust(len(m[0])), text)
    text = _FRACTION.sub(lambda m: f"(({m[1]})/({m[2]}))".rjust(len(m[0])), text)
    text = _WRAPPED.sub(lambda m: m[1].ljust(len(m[0])), text).replace("\\ ", "  ")
    text = _COMMAND.sub(lambda m: _LATEX[m[1]].ljust(len(m[0])), text)
    return _ESCAPE.sub(lambda m: " " + (m[1] if m[1] not in "()[],!;: " else " "), text)


def _star(match: re.Match[str]) -> str:
    """Multiplication keeps its sign: a star with space on both sides, or between two numbers."""
    before = match.string[match.start() - 1] if match.start() else " "
    after = match.string[match.end()] if match.end() < len(match.string) else " "
    if len(match[0]) <= 2 and before.isspace() and after.isspace() and match.start():
        return match[0]
    if len(match[0]) <= 2 and (before.isdigit() or before == ")") and (after.isdigit() or after == "("):
        return match[0]
    return " " * len(match[0])
