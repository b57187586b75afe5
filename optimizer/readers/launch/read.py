"""From a text that people have to the launch that it describes: a command, a script, a manifest, an engine's YAML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from optimizer.domain.engines import is_version
from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load, load_text
from optimizer.readers.launch import megatron, sglang, trtllm, vllm
from optimizer.readers.launch.containers import (
    DEVICES,
    Container,
    config_files,
    containers,
    docker_environment,
    dockerfile,
    fenced,
    pods,
    shown_devices,
    version_in,
    yaml_documents,
)
from optimizer.readers.launch.flags import ENGINES, Arguments, parse, table
from optimizer.readers.launch.launch import CommandReading, Launch
from optimizer.readers.launch.ranks import node_ranks_of, ranks_of, world_of
from optimizer.readers.launch.scripts import folder_of, node_scripts
from optimizer.readers.launch.shell import Command, Script, read_script
from optimizer.readers.launch.slots import slots_of
from optimizer.readers.launch.words import Word, placed_word, places_of
from optimizer.readers.messages import nearest, shown
from optimizer.readers.places import LineColumn
from optimizer.readers.source import is_file, read_text

TEXT_OPTION: Final = "--from"

_IMAGES: Final = (
    (re.compile(r"(^|/)vllm(-openai|-ascend)?(?=[:@]|$)|vllm-openai"), "vllm"),
    (re.compile(r"(^|/)sglang(?=[:@]|$)"), "sglang"),
    (re.compile(r"tensorrt-?llm"), "trtllm"),
)
_INSTALLED: Final = re.compile(r"\b(vllm|sglang)(?:\[[\w,]*\])?==(\d+\.\d+(?:\.\d+)?(?:\.post\d+)?)")
_MODULES: Final = {
    "vllm.entrypoints.openai.api_server": "vllm", "vllm.entrypoints.api_server": "vllm", "vllm": "vllm",
    "sglang.launch_server": "sglang", "sglang": "sglang", "torchtitan.train": "torchtitan",
    "tensorrt_llm.commands.serve": "trtllm",
}  # fmt: skip
_DEEPEST: Final = 8
"""Shells within shells that are looked into: a word such as an array may be read as itself for ever."""

_SIGNS: Final = re.compile(
    r"\bvllm\s+serve\b|vllm\.entrypoints|sglang\.launch_server|\bsglang\s+serve\b|trtllm-serve|pretrain_\w+\.py|"
    r"torchtitan\.train|run_train\.sh|vllm-openai"
)
_MANIFEST: Final = re.compile(r"^(apiVersion|kind|services|spec|containers)[ \t]*:", re.MULTILINE)
_ELSEWHERE: Final = frozenset(
    {"dp_local", "dp_rank", "dp_start", "address", "headless", "balancer", "executor", "dp_backend"}
)
"""What flags carry that start ranks on other nodes too, or by a scheduler that knows them."""
_SHELLS: Final = frozenset({"", "bash", "sh", "shell", "console", "zsh", "text", "shellsession", "cmd", "dockerfile"})


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A command of an engine: its arguments, and what stands around them."""

    engine: str
    arguments: tuple[Word, ...]
    before: tuple[Word, ...]
    start: LineColumn
    environment: Mapping[str, Word] = field(default_factory=dict)
    image: str | None = None


def read_launch(
    text: str, shown_as: str, *, engine: str | None = None, devices: int | None = None, folder: Path | None = None
) -> Launch:
    """The launch that a text describes.

    Parameters
    ----------
    text
        One or several launch commands of the nodes of one deployment: a command line, a shell script, a Dockerfile, a
        Compose file, a Kubernetes manifest, Markdown with one of them in a block, or LLM API arguments in YAML.
    shown_as
        Name of the text, for messages.
    engine
        Engine, or engine and version (``vllm@0.10.2``), in place of what the text says.
    devices
        Number of ranks, where the text does not say it (training scripts).
    folder
        Where files that the command names are found.

    Raises
    ------
    SpecError
        Located: no launch command, an unknown flag, one of another version, a contradiction, a text that is cut off.
    """
    launches = _launches(text, shown_as, engine=engine, devices=devices, folder=folder)
    if not launches:
        base = (engine or "").partition("@")[0]
        raise SpecError(Fault(shown_as, None, None, None, _nothing(text, base)))
    return _one(launches)


