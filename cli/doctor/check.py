"""One thing that the doctor looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """found: what is there; cure: what to do when it is not ok."""

    check: str
    ok: bool
    found: str
    cure: str = ""
