"""Rules that are taken out one at a time, and who must miss them."""

from dataclasses import dataclass

SIMULATION = "simulation"


def of(crate):
    """The tests of a crate, as who misses a rule."""
    return f"tests of {crate}"


@dataclass
class Mutant:
    """A rule, and how it is taken out: `old` must be in the file exactly once."""

    rule: str
    file: str
    old: str
    new: str
    # Who must find it.
    needs: tuple[str, ...] = (SIMULATION, of("machines"))
