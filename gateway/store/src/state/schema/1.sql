-- Every table has a rowid, because salvaging walks along it.
-- The registry: devices (module '') and their modules. primary_secret and secondary_secret hold base64 keys, thumbprints or,
-- for 'password', the hash, according to proof.
CREATE TABLE device (id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, module TEXT NOT NULL, generation TEXT NOT NULL,
    etag INTEGER NOT NULL, enabled INTEGER NOT NULL, reason TEXT, proof TEXT NOT NULL, primary_secret TEXT NOT NULL,
    secondary_secret TEXT NOT NULL, created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL, UNIQUE (device, module));
-- Its twin; made with it. Sections are JSON objects without $version and $metadata; stamps mirrors desired and reported with when
-- and at which version each part changed.
CREATE TABLE twin (device INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE, version INTEGER NOT NULL,
    tags TEXT NOT NULL, desired TEXT NOT NULL, desired_version INTEGER NOT NULL, desired_stamps TEXT NOT NULL,
    reported TEXT NOT NULL, reported_version INTEGER NOT NULL, reported_stamps TEXT NOT NULL);
-- An MQTT session that outlives its connection; c2d is the QoS at which it is subscribed to C2D messages, or NULL.
CREATE TABLE session (device INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE, c2d INTEGER);
-- C2D messages that wait for their device, oldest first. deliveries counts abandons only (reference §3.2).
CREATE TABLE c2d (id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    enqueued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, deliveries INTEGER NOT NULL, ack TEXT NOT NULL, message_id TEXT,
    properties TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX c2d_of_device ON c2d (device, id);
CREATE INDEX c2d_expiry ON c2d (expires_ms);
-- What became of C2D messages whose sender wanted to know, until it has read it or it is too old.
CREATE TABLE feedback (id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL, enqueued_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, code TEXT NOT NULL);
