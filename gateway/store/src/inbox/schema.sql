-- Commands on their way to leaves, in the order in which they came. state: 0 waiting, 1 begun, 2 given up and kept for a person to look at.
CREATE TABLE command (seq INTEGER PRIMARY KEY, source TEXT NOT NULL, who TEXT NOT NULL, id TEXT NOT NULL, leaf TEXT NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL, since_boot_ms INTEGER NOT NULL,
    unsynced INTEGER NOT NULL, ttl_ms INTEGER NOT NULL, expires_ms INTEGER, state INTEGER NOT NULL, deliveries INTEGER NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL);
-- Dead ones are few among many that wait.
CREATE INDEX command_dead ON command (seq) WHERE state = 2;
-- Every command that was taken, by its source and id, so that one that comes again is known. outcome is empty until there is one.
CREATE TABLE known (seq INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT, outcome TEXT NOT NULL, print INTEGER);
CREATE UNIQUE INDEX known_id ON known (source, id) WHERE id IS NOT NULL;
-- Who had what done, and what became of it. Rows only ever come at the right edge and go at the left.
CREATE TABLE audit (n INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL, since_boot_ms INTEGER NOT NULL,
    unsynced INTEGER NOT NULL, source TEXT NOT NULL, who TEXT NOT NULL, id TEXT NOT NULL, leaf TEXT NOT NULL, event TEXT NOT NULL,
    what TEXT NOT NULL);
