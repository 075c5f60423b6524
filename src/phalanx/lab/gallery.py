"""The gallery: one page of HTML with all experiments, their figures and tables.  It needs nothing but the figures."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from phalanx.lab.experiments.result import Cell, Experiment, Result, Table

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
nav li { margin: .2rem 0 }
img { max-width: 100%; height: auto; border: 1px solid #ddd; margin: .5rem 0 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border: 1px solid #ccc; padding: .2rem .6rem }
caption { text-align: left; font-weight: bold }
td.number { text-align: right }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto }
.wide { overflow-x: auto }
.holds { color: #00664a }
.fails { color: #a83a00; font-weight: bold }
section { border-top: 2px solid #222; margin-top: 3rem }
"""


class Exhibit(NamedTuple):
    """One experiment that was run, and where its figures are, relative to the page."""

    experiment: Experiment
    result: Result
    files: dict[str, str]


def cell_text(cell: Cell) -> str:
    """A cell as people read it."""
    match cell:
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:.5g}"
        case _:
            return cell


def page(exhibits: Sequence[Exhibit], full: bool) -> str:
    """The index page."""
    form = "full" if full else "short"
    items = "".join(
        f'<li><a href="#{e.experiment.name}">{escape(e.experiment.title)}</a>: {_verdict(e.result)}</li>'
        for e in exhibits
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>The laboratory of Phalanx</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        f"<h1>The laboratory of Phalanx</h1>\n<p>Every table was made by executing the protocols, in the {form} form; "
        f"nothing was copied from the sources that they are held against.</p>\n<nav><ol>{items}</ol></nav>\n"
        + "\n".join(map(_section, exhibits))
        + "\n</body></html>\n"
    )


def _verdict(result: Result) -> str:
    held = sum(claim.holds for claim in result.claims)
    kind = "holds" if result.holds else "fails"
    return f'<span class="{kind}">{held} of {len(result.claims)} claims hold</span>'


def _section(exhibit: Exhibit) -> str:
    experiment, result = exhibit.experiment, exhibit.result
    parts = [f'<section id="{experiment.name}"><h2>{escape(experiment.title)}</h2>']
    parts += [f"<p>{escape(text)}</p>" for text in experiment.text.split("\n\n")]
    parts += [
        f'<img src="{escape(file)}" alt="{escape(result.figures[name].title)}">' for name, file in exhibit.files.items()
    ]
    parts += map(_table, result.tables)
    for story in result.stories:
        parts.append(f"<h3>{escape(story.title)}</h3><pre>{escape(chr(10).join(story.lines))}</pre>")
    rows = tuple((c.text, c.source, c.expected, c.found, "holds" if c.holds else "FAILS") for c in result.claims)
    parts.append(_table(Table("Held against the sources", ("claim", "source", "expected", "found", ""), rows)))
    return "\n".join((*parts, "</section>"))


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f'<div class="wide"><table><caption>{escape(table.title)}</caption><tr>{head}</tr>{rows}</table></div>'


def _cell(cell: Cell) -> str:
    number = not isinstance(cell, bool | str)
    kind = ' class="number"' if number else {"holds": ' class="holds"', "FAILS": ' class="fails"'}.get(str(cell), "")
    return f"<td{kind}>{escape(cell_text(cell))}</td>"
