-- Who may use the page: people (argon2id hash as PHC text), their sessions and API tokens (SHA-256 of the secret text).
CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password TEXT NOT NULL,
    created_ms INTEGER NOT NULL, last_login_ms INTEGER);
CREATE TABLE login (id INTEGER PRIMARY KEY, secret BLOB NOT NULL UNIQUE, user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL);
CREATE INDEX login_of_user ON login (user, used_ms);
CREATE TABLE token (id INTEGER PRIMARY KEY, public TEXT NOT NULL UNIQUE, secret BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE, role TEXT NOT NULL, created_ms INTEGER NOT NULL,
    expires_ms INTEGER, used_ms INTEGER);
CREATE INDEX token_of_user ON token (user);
-- Who changed what. Lines are only ever added; the oldest give way when there are very many.
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL,
    what TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL, result TEXT NOT NULL);
