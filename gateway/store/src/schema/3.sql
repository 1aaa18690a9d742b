-- Each class in two halves: rows come into the newer one, and the older one is emptied at a stroke once all of it has been passed,
-- which frees its pages without writing them. What is read is read from both.
ALTER TABLE message_0 RENAME TO message_0_a;
ALTER TABLE message_1 RENAME TO message_1_a;
ALTER TABLE message_2 RENAME TO message_2_a;
ALTER TABLE message_3 RENAME TO message_3_a;
CREATE TABLE message_0_b (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_1_b (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_2_b (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE message_3_b (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, leaf TEXT NOT NULL, wall_ms INTEGER NOT NULL, boot INTEGER NOT NULL,
    since_boot_ms INTEGER NOT NULL, unsynced INTEGER NOT NULL, ttl_ms INTEGER, properties TEXT NOT NULL, untimed INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE VIEW message_0 AS SELECT * FROM message_0_a UNION ALL SELECT * FROM message_0_b;
CREATE VIEW message_1 AS SELECT * FROM message_1_a UNION ALL SELECT * FROM message_1_b;
CREATE VIEW message_2 AS SELECT * FROM message_2_a UNION ALL SELECT * FROM message_2_b;
CREATE VIEW message_3 AS SELECT * FROM message_3_a UNION ALL SELECT * FROM message_3_b;
