"""Logfire writes a stream as two spans: the request, which ends at the first byte, and a log with the usage."""

import numpy as np

from transforms.normalise.dialects import Facts, Refinement
from transforms.normalise.reading import Reading


def refine(reading: Reading, rows: np.ndarray, facts: Facts) -> Refinement:
    """A request that neither failed nor got an answer (no usage, no response id) is the opening of a stream: the
    log that follows it is the call."""
    del reading
    opening = rows & facts.call & ~facts.usage & ~facts.response_id & ~facts.failed & ~facts.streaming
    return Refinement(opening, np.zeros_like(opening), flags={"usage_on_sibling": opening})
