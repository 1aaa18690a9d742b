//! Users of the page, their sessions and their API tokens. Each change and its line of the audit are one transaction.

use rusqlite::{Connection, Row};
use tidegate_core::{
    account::{Act, ApiToken, Digest, Login, Role, User, UserChange},
    clock::Timestamp,
    device::PasswordHash,
};

use super::{State, StateError, audit};

/// Sessions that one user may have; the one that was used longest ago gives way. More browsers than anybody has.
const MOST_LOGINS: i64 = 32;

const USER: &str = "name, role, password, created_ms, last_login_ms";
const TOKEN: &str = "token.public, token.secret, token.name, token.user, token.role, token.created_ms, token.expires_ms, token.used_ms";

impl State {
    /// Everybody, by name.
    pub async fn users(&self) -> Result<Vec<User>, StateError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {USER} FROM user ORDER BY name"))?;
            let mut rows = statement.query([])?;
            let mut users = Vec::new();
            while let Some(row) = rows.next()? {
                users.push(read_user(row)?);
            }
            Ok(users)
        })
        .await
    }

    /// One of them.
    pub async fn user(&self, name: String) -> Result<Option<User>, StateError> {
        self.run(move |connection| find(connection, &name)).await
    }

    /// Makes the first user. [`UserChange::Exists`] when there is one already, whatever their name.
    pub async fn claim(&self, user: User, act: Act) -> Result<UserChange, StateError> {
        self.run(move |connection| {
            if connection.query_row("SELECT EXISTS (SELECT 1 FROM user)", [], |row| row.get(0))? {
                return Ok(UserChange::Exists);
            }
            insert(connection, user, &act)
        })
        .await
    }

    /// Makes a user.
    pub async fn create_user(&self, user: User, act: Act) -> Result<UserChange, StateError> {
        self.run(move |connection| match find(connection, &user.name)? {
            Some(_) => Ok(UserChange::Exists),
            None => insert(connection, user, &act),
        })
        .await
    }

    /// Gives a user another role or password, or both. Another password ends their sessions but the one that is named.
    pub async fn change_user(
        &self,
        name: String,
        role: Option<Role>,
        password: Option<PasswordHash>,
        keep: Option<Digest>,
        act: Act,
    ) -> Result<UserChange, StateError> {
        self.run(move |connection| {
            let Some(mut user) = find(connection, &name)? else { return Ok(UserChange::Missing) };
            if role.is_some_and(|role| role != Role::Admin) && is_last_admin(connection, &user)? {
                return Ok(UserChange::LastAdmin);
            }
            if let Some(password) = password {
                user.password = password;
                let keep = keep.map_or_else(Vec::new, |keep| keep.0.to_vec());
                connection.prepare_cached("DELETE FROM login WHERE user=? AND secret<>?")?.execute((&name, keep))?;
            }
            user.role = role.unwrap_or(user.role);
            connection.prepare_cached("UPDATE user SET role=?, password=? WHERE name=?")?.execute((
                user.role.word(),
                &user.password.0,
                &name,
            ))?;
            audit::add(connection, &act)?;
            Ok(UserChange::Done(user))
        })
        .await
    }

    /// Takes a user away with their sessions and tokens.
    pub async fn delete_user(&self, name: String, act: Act) -> Result<UserChange, StateError> {
        self.run(move |connection| {
            let Some(user) = find(connection, &name)? else { return Ok(UserChange::Missing) };
            if is_last_admin(connection, &user)? {
                return Ok(UserChange::LastAdmin);
            }
            connection.prepare_cached("DELETE FROM user WHERE name=?")?.execute([&name])?;
            audit::add(connection, &act)?;
            Ok(UserChange::Done(user))
        })
        .await
    }

    /// Begins a session, and notes that the user has logged in. Nothing if they have gone in between.
    pub async fn begin_login(&self, login: Login, act: Act) -> Result<(), StateError> {
        self.run(move |connection| {
            if find(connection, &login.user)?.is_none() {
                return Ok(());
            }
            connection
                .prepare_cached("INSERT INTO login (secret, user, created_ms, used_ms) VALUES (?,?,?,?)")?
                .execute((login.secret.0.as_slice(), &login.user, login.created.0, login.used.0))?;
            connection
                .prepare_cached(
                    "DELETE FROM login WHERE user=?1 AND id NOT IN (SELECT id FROM login WHERE user=?1 ORDER BY used_ms DESC, id DESC LIMIT ?2)",
                )?
                .execute((&login.user, MOST_LOGINS))?;
            connection.prepare_cached("UPDATE user SET last_login_ms=? WHERE name=?")?.execute((login.created.0, &login.user))?;
            audit::add(connection, &act)
        })
        .await
    }

    /// The session of this secret, and what its user may do now.
    pub async fn login(&self, secret: Digest) -> Result<Option<(Login, Role)>, StateError> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT login.user, login.created_ms, used_ms, role FROM login JOIN user ON user.name=login.user WHERE secret=?",
            )?;
            let mut rows = statement.query([secret.0.as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let login = Login { secret, user: row.get(0)?, created: Timestamp(row.get(1)?), used: Timestamp(row.get(2)?) };
            Ok(Some((login, role(&row.get::<_, String>(3)?)?)))
        })
        .await
    }

    /// Notes that a session and a token were used.
    pub async fn touch(&self, secret: Digest, now: Timestamp) -> Result<(), StateError> {
        self.run(move |connection| {
            let values = (now.0, secret.0.as_slice());
            connection.prepare_cached("UPDATE login SET used_ms=? WHERE secret=?")?.execute(values)?;
            connection.prepare_cached("UPDATE token SET used_ms=? WHERE secret=?")?.execute(values)?;
            Ok(())
        })
        .await
    }

    /// Ends a session.
    pub async fn end_login(&self, secret: Digest, act: Act) -> Result<(), StateError> {
        self.run(move |connection| {
            let ended = connection.prepare_cached("DELETE FROM login WHERE secret=?")?.execute([secret.0.as_slice()])?;
            if ended > 0 { audit::add(connection, &act) } else { Ok(()) }
        })
        .await
    }

    /// Every token, by when it was made.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, StateError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {TOKEN} FROM token ORDER BY token.id"))?;
            let mut rows = statement.query([])?;
            let mut tokens = Vec::new();
            while let Some(row) = rows.next()? {
                tokens.push(read_token(row)?);
            }
            Ok(tokens)
        })
        .await
    }

    /// Keeps a token. `false` if its user has gone, or there are as many as there may be.
    pub async fn create_token(&self, token: ApiToken, most: usize, act: Act) -> Result<bool, StateError> {
        self.run(move |connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM token", [], |row| row.get(0))?;
            if find(connection, &token.user)?.is_none() || count.unsigned_abs() >= most as u64 {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO token (public, secret, name, user, role, created_ms, expires_ms, used_ms) VALUES (?,?,?,?,?,?,?,?)",
                )?
                .execute((
                    &token.id,
                    token.secret.0.as_slice(),
                    &token.name,
                    &token.user,
                    token.role.word(),
                    token.created.0,
                    token.expires.map(|t| t.0),
                    token.used.map(|t| t.0),
                ))?;
            audit::add(connection, &act)?;
            Ok(true)
        })
        .await
    }

    /// The token of this secret. Its role is never more than its user's is now.
    pub async fn token(&self, secret: Digest) -> Result<Option<ApiToken>, StateError> {
        self.run(move |connection| {
            let sql = format!("SELECT {TOKEN}, user.role FROM token JOIN user ON user.name=token.user WHERE secret=?");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([secret.0.as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let mut token = read_token(row)?;
            token.role = token.role.min(role(&row.get::<_, String>(8)?)?);
            Ok(Some(token))
        })
        .await
    }

    /// Takes a token away. `false` if there is none of this id.
    pub async fn delete_token(&self, id: String, act: Act) -> Result<bool, StateError> {
        self.run(move |connection| {
            let gone = connection.prepare_cached("DELETE FROM token WHERE public=?")?.execute([&id])? > 0;
            if gone {
                audit::add(connection, &act)?;
            }
            Ok(gone)
        })
        .await
    }

    /// Takes away the sessions that nobody has used since one time or that began before another.
    pub async fn end_old_logins(&self, used_before: Timestamp, created_before: Timestamp) -> Result<(), StateError> {
        self.run(move |connection| {
            let old = "DELETE FROM login WHERE used_ms < ? OR created_ms < ?";
            connection.prepare_cached(old)?.execute((used_before.0, created_before.0))?;
            Ok(())
        })
        .await
    }
}

fn find(connection: &Connection, name: &str) -> Result<Option<User>, StateError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {USER} FROM user WHERE name=?"))?;
    let mut rows = statement.query([name])?;
    rows.next()?.map(read_user).transpose()
}

