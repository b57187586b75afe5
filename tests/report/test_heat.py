from optimizer.figures.placement import linear_placement
from optimizer.report.experts import heat_row, relative_loads


def test_heat_shows_before_and_after() -> None:
    load = [40, 10, 10, 20]
    before, after = linear_placement(4, 2, 2), [[0], [1, 2, 3]]
    assert [float(value) for value in relative_loads(load, before)] == [1.25, 0.75]
    assert heat_row(relative_loads(load, before)).plain == "▅▃"
    assert heat_row(relative_loads(load, after)).plain == "▄▄"