def _launches(
    text: str, shown_as: str, *, engine: str | None, devices: int | None, folder: Path | None
) -> list[Launch]:
    """Every launch command of a text."""
    base, at, version = (engine or "").partition("@")
    if at and not is_version(version):
        raise SpecError(Fault(None, None, None, "--engine", f"{shown(version)} in {shown(engine)} is no version"))
    base = {"fsdp": "torchtitan", "any": ""}.get(base, base)
    if base and base not in ENGINES:
        message = f"{shown(base)} is none of {', '.join(ENGINES)}"
        raise SpecError(Fault(None, None, None, "--engine", message, nearest(base, list(ENGINES))))
    return _Texts(shown_as, base or None, version or None, devices, folder).launches(text)


def launch_from(reference: str, *, engine: str | None = None, devices: int | None = None) -> Launch:
    """Launch of a command line, of a file that holds one, or of a folder as `export` writes it; ``-``: standard input.

    Of a script that starts the part of one node, and of its folder, those of all nodes are read.

    Raises
    ------
    SpecError
        As `read_launch`, or there is no such file.
    """
    scripts = node_scripts(reference)
    if scripts:
        launches: list[Launch] = []
        for script in scripts:
            text, name = read_text(str(script))
            launches += _launches(text, name, engine=engine, devices=devices, folder=folder_of(script, text))
        if launches:
            return _one(launches)
    if reference == "-" or is_file(reference):
        text, name = read_text(reference)
        folder = folder_of(Path(reference), text) if reference != "-" else None
        return read_launch(text, name, engine=engine, devices=devices, folder=folder)
    if len(reference.split()) < 2 and ("/" in reference or "." in reference):
        read_text(reference)
    return read_launch(reference, TEXT_OPTION, engine=engine, devices=devices)


def _nothing(text: str, engine: str) -> str:
    if not text.strip():
        return "is empty: a launch command is wanted, such as `vllm serve MODEL --tensor-parallel-size 8`"
    hint = "" if engine else "; name the engine with --engine where only its arguments are given"
    return (
        "holds no launch command of vllm (vllm serve), sglang (sglang.launch_server), trtllm (trtllm-serve, or its "
        f"YAML), megatron (pretrain_….py) or torchtitan (torchtitan.train){hint}"
    )


def _one(launches: Sequence[Launch]) -> Launch:
    """The one deployment that the commands of several nodes make up."""
    first = launches[0]
    for other in launches[1:]:
        for noun, first_value, other_value in (
            ("engine", first.engine, other.engine),
            ("model", first.model, other.model),
            ("layout", dict(first.degrees), dict(other.degrees)),
            ("operating point", first.operating, other.operating),
        ):
            if first_value != other_value:
                line, column = other.model_place
                difference = {"operating point": ""}.get(noun, f": {_said(other_value)}, not {_said(first_value)}")
                message = (
                    f"a second launch with another {noun} than the one on line {first.model_place[0]}{difference}; "
                    "give one deployment at a time"
                )
                raise SpecError(Fault(other.source, line, column, noun, message))
    instances = sum({launch.head: launch.copies for launch in launches if launch.head is not None}.values()) or 1
    return first.times(instances) if instances > 1 else first


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={degree}" for name, degree in value.items() if degree != 1) or "one device"
    return str(value)


