"""Commands in what wraps them: Kubernetes manifests, Compose files, Dockerfiles, Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from optimizer.errors import SpecError
from optimizer.readers.document import Document, load_text
from optimizer.readers.launch.words import Word, placed_word
from optimizer.readers.messages import wanted_message
from optimizer.readers.places import LineColumn, PathStep

_FENCE: Final = re.compile(r"^[ \t>]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t>]*\1", re.MULTILINE | re.DOTALL)
_REFERENCE: Final = re.compile(r"\$\((\w+)\)")
_RESOURCES: Final = (
    "nvidia.com/gpu", "amd.com/gpu", "aws.amazon.com/neuron", "google.com/tpu", "habana.ai/gaudi",
    "huawei.com/Ascend910",
)  # fmt: skip
DEVICES: Final = (*_RESOURCES, "devices.device_ids", "devices.count")
"""Under these names, that no variable has, a container's environment has the number of its devices."""
_IN_TAG: Final = re.compile(r"(?:^|_vllm_)v?(\d+\.\d+(?:\.\d+)?(?:\.post\d+)?)")
"""The version that an image's tag begins with, or has behind that of ROCm (rocm/vllm)."""
_BY_MONTH: Final = "nvcr.io/nvidia/vllm"
_MONTHS: Final = {"25.10": "0.10.2", "26.01": "0.11.1", "26.03": "0.17.1", "26.05": "0.20.1", "26.10": "0.31.0"}
"""vLLM in NVIDIA's images, which are called by year and month (docs.nvidia.com/deeplearning/frameworks/
vllm-release-notes); one of a month between is taken for the one before."""
GROUP_SIZE: Final = "LWS_GROUP_SIZE"


def version_in(image: str) -> str | None:
    """The version of its engine that an image's tag tells; None: it tells none."""
    found = _IN_TAG.search(image.rpartition(":")[2] if ":" in image.rsplit("/", 1)[-1] else "")
    if found is None or not image.startswith(_BY_MONTH):
        return None if found is None else found[1]
    return next((version for month, version in reversed(_MONTHS.items()) if month <= found[1][:5]), None)


@dataclass(frozen=True, slots=True)
class Container:
    """A container: its image, the words that it runs, the variables that it is given.

    `replicas` and `part_of` are how many of it there are, and what tells it from others that run the same.
    """

    words: tuple[Word, ...]
    image: str | None = None
    environment: dict[str, Word] = field(default_factory=dict)
    shell: bool = False
    start: LineColumn = (1, 1)
    replicas: int = 1
    part_of: str = ""


def fenced(text: str) -> Iterator[tuple[str, str, int]]:
    """Fenced blocks of Markdown: language, text, and the line that it begins on."""
    for match in _FENCE.finditer(text):
        yield match[2].casefold(), match[3], text.count("\n", 0, match.start(3)) + 1


def yaml_documents(text: str, source: str) -> Iterator[Document]:
    """Documents of a YAML stream; each keeps its lines."""
    first = 0
    parts = re.split(r"^---[ \t]*(?:#[^\n]*)?$\n?", text, flags=re.MULTILINE)
    at = 0
    for part in parts:
        at = text.index(part, at) if part else at
        first = text.count("\n", 0, at)
        at += len(part)
        if re.sub(r"#[^\n]*", "", part).strip():
            # Blank lines before it keep the line numbers of the whole file.
            yield load_text("\n" * first + part, source)


def config_files(document: Document) -> dict[str, tuple[str, LineColumn]]:
    """Files of a ConfigMap, by name, each with the place of its first line."""
    if not isinstance(document.data, Mapping) or document.data.get("kind") != "ConfigMap":
        return {}
    data = document.data.get("data")
    if not isinstance(data, Mapping):
        return {}
    places = {name: document.locate(("data", name)) for name in data}
    return {str(name): (text, (places[name][0] + 1, 1)) for name, text in data.items() if isinstance(text, str)}


def containers(document: Document) -> Iterator[Container]:
    """Every container of a manifest or a Compose file, with what it runs."""
    size = _group_size(document.data)
    for at in _holding(document.data, ()):
        environment = _environment(document, (*at, "env")) | _environment(document, (*at, "environment"))
        if size is not None:
            environment.setdefault(GROUP_SIZE, placed_word(str(size), document.locate(at)))
        environment |= _devices(document, at)
        image = document.get((*at, "image"))
        words: list[Word] = []
        shell = False
        for key in ("entrypoint", "command", "args"):
            value = document.get((*at, key))
            if isinstance(value, list):
                words.extend(_referred(scalar(document, (*at, key, index)), environment) for index in range(len(value)))
            elif isinstance(value, str):
                words.append(scalar(document, (*at, key)))
                shell = True
        if words:
            named = image if isinstance(image, str) else None
            replicas, part_of = _replicas(document, at)
            yield Container(tuple(words), named, environment, shell, words[0].start, replicas, part_of)


