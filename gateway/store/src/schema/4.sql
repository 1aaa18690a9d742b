-- A message's number in its partition, for consumers that read by partition: four times the number, and the partition. Rows that
-- were there before have none.
ALTER TABLE message_0_a ADD COLUMN number INTEGER;
ALTER TABLE message_1_a ADD COLUMN number INTEGER;
ALTER TABLE message_2_a ADD COLUMN number INTEGER;
ALTER TABLE message_3_a ADD COLUMN number INTEGER;
ALTER TABLE message_0_b ADD COLUMN number INTEGER;
ALTER TABLE message_1_b ADD COLUMN number INTEGER;
ALTER TABLE message_2_b ADD COLUMN number INTEGER;
ALTER TABLE message_3_b ADD COLUMN number INTEGER;
DROP VIEW message_0;
DROP VIEW message_1;
DROP VIEW message_2;
DROP VIEW message_3;
CREATE VIEW message_0 AS SELECT * FROM message_0_a UNION ALL SELECT * FROM message_0_b;
CREATE VIEW message_1 AS SELECT * FROM message_1_a UNION ALL SELECT * FROM message_1_b;
CREATE VIEW message_2 AS SELECT * FROM message_2_a UNION ALL SELECT * FROM message_2_b;
CREATE VIEW message_3 AS SELECT * FROM message_3_a UNION ALL SELECT * FROM message_3_b;
