"""`phalanx check linearizable`: verdicts, exit statuses, and what it says about bad input."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from phalanx.cli.check import check_app

GOOD = [
    {"process": 0, "type": "invoke", "f": "write", "value": 1, "time": 10, "index": 0},
    {"process": 1, "type": "invoke", "f": "read", "value": None},
    {"process": 0, "type": "ok", "f": "write", "value": 1},
    {"process": 1, "type": "ok", "f": "read", "value": 1},
]
STALE = [*GOOD, {"process": 2, "type": "invoke", "f": "read"}, {"process": 2, "type": "ok", "f": "read", "value": 0}]
REGISTER = ("--model", "register")


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def judge(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and everything that was printed."""
    result = CliRunner().invoke(check_app, ["linearizable", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_a_linearizable_history_exits_with_0(file: Path) -> None:
    file.write_text("\n" + lines(GOOD) + "\n")
    status, output = judge(*REGISTER, file)
    assert status == 0
    assert f"{file}: linearizable (2 operations, 1 independent parts" in output


def test_a_violation_exits_with_1_and_shows_the_smallest_part_with_its_lines(file: Path) -> None:
    file.write_text(lines(STALE))
    status, output = judge(*REGISTER, file)
    assert status == 1
    assert "NOT linearizable" in output
    assert "start: 1, after read of process 1 (from 2 to 4)" in output
    assert [">", "2", "read", "0", "5", "6", "|-|"] in [row.split() for row in output.splitlines()]
    assert "the state is 1" in output


def test_a_json_array_reads_like_lines(file: Path) -> None:
    for text in (json.dumps(STALE), json.dumps(STALE, indent=1), "\n[\n]\n"):
        file.write_text(text)
        assert judge(*REGISTER, file)[0] == (0 if "{" not in text else 1)


def test_bad_input_outweighs_a_violation_and_every_file_gets_its_verdict(tmp_path: Path) -> None:
    for name, text in (("a", lines(GOOD)), ("b", lines(STALE)), ("c", "{")):
        (tmp_path / name).write_text(text)
    assert judge(*REGISTER, tmp_path / "a", tmp_path / "b")[0] == 1
    status, output = judge(*REGISTER, tmp_path / "c", tmp_path / "b", tmp_path / "a")
    assert status == 2
    assert f"{tmp_path / 'c'}:1: not JSON" in output
    assert f"{tmp_path / 'b'}: NOT linearizable" in output
    assert f"{tmp_path / 'a'}: linearizable" in output


INVOKE = '{"process": 0, "type": "invoke", "f": "read", "value": null}\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (INVOKE + INVOKE, ":2: process 0 is still busy since line 1"),
        (INVOKE.replace("invoke", "ok"), ":1: process 0 completes an operation that it has not invoked"),
        (INVOKE.replace("read", "cas"), ':1: the register model has no operation "cas"'),
        (INVOKE.replace("invoke", "done"), ':1: "type" is invoke, ok, fail or info, not "done"'),
        (INVOKE.replace('"process": 0', '"process": true'), ':1: "process" must be an integer or a string, not true'),
        (INVOKE.replace('"f": "read"', '"f": 7'), ':1: "f" must be a string, not 7'),
        (INVOKE.replace('"value"', '"key": {}, "value"'), ':1: "key" must be a scalar or a list'),
        (INVOKE + '{"process": 0, "type": "ok", "f": "write"}', ':2: "read" is completed as "write"'),
        (INVOKE + '{"process": 0, "type": "ok", "key": 3}', ":2: key null is completed as 3"),
        (INVOKE + "7\n", ":2: an operation is an object, not 7"),
        (INVOKE + INVOKE.strip() + "!", ":2: not JSON: something follows the object"),
        (INVOKE.replace("null", "NaN"), ":1: not JSON that can be read: NaN is no JSON"),
        (INVOKE.replace("null", "1e999"), ":1: not JSON that can be read: 1e999 is too large"),
        (INVOKE.replace("null", "[" * 100_000), ":1: not JSON"),
        (INVOKE.replace("null", "9" * 5000), ":1: not JSON that can be read: Exceeds the limit"),
        ("[\n" + INVOKE + "\n" + INVOKE, ":4: not JSON: the array goes on without a comma"),
        ("[\n" + INVOKE, ":3: not JSON: the array goes on without a comma, or has no end"),
        ("[] []", ":1: not JSON: something follows the array"),
    ],
)
def test_bad_input_exits_with_2_and_names_the_line(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    status, output = judge(*REGISTER, file)
    assert status == 2
    assert f"{file}{complaint}" in output


def test_what_is_not_text_or_not_there_exits_with_2(file: Path, tmp_path: Path) -> None:
    assert judge(*REGISTER, tmp_path)[0] == 2
    assert f"{file}: cannot be read" in judge(*REGISTER, file)[1]
    file.write_bytes(b"\n\xff")
    assert f"{file}:2: not UTF-8" in judge(*REGISTER, file)[1]


def test_a_process_may_go_on_after_info_while_its_operation_stays_pending(file: Path) -> None:
    """Jepsen never does this; other recorders do."""
    write = {"process": 0, "f": "write", "value": 1}
    read = {"process": 0, "f": "read"}
    info = [{**write, "type": "invoke"}, {**write, "type": "info"}]
    reads = [{**read, "type": kind, "value": value} for value in (None, 1) for kind in ("invoke", "ok")]
    file.write_text(lines(info + reads))
    assert judge(*REGISTER, file)[0] == 0
    file.write_text(lines(info + reads + reads))
    assert judge(*REGISTER, file)[0] == 1


def test_the_nemesis_is_no_client_and_names_may_be_keywords(file: Path) -> None:
    nemesis = {"process": "nemesis", "type": "info", "f": "start", "value": None}
    keywords = [{**record, "type": f":{record['type']}", "f": f":{record['f']}"} for record in GOOD]
    file.write_text(lines([nemesis, *keywords, nemesis]))
    assert judge(*REGISTER, file)[0] == 0


def completed(f: str, asked: Any, answered: Any, how: str = "ok", process: int = 0) -> list[dict[str, Any]]:
    begin = {"process": process, "type": "invoke", "f": f, "value": asked}
    return [begin, {"process": process, "type": how, "f": f, "value": answered}]


@pytest.mark.parametrize(
    ("options", "records", "status"),
    [
        (("cas-register", "--initial", "5"), completed("cas", [5, 6], [5, 6]), 0),
        (("cas-register",), completed("cas", [5, 6], [5, 6]), 1),
        (("cas-register", "--initial", "five"), completed("read", None, "five"), 0),
        (("cas-register", "--initial", "5"), completed("cas", [5, 6], [5, 6], "fail"), 0),
        (("cas-register", "--initial", "5", "--failed-cas", "observed"), completed("cas", [5, 6], [5, 6], "fail"), 1),
        (("cas-register", "--initial", "5", "--null-read", "unknown"), completed("read", None, None), 0),
        (("cas-register", "--initial", "5", "--null-read", "absent"), completed("read", None, None), 1),
        (("cas-register",), completed("cas", 5, 5), 2),
        (("mutex",), completed("acquire", None, None) + completed("acquire", None, None, process=1), 1),
        (("mutex", "--initial", "true"), completed("release", None, None), 0),
        (("mutex", "--initial", "7"), completed("release", None, None), 2),
        (("kv",), completed("append", "a", None) + completed("get", None, "a"), 0),
        (("kv", "--initial", "b"), completed("append", "a", None) + completed("get", None, "a"), 1),
        (("multi-register",), completed("txn", [["w", 1, 2], ["r", 2, None]], [["w", 1, 2], ["r", 2, None]]), 0),
        (("multi-register", "--initial", '{"2": 3}'), completed("txn", [["r", 2, None]], [["r", 2, 3]]), 0),
        (("multi-register", "--initial", "0"), completed("txn", [["r", 2, None]], [["r", 2, 3]]), 1),
        (("multi-register",), completed("txn", [["x", 2]], None), 2),
        (("no-such-model",), [], 2),
    ],
)
def test_models_and_how_to_read_recorders(
    file: Path, options: tuple[str, ...], records: list[dict[str, Any]], status: int
) -> None:
    file.write_text(lines(records))
    assert judge("--model", *options, file)[0] == status


def test_a_history_beyond_the_budget_is_unknown_and_exits_with_2(file: Path) -> None:
    begins = [{"process": n, "type": "invoke", "f": "write", "value": n} for n in range(8)]
    ends = [{**record, "type": "ok"} for record in begins]
    reads = [each for n in range(8) for each in completed("read", None, n, process=n + 10)]
    file.write_text(lines([*begins, *reads[:-1], *ends, reads[-1]]))
    assert judge(*REGISTER, file)[0] == 0
    status, output = judge(*REGISTER, "--budget", "1", file)
    assert status == 2
    assert "unknown: the budget was used up" in output
