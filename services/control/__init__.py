"""The control database: organisations and the API keys that belong to them."""
