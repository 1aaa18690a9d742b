//! Claim, log-in, users, tokens, audit.

use serde::{Deserialize, Serialize};
use tidegate_core::account::{ApiToken, KeptAct, Role, User};
use utoipa::{IntoParams, ToSchema};

/// A secret that somebody typed: not shown in debug texts.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// Who asks, and what they ask.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionView {
    /// Whether anybody has claimed the gateway.
    pub claimed: bool,
    /// The gateway's id.
    pub gateway: String,
    /// The program's version.
    pub version: String,
    /// Whether this is HTTPS.
    pub https: bool,
    /// Who is logged in; null for nobody.
    pub user: Option<MeView>,
}

/// Who is logged in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MeView {
    /// The user's name.
    pub name: String,
    /// What they may do.
    pub role: RoleWord,
    /// How they are known.
    pub via: Via,
    /// When the session or token ends if it is not used any more.
    pub expires: Option<String>,
}

/// How somebody is known.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// By a cookie.
    Session,
    /// By an API token.
    Token,
}

/// What somebody may do; each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleWord {
    /// See everything but users, tokens and secrets.
    Viewer,
    /// And: commands, look, find, tests, downloads.
    Operator,
    /// And: configuration, users, tokens, system.
    Admin,
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => RoleWord::Viewer,
            Role::Operator => RoleWord::Operator,
            Role::Admin => RoleWord::Admin,
        }
    }
}

impl From<RoleWord> for Role {
    fn from(role: RoleWord) -> Self {
        match role {
            RoleWord::Viewer => Role::Viewer,
            RoleWord::Operator => Role::Operator,
            RoleWord::Admin => Role::Admin,
        }
    }
}

/// The first visit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// As shown on the console and in the journal; case, spaces and dashes do not matter.
    #[schema(value_type = String, max_length = 64)]
    pub code: Hidden,
    /// The first admin's name.
    #[schema(max_length = 64)]
    pub name: String,
    /// 10 to 128 characters.
    #[schema(value_type = String, max_length = 128)]
    pub password: Hidden,
}

/// A log-in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The user's name.
    #[schema(max_length = 64)]
    pub name: String,
    /// Their password.
    #[schema(value_type = String, max_length = 128)]
    pub password: Hidden,
}

/// One's own new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The present one.
    #[schema(value_type = String, max_length = 128)]
    pub old: Hidden,
    /// 10 to 128 characters.
    #[schema(value_type = String, max_length = 128)]
    pub new: Hidden,
}

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// 1 to 64 letters, digits, `.`, `_` or `-`.
    #[schema(max_length = 64)]
    pub name: String,
    /// 10 to 128 characters.
    #[schema(value_type = String, max_length = 128)]
    pub password: Hidden,
    /// What they may do.
    pub role: RoleWord,
}

/// What changes about a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChangeRequest {
    /// What they may do from now on.
    pub role: Option<RoleWord>,
    /// Their new password; it ends their sessions.
    #[schema(value_type = Option<String>, max_length = 128)]
    pub password: Option<Hidden>,
}

/// A user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: RoleWord,
    /// When they were made.
    pub created: String,
    /// When they last logged in.
    pub last_login: Option<String>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let last_login = user.last_login.map(|at| at.to_string());
        Self { name: user.name, role: user.role.into(), created: user.created.to_string(), last_login }
    }
}

/// A new API token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is for: 1 to 64 letters, digits, `.`, `_` or `-`.
    #[schema(max_length = 64)]
    pub name: String,
    /// What it may do; not more than who makes it.
    pub role: RoleWord,
    /// Seconds until it ends; null: when it is deleted.
    #[schema(minimum = 60, maximum = 315360000)]
    pub expires_in_s: Option<u64>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenView {
    /// By which it is deleted.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: RoleWord,
    /// Who made it.
    pub user: String,
    /// When it was made.
    pub created: String,
    /// When it ends.
    pub expires: Option<String>,
    /// When it was last used, to within a few minutes.
    pub last_used: Option<String>,
    /// Its text, shown once: when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl From<ApiToken> for TokenView {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role.into(),
            user: token.user,
            created: token.created.to_string(),
            expires: token.expires.map(|at| at.to_string()),
            last_used: token.used.map(|at| at.to_string()),
            token: None,
        }
    }
}

/// A line of the audit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActView {
    /// Rises with each line.
    pub id: u64,
    /// When.
    pub at: String,
    /// The user; for a token `user/token`; empty for somebody who was not logged in.
    pub who: String,
    /// The address they came from.
    pub from: String,
    /// What was done.
    pub what: String,
    /// To whom or what.
    pub target: String,
    /// More.
    pub detail: String,
    /// `ok`, or why not.
    pub result: String,
}

impl From<KeptAct> for ActView {
    fn from(act: KeptAct) -> Self {
        let KeptAct { id, at, who, from, what, target, detail, result } = act;
        Self { id, at: at.to_string(), who, from, what, target, detail, result }
    }
}

/// Which part of a list that has the newest first.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Before {
    /// The `next` of the page before.
    pub before: Option<u64>,
    /// Entries, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Entries, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// How much of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Limit {
    /// Entries, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// What a list's limit means.
pub(crate) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(100).clamp(1, 1000)
}
