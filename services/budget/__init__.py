"""The budget service: writes what callers ask into the log of budgets, and answers what the job decided."""
