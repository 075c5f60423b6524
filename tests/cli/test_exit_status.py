"""Whatever cannot be meant ends a command with exit status 2, and says why: of every option, of every command."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.cli.node import a_node
from tests.cli.test_sim_cli import is_told

ASKING = {
    "kv get": ["k"],
    "kv put": ["k", "v"],
    "kv delete": ["k"],
    "kv cas": ["k", "a", "b"],
    "kv range": [],
    "kv count": [],
    "kv history": ["k"],
    "kv compact": ["1"],
    "kv info": [],
    "txn": ["--then", "get\u00a0k"],
    "watch": ["k"],
    "lease grant": ["5"],
    "lease keep": ["5", "--once"],
    "lease revoke": ["5"],
    "lease show": ["5"],
    "lease list": [],
    "lock": ["l", "true"],
    "elect": ["e", "true"],
    "status": [],
    "backup": ["file"],
    "restore": ["file"],
    "roll": [],
    "bench": [],
}
"""All that talk to nodes, each with what else it needs."""

WITHOUT_TIMEOUT = {"watch", "lock", "elect", "roll", "bench"}

OF_ALL = [
    ("-e ::1:1", "an IPv6 address stands in brackets: [::1]:1"),
    ("-e host:", "'host:' is no address: it has no port"),
    ("-e :7400", "':7400' is no address: it has no host"),
    ("-e host:99999", "'99999' is no port"),
    ("-e http://host:1", "no host can have the name 'http://host'"),
    ("--tls no-such no-such no-such", "no-such"),
    ("--cluster mine", "'mine' is no id of a cluster"),
    ("--timeout 0", "--timeout"),
    ("--timeout nan", "--timeout"),
    ("--timeout inf", "--timeout"),
    ("--timeout soon", "--timeout"),
    ("--no-such-option", "No such option"),
]

OF_THE_STORE = [
    ("kv delete", "give a key, or --all and nothing else"),
    ("kv delete k --all", "give a key, or --all and nothing else"),
    ("kv delete --all --prefix", "give a key, or --all and nothing else"),
    ("kv delete  --prefix", "say --all if these are to go"),
    ("kv get k --at now", "'now' is none of these"),
    ("kv get k --at 999999d_ago", "is none of these"),
    ("kv get k --at 2026-01-01", "is none of these"),
    ("kv get k --at 0001-01-01T00:00:00Z", "is before any store"),
    ("kv range --limit 0", "--limit"),
    ("kv range a b --prefix", "give --prefix or an end, not both"),
    ("kv history k --limit x", "--limit"),
    ("kv put k v --lease -1", "--lease"),
    ("kv compact", "give a revision, or --keep SECONDS"),
    ("kv compact 1 --keep 1", "give a revision, or --keep SECONDS"),
    ("kv compact --keep nan", "--keep"),
    ("kv compact --keep 1e300", "from 0 to 1e+09 seconds"),
    ("lease grant 0.5", "greater than or equal to 1"),
    ("lease grant 86401", "less than or equal to 86400"),
    ("lease grant nan", "less than or equal to 86400"),
    ("lease show x", "valid integer"),
    ("txn --when frob", "'frob' is no compare"),
    ("txn --then frob", "'frob' is no operation"),
    ("watch k --after -1", "--after"),
    ("watch k --count 0", "--count"),
    ("watch k --patience nan", "--patience"),
    ("watch b a", "there is no key from 'b' on that is before 'a'"),
    ("lock l --ttl 0 true", "--ttl"),
    ("lock l --ttl 1e300 true", "--ttl"),
    ("lock l --ttl nan true", "--ttl"),
    ("lock l --wait nan true", "--wait"),
    ("lock l --wait inf true", "--wait"),
    ("lock l", "Missing argument"),
    ("lock  true", "it must not be empty"),
    ("elect  true", "it must not be empty"),
    ("elect e", "give a command, or --observe"),
    ("elect e --observe true", "give a command, or --observe"),
    ("elect e --count 3 true", "it is for --observe"),
    ("elect e --observe --data x", "an observer is no candidate"),
    ("elect e --ttl 86401 true", "--ttl"),
    ("backup file --store ", "the name of a store must not be empty"),
    ("restore file --store ", "the name of a store must not be empty"),
    ("restore no-such-file", "no-such-file: No such file or directory"),
    ("roll --patience 0", "patience must be positive"),
    ("roll --pause -1", "the pause not negative"),
    ("roll --pause inf", "finite"),
    ("roll --name ", "the name of a node must not be empty"),
    ("roll --command restart", "it must say {name}"),
    ("bench frob", "'frob' is not one of"),
    ("bench -e ,", "it has no port"),
    ("bench --seconds 0", "--seconds"),
    ("bench --clients 65", "need as many operations"),
    ("bench --processes 65", "65 processes for"),
    ("bench --store ", "the name of a store must not be empty"),
]

OF_OTHERS = [
    ("serve", "Missing option '--name'"),
    ("serve --name  --diskless --bootstrap", "the name of a node must not be empty"),
    ("serve --name a --bootstrap", "give --data DIRECTORY, or --diskless"),
    ("serve --name a --data  --bootstrap", "'' is no data directory"),
    ("serve --name a --diskless", "say how to begin"),
    ("serve --name a --diskless --data .", "--data and --diskless exclude each other"),
    ("serve --name a --diskless --bootstrap --listen ::1:1", "an IPv6 address stands in brackets: [::1]:1"),
    ("serve --name a --diskless --bootstrap --listen :7400", "it has no host"),
    ("serve --name a --diskless --bootstrap --listen 0.0.0.0:0", "say which address others are to dial"),
    ("serve --name a --diskless --bootstrap --advertise ::1:1", "[::1]:1"),
    ("serve --name a --diskless --bootstrap --advertise host:0", "'0' is no port"),
    ("serve --name a --diskless --bootstrap --listen 127.0.0.1:0 --metrics ::1:1", "[::1]:1"),
    ("serve --name a --diskless --bootstrap --listen 127.0.0.1:0 --metrics :9400", "it has no host"),
    ("serve --name a --diskless --seed ::1:1", "[::1]:1"),
    ("serve --name a --diskless --peer a", "is not NAME=HOST:PORT"),
    ("serve --name a --diskless --peer a=::1:1", "[::1]:1"),
    ("serve --name a --diskless --bootstrap --suspect-after-ms 19", "--suspect-after-ms"),
    (f"serve --name a --diskless --bootstrap --suspect-after-ms {'9' * 30}", "--suspect-after-ms"),
    (f"serve --name a --diskless --bootstrap --busy-poll-us {'9' * 30}", "--busy-poll-us"),
    (f"serve --name a --diskless --bootstrap --lease-ms {'9' * 30}", "lease"),
    ("serve --name a --diskless --bootstrap --min-copies 2", "--min-copies is for --durable"),
    ("serve --name a --diskless --bootstrap --reserve-mib 5", "--reserve-mib is for --data"),
    ("sim --seeds 0", "--seeds"),
    ("sim --scenario frob", "'frob' is none of"),
    ("sim --jobs 0", "--jobs"),
    ("sim --minutes nan", "--minutes"),
    ("sim --from -1", "--from"),
    ("sim --corpus x --seeds 1", "say --guided, too"),
    ("sim --report x.txt --seeds 1", "ends in none of"),
    ("sim --without frob --seeds 1", "no rule frob"),
    ("sim --replay 1.5", "neither a seed nor a file"),
    ("sim --replay 1 --guided", "one run is no campaign"),
    ("sim --replay 1 --seeds 2", "one run is no campaign"),
    ("sim --replay 1 --jobs 2", "one run is no campaign"),
    ("sim --shrink --seeds 1", "say which run, with --replay"),
    ("sim --html x.html --seeds 1", "say which run to draw"),
    ("sim --replay 1 --span 1:2", "say where to draw to"),
    ("sim --replay 1 --span 1 --svg x.svg", "is no FROM:TO in seconds"),
    ("check linearizable no-such --model kv", "no-such: cannot be read"),
    ("check linearizable no-such --model frob", "frob"),
    ("check linearizable no-such --model mutex --initial x", "a mutex is held at first"),
    ("check linearizable no-such --model kv --budget 0", "--budget"),
    ("explore frob", "'frob' is none of"),
    ("explore --max-states 0", "--max-states"),
    ("explore --jobs 0", "--jobs"),
    ("log frob", "No such command"),
    ("log dump . --from -1", "--from"),
    ("recover .", "Missing option '--name'"),
    ("soak --minutes nan", "--minutes"),
    ("soak --kills 0", "--kills"),
    ("soak --faults frob", "frob: there are"),
    ("soak --kills 1 --faults pause", "nothing is killed without"),
    ("soak --round nan", "--round"),
    ("soak --directory FILE", "is no directory"),
    ("lab run", "give the name of one experiment, or --all"),
    ("lab run frob", "'frob' is none of"),
    ("lab run flp --out FILE", "cannot write to"),
    ("demo --tls no-such no-such no-such", "no-such"),
    ("frob", "No such command"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with a_node() as found:
        yield found


def run(line: str) -> tuple[int, str]:
    """Words are separated by a space each, so two have an empty one between them; a fixed space is part of a word."""
    words = [word.replace("\u00a0", " ") for word in line.split(" ")]
    app = command_line() if words[0] == "frob" else command_line([words[0]])
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(("options", "why"), OF_ALL)
@pytest.mark.parametrize("command", ASKING)
def test_what_all_commands_take_is_refused_by_all_alike(command: str, options: str, why: str) -> None:
    name = options.split()[0]
    if (name == "--timeout" and command in WITHOUT_TIMEOUT) or (name == "--cluster" and command == "status"):
        why = "No such option"
    elif (name, command) == ("--tls", "restore"):
        why = "No such file"  # the backup is read before anything else is done
    status, output = run(" ".join([command, *options.split(), *ASKING[command]]))
    assert status == 2 and is_told(why, output), output


@pytest.mark.parametrize(("line", "why"), OF_THE_STORE)
def test_what_a_command_of_the_store_cannot_mean_is_a_wrong_argument(line: str, why: str, address: str) -> None:
    words = line.split(" ")
    if words[0] in ("lock", "elect") and words[-1] == "true":
        line = " ".join([*words[:-1], "-e", address, "--", "true"])
    elif "-e" not in words:
        line = f"{line} -e {address}"
    status, output = run(line)
    assert status == 2 and is_told(why, output), output


@pytest.mark.parametrize(("line", "why"), OF_OTHERS)
def test_what_another_command_cannot_mean_is_a_wrong_argument(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    status, output = run(line.replace("FILE", str(file)))
    assert status == 2 and is_told(why, output), output


def test_what_the_store_refuses_is_no_wrong_argument(address: str, tmp_path: Path) -> None:
    status, output = run(f"kv put k v --lease 5 --json -e {address}")
    assert status == 1 and '"kind": "refused", "status": 1' in output
    assert run(f"kv compact 999 -e {address}")[0] == 3
    file = tmp_path / "file"
    file.touch()
    status, output = run(f"backup {file} -e {address}")
    assert status == 1 and "is there already" in output
