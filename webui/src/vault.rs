//! What must survive a power cut: users, sessions, tokens and the audit. Kept by whoever implements this.
//!
//! What has returned `Ok` is durable, together with the line of the audit that was given with it. What has returned an error
//! changed nothing.

use std::fmt;

use async_trait::async_trait;
use tidegate_core::{
    account::{Act, ApiToken, Digest, KeptAct, Login, Role, User, UserChange},
    clock::Timestamp,
    device::PasswordHash,
};

/// Why something was not kept or found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct VaultError(pub String);

/// What every operation returns.
pub type Kept<T> = Result<T, VaultError>;

/// Keeps accounts.
#[async_trait]
pub trait Vault: Send + Sync + fmt::Debug + 'static {
    /// Everybody, by name. Few: people who look after one gateway.
    async fn users(&self) -> Kept<Vec<User>>;
    /// One of them.
    async fn user(&self, name: &str) -> Kept<Option<User>>;
    /// Makes the first user; [`UserChange::Exists`] when there is anybody already.
    async fn claim(&self, user: User, act: Act) -> Kept<UserChange>;
    /// Makes a user.
    async fn create_user(&self, user: User, act: Act) -> Kept<UserChange>;
    /// Another role or password. Another password ends the user's sessions but the one to keep.
    async fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<PasswordHash>,
        keep: Option<Digest>,
        act: Act,
    ) -> Kept<UserChange>;
    /// Takes a user away, with sessions and tokens.
    async fn delete_user(&self, name: &str, act: Act) -> Kept<UserChange>;

    /// Begins a session.
    async fn begin_login(&self, login: Login, act: Act) -> Kept<()>;
    /// A session and what its user may do now.
    async fn login(&self, secret: Digest) -> Kept<Option<(Login, Role)>>;
    /// A session or token was used.
    async fn touch(&self, secret: Digest, now: Timestamp) -> Kept<()>;
    /// Ends a session.
    async fn end_login(&self, secret: Digest, act: Act) -> Kept<()>;
    /// Takes away sessions not used since, or begun before.
    async fn end_old_logins(&self, used_before: Timestamp, created_before: Timestamp) -> Kept<()>;

    /// Every token.
    async fn tokens(&self) -> Kept<Vec<ApiToken>>;
    /// Keeps a token; `false` when there are as many as there may be, or its user has gone.
    async fn create_token(&self, token: ApiToken, most: usize, act: Act) -> Kept<bool>;
    /// A token, with no more rights than its user has now.
    async fn token(&self, secret: Digest) -> Kept<Option<ApiToken>>;
    /// Takes a token away; `false` when there is none of this id.
    async fn delete_token(&self, id: &str, act: Act) -> Kept<bool>;

    /// A line of the audit that belongs to a change elsewhere.
    async fn record(&self, act: Act) -> Kept<()>;
    /// The latest lines before this one, newest first.
    async fn acts(&self, before: Option<u64>, most: usize) -> Kept<Vec<KeptAct>>;
}
