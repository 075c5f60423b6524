"""What a campaign found, as JSON for programs and as one page of HTML that needs nothing else."""

from html import escape

import msgspec

from phalanx.lab.figures.model import Lines, Series
from phalanx.lab.figures.svg import svg
from phalanx.sim.plan import Plan

POINTS_MAX = 400
"""Of the curve in the page: more than it has pixels to tell apart."""

RARE_MAX = 50
"""Features that the page lists, of those that the fewest runs had.  JSON has all."""

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border: 1px solid #ccc; padding: .2rem .6rem; text-align: left }
td.number { text-align: right }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: 13px }
.good { color: #00664a }
.bad { color: #a83a00; font-weight: bold }
"""


class Failed(msgspec.Struct, frozen=True):
    """A run that failed or was stuck."""

    what: str
    replay: str
    """The command that runs it again."""
    plan: Plan


class Kept(msgspec.Struct, frozen=True):
    """A plan of the corpus."""

    plan: Plan
    found: tuple[str, ...]
    """The features that its run was the first to have."""


class Report(msgspec.Struct, frozen=True):
    """A campaign.  `failed` holds its first failures only; the numbers are of all."""

    scenario: str
    first: int
    """Its first seed."""
    guided: bool
    seeds: int
    violations: int
    stuck: int
    steps: int
    virtual_ns: int
    failed: tuple[Failed, ...]
    never: dict[str, str]
    """Notes that no run made, and where the code is."""
    notes: dict[str, int]
    """How often each was made."""
    features: dict[str, int]
    """How many runs had each."""
    growth: tuple[tuple[int, int], ...]
    """After so many runs, so many features: whenever there were more."""
    corpus: tuple[Kept, ...]


def as_json(report: Report) -> str:
    """All of it."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def as_html(report: Report) -> str:
    """The page."""
    title = f"{'Guided campaign' if report.guided else 'Campaign'}: {report.scenario}"
    good = report.violations == report.stuck == 0
    verdict = f"seeds={report.seeds} violations={report.violations} stuck={report.stuck}"
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
        f'<p class="{"good" if good else "bad"}">{verdict}</p>',
        f"<p>From seed {report.first}: {report.steps:,} steps, {report.virtual_ns / 1e9:,.0f} s of virtual time, "
        f"{len(report.features):,} features{f' found by {len(report.corpus):,} plans' if report.guided else ''}.</p>",
        *_failures(report),
        "<h2>Coverage</h2>",
        _curve(report),
        *_never(report),
        _table("Notes", ("note", "times"), sorted(report.notes.items())),
        _table("The rarest features", ("feature", "runs"), _rarest(report)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _failures(report: Report) -> list[str]:
    if not report.failed:
        return []
    parts = [f"<h2>Failures</h2><p>{len(report.failed)} of {report.violations + report.stuck}.</p>"]
    for failed in report.failed:
        parts.append(f"<p>{escape(failed.what)}<br><code>{escape(failed.replay)}</code></p>")
        parts.append(f"<details><summary>plan</summary><pre>{escape(failed.plan.describe())}</pre></details>")
    return parts


def _never(report: Report) -> list[str]:
    if not report.never:
        return []
    names = ", ".join(f"{escape(what)} ({escape(place)})" for what, place in report.never.items())
    return [f"<h3>Notes in the code that no run made</h3><p>{names}</p>"]


def _curve(report: Report) -> str:
    """The last point is where the campaign ended, so a flat end shows."""
    points = [*report.growth, (report.seeds, len(report.features))]
    step = -(-len(points) // POINTS_MAX)
    thinned = tuple((float(runs), float(features)) for runs, features in (*points[::step], points[-1]))
    return svg(Lines("Features after so many runs", "runs", "features", (Series("features", thinned),)))


def _rarest(report: Report) -> list[tuple[str, int]]:
    return sorted(report.features.items(), key=lambda item: (item[1], item[0]))[:RARE_MAX]


def _table(title: str, columns: tuple[str, str], rows: list[tuple[str, int]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f'<tr><td>{escape(name)}</td><td class="number">{count:,}</td></tr>' for name, count in rows)
    return f"<h3>{title}</h3><table><tr>{head}</tr>{body}</table>"
