"""Which cluster a client belongs to: that of the first answer that it got.

Names of groups, their ids, revisions and sessions mean something within one cluster only.  A founder whose disk was
lost may found another one under the same address (docs/operations.md), while others go on with the first, or a wrong
address may lead to one: who takes the answers of both for those of one reads what is old, and holds locks twice.  So a
client says with all that it asks which cluster it belongs to, nodes of others decline (`Reason.FOREIGN`), and the client
goes on with its other endpoints.  Until the first answer it belongs to none, unless its program says to which.

A cluster that an operator has recovered (group/lineage.py) is another one, which goes on with what the first had: its
nodes answer clients of any cluster that it comes from, and these go with it, and never back.

ZooKeeper's clients refuse a server that is behind what they have seen, for the same reason (Hunt et al., 2010).
"""


class Allegiance:
    """See the module's text; one for all that a client does."""

    __slots__ = ("cluster", "untold")

    def __init__(self, cluster: int = 0) -> None:
        """`cluster`: the one that the program says it must be; 0: whichever answers first."""
        self.cluster = cluster
        self.untold = ""
        """What a watch was told when it brought the client to a recovered cluster, until a call is; "" else."""

    def accepts(self, asked: int, said: int) -> bool:
        """An answer came from a node of the cluster `said`, to what was asked as of the cluster `asked`; both as in
        `messages`.  False: it is none of ours, for we have come to belong to another since."""
        of = said or asked
        if self.cluster == asked:
            self.cluster = of
        return of == self.cluster
