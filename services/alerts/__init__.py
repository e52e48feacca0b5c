"""The notifier: hears of incidents and of budgets, and tells those whom it concerns, each once."""