fn insert(connection: &Connection, user: User, act: &Act) -> Result<UserChange, StateError> {
    connection.prepare_cached(&format!("INSERT INTO user ({USER}) VALUES (?,?,?,?,?)"))?.execute((
        &user.name,
        user.role.word(),
        &user.password.0,
        user.created.0,
        user.last_login.map(|t| t.0),
    ))?;
    audit::add(connection, act)?;
    Ok(UserChange::Done(user))
}

fn is_last_admin(connection: &Connection, user: &User) -> Result<bool, StateError> {
    let others = "SELECT NOT EXISTS (SELECT 1 FROM user WHERE role='admin' AND name<>?)";
    Ok(user.role == Role::Admin && connection.prepare_cached(others)?.query_row([&user.name], |row| row.get(0))?)
}

fn role(word: &str) -> Result<Role, StateError> {
    Role::from_word(word).ok_or_else(|| StateError::Row(format!("the role {word}")))
}

fn read_user(row: &Row<'_>) -> Result<User, StateError> {
    Ok(User {
        name: row.get(0)?,
        role: role(&row.get::<_, String>(1)?)?,
        password: PasswordHash(row.get(2)?),
        created: Timestamp(row.get(3)?),
        last_login: row.get::<_, Option<i64>>(4)?.map(Timestamp),
    })
}

