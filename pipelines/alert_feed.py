"""The alert rules of a running job: those that the store has by now."""

from clickhouse_connect.driver.client import Client

from pipelines.alert_store import read_rules
from pipelines.store_feed import StoreFeed
from transforms.alerts.fold import Book


class RuleFeed(StoreFeed[Book]):
    """A job does not begin without rules: all that is firing would be told to be over."""

    what = "alert rules"

    def read(self, client: Client) -> Book:
        return read_rules(client)
