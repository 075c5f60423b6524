"""The source tree as values: modules by name and what each imports, read without importing anything."""

import ast
import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "phalanx"


@dataclass(frozen=True)
class Module:
    """One module: `name` is dotted, a package has the name of its directory."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.name)


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` has target `a.b` and name `c`, `import a.b` has target `a.b` and no name.
    Relative imports are resolved."""

    target: str
    name: str | None
    line: int

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]


@cache
def modules_under(directory: Path, prefix: str) -> tuple[Module, ...]:
    """Every module below `directory`, which itself is the package `prefix`; none if there is no such directory.  Read
    once."""
    found = []
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(directory).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join((prefix, *(parts[:-1] if is_package else parts)))
        found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return tuple(found)


def package_modules() -> list[Module]:
    """Every module of the package itself."""
    return [*modules_under(ROOT / "src" / PACKAGE, PACKAGE)]


def compiled_modules() -> list[Module]:
    """Those that hatch_build.py has compiled."""
    tree = ast.parse((ROOT / "hatch_build.py").read_text(encoding="utf-8"))
    [patterns] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED"
    ]
    names = [name.removesuffix(".py").replace("/", ".") for name in patterns]
    return [m for m in package_modules() if any(fnmatch.fnmatchcase(m.name, f"phalanx.{name}") for name in names)]


def companions() -> list[Module]:
    """Every module of this repository outside the package."""
    return [m for directory in ("tests", "bench", "examples") for m in modules_under(ROOT / directory, directory)]


def imports_of(module: Module) -> Iterator[Import]:
    """Every import, wherever it stands: at the top, in a function, under TYPE_CHECKING."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(module, node)
            yield from (Import(target, alias.name, node.lineno) for alias in node.names)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        assert node.module is not None, "an absolute `from` names its module"
        return node.module
    package = module.name.split(".")
    climb = node.level - 1 if module.is_package else node.level
    base = package[: len(package) - climb]
    return ".".join(base + ([node.module] if node.module else []))


def reached_from(roots: set[str], modules: Mapping[str, Module]) -> set[str]:
    """The names of all modules that importing the roots may load.  Importing `a.b` loads `a` first."""
    seen: set[str] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in seen or name not in modules:
            continue
        seen.add(name)
        pending.append(name.rpartition(".")[0])
        for imported in imports_of(modules[name]):
            pending += [imported.target, f"{imported.target}.{imported.name}"]
    return seen
