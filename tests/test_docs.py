"""What the documents show is true: examples run, commands and links exist (docs/CONTRIBUTING.md has the convention)."""

import ast
import doctest
import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.source import ROOT, package_modules

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PHALANX = Path(sys.executable).with_name("phalanx")
TIMEOUT_S = 240
"""Long: it stops what hangs and judges no speed.  Below the limit of the suite, so that what was printed is shown."""

PROSE_WIDTH_MAX = 130
"""Of a line that is in no block and no table: a change shows what was changed, in any editor."""

# A terminal without colours, wide enough that help texts are not cut.
PLAIN = {"COLUMNS": "240", "TERM": "dumb", "NO_COLOR": "1"}


class Block(NamedTuple):
    """A fenced block: the fence's words, the line of its first content in the document, and the content."""

    info: str
    line: int
    text: str


class Shown(NamedTuple):
    """A command as a console block shows it, and the output shown below it ("" if none is)."""

    line: int
    words: list[str]
    output: str


def blocks_in(document: str) -> list[Block]:
    """Every fenced block.  A fence ends at one that is at least as long, so blocks can show fences."""
    found = []
    fence, info, start, content = "", "", 0, list[str]()
    for number, line in enumerate(document.splitlines(), 1):
        opening = re.match(r"(`{3,})(.*)$", line)
        if not fence and opening:
            fence, info, start, content = opening[1], opening[2].strip(), number + 1, []
        elif fence and re.fullmatch(rf"`{{{len(fence)},}}\s*", line):
            found.append(Block(info, start, "".join(f"{text}\n" for text in content)))
            fence = ""
        elif fence:
            content.append(line)
    assert not fence, f"the block that begins in line {start} does not end"
    return found


def program_in(document: str) -> str:
    """The document's `python` blocks as one program, each on its own lines, so that tracebacks name lines of the
    document.  Blocks marked no-run are compiled and left out.

    Raises SyntaxError, and AssertionError for a mark that the convention does not have."""
    lines = [""] * len(document.splitlines())
    for block in blocks_in(document):
        language, _, mark = block.info.partition(" ")
        if language != "python":
            continue
        compile("\n" * (block.line - 1) + block.text, "document", "exec")
        if mark:
            assert re.fullmatch(r"no-run: .*\w.*", mark), f"line {block.line}: write `no-run: REASON`, not `{mark}`"
        else:
            text = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(text)] = text
    return "\n".join(lines).rstrip() + "\n"