class _Texts:
    """Reads one text; files that its commands write or name are at hand."""

    def __init__(
        self, source: str, engine: str | None, version: str | None, devices: int | None, folder: Path | None
    ) -> None:
        self.source, self.engine, self.version = source, engine, version
        self.devices, self.folder = devices, folder
        self.files: dict[str, tuple[str, LineColumn]] = {}
        self.installed: dict[str, str] = {}

    def launches(self, text: str) -> list[Launch]:
        text = text.replace("\r\n", "\n")
        self.installed = {match[1]: match[2] for match in _INSTALLED.finditer(text)}
        if re.search(r"^[ \t>]*(```|~~~)", text, re.MULTILINE):
            return self._markdown(text)
        if re.search(r"^[ \t]*FROM[ \t]+\S+", text, re.MULTILINE) and re.search(
            r"^[ \t]*(CMD|ENTRYPOINT)\b", text, re.MULTILINE
        ):
            return [launch for container in dockerfile(text, self.source) for launch in self._container(container)]
        if _MANIFEST.search(text) or text.lstrip().startswith("{"):
            return self._manifest(text)
        if re.search(r"^\[(parallelism|training)\b", text, re.MULTILINE):
            return [self._toml(text)]
        if self._is_api_arguments(text):
            return [self._yaml(load_text(text, self.source))]
        return self._script(read_script(text, self.source))

    def _is_api_arguments(self, text: str) -> bool:
        keys = set(re.findall(r"^(\w+)[ \t]*:", text, re.MULTILINE))
        return bool(keys & trtllm.SIGNS) and not _SIGNS.search(text)

    def _markdown(self, text: str) -> list[Launch]:
        launches: list[Launch] = []
        for language, block, line in fenced(text):
            if language in _SHELLS and _SIGNS.search(block):
                script = read_script(block, self.source, places_of(block, (line, 1)))
                launches.extend(self._script(script))
            elif language in {"yaml", "yml"} and (_SIGNS.search(block) and _MANIFEST.search(block)):
                launches.extend(self._manifest("\n" * (line - 1) + block))
        return launches

    def _manifest(self, text: str) -> list[Launch]:
        launches, documents = list[Launch](), list(yaml_documents(text, self.source))
        for document in documents:
            self.files |= config_files(document)
        for document in documents:
            if isinstance(document.data, Mapping) and trtllm.SIGNS & document.data.keys():
                launches.append(self._yaml(document))
                continue
            for container in containers(document):
                for launch in self._container(container):
                    head = launch.head and (*launch.head, container.part_of)
                    launches.append(replace(launch, copies=container.replicas, head=head))
        return launches

    def _container(self, container: Container) -> list[Launch]:
        if container.shell:
            scripts = [
                read_script(word.text, self.source, word.places, container.environment) for word in container.words
            ]
            words = tuple(word for script in scripts for command in script.commands for word in command.words)
            if len(scripts) > 1:
                return self._command(Command(words, container.environment), container.image)
            return [
                launch
                for script in scripts
                for command in script.commands
                for launch in self._command(command, container.image)
            ]
        return self._command(Command(container.words, container.environment), container.image)

    def _script(self, script: Script) -> list[Launch]:
        self.files |= script.files
        launches: list[Launch] = []
        for command in script.commands:
            first = command.words[0]
            if launches and first.text.startswith("--"):
                message = "the command above has ended (a comment or a missing \\): this line is not part of it"
                raise SpecError(Fault(self.source, *first.start, first.text.partition("=")[0], message))
            launches.extend(self._command(command, None))
        return launches

    def _command(self, command: Command, image: str | None, depth: int = 0) -> list[Launch]:
        launcher = self._locate(command, image)
        if launcher is not None:
            return [self._launch(launcher)]
        launches: list[Launch] = []
        for word in command.words:
            if depth < _DEEPEST and any(blank in word.text for blank in " \n") and _SIGNS.search(word.text):
                inner = read_script(word.text, self.source, word.places, dict(command.environment))
                self.files |= inner.files
                for nested in inner.commands:
                    launches.extend(self._command(nested, image, depth + 1))
        return launches

    def _locate(self, command: Command, image: str | None) -> _Launcher | None:
        """Engine that a command starts, and its arguments."""
        words, environment = command.words, dict(command.environment)
        at = 0
        while at < len(words):
            text = words[at].text
            name = text.rsplit("/", 1)[-1]
            following = words[at + 1].text if at + 1 < len(words) else ""
            before = words[:at]
            if name in {"vllm", "sglang"} and following == "serve" and not words[at].quoted:
                return _Launcher(name, words[at + 2 :], before, words[at].start, environment, image)
            if (
                text == "-m"
                and following in _MODULES
                and not (following in {"vllm", "sglang"} and at + 2 < len(words) and words[at + 2].text != "serve")
            ):
                first = at + 2 + (at + 2 < len(words) and words[at + 2].text == "serve")
                return _Launcher(_MODULES[following], words[first:], before, words[at + 1].start, environment, image)
            if name == "trtllm-serve":
                first = at + 1 + (following == "serve")
                return _Launcher("trtllm", words[first:], before, words[at].start, environment, image)
            if re.fullmatch(r"(pretrain_\w+|train_gpt)\.py", name):
                return _Launcher("megatron", words[at + 1 :], before, words[at].start, environment, image)
            if name == "run_train.sh":
                return _Launcher("torchtitan", words[at + 1 :], before, words[at].start, environment, image)
            if at and " " not in text and not text.startswith("-") and _is_image(text) and _runs_images(words[:at]):
                image = text
                environment |= docker_environment(words[:at])
                engine = _engine_of(text)
                after = words[at + 1 :]
                if engine is not None and (not after or after[0].text.startswith("-") or _only_model(after)):
                    start = after[0].start if after else words[at].start
                    return _Launcher(engine, after, before, start, environment, image)
            at += 1
        if words and words[0].text.startswith("-"):
            engine = self.engine or (_engine_of(image) if image else None)
            if engine is not None:
                return _Launcher(engine, words, (), words[0].start, environment, image)
        return None

    def _launch(self, launcher: _Launcher) -> Launch:
        launch = self._meant(launcher)
        self._check_devices(launch, launcher)
        return replace(launch, head=_head(launch))

    def _check_devices(self, launch: Launch, launcher: _Launcher) -> None:
        """No more ranks of a node than devices that it is shown (vllm v1/executor/abstract.py; CUDA itself)."""
        fields = {option.flag.carries for option in launch.given}
        visible = shown_devices(launcher.before, launcher.environment)
        if visible is None or launch.engine not in {"vllm", "sglang"} or fields & _ELSEWHERE:
            return
        count, place, name = visible
        ranks = -(-launch.devices // (launch.nodes or pods(launcher.environment)))
        if ranks > count:
            message = f"World size ({ranks}) is larger than the number of available GPUs ({count}) in this node"
            raise SpecError(Fault(self.source, *place, name, message))

    def _meant(self, launcher: _Launcher) -> Launch:
        engine = launcher.engine
        version = self.version if self.engine in {None, engine} else None
        version = version or self._version_of(launcher) or self.installed.get(engine)
        environment = {
            name: word.text for name, word in launcher.environment.items() if not word.unset and name not in DEVICES
        }
        arguments = parse(engine, launcher.arguments, self.source, version)
        version = version or arguments.version
        arguments = self._with_file(engine, arguments, version)
        command = CommandReading(engine, version, arguments, self.source, launcher.start)
        if engine == "vllm":
            return vllm.read(command, environment)
        if engine == "sglang":
            return replace(sglang.read(command, environment), slots=self._slots(arguments))
        if engine == "trtllm":
            launch = replace(trtllm.read(command, environment), slots=self._slots(arguments))
            return self._checked_ranks(launch, launcher)
        world = world_of(launcher.before, environment) or self.devices
        if engine == "megatron":
            return megatron.read(command, environment, world)
        return megatron.read_torchtitan(command, environment, world)

    def _checked_ranks(self, launch: Launch, launcher: _Launcher) -> Launch:
        """``mpirun -n`` starts as many ranks as the mapping has (mapping.py)."""
        ranks = ranks_of(launcher.before)
        if ranks is not None and ranks != launch.devices:
            message = f"starts {ranks} ranks: world_size must equal to tp_size * pp_size * cp_size = {launch.devices}"
            raise SpecError(Fault(self.source, *launcher.before[0].start, "-n", message))
        here, told = node_ranks_of(launcher.before), launch.node_devices
        if here is None:
            return launch
        if told is not None and told < min(here, launch.devices):
            message = f"starts {here} ranks on a node, where gpus_per_node is {told}"
            raise SpecError(Fault(self.source, *launcher.before[0].start, "gpus_per_node", message))
        return replace(launch, node_devices=here, nodes=-(-launch.devices // here))

    def _version_of(self, launcher: _Launcher) -> str | None:
        image = launcher.image or ""
        return version_in(image) if _engine_of(image) == launcher.engine else None

    def _with_file(self, engine: str, arguments: Arguments, version: str | None) -> Arguments:
        """Arguments with those of the file that they name."""
        named = arguments.last("config_file")
        if named is None or named.open or not named.values or engine not in {"vllm", "sglang", "trtllm"}:
            return arguments
        document = self._named_file(named.values[0], named.flag.name)
        if engine == "trtllm":
            return trtllm.with_yaml(arguments, trtllm.yaml_arguments(document))
        words = list(_file_words(document))
        of_file = parse(engine, words, document.source, version)
        fields = {option.flag.carries for option in arguments.given if option.flag.carries}
        options = tuple(
            option for option in of_file.given if not option.flag.carries or option.flag.carries not in fields
        )
        return replace(arguments, given=(*options, *arguments.given))

    def _named_file(self, word: Word, flag: str) -> Document:
        name = word.text
        for written, (text, place) in self.files.items():
            if written.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]:
                return load_text("\n" * (place[0] - 1) + text, self.source)
        path = (self.folder or Path()) / name
        if not is_file(path):
            message = f"reads {shown(name)}, which is neither written in this text nor found beside it"
            raise SpecError(Fault(self.source, *word.start, flag, message))
        return load(path)

    def _yaml(self, document: Document) -> Launch:
        arguments = Arguments(trtllm.yaml_arguments(document), ())
        command = CommandReading("trtllm", self.version, arguments, self.source, (1, 1))
        return replace(trtllm.read(command, {}), slots=self._slots(arguments))

    def _slots(self, arguments: Arguments) -> Document | None:
        return slots_of(arguments, self.source, self._named_file)

    def _toml(self, text: str) -> Launch:
        """Torchtitan's earlier job files."""
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            place = (int(at[1]), int(at[2])) if at is not None else (text.count("\n") + 1, 1)
            message = re.sub(r" \(at [^)]*\)", "", str(error))
            raise SpecError(Fault(self.source, *place, None, f"invalid TOML: {message}")) from None
        words: list[Word] = []
        section = ""
        for number, line in enumerate(text.split("\n"), 1):
            heading = re.match(r"\s*\[([\w.]+)\]", line)
            pair = re.match(r"\s*([\w-]+)\s*=\s*(\"[^\"]*\"|[^#]*)", line)
            if heading is not None:
                section = heading[1]
            elif pair is not None:
                words.append(placed_word(f"--{section}.{pair[1]}", (number, pair.start(1) + 1)))
                value = pair[2].strip().strip('"')
                flag = table("torchtitan").names.get(words[-1].text)
                if flag is None or flag.takes != "none":
                    words.append(replace(placed_word(value, (number, pair.start(2) + 1)), quoted=True))
                elif value == "false":
                    words.pop()
        arguments = parse("torchtitan", words, self.source, self.version)
        command = CommandReading("torchtitan", self.version, arguments, self.source, (1, 1))
        return megatron.read_torchtitan(command, {}, self.devices)


def _head(launch: Launch) -> tuple[str, ...] | None:
    """What tells an instance from others; None for a node that joins one."""
    options = {option.flag.carries: option for option in launch.given}
    port = next((option.text for option in launch.given if option.flag.name == "--port"), "")
    for carries in ("node_rank", "dp_start", "dp_rank", "headless"):
        option = options.get(carries)
        if option is not None and option.on and option.text not in {"0", "false"}:
            return None
    return (port, launch.environment.get("CUDA_VISIBLE_DEVICES", ""))


def _engine_of(image: str) -> str | None:
    return next((engine for pattern, engine in _IMAGES if pattern.search(image)), None)


def _is_image(text: str) -> bool:
    return _engine_of(text) is not None and ("/" in text or ":" in text)


def _runs_images(words: Sequence[Word]) -> bool:
    return any(word.text in {"run", "create"} for word in words) and any(
        word.text.rsplit("/", 1)[-1] in {"docker", "podman", "nerdctl", "singularity", "apptainer"} for word in words
    )


def _only_model(words: Sequence[Word]) -> bool:
    """Whether what follows an image is a model and flags rather than a command of its own."""
    return "/" in words[0].text and (len(words) == 1 or words[1].text.startswith("-"))


def _file_words(document: Document) -> Iterator[Word]:
    """Keys of a configuration file as the flags that they stand for."""
    if not isinstance(document.data, Mapping):
        raise document.error("a mapping of flags is wanted")
    for key, value in document.data.items():
        place = document.locate((key,), key=True)
        name = placed_word(f"--{str(key).replace('_', '-')}", place)
        if value is True:
            yield name
        elif value is False or value is None:
            continue
        else:
            yield name
            for item in value if isinstance(value, list) else [value]:
                yield Word(
                    item if isinstance(item, str) else trtllm.plain(item), (), document.locate((key,)), quoted=True
                )
