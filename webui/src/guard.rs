//! Who asks, and whether they may: before any route is reached.
//!
//! - A browser shows a cookie: 256 random bits, HttpOnly, SameSite=Strict; of it only the SHA-256 is kept. A program shows
//!   `Authorization: Bearer tg_…`.
//! - A request that changes something and may carry a cookie must come from our own page: browsers say so in `Origin` or
//!   `Sec-Fetch-Site`, and a page of another site cannot make them lie. A program's token is not sent by browsers by themselves, so it needs
//!   no such rule.
//! - Sessions that were found are remembered for a moment, so that a busy page does not ask the disk each time; every change to
//!   users, sessions or tokens forgets all of them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};
use tidegate_core::{
    account::{Act, Digest, Role},
    clock::Timestamp,
};

use crate::{Problem, state::Shared};

/// A session that nobody uses ends after this.
pub(crate) const IDLE: Duration = Duration::from_secs(12 * 3600);
/// A session ends after this even if it is used.
pub(crate) const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How exactly the last use is kept: each note of it is a flush.
const TOUCH: Duration = Duration::from_secs(300);
/// How long a session that was found is believed without asking again.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Sessions and tokens remembered.
const MOST_REMEMBERED: usize = 256;
/// What API tokens begin with, so that people and scanners know one when they see it.
pub(crate) const TOKEN_PREFIX: &str = "tg_";
/// Longest cookie or token text that is looked at.
const LONGEST_SECRET: usize = 128;

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub struct Who {
    /// The user.
    pub user: String,
    /// What they may do now.
    pub role: Role,
    /// The token's name, if it is a program.
    pub token: Option<String>,
    /// By what they were known.
    pub(crate) secret: Digest,
    /// When the session or token ends if it is not used any more.
    pub expires: Option<Timestamp>,
    /// Where they come from.
    pub from: IpAddr,
}

impl Who {
    /// As the audit names them.
    pub fn name(&self) -> String {
        match &self.token {
            Some(token) => format!("{}/{token}", self.user),
            None => self.user.clone(),
        }
    }

    /// Whether they may still read a stream: one whose session was ended elsewhere, or is over, may not. `known` is the state of all
    /// accounts when this was last looked at.
    pub(crate) async fn may_stay(&mut self, shared: &Shared, known_changes: &mut u64) -> bool {
        let over = self.expires.is_some_and(|expires| expires <= shared.now());
        let changes = shared.doorman.changes();
        if !over && changes == *known_changes {
            return true;
        }
        *known_changes = changes;
        match known(shared, self.secret, self.token.is_some(), self.from).await {
            Ok(Some(who)) => {
                *self = who;
                true
            }
            _ => false,
        }
    }

    /// For what only some forms of a request need.
    pub(crate) fn at_least_operator(&self) -> Result<(), Problem> {
        if self.role >= Role::Operator { Ok(()) } else { Err(self.may_not(Role::Operator)) }
    }

    fn may_not(&self, role: Role) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "not-allowed", "You may not do this")
            .detail(format!("{} is {}; this needs {}", self.name(), self.role.word(), role.word()))
            .next("ask an admin")
    }

    /// A line of the audit about something they did.
    pub(crate) fn act(&self, at: Timestamp, what: &'static str, target: &str, detail: &str) -> Act {
        let (target, detail) = (target.to_owned(), detail.to_owned());
        Act { at, who: self.name(), from: self.from.to_string(), what, target, detail, result: "ok".to_owned() }
    }
}

/// Knows sessions and tokens.
#[derive(Debug, Default)]
pub(crate) struct Doorman {
    found: Mutex<HashMap<Digest, (Instant, Option<Who>)>>,
    /// Rises when anything about accounts has changed: open streams look again.
    changes: AtomicU64,
}

impl Doorman {
    /// Something about accounts has changed.
    pub(crate) fn forget(&self) {
        self.changes.fetch_add(1, Relaxed);
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    fn remembered(&self, secret: Digest) -> Option<Option<Who>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&secret).filter(|(at, _)| at.elapsed() < REMEMBERED).map(|(_, who)| who.clone())
    }

    fn remember(&self, secret: Digest, who: &Option<Who>, changes: u64) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        // What was looked up before a change is not kept after it.
        if changes != self.changes() {
            return;
        }
        if found.len() >= MOST_REMEMBERED {
            found.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
            if found.len() >= MOST_REMEMBERED {
                found.clear();
            }
        }
        found.insert(secret, (Instant::now(), who.clone()));
    }
}

/// What a secret text is found by.
pub(crate) fn digest(secret: &str) -> Digest {
    Digest(Sha256::digest(secret.as_bytes()).into())
}

/// The cookie's name. With the prefix browsers take it from this host over HTTPS only, and for the whole of it.
pub(crate) fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-tidegate" } else { "tidegate" }
}

