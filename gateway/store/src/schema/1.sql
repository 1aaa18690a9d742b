-- One table per class; rows only ever come at the right edge and go at the left.
CREATE TABLE message_0 (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_1 (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_2 (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_3 (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
-- Totals, the next seq and the readers' places: small JSON texts that share one page.
CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- What was given up. state: 0 may still grow, 1 closed and not yet at the hub, 2 at the hub.
CREATE TABLE gap (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, reader TEXT NOT NULL, leaf TEXT NOT NULL, class INTEGER NOT NULL,
    reason TEXT NOT NULL, count INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, state INTEGER NOT NULL);
-- Few rows are open or waiting to be told, among many that are told: both are found without reading the rest.
CREATE INDEX gap_open ON gap (reader, leaf, class, reason) WHERE state = 0;
CREATE INDEX gap_untold ON gap (reader) WHERE state = 1;
