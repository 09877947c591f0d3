-- Version 4: subscriptions that the server made, and the listener that a session belongs to.

-- 1: the server made it, and may take it away. 2: it did so, and the client gave it up: there is none, and no
-- other is made. NULL: the client's own, as are all before this version.
ALTER TABLE subscriptions ADD COLUMN standing INTEGER;

-- The name of the listener that the client came through last. NULL: not known, as before this version.
ALTER TABLE sessions ADD COLUMN listener TEXT;
