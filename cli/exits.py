"""Exit codes that a script can trust, and the one error that carries them."""

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    CHANGES = 3  # a plan has changes
    REFUSED = 4  # incompatible or destructive
    TIMED_OUT = 5  # still running
    CANNOT_CONNECT = 6


class Failure(Exception):
    """Ends the command: what happened, what to type next, and the exit code."""

    def __init__(self, what: str, hint: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code
