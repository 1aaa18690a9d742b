//! Users, tokens and the audit, for admins.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use tidegate_core::account::{ApiToken, User, UserChange};

use crate::{
    Problem,
    account::{check_name, check_password},
    claim::{random, secret},
    extract::{Answer, Ask, Body},
    guard::{Admin, TOKEN_PREFIX, digest},
    shape::{ActView, Before, List, TokenRequest, TokenView, UserChangeRequest, UserRequest, UserView, limit},
    state::Shared,
};

/// Users that there may be: people who look after one gateway.
const MOST_USERS: usize = 100;
/// Tokens that there may be.
const MOST_TOKENS: usize = 100;

/// Everybody who may log in.
#[utoipa::path(get, path = "/users", tag = "accounts", responses((status = 200, body = List<UserView>)))]
pub(super) async fn users(State(shared): State<Arc<Shared>>, _: Admin) -> Answer<List<UserView>> {
    Ok(Json(List::whole(shared.vault.users().await?.into_iter().map(UserView::from).collect())))
}

/// Makes a user.
#[utoipa::path(post, path = "/users", tag = "accounts", request_body = UserRequest,
    responses((status = 201, body = UserView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_user(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Body(request): Body<UserRequest>,
) -> Result<(StatusCode, Json<UserView>), Problem> {
    let wrong = check_password(check_name(None, "name", &request.name), "password", &request.password.0, &request.name);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if shared.vault.users().await?.len() >= MOST_USERS {
        return Err(Problem::invalid(format!("there are {MOST_USERS} users already")));
    }
    let password = shared.hasher.hash(request.password.0).await?;
    let user = User { name: request.name, role: request.role.into(), password, created: shared.now(), last_login: None };
    let act = who.act(shared.now(), "user.create", &user.name, user.role.word());
    let name = user.name.clone();
    let user = changed(shared.vault.create_user(user, act).await?, &name)?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

fn changed(change: UserChange, name: &str) -> Result<User, Problem> {
    match change {
        UserChange::Done(user) => Ok(user),
        UserChange::Missing => Err(Problem::not_found(format!("there is no user {name}"))),
        UserChange::Exists => Err(Problem::exists(format!("there is a user {name} already"))),
        UserChange::LastAdmin => Err(Problem::new(StatusCode::CONFLICT, "last-admin", "The last admin must stay")
            .detail(format!("without {name} nobody could change anything any more"))
            .next("make another admin first")),
    }
}

/// Gives a user another role or password.
#[utoipa::path(patch, path = "/users/{name}", tag = "accounts", params(("name" = String, Path)), request_body = UserChangeRequest,
    responses((status = 200, body = UserView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn change_user(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(name): Path<String>,
    Body(request): Body<UserChangeRequest>,
) -> Answer<UserView> {
    let password = match request.password {
        None => None,
        Some(password) => match check_password(None, "password", &password.0, &name) {
            Some(wrong) => return Err(wrong),
            None => Some(shared.hasher.hash(password.0).await?),
        },
    };
    let role = request.role.map(tidegate_core::account::Role::from);
    let mut detail: Vec<&str> = role.iter().map(|role| role.word()).collect();
    detail.extend(password.as_ref().map(|_| "password"));
    let act = who.act(shared.now(), "user.change", &name, &detail.join(", "));
    let keep = (who.user == name).then_some(who.secret);
    let user = changed(shared.vault.change_user(&name, role, password, keep, act).await?, &name)?;
    shared.doorman.forget();
    Ok(Json(user.into()))
}

/// Takes a user away, with sessions and tokens.
#[utoipa::path(delete, path = "/users/{name}", tag = "accounts", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn delete_user(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let act = who.act(shared.now(), "user.delete", &name, "");
    changed(shared.vault.delete_user(&name, act).await?, &name)?;
    shared.doorman.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Every API token.
#[utoipa::path(get, path = "/tokens", tag = "accounts", responses((status = 200, body = List<TokenView>)))]
pub(super) async fn tokens(State(shared): State<Arc<Shared>>, _: Admin) -> Answer<List<TokenView>> {
    Ok(Json(List::whole(shared.vault.tokens().await?.into_iter().map(TokenView::from).collect())))
}

/// Makes an API token. Its text is in this answer and never again.
#[utoipa::path(post, path = "/tokens", tag = "accounts", request_body = TokenRequest,
    responses((status = 201, body = TokenView), (status = 422, body = Problem)))]
pub(super) async fn create_token(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<TokenView>), Problem> {
    if let Some(wrong) = check_name(None, "name", &request.name) {
        return Err(wrong);
    }
    if request.expires_in_s.is_some_and(|seconds| !(60..=315_360_000).contains(&seconds)) {
        return Err(Problem::invalid("").field("expires_in_s", "is out of bounds", "use 60 (a minute) to 315360000 (ten years), or null"));
    }
    let (text, now) = (format!("{TOKEN_PREFIX}{}", secret()), shared.now());
    let id: String = random::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    let token = ApiToken {
        id,
        secret: digest(&text),
        name: request.name,
        user: who.user.clone(),
        role: request.role.into(),
        created: now,
        expires: request.expires_in_s.map(|seconds| now.plus(Duration::from_secs(seconds))),
        used: None,
    };
    let act = who.act(now, "token.create", &token.id, &format!("{}, {}", token.name, token.role.word()));
    if !shared.vault.create_token(token.clone(), MOST_TOKENS, act).await? {
        return Err(Problem::invalid(format!("there are {MOST_TOKENS} tokens already")).next("delete one that is not used"));
    }
    shared.doorman.forget();
    Ok((StatusCode::CREATED, Json(TokenView { token: Some(text), ..TokenView::from(token) })))
}

/// Takes an API token away.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "accounts", params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn delete_token(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let act = who.act(shared.now(), "token.delete", &id, "");
    if !shared.vault.delete_token(&id, act).await? {
        return Err(Problem::not_found(format!("there is no token {id}")));
    }
    shared.doorman.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Who changed what, newest first.
#[utoipa::path(get, path = "/audit", tag = "accounts", params(Before), responses((status = 200, body = List<ActView>)))]
pub(super) async fn audit(State(shared): State<Arc<Shared>>, _: Admin, Ask(query): Ask<Before>) -> Answer<List<ActView>> {
    let most = limit(query.limit);
    let acts = shared.vault.acts(query.before, most).await?;
    let next = acts.last().filter(|act| acts.len() == most && act.id > 1).map(|act| act.id.to_string());
    Ok(Json(List { items: acts.into_iter().map(ActView::from).collect(), next }))
}
