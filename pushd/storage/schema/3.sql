-- Version 3: who has retained a message, so that it can be asked later whether they still may.

-- A JSON array: client id, user name (null: anonymous), name of the listener. NULL: nobody who could lose the
-- right to, or not known, as of all that was retained before this version.
ALTER TABLE retained ADD COLUMN source TEXT;
ALTER TABLE scheduled ADD COLUMN source TEXT;
