"""What gateway, budget service and notifier do in the same way."""
