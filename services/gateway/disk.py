"""Refuse new work before the log's disk is full: a broker that cannot write stops for good."""

import shutil
from collections.abc import Callable
from pathlib import Path

from services.shared.answers import unavailable

_CHECK_EVERY_S = 1.0
_RETRY_AFTER_S = 30


class DiskGuard:
    """Looks at the free space of `folder` at most once a second. clock: monotonic seconds."""

    def __init__(self, folder: Path | None, min_free_bytes: int, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._checked_at: float | None = None
        self._full = False

    def check(self) -> None:
        """Raises Refused (503) that names the folder while there is too little space."""
        if self._folder is None:
            return
        now = self._clock()
        if self._checked_at is None or now - self._checked_at >= _CHECK_EVERY_S:
            self._full = self._free_bytes(self._folder) < self._min_free_bytes
            self._checked_at = now
        if self._full:
            raise unavailable(
                f"the disk of {self._folder} has less than {self._min_free_bytes} bytes free", _RETRY_AFTER_S
            )

    @staticmethod
    def _free_bytes(folder: Path) -> int:
        try:
            return shutil.disk_usage(folder).free
        except OSError:  # a file system that does not answer takes nothing either
            return -1
