-- How far each consumer group has come in each partition of the log: the next place, and the number that is expected there.
CREATE TABLE consumer (name TEXT NOT NULL, partition INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER, changed_ms INTEGER NOT NULL,
    PRIMARY KEY (name, partition)) WITHOUT ROWID;