fn read_token(row: &Row<'_>) -> Result<ApiToken, StateError> {
    let id: String = row.get(0)?;
    let secret: [u8; 32] = row.get(1).map_err(|_| StateError::Row(format!("the token {id}")))?;
    Ok(ApiToken {
        secret: Digest(secret),
        id,
        name: row.get(2)?,
        user: row.get(3)?,
        role: role(&row.get::<_, String>(4)?)?,
        created: Timestamp(row.get(5)?),
        expires: row.get::<_, Option<i64>>(6)?.map(Timestamp),
        used: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, role: Role) -> User {
        User { name: name.into(), role, password: PasswordHash("$argon2id$x".into()), created: Timestamp(1), last_login: None }
    }

    fn act(what: &'static str) -> Act {
        Act {
            at: Timestamp(5),
            who: "ada".into(),
            from: "::1".into(),
            what,
            target: String::new(),
            detail: String::new(),
            result: "ok".into(),
        }
    }

    fn login(n: u8, user: &str) -> Login {
        Login { secret: Digest([n; 32]), user: user.into(), created: Timestamp(10), used: Timestamp(10 + i64::from(n)) }
    }

    fn token(n: u8, user: &str, role: Role) -> ApiToken {
        let name = "grafana".into();
        let (id, secret, user) = (format!("t{n}"), Digest([n; 32]), user.to_owned());
        ApiToken { id, secret, name, user, role, created: Timestamp(1), expires: None, used: None }
    }

    async fn with_ada() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, _) = State::open(dir.path()).expect("opens");
        assert!(matches!(state.claim(user("ada", Role::Admin), act("claim")).await, Ok(UserChange::Done(_))));
        (dir, state)
    }

    #[tokio::test]
    async fn a_box_is_claimed_once_and_its_claim_survives_a_kill() {
        let (dir, state) = with_ada().await;
        drop(state);
        let (state, _) = State::open(dir.path()).expect("opens");
        assert_eq!(state.claim(user("eve", Role::Admin), act("claim")).await.expect("asked"), UserChange::Exists);
        assert_eq!(state.users().await.expect("readable"), [user("ada", Role::Admin)]);
        let acts = state.acts(None, 10).await.expect("readable");
        assert_eq!(acts.len(), 1, "what changed nothing is no line: {acts:?}");
    }

    #[tokio::test]
    async fn the_last_admin_can_neither_go_nor_become_less() {
        let (_dir, state) = with_ada().await;
        let ada = || "ada".to_owned();
        assert_eq!(state.delete_user(ada(), act("x")).await.expect("asked"), UserChange::LastAdmin);
        assert_eq!(state.change_user(ada(), Some(Role::Viewer), None, None, act("x")).await.expect("asked"), UserChange::LastAdmin);
        state.create_user(user("bob", Role::Admin), act("x")).await.expect("kept");
        assert!(matches!(state.delete_user(ada(), act("x")).await, Ok(UserChange::Done(_))));
        assert_eq!(state.delete_user("bob".into(), act("x")).await.expect("asked"), UserChange::LastAdmin);
    }

    #[tokio::test]
    async fn who_goes_takes_sessions_and_tokens_along() {
        let (_dir, state) = with_ada().await;
        state.create_user(user("bob", Role::Operator), act("x")).await.expect("kept");
        state.begin_login(login(1, "bob"), act("login")).await.expect("kept");
        assert!(state.create_token(token(2, "bob", Role::Admin), 10, act("x")).await.expect("kept"));
        let (_, role) = state.login(Digest([1; 32])).await.expect("readable").expect("there");
        assert_eq!(role, Role::Operator);
        let may = state.token(Digest([2; 32])).await.expect("readable").expect("there").role;
        assert_eq!(may, Role::Operator, "never more than its user");
        state.delete_user("bob".into(), act("x")).await.expect("gone");
        assert_eq!(state.login(Digest([1; 32])).await.expect("readable"), None);
        assert_eq!(state.token(Digest([2; 32])).await.expect("readable"), None);
    }

    #[tokio::test]
    async fn a_new_password_ends_the_other_sessions_and_old_ones_give_way() {
        let (_dir, state) = with_ada().await;
        for n in 0..40 {
            state.begin_login(login(n, "ada"), act("login")).await.expect("kept");
        }
        assert_eq!(state.login(Digest([7; 32])).await.expect("readable"), None, "the oldest of more than 32");
        assert!(state.login(Digest([8; 32])).await.expect("readable").is_some());
        let new = Some(PasswordHash("$new".into()));
        state.change_user("ada".into(), None, new, Some(Digest([39; 32])), act("x")).await.expect("kept");
        assert_eq!(state.login(Digest([38; 32])).await.expect("readable"), None);
        assert!(state.login(Digest([39; 32])).await.expect("readable").is_some(), "the one that changed it");
        state.end_old_logins(Timestamp(1_000), Timestamp(0)).await.expect("kept");
        assert_eq!(state.login(Digest([39; 32])).await.expect("readable"), None);
    }
}
