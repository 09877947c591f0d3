"""Pure functions from an event to subscriptions or publishes: automatic subscription and routing."""
