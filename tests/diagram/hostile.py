"""Names and texts as nobody should choose them."""

from phalanx.diagram.chronicle import Chronicle, Installed, Line, Loss, Marked, Started, Stood, Trouble
from phalanx.diagram.model import SORTS
from tests.diagram.chronicles import MS, arrived, message

EVIL = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<!--<script>",
    ']]></title></svg><svg onload="window.hacked = 1"/>',
    "&lt;b&gt; $title ${alert(1)} `x` \\u003c \u2028 \x00\x1b[31m \ud7ff\ufffe \"quoted\" 'so'",
)

HOSTILE = Chronicle(
    EVIL[0],
    EVIL[1],
    EVIL,
    tuple(Line(n * MS, name, EVIL[(n + 1) % len(EVIL)]) for n, name in enumerate(EVIL)),
    (
        *(Started(0, 0, name, name) for name in EVIL),
        *(
            message(
                n + 1, name, EVIL[n - 1], line=n, asked=n, kind=name, family="data", groups=(name,), text=name,
                arrivals=arrived(n + 3, line=min(n + 1, 4)), losses=(Loss((n + 2) * MS, name),),
            )
            for n, name in enumerate(EVIL)
        ),
        *(Installed(2 * MS, 2, name, "x", EVIL[3], name) for name in EVIL),
        *(Marked(3 * MS, 3, EVIL[n % 5], sort, EVIL[2], EVIL[n % 5]) for n, sort in enumerate(SORTS)),
        *(Stood(3 * MS, name, name, name, name) for name in EVIL),
        Trouble(2 * MS, 4 * MS, EVIL[0], EVIL[1], ((EVIL[0],), EVIL[1:]), ()),
    ),
)  # fmt: skip
