"""Words of a shell script as bash takes them."""

from __future__ import annotations

import pytest

from optimizer.errors import SpecError
from optimizer.readers.launch.shell import read_script


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('A=(-tp 4 --name "a b")\nserve "${A[@]}" -x', ["serve", "-tp", "4", "--name", "a b", "-x"]),
        ('A=(-tp 4)\nA+=(-pp 2)\nserve "${A[@]}"', ["serve", "-tp", "4", "-pp", "2"]),
        ('A=(-tp 4)\nserve "all ${A[@]}"', ["serve", "all -tp 4"]),
        ('A=()\nserve "${A[@]}" -x', ["serve", "-x"]),
        ("A=(\n  -tp 4  # four\n  -pp 2\n)\nserve ${A[@]}", ["serve", "-tp", "4", "-pp", "2"]),
        ('serve ${1:-Qwen/Qwen3-32B} -tp "${2:-4}" ${10-x}', ["serve", "Qwen/Qwen3-32B", "-tp", "4", "x"]),
        ('serve "${B[@]}" $1', ["serve", "${B[@]}", "$1"]),
        ('set -- m -tp 4 "a b"\nserve "$@" -x', ["serve", "m", "-tp", "4", "a b", "-x"]),
        ('set -- -tp 4\nset -- "$@" -pp 2\nserve ${@}', ["serve", "-tp", "4", "-pp", "2"]),
        ('set -- m 4 2\nshift\nserve $1 ${2} "$3"', ["serve", "4", "2", "$3"]),
        ('set -- a b\nserve "$*"', ["serve", "a b"]),
        ('set -euo pipefail\nserve "$@"', ["serve", "$@"]),
    ],
)
def test_arrays_and_defaults_are_put_in(script: str, words: list[str]) -> None:
    """An array in double quotes is its elements, each a word of its own; in a longer word they are joined."""
    assert [word.text for word in read_script(script, "s.sh").commands[-1].words] == words


@pytest.mark.parametrize(
    ("script", "ports"),
    [
        ("for i in 0 1 2; do P=$((8000+i)) serve $i & done; wait", ["0", "1", "2"]),
        ("for i in {0..2}\ndo\n  serve $i\ndone\nserve last", ["0", "1", "2", "last"]),
        ("for i in $(seq 1 2); do for j in a b; do serve $i$j; done; done", ["1a", "1b", "2a", "2b"]),
        ("for i in 1 2; do while ask; do sleep 1; done; serve $i; done", ["1", "2"]),
        ("for h in $HOSTS; do serve $h; done; serve x", ["$h", "x"]),
        ("until ask; do sleep 1; done\nserve x", ["x"]),
    ],
)
def test_a_loop_is_its_commands_for_each_of_its_words(script: str, ports: list[str]) -> None:
    commands = [one for one in read_script(script, "s.sh").commands if one.words[0].text == "serve"]
    assert [one.words[1].text for one in commands] == ports
    if script.startswith("for i in 0"):
        assert [one.environment["P"].text for one in commands] == ["8000", "8001", "8002"]


def test_a_loop_of_loops_does_not_grow_without_end() -> None:
    loops = "for i in {0..9999}; do " * 3 + "serve" + "; done" * 3
    with pytest.raises(SpecError, match="grows beyond"):
        read_script(loops, "s.sh")
