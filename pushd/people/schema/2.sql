-- Version 2: access tokens, and the access control list.

-- `hash` is the token's SHA-256 in hexadecimal digits. `writes` and `reads` are topic filters as a JSON list;
-- NULL for whatever its user may. Times in Unix seconds: `expires_at` and `used_at` are 0 for never.
CREATE TABLE token (
  hash TEXT PRIMARY KEY,
  username TEXT NOT NULL,
  label TEXT NOT NULL,
  writes TEXT,
  reads TEXT,
  rate_per_s REAL NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  used_from TEXT NOT NULL
) WITHOUT ROWID;

-- For who lists them, and who is removed.
CREATE INDEX token_of ON token (username, created_at);

-- `username` is * for everybody. `permission` is read-write, read-only, write-only or deny-all.
CREATE TABLE access (
  username TEXT NOT NULL,
  pattern TEXT NOT NULL,
  permission TEXT NOT NULL,
  PRIMARY KEY (username, pattern)
) WITHOUT ROWID;
