//! The local web page and its API: the server behind the page, as a library.
//!
//! # What is promised
//!
//! - Nothing but the log-in, the claim and the page itself is answered to somebody who has not shown who they are; each answer is
//!   for a role, and each change is in the audit before it is answered.
//! - No default password: the first user is made with a code that only somebody at the box can read.
//! - A request that changes something and comes from another site's page changes nothing ([`guard`]).
//! - Nothing that a browser sends can panic, hang, or grow memory without bound: bodies, times, connections, streams, tries and
//!   tables are limited, each by a named constant.
//! - A stop ends open streams first, so that it never waits for a browser.
//!
//! | power is cut … | then |
//! |---|---|
//! | while a user, session or token is made | it is there with its line of the audit, or neither is |
//! | while the certificate is made | the next start makes one, or finds it whole |
//! | while anybody looks on | nothing: sessions are on disk, streams begin anew |
//!
//! What a gateway *is* is not known here: it answers through [`Site`], and what must be kept goes through [`Vault`]; the
//! `tidegate` crate implements both.

pub mod certificate;
mod door;
pub mod server;

pub mod account;
pub mod claim;
pub mod guard;
mod throttle;

pub mod problem;
pub mod shape;
pub mod site;
pub mod vault;

mod assets;
mod extract;
mod route;
mod state;

pub use account::hash_password;
pub use axum::http::StatusCode;
pub use certificate::Certificate;
pub use claim::ClaimCode;
pub use problem::Problem;
pub use route::openapi;
pub use server::{Bound, Options, Web};
pub use site::Site;
pub use vault::{Vault, VaultError};
