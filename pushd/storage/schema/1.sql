-- Version 1: what survives a restart.
--
-- Times are seconds since 1970 (UTC) with a fraction. Sessions go by a number of their own, so that a row of a
-- queue takes a few bytes however long client ids are. Subscription identifiers are decimal numbers with
-- spaces between them, NULL if there are none. Properties are a property list of MQTT 5 (§2.2.2), or NULL.
--
-- SQLite keeps these statements as they are written, comments inside them included. They fit the first page
-- of a file: were they on pages of their own, each would be one more that nothing can be read without.

-- One row: the number of the last batch of changes that was committed. A COMMIT that failed may have had its
-- effect all the same; this tells.
CREATE TABLE progress (last_batch INTEGER NOT NULL);
INSERT INTO progress VALUES (0);

-- Sessions that outlive their connection. `username` NULL: anonymous. `expiry_s`: how long it is kept without
-- a client, NULL: for ever. `left_at`: when its client left, NULL: it was still there.
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  client_id TEXT NOT NULL,
  username TEXT,
  expiry_s REAL,
  left_at REAL
);

-- `filter` with its mount point and $share/NAME/; `identifier` 0: none.
CREATE TABLE subscriptions (
  session INTEGER NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  no_local INTEGER NOT NULL,
  retain_as_published INTEGER NOT NULL,
  retain_handling INTEGER NOT NULL,
  identifier INTEGER NOT NULL,
  PRIMARY KEY (session, filter)
) WITHOUT ROWID;

-- What publications say. Each is here once, however many sessions wait for it.
CREATE TABLE bodies (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  properties BLOB,
  expires_at REAL
);

-- How many rows of `queued` and `inflight` need a body. Not a column of `bodies`: changing that would write a
-- large payload again for each session that has had it.
CREATE TABLE body_users (body INTEGER PRIMARY KEY, users INTEGER NOT NULL);

-- What waits to be sent to a session, in the order of `sequence`.
CREATE TABLE queued (
  session INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  body INTEGER NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  subscription_ids TEXT,
  PRIMARY KEY (session, sequence)
) WITHOUT ROWID;

-- What was sent to a session and is not acknowledged, in the order of `position`. `body` NULL: PUBREC came,
-- only PUBCOMP is still due.
CREATE TABLE inflight (
  session INTEGER NOT NULL,
  packet_id INTEGER NOT NULL,
  position INTEGER NOT NULL,
  body INTEGER,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  subscription_ids TEXT,
  PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;

-- Packet identifiers of QoS 2 messages of a session's client whose PUBREL has not come.
CREATE TABLE received (
  session INTEGER NOT NULL,
  packet_id INTEGER NOT NULL,
  PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;

CREATE TABLE retained (
  topic TEXT PRIMARY KEY,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  properties BLOB,
  expires_at REAL
);

-- Wills of clients that are there, and those that wait; the Will Delay Interval is among the properties. A
-- client needs no session to have one.
CREATE TABLE wills (
  client_id TEXT PRIMARY KEY,
  username TEXT,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  properties BLOB
);

-- A body goes with the last row that needs it.

CREATE TRIGGER queued_came AFTER INSERT ON queued BEGIN
  INSERT INTO body_users VALUES (new.body, 1) ON CONFLICT (body) DO UPDATE SET users = users + 1;
END;

CREATE TRIGGER inflight_came AFTER INSERT ON inflight WHEN new.body IS NOT NULL BEGIN
  INSERT INTO body_users VALUES (new.body, 1) ON CONFLICT (body) DO UPDATE SET users = users + 1;
END;

CREATE TRIGGER queued_went AFTER DELETE ON queued BEGIN
  UPDATE body_users SET users = users - 1 WHERE body = old.body;
  DELETE FROM body_users WHERE body = old.body AND users = 0;
END;

CREATE TRIGGER inflight_went AFTER DELETE ON inflight WHEN old.body IS NOT NULL BEGIN
  UPDATE body_users SET users = users - 1 WHERE body = old.body;
  DELETE FROM body_users WHERE body = old.body AND users = 0;
END;

CREATE TRIGGER body_unused AFTER DELETE ON body_users BEGIN
  DELETE FROM bodies WHERE id = old.body;
END;

-- All that was of a session goes with it.
CREATE TRIGGER session_went AFTER DELETE ON sessions BEGIN
  DELETE FROM subscriptions WHERE session = old.id;
  DELETE FROM queued WHERE session = old.id;
  DELETE FROM inflight WHERE session = old.id;
  DELETE FROM received WHERE session = old.id;
END;
