-- Version 2: a journal, and messages for later.

-- One row for each batch of changes that is not in the other tables yet: pushd.storage.blob says how a batch
-- is written. They are all applied, in their order, when the file is read.
CREATE TABLE journal (number INTEGER PRIMARY KEY, changes BLOB NOT NULL);

-- What is to be published at `due_at`.
CREATE TABLE scheduled (
  id TEXT PRIMARY KEY,
  due_at REAL NOT NULL,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  properties BLOB,
  expires_at REAL
);
