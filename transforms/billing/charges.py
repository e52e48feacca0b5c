"""What the ledger says to budgets: its entries, by organisation."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from schemas.arrow import CHARGES

_MOST_ROWS = 500  # of one piece, so that decisions of the organisation come between pieces


def charges(usage: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(organisation, its CHARGES) of USAGE rows, 500 of them at most."""
    entries = usage.set_column(usage.schema.get_field_index("time"), "time", usage["time"].cast(pa.int64()))
    entries = entries.select(CHARGES.names).cast(CHARGES)
    orgs = pl.Series(entries["org"], dtype=pl.String)
    for org in orgs.unique().sort().to_list():
        rows = entries.filter((orgs == org).to_arrow())
        for start in range(0, rows.num_rows, _MOST_ROWS):
            yield org, rows.slice(start, _MOST_ROWS)