def run_program(program: str, name: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it as `name`.py in the directory; warnings are errors, as everywhere in the suite."""
    path = directory / f"{name}.py"
    path.write_text(program, encoding="utf-8")
    return _run([sys.executable, "-W", "error", str(path)], directory)


def _run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env=os.environ | PLAIN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def shown_in(block: Block) -> Iterator[Shown]:
    """The commands of a console block: lines that begin with `$ `, continued after a backslash.  Of a line, the command
    before the first pipe, redirection or comment counts, without settings of the environment."""
    numbered = enumerate(block.text.replace("\\\n", "\\\0").splitlines(), block.line)
    commands: list[tuple[int, str, list[str]]] = []
    skipped = 0
    for number, line in numbered:
        if line.startswith("$ "):
            commands.append((number + skipped, line[2:].replace("\\\0", " "), []))
        elif commands:
            commands[-1][2].append(line)
        skipped += line.count("\0")
    for number, command, output in commands:
        words = shlex.split(re.split(r"\s[|>&#]", command)[0])
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        yield Shown(number, words, "\n".join(output).strip("\n"))


def wrong_command(
    words: Sequence[str],
    help_of: Callable[[tuple[str, ...]], str | None],
    targets: set[str],
    text_of: Callable[[str], str | None] = lambda _: None,
) -> str | None:
    """Why a shown command cannot work; None if it can, or if it is neither ours nor make's.

    `help_of` gives the help text of a phalanx command, None if there is no such command; `text_of` the source of a module
    of `bench`, None if there is no such module."""
    if words[:2] == ["python", "-m"] and words[2].startswith("bench."):
        return _wrong_benchmark(words[2], words[3:], text_of(words[2]))
    if words[:1] == ["make"]:
        unknown = [word for word in words[1:] if "=" not in word and not word.startswith("-") and word not in targets]
        return f"no target {unknown[0]}" if unknown else None
    if words[:1] != ["phalanx"]:
        return None
    command: tuple[str, ...] = ()
    text = help_of(command)
    assert text is not None, "phalanx itself has a help text"
    for word in words[1:]:
        if not re.fullmatch(r"[a-z][a-z-]*", word) or not re.search(rf"^[\s│|]*{word}(\s|$)", text, re.MULTILINE):
            break
        deeper = help_of((*command, word))
        if deeper is None:
            break
        command = (*command, word)
        text = deeper
    if not command and words[1:] and not words[1].startswith("-"):
        return f"no command {words[1]}"
    for word in words[1 + len(command) :]:
        option = re.match(r"--?[a-zA-Z][\w-]*", word)
        if option and not re.search(rf"(?<![\w-]){option[0]}(?![\w-])", text):
            return f"{' '.join(['phalanx', *command])} has no option {option[0]}"
    return None


def _wrong_benchmark(name: str, arguments: Sequence[str], text: str | None) -> str | None:
    """The options that a benchmark has stand in its source: some have no help text, and would begin to measure."""
    if text is None or "__main__" not in text:
        return f"no command {name}"
    options = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    unknown = [option for option in options if f'"{option}"' not in text]
    return f"{name} has no option {unknown[0]}" if unknown else None


def benchmark_text(name: str) -> str | None:
    path = ROOT / f"{name.replace('.', '/')}.py"
    return path.read_text(encoding="utf-8") if path.exists() else None


def make_targets(makefile: str) -> set[str]:
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony, "the Makefile declares its targets as phony"
    return set(phony[1].split())


def broken_links(document: str, directory: Path) -> list[str]:
    """Links to files that do not exist.  Links that name a protocol, and anchors, are not followed."""
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", document))
    files = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    return [name for name in files if name and not (directory / name).exists()]


@functools.cache
def defined_tests() -> set[str]:
    """The names of all test functions."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}


def missing_tests(document: str, defined: set[str]) -> list[str]:
    """Tests that a document names, in backquotes, and that do not exist.  (A file is named with its extension.)"""
    return [name for name in re.findall(r"`(test_\w+)`", document) if name not in defined]


@functools.cache
def defined_members() -> set[str]:
    """Everything that classes of ours have, as "Class.member", and the modules' paths below the package."""
    found = {str(path.relative_to(ROOT / "src" / "phalanx")) for path in (ROOT / "src" / "phalanx").rglob("*.py")}
    for module in package_modules():
        for cls in (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)):
            for node in ast.walk(cls):
                match node:
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                        found.add(f"{cls.name}.{name}")
                    case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                        found.add(f"{cls.name}.{name}")
    return found


def missing_members(document: str, defined: set[str]) -> list[str]:
    """What a document names in backquotes as `Class.member` or `layer/module.py`, where there is no such thing.  Classes
    that are not ours are not looked at."""
    classes = {name.partition(".")[0] for name in defined}
    members = [name for name in re.findall(r"`([A-Z]\w*\.\w+)`", document) if name.partition(".")[0] in classes]
    paths = [name.removeprefix("phalanx/") for name in re.findall(r"`([a-z]+/[a-z_/]+\.py)`", document)]
    files = [name for name in paths if not name.startswith("tests/")]
    return [name for name in [*members, *files] if name not in defined]


