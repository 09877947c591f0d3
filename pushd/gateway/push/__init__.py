"""Pushes to whomever: targets, receipts, later, webhooks."""
