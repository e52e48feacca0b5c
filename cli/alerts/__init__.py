"""Rules files, and what the commands show of alerts."""
