"""The group core with one rule taken out: what the tests of the counter-examples run against.

Each counter-example of DESIGN section 13 shaped a rule.  A *mutant* replaces the code of one rule by what one would have
written without it; a test that does not notice the difference does not test the rule.

    with planted("a row counts at once"):
        ...  # every machine made or stepped in here lacks the rule

Only the process-wide classes are changed, and only inside the block.
"""

from phalanx.lab.mutants import durable, messages, votes  # noqa: F401  importing them registers what they hold
from phalanx.lab.mutants.registry import MUTANTS, Mutant, Patch, planted

__all__ = ["MUTANTS", "Mutant", "Patch", "planted"]
