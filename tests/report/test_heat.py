import io

from rich.console import Console

from optimizer.report.heat import heat_map, naive_placement, print_heat_map, relative_loads


def test_heat_map_shows_before_and_after() -> None:
    load = [40, 10, 10, 20]
    before, after = naive_placement(4, 2, 2), [[0], [1, 2, 3]]
    assert before == [[0, 1], [2, 3]]
    assert [float(value) for value in relative_loads(load, before)] == [1.25, 0.75]
    header, line = heat_map([load], [before], [after], [3])
    assert header.plain.startswith("layer")
    assert line.plain.split()[:3] == ["3", "1.250", "1.000"]
    assert line.plain.endswith("▅▃ | ▄▄")


def test_plain_terminals_get_plain_text() -> None:
    stream = io.StringIO()
    print_heat_map(Console(file=stream, no_color=True, width=40), [[0, 0]], [[[0], [1]]], [[[1], [0]]], [0])
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2
