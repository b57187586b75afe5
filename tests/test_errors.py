import pytest

from optimizer.errors import Exit, Fault, InternalError, ShardproofError, SpecError, StoppedError


def test_a_fault_reads_as_a_compiler_message() -> None:
    fault = Fault("p.yaml", 3, 7, "limits.ttft", "unknown key", "tpot")
    assert str(fault) == "p.yaml:3:7: limits.ttft: unknown key (did you mean 'tpot'?)"


def test_what_is_unknown_is_left_out() -> None:
    assert str(Fault(None, None, None, None, "no problem given")) == "no problem given"
    assert str(Fault("p.yaml", None, None, None, "no such file")) == "p.yaml: no such file"
    assert str(Fault(None, None, None, "--devices", "must be at least 1")) == "--devices: must be at least 1"


def test_a_fault_stays_on_its_line_and_does_not_steer_the_terminal() -> None:
    fault = Fault("p\n.yaml", 1, 1, "\x1b[31m", "é is\todd \ud800")
    assert str(fault) == r"p\n.yaml:1:1: \x1b[31m: é is\todd \ud800"


def test_a_spec_error_carries_every_fault() -> None:
    error = SpecError(Fault("p.yaml", 1, 1, "a", "unknown key"), Fault("p.yaml", 2, 1, "b", "unknown key", "c"))
    assert str(error) == "p.yaml:1:1: a: unknown key\np.yaml:2:1: b: unknown key (did you mean 'c'?)"
    assert error.to_json() == {
        "schema": "shardproof/error/1",
        "exit": 2,
        "errors": [
            {"path": "p.yaml", "line": 1, "column": 1, "field": "a", "message": "unknown key", "suggestion": None},
            {"path": "p.yaml", "line": 2, "column": 1, "field": "b", "message": "unknown key", "suggestion": "c"},
        ],
    }


def test_plain_text_is_a_fault_without_a_place() -> None:
    assert SpecError("give a problem").faults == (Fault(None, None, None, None, "give a problem"),)


def test_a_spec_error_without_faults_is_a_bug() -> None:
    with pytest.raises(InternalError):
        SpecError()


@pytest.mark.parametrize(
    ("error", "status"),
    [(SpecError("x"), 2), (StoppedError("x"), 3), (InternalError("x"), 3), (ShardproofError("x"), 2)],
)
def test_exit_statuses(error: ShardproofError, status: int) -> None:
    assert error.exit_status == status
    assert error.to_json()["exit"] == status
    assert [fault.message for fault in error.faults] == ["x"]


def test_the_four_statuses_are_fixed() -> None:
    assert {name: int(status) for name, status in Exit.__members__.items()} == {
        "YES": 0,
        "NO": 1,
        "WRONG_QUESTION": 2,
        "STOPPED": 3,
    }
