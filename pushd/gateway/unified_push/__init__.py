"""A push service of UnifiedPush and Web Push, and a push gateway of Matrix."""
