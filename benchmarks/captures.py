"""Accounting over real captures on one core: normalise, tokens, price and latency; and the counting of text."""

import cProfile
import pstats
import time
from pathlib import Path

import polars as pl
import pyarrow as pa

from benchmarks.embedded import Figure
from schemas.arrow import RAW
from schemas.encodings import encoding
from schemas.limits import LIMITS
from schemas.price_book import compile_book
from transforms.messages import messages
from transforms.normalise.count_text import TokenCache, count_tokens
from transforms.normalise.spans import normalise
from transforms.observe import price_calls
from transforms.otlp.decode import Decoded, decode

CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
TIMES_EACH, ROUNDS = 90, 5
ENCODING = "o200k_base"
# function -> what it is called here; what is left over is the join of the columns
STEPS = {
    "detect": "dialect",
    "read_text": "names, models, ids",
    "read_counts": "tokens as sent",
    "read_usage": "tokens in usage objects",
    "correct": "tokens in one meaning",
    "read_first_token": "latency",
    "price_calls": "price",
}


def _batch() -> Decoded:
    """Every capture's spans TIMES_EACH times, in one batch."""
    bodies = [file.read_bytes() for file in sorted(CAPTURES.rglob("*.binpb")) if ".logs." not in file.name]
    owner = {"topic": "spans.raw", "partition": 0, "org": "local", "team": "", "key_id": "", "signal": "traces"}
    rows = [
        {**owner, "offset": offset, "redact": True, "received_at": time.time_ns(), "body": body}
        for offset, body in enumerate(bodies * TIMES_EACH)
    ]
    return decode(pa.Table.from_pylist(rows, RAW), LIMITS)


def measure(say) -> list[Figure]:
    """CPU time of the whole process counts, so what several threads do is not faster here."""
    say("timing the accounting of the captures")
    decoded, book = _batch(), compile_book()

    def account() -> pl.DataFrame:
        normalised = normalise(decoded)
        price_calls(decoded.spans, normalised, book)
        return normalised

    normalised = account()
    began = time.process_time()
    for _ in range(ROUNDS):
        account()
    took = (time.process_time() - began) / ROUNDS
    profile = cProfile.Profile()
    profile.runcall(account)
    rate = Figure("captures: normalise to price, one core", f"{decoded.spans.height / took:,.0f} spans/s")
    return [rate, *_shares(profile), *_counting(decoded, normalised)]


def _shares(profile: cProfile.Profile) -> list[Figure]:
    stats = pstats.Stats(profile)
    times = {(file, name): row[3] for (file, _, name), row in stats.stats.items() if "transforms" in file}  # pyright: ignore[reportAttributeAccessIssue]
    whole = sum(value for (_, name), value in times.items() if name in ("normalise", "price_calls"))
    found = {step: sum(value for (_, name), value in times.items() if name == step) for step in STEPS}
    return [Figure(f"  of it {STEPS[step]}", f"{value / whole:.0%}") for step, value in found.items()]


def _counting(decoded: Decoded, normalised: pl.DataFrame) -> list[Figure]:
    said = messages(decoded, normalised, LIMITS)
    bodies = pl.DataFrame(said.bodies.select(["hash", "body"]).to_pydict())
    # each as its own message, until there is enough to time
    many = pl.concat([bodies.with_columns(pl.col("hash") + f"-{i}") for i in range(40)])
    size, cache = int(many["body"].str.len_bytes().sum()), TokenCache(many.height)
    encoding(ENCODING)  # loading its ranks takes a second, once in a process
    rates = []
    for _ in ("counted", "known"):
        began = time.process_time()
        count_tokens(many, ENCODING, cache)
        rates.append(size / (time.process_time() - began) / 1e6)
    return [Figure("counting text, and text counted before", f"{rates[0]:,.1f} and {rates[1]:,.0f} MB/s a core")]
