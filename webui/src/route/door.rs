//! In and out: session, claim, log-in, log-out, one's own password.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tidegate_core::{
    account::{Act, Login, Role, User, UserChange},
    clock::Timestamp,
};
use tracing::{info, warn};

use crate::{
    Problem,
    account::{check_name, check_password},
    claim::secret,
    extract::{Answer, Body},
    guard::{self, From, OLDEST, Viewer, Who, cookie_name, digest},
    shape::{ClaimRequest, LoginRequest, MeView, PasswordRequest, SessionView, Via},
    state::Shared,
};

async fn view(shared: &Shared, who: Option<&Who>) -> Result<SessionView, Problem> {
    let about = shared.site.about();
    let user = who.map(|who| MeView {
        name: who.user.clone(),
        role: who.role.into(),
        via: if who.token.is_some() { Via::Token } else { Via::Session },
        expires: who.expires.map(|at| at.to_string()),
    });
    Ok(SessionView { claimed: shared.is_claimed().await?, gateway: about.gateway, version: about.version, https: shared.https, user })
}

/// Who am I, and is this gateway claimed?
#[utoipa::path(get, path = "/session", tag = "door", responses((status = 200, body = SessionView)), security(()))]
pub(super) async fn session(State(shared): State<Arc<Shared>>, From(from): From, headers: HeaderMap) -> Answer<SessionView> {
    let who = guard::who(&shared, &headers, from).await?;
    Ok(Json(view(&shared, who.as_ref()).await?))
}

/// Makes the first user, with the code on the gateway's console. Once.
#[utoipa::path(post, path = "/claim", tag = "door", request_body = ClaimRequest, security(()),
    responses((status = 201, body = SessionView), (status = 401, body = Problem, description = "wrong-code"), (status = 409, body = Problem, description = "already-claimed"),
        (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn claim(
    State(shared): State<Arc<Shared>>,
    From(from): From,
    Body(request): Body<ClaimRequest>,
) -> Result<Response, Problem> {
    let taken = || Problem::new(StatusCode::CONFLICT, "already-claimed", "This gateway has been claimed already").next("log in");
    if shared.is_claimed().await? {
        return Err(taken());
    }
    shared.throttle.try_secret(from, Instant::now()).map_err(Problem::slow_down)?;
    if !shared.is_code(&request.code.0) {
        warn!(%from, "somebody tried to claim this gateway with a wrong code");
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-code", "The code is not the one that is shown").field(
            "code",
            "is not the one that is shown",
            "look at the console, or: journalctl -u tidegate | grep claim",
        ));
    }
    shared.throttle.right(from, Instant::now());
    let wrong = check_password(check_name(None, "name", &request.name), "password", &request.password.0, &request.name);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let password = shared.hasher.hash(request.password.0).await?;
    let now = shared.now();
    let user = User { name: request.name.clone(), role: Role::Admin, password, created: now, last_login: None };
    let act = act(now, &request.name, from, "claim");
    match shared.vault.claim(user, act).await? {
        UserChange::Done(user) => {
            shared.set_claimed();
            shared.doorman.forget();
            info!(user = user.name, %from, "this gateway has been claimed");
            enter(&shared, user, from, StatusCode::CREATED).await
        }
        _ => Err(taken()),
    }
}

fn act(at: Timestamp, who: &str, from: std::net::IpAddr, what: &'static str) -> Act {
    Act { at, who: who.to_owned(), from: from.to_string(), what, target: who.to_owned(), detail: String::new(), result: "ok".to_owned() }
}

/// Begins a session and sets its cookie.
async fn enter(shared: &Shared, user: User, from: std::net::IpAddr, status: StatusCode) -> Result<Response, Problem> {
    let (text, now) = (secret(), shared.now());
    let login = Login { secret: digest(&text), user: user.name.clone(), created: now, used: now };
    let known = login.secret;
    shared.vault.begin_login(login, act(now, &user.name, from, "login")).await?;
    let who = Who { user: user.name, role: user.role, token: None, secret: known, expires: Some(now.plus(guard::IDLE)), from };
    let mut response = (status, Json(view(shared, Some(&who)).await?)).into_response();
    set_cookie(&mut response, shared.https, &text, OLDEST.as_secs());
    Ok(response)
}

fn set_cookie(response: &mut Response, https: bool, text: &str, seconds: u64) {
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", cookie_name(https));
    // Our own letters and digits are always a header value.
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// Logs in with a name and a password.
#[utoipa::path(post, path = "/login", tag = "door", request_body = LoginRequest, security(()),
    responses((status = 200, body = SessionView), (status = 401, body = Problem, description = "wrong-login"), (status = 429, body = Problem)))]
pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    From(from): From,
    Body(request): Body<LoginRequest>,
) -> Result<Response, Problem> {
    if !shared.is_claimed().await? {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-claimed", "Nobody has claimed this gateway yet")
            .next("claim it with the code on its console or in its journal"));
    }
    shared.throttle.try_secret(from, Instant::now()).map_err(Problem::slow_down)?;
    let user = shared.vault.user(&request.name).await?;
    let right = shared.hasher.is(request.password.0, user.as_ref().map(|user| user.password.clone())).await?;
    match user.filter(|_| right) {
        Some(user) => {
            shared.throttle.right(from, Instant::now());
            enter(&shared, user, from, StatusCode::OK).await
        }
        None => {
            warn!(%from, "a log-in failed");
            let mut act = act(shared.now(), "", from, "login");
            (act.target, act.result) = (request.name, "wrong".to_owned());
            shared.vault.record(act).await?;
            Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-login", "Name or password is wrong")
                .next("check both, and the caps lock key"))
        }
    }
}

/// Ends the session.
#[utoipa::path(post, path = "/logout", tag = "door", responses((status = 204)), security(()))]
pub(super) async fn logout(State(shared): State<Arc<Shared>>, From(from): From, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(who) = guard::who(&shared, &headers, from).await?.filter(|who| who.token.is_none()) {
        shared.vault.end_login(who.secret, act(shared.now(), &who.user, from, "logout")).await?;
        shared.doorman.forget();
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, shared.https, "", 0);
    Ok(response)
}

/// Changes one's own password; one's other sessions end.
#[utoipa::path(post, path = "/me/password", tag = "door", request_body = PasswordRequest,
    responses((status = 204), (status = 401, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn password(
    State(shared): State<Arc<Shared>>,
    Viewer(who): Viewer,
    Body(request): Body<PasswordRequest>,
) -> Result<StatusCode, Problem> {
    if who.token.is_some() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", "A token has no password"));
    }
    shared.throttle.try_secret(who.from, Instant::now()).map_err(Problem::slow_down)?;
    let user = shared.vault.user(&who.user).await?.ok_or_else(Problem::not_logged_in)?;
    if !shared.hasher.is(request.old.0, Some(user.password)).await? {
        return Err(Problem::invalid("the present password is wrong").field(
            "old",
            "is not the present password",
            "type the one you log in with",
        ));
    }
    shared.throttle.right(who.from, Instant::now());
    if let Some(wrong) = check_password(None, "new", &request.new.0, &who.user) {
        return Err(wrong);
    }
    let hash = shared.hasher.hash(request.new.0).await?;
    let act = who.act(shared.now(), "user.password", &who.user, "");
    shared.vault.change_user(&who.user, None, Some(hash), Some(who.secret), act).await?;
    shared.doorman.forget();
    Ok(StatusCode::NO_CONTENT)
}