/// The session cookie's text, if there is one.
pub(crate) fn cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(name, _)| *name == cookie_name(https)).map(|(_, value)| value).filter(|value| value.len() <= LONGEST_SECRET)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with(TOKEN_PREFIX) && token.len() <= LONGEST_SECRET).then_some(token)
}

/// Finds out who asks. `None` for somebody who shows nothing, or something that is not valid.
pub(crate) async fn who(shared: &Shared, headers: &HeaderMap, from: IpAddr) -> Result<Option<Who>, Problem> {
    // What a program shows counts, even if it is wrong: it must not fall back to a cookie beside it.
    let (text, is_token) =
        if headers.contains_key(header::AUTHORIZATION) { (bearer(headers), true) } else { (cookie(headers, shared.https), false) };
    let Some(text) = text else { return Ok(None) };
    known(shared, digest(text), is_token, from).await
}

/// Whether the one who is known by this secret may still come in.
pub(crate) async fn known(shared: &Shared, secret: Digest, is_token: bool, from: IpAddr) -> Result<Option<Who>, Problem> {
    if let Some(remembered) = shared.doorman.remembered(secret) {
        return Ok(remembered.map(|who| Who { from, ..who }));
    }
    let changes = shared.doorman.changes();
    let now = shared.now();
    let mut touch = false;
    let who = if is_token {
        let token = shared.vault.token(secret).await?.filter(|token| token.expires.is_none_or(|expires| expires > now));
        token.map(|token| {
            touch = token.used.is_none_or(|used| now.since(used) > TOUCH);
            Who { user: token.user, role: token.role, token: Some(token.name), secret, expires: token.expires, from }
        })
    } else {
        let login = shared.vault.login(secret).await?;
        let fresh = |used: Timestamp, created: Timestamp| now.since(used) < IDLE && now.since(created) < OLDEST;
        login.filter(|(login, _)| fresh(login.used, login.created)).map(|(login, role)| {
            touch = now.since(login.used) > TOUCH;
            let expires = now.plus(IDLE).min(login.created.plus(OLDEST));
            Who { user: login.user, role, token: None, secret, expires: Some(expires), from }
        })
    };
    if touch {
        shared.vault.touch(secret, now).await?;
    }
    shared.doorman.remember(secret, &who, changes);
    Ok(who)
}

/// Before every route of the API: how often, from where, and nothing in a cache.
pub(crate) async fn watch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let refused = match from {
        None => Err(Problem::internal("finding the address of a client", "no connect info")),
        Some(from) => shared.throttle.request(from, Instant::now()).map_err(Problem::slow_down).and_then(|()| origin(&shared, &request)),
    };
    let mut response = match refused {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(ANSWER, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "It took too long").into_response(),
        },
    };
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}

/// How long an answer may take to begin, the request's body included. Asking a device takes up to a minute on a slow line.
const ANSWER: Duration = Duration::from_secs(75);

/// Whether a request that changes something comes from our own page.
fn origin(shared: &Shared, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if safe || headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let host = request.uri().authority().map(|authority| authority.as_str()).or_else(|| text(header::HOST));
    let ours = match (text(header::ORIGIN), text(SEC_FETCH_SITE)) {
        (Some(origin), _) => {
            origin.split_once("://").is_some_and(|(_, authority)| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
        }
        (None, Some(site)) => site == "same-origin" || site == "none",
        // No browser: those all say one or the other. Without a cookie there is nothing that could be abused.
        (None, None) => cookie(headers, shared.https).is_none(),
    };
    if ours {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "other-origin", "The request comes from another site")
        .detail("a change must come from this gateway's own page")
        .next("open the page itself; programs use an API token"))
}

const SEC_FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");

/// The address of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|info| From(info.0.ip())).ok_or_else(|| Problem::internal("finding the address of a client", "no connect info"))
    }
}

async fn at_least(role: Role, parts: &mut Parts, shared: &Arc<Shared>) -> Result<Who, Problem> {
    let From(from) = From::from_request_parts(parts, shared).await?;
    match who(shared, &parts.headers, from).await? {
        Some(who) if who.role >= role => Ok(who),
        Some(who) => Err(who.may_not(role)),
        None if !shared.is_claimed().await? => {
            Err(Problem::new(StatusCode::FORBIDDEN, "not-claimed", "Nobody has claimed this gateway yet")
                .next("claim it with the code on its console or in its journal"))
        }
        None => Err(Problem::not_logged_in()),
    }
}

macro_rules! at_least {
    ($($(#[$doc:meta])* $name:ident = $role:ident;)*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Who);

        impl FromRequestParts<Arc<Shared>> for $name {
            type Rejection = Problem;
            async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
                at_least(Role::$role, parts, shared).await.map($name)
            }
        })*
    };
}

at_least! {
    /// Somebody who may look.
    Viewer = Viewer;
    /// Somebody who may make devices do something.
    Operator = Operator;
    /// Somebody who may change everything.
    Admin = Admin;
}
