"""Words of a shell script as bash takes them."""

from __future__ import annotations

import pytest

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
    ],
)
def test_arrays_and_defaults_are_put_in(script: str, words: list[str]) -> None:
    """An array in double quotes is its elements, each a word of its own; in a longer word they are joined."""
    assert [word.text for word in read_script(script, "s.sh").commands[-1].words] == words