@functools.cache
def phalanx_help(command: tuple[str, ...]) -> str | None:
    """What `phalanx COMMAND --help` prints, None if it is refused.  In this process, for there are many."""
    done = CliRunner().invoke(command_line(), [*command, "--help"], prog_name="phalanx", env=PLAIN)
    return done.stdout if done.exit_code == 0 else None


def matches(expected: str, printed: str) -> bool:
    """As in doctest: `...` stands for any text, and runs of white space are alike."""
    return doctest.OutputChecker().check_output(
        f"{expected}\n", printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )


# --- the documents ------------------------------------------------------------------------------------------------

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_python_examples_run(path: Path, tmp_path: Path) -> None:
    program = program_in(path.read_text(encoding="utf-8"))
    if program.strip():
        done = run_program(program, path.stem, tmp_path)
        assert done.returncode == 0, done.stderr


@each_document
def test_commands_exist_and_print_what_is_shown(path: Path, tmp_path: Path) -> None:
    targets = make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    for block in blocks_in(path.read_text(encoding="utf-8")):
        language, _, mark = block.info.partition(" ")
        if language != "console":
            continue
        assert mark in {"", "run"}, f"line {block.line}: console blocks are plain or marked `run`, not `{mark}`"
        for shown in shown_in(block):
            wrong = wrong_command(shown.words, phalanx_help, targets, benchmark_text)
            assert wrong is None, f"line {shown.line}: {wrong}"
            if mark == "run" and shown.words[:1] == ["phalanx"]:
                done = _run([str(PHALANX), *shown.words[1:]], tmp_path)
                assert done.returncode == 0, f"line {shown.line}: {done.stderr}"
                assert not shown.output or matches(shown.output, done.stdout), f"line {shown.line}: {done.stdout}"


@each_document
def test_links_lead_to_files(path: Path) -> None:
    assert broken_links(path.read_text(encoding="utf-8"), path.parent) == []


@each_document
def test_prose_is_wrapped(path: Path) -> None:
    text = re.sub(r"^(`{3,})[^\n]*\n.*?^\1`*\s*$", "", path.read_text("utf-8"), flags=re.M | re.S)
    assert not [line for line in text.splitlines() if len(line) > PROSE_WIDTH_MAX and not line.lstrip().startswith("|")]


@each_document
def test_tests_that_are_named_exist(path: Path) -> None:
    assert missing_tests(path.read_text(encoding="utf-8"), defined_tests()) == []


@each_document
def test_parts_of_the_code_that_are_named_exist(path: Path) -> None:
    assert missing_members(path.read_text(encoding="utf-8"), defined_members()) == []


def test_the_program_of_the_readme_is_short() -> None:
    first = next(b for b in blocks_in((ROOT / "README.md").read_text(encoding="utf-8")) if b.info == "python")
    assert len(first.text.splitlines()) <= 25


# --- the checks can fail ------------------------------------------------------------------------------------------


def test_blocks_of_a_file_are_one_program_on_the_lines_of_the_document(tmp_path: Path) -> None:
    document = (
        "# Title\n```python\nx = 1\n```\ntext\n```text\nnot code\n```\n```python\nassert x == 2, 'planted'\n```\n"
    )
    done = run_program(program_in(document), "planted", tmp_path)
    assert done.returncode == 1
    assert "line 10" in done.stderr
    assert "AssertionError: planted" in done.stderr


def test_a_warning_in_an_example_is_an_error(tmp_path: Path) -> None:
    done = run_program(program_in("```python\nimport warnings\nwarnings.warn('old')\n```\n"), "planted", tmp_path)
    assert done.returncode == 1
    assert "UserWarning: old" in done.stderr


def test_a_block_that_does_not_run_still_compiles_and_has_a_reason() -> None:
    assert program_in("```python no-run: needs three machines\n1 / 0\n```\n").strip() == ""
    with pytest.raises(SyntaxError):
        program_in("```python no-run: needs three machines\ndef\n```\n")
    for mark in ("no-run", "no-run:", "norun: because"):
        with pytest.raises(AssertionError, match="no-run: REASON"):
            program_in(f"```python {mark}\nx = 1\n```\n")


