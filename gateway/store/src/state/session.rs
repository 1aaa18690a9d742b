//! MQTT sessions that outlive their connection: of all they hold, only the subscription to C2D messages matters afterwards.

use rusqlite::OptionalExtension;
use tidegate_core::dialect::identity::Identity;

use super::{State, StateError, device::row_of};

impl State {
    /// Opens the session of a device: with `keep` it goes on where it was, otherwise it begins anew and is not kept. Returns whether
    /// there was one, and the QoS at which it is subscribed to C2D messages.
    pub async fn open_session(&self, identity: Identity, keep: bool) -> Result<(bool, Option<u8>), StateError> {
        self.run(move |connection| {
            let Some(id) = row_of(connection, &identity)? else { return Ok((false, None)) };
            let found: Option<Option<u8>> =
                connection.prepare_cached("SELECT c2d FROM session WHERE device=?")?.query_row([id], |row| row.get(0)).optional()?;
            match (keep, found) {
                (true, Some(c2d)) => return Ok((true, c2d)),
                (true, None) => connection.prepare_cached("INSERT INTO session VALUES (?, NULL)")?.execute([id])?,
                (false, Some(_)) => connection.prepare_cached("DELETE FROM session WHERE device=?")?.execute([id])?,
                (false, None) => 0,
            };
            Ok((false, None))
        })
        .await
    }

    /// Notes the subscription of a session that is kept.
    pub async fn subscribe_session(&self, identity: Identity, c2d: Option<u8>) -> Result<(), StateError> {
        self.run(move |connection| {
            if let Some(id) = row_of(connection, &identity)? {
                connection.prepare_cached("UPDATE session SET c2d=? WHERE device=?")?.execute((c2d, id))?;
            }
            Ok(())
        })
        .await
    }
}
