"""From a chronicle to a drawing as data (diagram/layout.py)."""

import pytest

from phalanx.diagram import layout
from phalanx.diagram.chronicle import Chronicle, Line, Loss, Marked, Paused, Started, Stopped, Trouble
from phalanx.diagram.layout import lay_out
from phalanx.diagram.model import Diagram, Span
from phalanx.errors import ConfigurationError
from tests.diagram.chronicles import MS, STORY, arrived, chronicle, message


def spans(*times_ms: tuple[int, int]) -> tuple[Span, ...]:
    return tuple(Span(begin * MS, end * MS) for begin, end in times_ms)


def test_each_copy_of_a_message_is_an_arrow_that_says_how_it_ended() -> None:
    drawn = lay_out(STORY)
    ends = [(a.begin_ns // MS, a.end_ns // MS, a.source, a.target, a.fate, a.copy) for a in drawn.arrows]
    assert ends == [
        (2, 4, 0, 1, "arrived", 0),
        (2, 3, 0, 2, "lost", 0),
        (7, 9, 1, 0, "arrived", 0),
        (7, 10, 1, 0, "arrived", 1),
        (10, 12, 0, 1, "under way", 0),
    ]
    assert [a.message for a in drawn.arrows] == [0, 1, 2, 2, 3]
    assert [drawn.texts[a.why] for a in drawn.arrows if a.why >= 0] == ["lost on the way"]
    assert [(kind.name, kind.family, kind.count) for kind in drawn.kinds] == [("Hello", "data", 2), ("Row", "row", 3)]
    assert drawn.groups == ("g",)
    assert [a.groups for a in drawn.arrows] == [(0,), (0,), (), (), ()]


def test_an_arrow_refers_to_the_lines_at_which_it_was_made_left_and_was_taken() -> None:
    first, _, again, *_ = lay_out(STORY).arrows
    assert (first.asked, first.sent, first.taken) == (3, 3, 4)
    assert (again.asked, again.sent, again.taken) == (6, 8, 9)


def test_a_view_is_a_cut_across_the_lanes_that_installed_it() -> None:
    [cut] = lay_out(STORY).cuts
    assert (cut.view, cut.label) == ("x.1", "V1")
    assert [(point.lane, point.at_ns // MS, point.line) for point in cut.points] == [(0, 5, 5), (1, 6, 6)]


def test_lanes_show_when_a_process_ran_and_when_it_was_paused() -> None:
    a, b, c = lay_out(STORY).lanes
    assert [a.name, b.name, c.name] == ["a", "b", "c"]
    assert a.lives == b.lives == spans((0, 12))
    assert c.lives == spans((1, 9), (11, 12))
    assert c.pauses == spans((7, 9), (11, 12)), "it is still paused when it comes back"


def test_pauses_nest() -> None:
    story = chronicle(
        Started(0, -1, "a", ""),
        Paused(1 * MS, -1, "a"),
        Paused(2 * MS, -1, "a"),
        Paused(3 * MS, -1, "a", False),
        Paused(5 * MS, -1, "a", False),
        Marked(9 * MS, -1, "a", "note", "", "end"),
    )
    assert lay_out(story).lanes[0].pauses == spans((1, 5))


def test_faults_that_overlap_are_in_different_rows() -> None:
    drawn = lay_out(STORY)
    assert [(t.kind, t.row) for t in drawn.troubles] == [("Partition", 0), ("SlowDisk", 1), ("Ring", 0)]
    assert drawn.troubles[0].sides == ((0,), (1, 2))
    assert drawn.troubles[1].lanes == (0,)


def test_marks_and_states_and_lines_have_lanes() -> None:
    drawn = lay_out(STORY)
    at_a, at_b, at_c = ([mark.sort for mark in drawn.marks if mark.lane == lane] for lane in range(3))
    assert (at_a, at_b) == (["start", "install"], ["start", "install", "deliver"])
    assert at_c == ["start", "pause", "crash", "start"]
    assert [(s.lane, s.view, s.status, drawn.texts[s.text]) for s in drawn.states] == [
        (0, "V1", "member", "member of V1")
    ]
    assert [line.lane for line in drawn.lines] == [0, 1, 2, 0, 1, 0, 1, 2, 1, 0, 2, 2, -1]


def test_texts_are_kept_once() -> None:
    drawn = lay_out(STORY)
    assert len(set(drawn.texts)) == len(drawn.texts)
    assert len({a.text for a in drawn.arrows if a.source == 0 and a.groups}) == 1


def test_a_part_of_the_run_has_what_concerns_it() -> None:
    whole, part = lay_out(STORY), lay_out(STORY, since_ns=3 * MS, until_ns=6 * MS)
    assert [(a.begin_ns // MS, a.end_ns // MS) for a in part.arrows] == [(2, 4), (2, 3)], (
        "what ends in it has begun before"
    )
    assert [line.text for line in part.lines] == ["line 4", "line 5", "line 6"]
    assert (part.arrows[0].sent, part.arrows[0].taken) == (-1, 0), "lines are counted from the first that is there"
    assert part.cuts[0].points[1].line == 2
    assert part.lanes[0].lives == spans((3, 6))
    assert part.lanes[2].pauses == ()
    assert [t.kind for t in part.troubles] == ["Partition"]
    assert [(s.lane, s.at_ns) for s in part.states] == [(s.lane, s.at_ns) for s in whole.states]
    later = lay_out(STORY, since_ns=8 * MS)
    assert [s.at_ns // MS for s in later.states] == [5], "what the state was before is known"
    assert [m.sort for m in part.marks] == ["install", "install", "deliver"]


def test_hidden_kinds_are_left_out() -> None:
    drawn = lay_out(STORY, hidden=["Row"])
    assert [kind.name for kind in drawn.kinds] == ["Hello"]
    assert {a.kind for a in drawn.arrows} == {0}


def test_a_message_to_nobody_has_no_target() -> None:
    story = chronicle(message(1, "a", "", losses=(Loss(1 * MS, "nobody is there"),)))
    assert [a.target for a in lay_out(story).arrows] == [-1]


@pytest.mark.parametrize(("since", "until"), [(5, 4), (-1, 4), (13, None)])
def test_a_part_that_is_not_there_is_refused(since: int, until: int | None) -> None:
    with pytest.raises(ConfigurationError, match="there is no time"):
        lay_out(STORY, since_ns=since * MS, until_ns=None if until is None else until * MS)


def test_too_much_for_a_diagram_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything (STYLE 10): SHAPES_MAX."""
    monkeypatch.setattr(layout, "SHAPES_MAX", 10)
    with pytest.raises(ConfigurationError, match="choose a shorter part"):
        lay_out(STORY)
    monkeypatch.setattr(layout, "SHAPES_MAX", 1_000)
    assert lay_out(STORY).arrows


def test_an_empty_chronicle_is_an_empty_diagram() -> None:
    drawn = lay_out(Chronicle("nothing", "", (), (), ()))
    assert isinstance(drawn, Diagram)
    assert (drawn.since_ns, drawn.until_ns) == (0, 0)


def test_the_end_is_the_last_moment_of_which_something_is_known() -> None:
    assert lay_out(chronicle(message(1, "a", "b", arrivals=arrived(7)))).until_ns == 7 * MS
    assert lay_out(chronicle(message(1, "a", "b", losses=(Loss(8 * MS, "x"),)))).until_ns == 8 * MS
    assert lay_out(chronicle(lines=(Line(9 * MS, "", "x"),))).until_ns == 9 * MS
    assert lay_out(chronicle(Trouble(0, 99 * MS, "Ring", "Ring"), Stopped(3 * MS, -1, "a", ""))).until_ns == 3 * MS
