-- Retained messages of the site bus, and leaves that its rules have found, with the device that speaks for each.
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE site_leaf (leaf TEXT PRIMARY KEY, rule TEXT NOT NULL, speaker TEXT NOT NULL) WITHOUT ROWID;
