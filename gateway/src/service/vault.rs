//! `state.db` as the page's vault: each operation as it is, in the page's words.

use async_trait::async_trait;
use tidegate_core::{
    account::{Act, ApiToken, Digest, KeptAct, Login, Role, User, UserChange},
    clock::Timestamp,
    device::PasswordHash,
};
use tidegate_store::{State, StateError};
use tidegate_webui::{Vault, VaultError, vault::Kept};

/// Users, sessions, tokens and audit in `state.db`.
#[derive(Debug, Clone)]
pub(super) struct StateVault(pub(super) State);

fn kept<T>(answer: Result<T, StateError>) -> Kept<T> {
    answer.map_err(|error| VaultError(error.to_string()))
}

#[async_trait]
impl Vault for StateVault {
    async fn users(&self) -> Kept<Vec<User>> {
        kept(self.0.users().await)
    }

    async fn user(&self, name: &str) -> Kept<Option<User>> {
        kept(self.0.user(name.to_owned()).await)
    }

    async fn claim(&self, user: User, act: Act) -> Kept<UserChange> {
        kept(self.0.claim(user, act).await)
    }

    async fn create_user(&self, user: User, act: Act) -> Kept<UserChange> {
        kept(self.0.create_user(user, act).await)
    }

    async fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<PasswordHash>,
        keep: Option<Digest>,
        act: Act,
    ) -> Kept<UserChange> {
        kept(self.0.change_user(name.to_owned(), role, password, keep, act).await)
    }

    async fn delete_user(&self, name: &str, act: Act) -> Kept<UserChange> {
        kept(self.0.delete_user(name.to_owned(), act).await)
    }

    async fn begin_login(&self, login: Login, act: Act) -> Kept<()> {
        kept(self.0.begin_login(login, act).await)
    }

    async fn login(&self, secret: Digest) -> Kept<Option<(Login, Role)>> {
        kept(self.0.login(secret).await)
    }

    async fn touch(&self, secret: Digest, now: Timestamp) -> Kept<()> {
        kept(self.0.touch(secret, now).await)
    }

    async fn end_login(&self, secret: Digest, act: Act) -> Kept<()> {
        kept(self.0.end_login(secret, act).await)
    }

    async fn end_old_logins(&self, used_before: Timestamp, created_before: Timestamp) -> Kept<()> {
        kept(self.0.end_old_logins(used_before, created_before).await)
    }

    async fn tokens(&self) -> Kept<Vec<ApiToken>> {
        kept(self.0.tokens().await)
    }

    async fn create_token(&self, token: ApiToken, most: usize, act: Act) -> Kept<bool> {
        kept(self.0.create_token(token, most, act).await)
    }

    async fn token(&self, secret: Digest) -> Kept<Option<ApiToken>> {
        kept(self.0.token(secret).await)
    }

    async fn delete_token(&self, id: &str, act: Act) -> Kept<bool> {
        kept(self.0.delete_token(id.to_owned(), act).await)
    }

    async fn record(&self, act: Act) -> Kept<()> {
        kept(self.0.record(act).await)
    }

    async fn acts(&self, before: Option<u64>, most: usize) -> Kept<Vec<KeptAct>> {
        kept(self.0.acts(before, most).await)
    }
}
