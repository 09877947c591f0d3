-- Version 5: the mark of the push that a message comes from, the archive, and notes.
--
-- All statements have to fit the first page of a file (see version 1), so from now on they are written without
-- blanks, and those of the versions before lose theirs: see "Making Other Kinds Of Table Schema Changes" in
-- SQLite's manual. The triggers of version 1 are made anew, shorter: a body goes when nobody needs it any more.

DROP TRIGGER queued_came;
DROP TRIGGER inflight_came;
DROP TRIGGER queued_went;
DROP TRIGGER inflight_went;
DROP TRIGGER body_unused;
DROP TRIGGER session_went;

-- A JSON array: id, Unix time, seconds that the archive keeps it, whether receipts are wanted (true or false),
-- collapse key, whether its payload is the message object. NULL: an MQTT client sent it.
ALTER TABLE bodies ADD COLUMN push TEXT;
ALTER TABLE scheduled ADD COLUMN push TEXT;

-- Until when everything in the archive is forgotten: rows whose `until` is not later do not count any more, and
-- are deleted a few at a time.
ALTER TABLE progress ADD COLUMN kept_expired INT NOT NULL DEFAULT 0;

PRAGMA writable_schema = ON;
UPDATE sqlite_master SET sql = replace(replace(sql, char(10), ''), '  ', '');
UPDATE sqlite_master SET sql = replace(replace(replace(sql, ', ', ','), ' (', '('), ') ', ')');
UPDATE sqlite_master SET sql = replace(sql, 'INTEGER NOT NULL', 'INT NOT NULL');
PRAGMA writable_schema = RESET;

CREATE TRIGGER queued_came AFTER INSERT ON queued BEGIN INSERT INTO body_users VALUES(new.body,1)ON CONFLICT DO UPDATE SET users=users+1;END;
CREATE TRIGGER inflight_came AFTER INSERT ON inflight WHEN new.body NOTNULL BEGIN INSERT INTO body_users VALUES(new.body,1)ON CONFLICT DO UPDATE SET users=users+1;END;
CREATE TRIGGER queued_went AFTER DELETE ON queued BEGIN UPDATE body_users SET users=users-1 WHERE body=old.body;END;
CREATE TRIGGER inflight_went AFTER DELETE ON inflight BEGIN UPDATE body_users SET users=users-1 WHERE body=old.body;END;
CREATE TRIGGER body_unused AFTER UPDATE ON body_users WHEN new.users=0 BEGIN DELETE FROM body_users WHERE body=new.body;DELETE FROM bodies WHERE id=new.body;END;
CREATE TRIGGER session_went AFTER DELETE ON sessions BEGIN DELETE FROM subscriptions WHERE session=old.id;DELETE FROM queued WHERE session=old.id;DELETE FROM inflight WHERE session=old.id;DELETE FROM received WHERE session=old.id;END;

-- The archive: what was said on topics lately, in the order of `number`, which is that of `at` as well. `at` and
-- `until` are whole seconds. `event`: message, message_clear or message_delete.
CREATE TABLE kept(number INTEGER PRIMARY KEY,id TEXT,at INT,until INT,event TEXT,topic TEXT,payload BLOB,qos INT,retain INT,properties BLOB,expires_at REAL,push TEXT);
CREATE INDEX kept_topic ON kept(topic);
CREATE INDEX kept_id ON kept(id);
CREATE INDEX kept_until ON kept(until);

-- Small facts, which count until `until` (whole seconds).
CREATE TABLE notes(kind TEXT,key TEXT,value BLOB,until INT,PRIMARY KEY(kind,key))WITHOUT ROWID;
