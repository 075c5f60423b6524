"""The table of counts in docs/performance.md.  `bench.counts --write` writes it, so it is as old as the ratchet."""

from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

BEGIN = "<!-- of bench/counts.toml, by `python -m bench.counts --write` -->"
END = "<!-- end -->"

COLUMNS = ("ticks", "steps", "frames", "bytes", "socket writes", "fsyncs", "instructions")


def text_of(figure: float) -> str:
    """Three digits are enough to read."""
    if figure >= 1000 or figure == int(figure):
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if figure >= 0.001 else f"{figure:.5f}"


def table_of(ratchet: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """In Markdown.  Of the versions of Python, the first that all workloads have."""
    version = min(set.intersection(*(set(parts) - {"protocol"} for parts in ratchet.values())))
    lines = [f"| {version} | {' | '.join(COLUMNS)} |", "|---" + "|--:" * len(COLUMNS) + "|"]
    for workload, parts in ratchet.items():
        figures = {**parts["protocol"], **parts[version]}
        lines.append(f"| {workload} | {' | '.join(text_of(figures[column]) for column in COLUMNS)} |")
    return "\n".join(lines)


def with_table(page: str, ratchet: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The page with that table between its marks.  Raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page does not have the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table_of(ratchet)}\n{END}{after}"
