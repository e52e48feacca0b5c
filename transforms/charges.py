"""What the ledger says to budgets: its entries, by organisation."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from schemas.arrow import CHARGES


def charges(usage: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(organisation, its CHARGES) of USAGE rows."""
    entries = usage.set_column(usage.schema.get_field_index("time"), "time", usage["time"].cast(pa.int64()))
    entries = entries.select(CHARGES.names).cast(CHARGES)
    orgs = pl.Series(entries["org"], dtype=pl.String)
    for org in orgs.unique().sort().to_list():
        yield org, entries.filter((orgs == org).to_arrow())
