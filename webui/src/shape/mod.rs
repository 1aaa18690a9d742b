//! What requests and answers look like. The OpenAPI document is made of these; a golden file holds it.
//!
//! Times are RFC 3339 in UTC with milliseconds, or, in bulk, milliseconds since 1970 (`at`). Absent and `null` mean the same in requests.

mod account;
mod command;
mod configuration;
mod consumer;
mod device;
mod hub;
mod log;
mod overview;
mod pair;
mod scan;
mod system;
mod template;

pub use account::*;
pub use command::*;
pub use configuration::*;
pub use consumer::*;
pub use device::*;
pub use hub::*;
pub use log::*;
pub use overview::*;
pub use pair::*;
pub use scan::*;
pub use system::*;
pub use template::*;

use serde::Serialize;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct List<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give it as `after` (or `before`, where newest come first) to get the next page; null at the end.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
