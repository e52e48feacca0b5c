"""Rules of single dialects that are no data: one module per dialect, named as its file in schemas/dialects.

A module may have
  usage(document) -> raw counts, input and output inclusive, or None: reads a usage object of a shape of its own;
  refine(reading, rows, facts) -> Refinement: corrects what is a call, and what is estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import numpy as np


@dataclass(frozen=True)
class Facts:
    """What is known of each span when its dialect's rule runs; all bool[n spans]."""

    call: np.ndarray
    usage: np.ndarray
    response_id: np.ndarray
    streaming: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class Refinement:
    """Masks (bool[n spans]) by what they mean: spans that are no call after all, calls whose counts the client
    estimated, and any further flag."""

    not_calls: np.ndarray
    estimated: np.ndarray
    flags: Mapping[str, np.ndarray] = field(default_factory=dict)


@cache
def rules() -> Mapping[str, ModuleType]:
    """The modules of this package by dialect."""
    return {module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)}
