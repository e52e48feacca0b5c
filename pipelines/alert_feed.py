"""The alert rules of a running job: those that the store has by now."""

from clickhouse_connect.driver.client import Client

from pipelines.alert_store import read_rules
from pipelines.feed import Feed
from transforms.alerts.fold import Book


class RuleFeed(Feed[Book]):
    """A job does not begin without rules: all that is firing would be told to be over."""

    what = "alert rules"

    def read(self, client: Client) -> Book:
        return read_rules(client)