def _replicas(document: Document, at: tuple[PathStep, ...]) -> tuple[int, str]:
    """How many pods, groups of a LeaderWorkerSet or replicas of Compose there are, and a name of what has them."""
    for length in range(len(at), -1, -1):
        for path in ((*at[:length], "replicas"), (*at[:length], "deploy", "replicas")):
            count = document.get(path)
            if isinstance(count, int) and count > 0 and not isinstance(count, bool):
                return count, f"{document.locate(path)}"
    return 1, ""


def _devices(document: Document, at: tuple[PathStep, ...]) -> dict[str, Word]:
    """Devices that a container is given: Kubernetes' limit, or Compose's reservation."""
    limits = (*at, "resources", "limits")
    for name in _RESOURCES:
        if isinstance(document.get((*limits, name)), int | str):
            return {name: scalar(document, (*limits, name))}
    reserved = (*at, "deploy", "resources", "reservations", "devices", 0)
    named = document.get((*reserved, "device_ids"))
    if isinstance(named, list):
        return {DEVICES[-2]: placed_word(str(len(named)), document.locate((*reserved, "device_ids")))}
    counted = isinstance(document.get((*reserved, "count")), int)
    return {DEVICES[-1]: scalar(document, (*reserved, "count"))} if counted else {}


def _holding(data: object, at: tuple[PathStep, ...]) -> Iterator[tuple[PathStep, ...]]:
    """Places of mappings that say what a container runs."""
    if isinstance(data, Mapping):
        if ("image" in data or "name" in data) and ({"args", "command"} & data.keys()):
            yield at
        for key, value in data.items():
            yield from _holding(value, (*at, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _holding(value, (*at, index))


def _group_size(data: object) -> int | None:
    """Pods of a LeaderWorkerSet's group."""
    if isinstance(data, Mapping):
        template = data.get("leaderWorkerTemplate")
        if isinstance(template, Mapping) and isinstance(template.get("size"), int):
            return int(template["size"])
        return next((size for value in data.values() if (size := _group_size(value)) is not None), None)
    return None


def pods(environment: Mapping[str, Word]) -> int:
    """Pods that share a launch: a group's, one where there is none."""
    size = environment.get(GROUP_SIZE)
    return int(size.text) if size is not None and re.fullmatch("[1-9][0-9]*", size.text) else 1


def _environment(document: Document, at: tuple[PathStep, ...]) -> dict[str, Word]:
    content = document.get(at)
    environment: dict[str, Word] = {}
    if isinstance(content, Mapping):
        for key in content:
            environment[str(key)] = scalar(document, (*at, key))
    elif isinstance(content, list):
        for index, item in enumerate(content):
            if isinstance(item, Mapping) and isinstance(item.get("name"), str) and "value" in item:
                environment[item["name"]] = scalar(document, (*at, index, "value"))
            elif isinstance(item, str) and "=" in item:
                word = scalar(document, (*at, index))
                name, _, _ = item.partition("=")
                environment[name] = word.part(len(name) + 1)
    return environment


def shown_devices(before: Sequence[Word], environment: Mapping[str, Word]) -> tuple[int, LineColumn, str] | None:
    """Devices that a command is shown, where that is said, and what says it; None: not said, or all of them."""
    for word, following in pairwise(before):
        if word.text == "--gpus":
            return _counted(following.text.strip("\"'"), following, "--gpus")
        if word.text.startswith("--gpus="):
            return _counted(word.text.partition("=")[2].strip("\"'"), word, "--gpus")
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", *DEVICES):
        variable = environment.get(name)
        if variable is not None and not variable.unset:
            text = variable.text if name in DEVICES else f"device={variable.text}"
            return _counted(text, variable, name.rpartition("devices.")[2])
    return None


def docker_environment(words: Sequence[Word]) -> dict[str, Word]:
    """Variables that ``docker run`` is given."""
    environment: dict[str, Word] = {}
    for word, following in pairwise(words):
        if word.text in {"-e", "--env"} and "=" in following.text:
            name = following.text.partition("=")[0]
            environment[name] = following.part(len(name) + 1)
    return environment


def _counted(text: str, word: Word, name: str) -> tuple[int, LineColumn, str] | None:
    """Count of ``4`` or ``device=0,1``."""
    listed = re.fullmatch(r"device=(\w[\w-]*(?:,\w[\w-]*)*),?", text)
    count = len(listed[1].split(",")) if listed is not None else int(text) if re.fullmatch(r"\d{1,6}", text) else None
    return None if count is None else (count, word.start, name)


def scalar(document: Document, at: tuple[PathStep, ...]) -> Word:
    """A scalar of a YAML file as a word that knows its characters' places."""
    value: Any = document.get(at)
    if isinstance(value, Mapping | list):
        raise document.error(wanted_message(["a text", "a number"], value), at)
    text = (
        value
        if isinstance(value, str)
        else ""
        if value is None
        else str(value).lower()
        if isinstance(value, bool)
        else _number(value)
    )
    line, column = document.locate(at)
    lines = document.text.split("\n")
    source = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    if source[:1] in {"|", ">"} and isinstance(value, str):
        return Word(text, _block(text, lines, line), (line, column))
    quoted = source[:1] in {"'", '"'}
    shift = column + quoted
    places = (
        tuple((line, shift + index) for index in range(len(text)))
        if source[quoted:].startswith(text)
        else ((line, column),) * len(text)
    )
    return Word(text, places, (line, shift))


def _number(value: object) -> str:
    return str(float(value)) if isinstance(value, Fraction) else str(value)


def _block(text: str, lines: list[str], line: int) -> tuple[LineColumn, ...]:
    """Places of a block scalar's characters: its lines follow, indented."""
    places: list[LineColumn] = []
    at = line
    for part in re.split(r"(?<=\n)", text):
        while at < len(lines) and part.strip() and not lines[at].strip():
            at += 1
        indent = len(lines[at]) - len(lines[at].lstrip()) if at < len(lines) else 0
        extra = len(part) - len(part.lstrip(" "))
        places.extend((at + 1, indent - extra + 1 + index) for index in range(len(part)))
        at += 1
    return tuple(places)


def _referred(word: Word, environment: Mapping[str, Word]) -> Word:
    """Kubernetes puts variables into arguments itself: ``$(NAME)``."""
    match = _REFERENCE.fullmatch(word.text)
    if match is not None and match[1] in environment:
        value = environment[match[1]]
        return Word(value.text, value.places, word.start, value.unset)
    if _REFERENCE.search(word.text) and " " not in word.text.strip() and "\n" not in word.text:
        return Word(
            word.text, word.places, word.start, tuple(reference[0] for reference in _REFERENCE.finditer(word.text))
        )
    return word


def dockerfile(text: str, source: str) -> Iterator[Container]:
    """What the image of a Dockerfile runs: the last ENTRYPOINT and CMD."""
    image, environment = None, dict[str, Word]()
    variables: dict[str, tuple[str, int]] = {}
    for match in re.finditer(r"^[ \t]*([A-Z]+)[ \t]+((?:[^\\\n]|\\(?:\r?\n|.))*)", text, re.MULTILINE):
        instruction, operand, at = match[1], match[2], match.start(2)
        if instruction == "FROM":
            image = operand.split()[0]
        elif instruction == "ENV":
            for pair in re.finditer(r"(\w+)[= ]\"?([^\s\"]*)\"?", operand):
                environment[pair[1]] = placed_word(pair[2], _place(text, at + pair.start(2)))
        elif instruction in {"ENTRYPOINT", "CMD"}:
            variables[instruction] = (operand, at)
    words: list[Word] = []
    shell = False
    for instruction in ("ENTRYPOINT", "CMD"):
        if instruction not in variables:
            continue
        operand, at = variables[instruction]
        place = _place(text, at)
        if operand.lstrip().startswith("["):
            words.extend(_exec_form(operand, text, at, source))
        else:
            words.append(Word(operand, tuple(_place(text, at + index) for index in range(len(operand))), place))
            shell = True
    if words:
        yield Container(tuple(words), image, environment, shell, words[0].start)


def _exec_form(operand: str, text: str, at: int, source: str) -> Iterator[Word]:
    try:
        listed = json.loads(re.sub(r"\\\r?\n", " ", operand))
    except ValueError:
        from optimizer.errors import Fault  # noqa: PLC0415 - one error needs it

        line, column = _place(text, at)
        raise SpecError(Fault(source, line, column, None, "is no list of words as JSON has it")) from None
    cursor = 0
    for item in listed:
        where = operand.find(json.dumps(item)[1:-1], cursor)
        cursor = max(cursor, where)
        yield placed_word(str(item), _place(text, at + max(0, where)))


def _place(text: str, at: int) -> LineColumn:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
