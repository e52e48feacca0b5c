"""OpenLIT counts the text itself when a stream brought no usage, and does not say so."""

import numpy as np

from transforms.normalise.dialects import Facts, Refinement
from transforms.normalise.reading import Reading


def refine(reading: Reading, rows: np.ndarray, facts: Facts) -> Refinement:
    """Versions that send cache counts (they carry a version hash) send them, zeros too, whenever the provider sent
    usage; a stream with tokens and without cache counts was estimated. Before them (1.34) every stream of OpenAI's was:
    it has a fingerprint."""
    reported = reading.has_key("gen_ai.usage.cache_read.input_tokens")
    recent = reading.has_key("openlit.agent.version_hash")
    old = reading.has_key("gen_ai.request.is_stream") & reading.has_key("gen_ai.response.system_fingerprint")
    estimated = (recent & ~reported) | old
    return Refinement(np.zeros_like(rows), rows & facts.call & facts.streaming & facts.usage & estimated)