def test_a_block_can_show_a_fence_and_must_end() -> None:
    assert blocks_in("````text\n```python\n1 / 0\n```\n````\n") == [Block("text", 2, "```python\n1 / 0\n```\n")]
    with pytest.raises(AssertionError, match="line 2 does not end"):
        blocks_in("```python\nx = 1\n")


def test_commands_are_read_as_a_shell_reads_them() -> None:
    text = "$ A=1 phalanx sim --seeds 3 \\\n    --short | less\nok\n\n2\n$ phalanx serve 'my node' &\n"
    assert list(shown_in(Block("console", 5, text))) == [
        Shown(5, ["phalanx", "sim", "--seeds", "3", "--short"], "ok\n\n2"),
        Shown(10, ["phalanx", "serve", "my node"], ""),
    ]


HELP = {
    (): "Usage: phalanx COMMAND\n  --version  Print it.\nCommands\n│ sim   Simulate.\n│ kv    Use the store.\n",
    ("sim",): "Usage: phalanx sim\n│ --seeds  -n  How many.\n│ --no-shrink  Keep.\n",
    ("kv",): "Usage: phalanx kv\nCommands\n│ get  Read.\n",
    ("kv", "get"): "Usage: phalanx kv get KEY\n│ --stale  May be old.\n",
}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("phalanx --version", None),
        ("phalanx sim --seeds 300", None),
        ("phalanx sim --seeds=300 -n 4", None),
        ("phalanx kv get sim --stale", None),
        ("phalanx kv get -- -1", None),
        ("make test", None),
        ("make -k sim SEEDS=300 test", None),
        ("ls --nonsense", None),
        ("phalanx simulate", "no command simulate"),
        ("phalanx Simulate.", "no command Simulate."),
        ("phalanx sim --seed 3", "phalanx sim has no option --seed"),
        ("phalanx sim --shrink", "phalanx sim has no option --shrink"),
        ("phalanx kv get x --seeds", "phalanx kv get has no option --seeds"),
        ("phalanx --verbose", "phalanx has no option --verbose"),
        ("make tests", "no target tests"),
        ("python -m bench.counts --members 2-9", None),
        ("python -m bench.counts --only=put", None),
        ("python -m bench.counts --sizes 2-9", "bench.counts has no option --sizes"),
        ("python -m bench.lockstep", "no command bench.lockstep"),
        ("python -m bench.count", "no command bench.count"),
    ],
)
def test_a_shown_command_must_exist(line: str, wrong: str | None) -> None:
    words = shlex.split(line)
    assert wrong_command(words, HELP.get, {"test", "sim"}, benchmark_text) == wrong


def test_shown_output_is_compared() -> None:
    assert matches("300 worlds, ... faults\nall good", "300 worlds, 12 faults\nall   good\n")
    assert not matches("300 worlds", "299 worlds\n")


def test_make_targets_are_read_from_the_makefile() -> None:
    assert make_targets("A := 1\n.PHONY: venv test\nvenv:\n") == {"venv", "test"}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    document = "[a](here.md#part) [b](gone.md) [c](https://example.org) [d](#part) `[e](shown.md)`"
    assert broken_links(document, tmp_path) == ["gone.md"]


def test_a_test_that_does_not_exist_is_found() -> None:
    document = "`test_here` and `test_gone`, in `tests/test_file.py`"
    assert missing_tests(document, {"test_here"}) == ["test_gone"]


def test_a_part_of_the_code_that_does_not_exist_is_found() -> None:
    document = "`Channel.receive`, `Channel.gone` and `Other.thing`, in `group/channel.py` and `group/gone.py`"
    assert missing_members(document, {"Channel.receive", "group/channel.py"}) == ["Channel.gone", "group/gone.py"]
    assert "Timing.suspect_after" in defined_members()
