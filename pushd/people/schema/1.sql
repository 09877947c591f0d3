-- Version 1: people.
--
-- Names and filters are compared byte by byte (UTF-8), so their order is that of code points.

-- `password_hash` as in a password file, or $md5$SALT$HEX. `created_at` in Unix seconds.
CREATE TABLE account (
  username TEXT PRIMARY KEY,
  password_hash TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Who follows whom. Neither needs an account.
CREATE TABLE follow (
  follower TEXT NOT NULL,
  followed TEXT NOT NULL,
  PRIMARY KEY (follower, followed)
) WITHOUT ROWID;

-- For who is removed: all who follow this user.
CREATE INDEX follow_back ON follow (followed);

-- What the server subscribes each session of a user to.
CREATE TABLE subscription (
  username TEXT NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  PRIMARY KEY (username, filter)
) WITHOUT ROWID;

-- Who has ever connected.
CREATE TABLE connected (username TEXT PRIMARY KEY) WITHOUT ROWID;

-- The newest changes, for all who have the file open; `aspect` is a word of pushd.people.interfaces.Aspect.
-- AUTOINCREMENT: a number is never used twice, and none is left out. So whoever finds the number behind the
-- last one it knows has missed nothing.
CREATE TABLE change (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  username TEXT NOT NULL,
  aspect TEXT NOT NULL
);
