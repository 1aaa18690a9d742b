//! The device registry.

use rusqlite::{Connection, OptionalExtension, Row};
use secrecy::ExposeSecret;
use tidegate_core::{
    clock::Timestamp,
    device::{Device, NewDevice, PasswordHash, Proof, Thumbprint, Written},
    dialect::{identity::Identity, key::Key},
    id::HubDeviceId,
};

use super::{State, StateError};

const COLUMNS: &str =
    "id, device, module, generation, etag, enabled, reason, proof, primary_secret, secondary_secret, created_ms, changed_ms";

impl State {
    /// Makes an entry and its twin. A module needs its device.
    pub async fn create_device(&self, new: NewDevice) -> Result<Written, StateError> {
        self.run(move |connection| {
            if find(connection, &new.identity)?.is_some() {
                return Ok(Written::Exists);
            }
            let device = Identity::device(new.identity.device.clone());
            if new.identity.module.is_some() && find(connection, &device)?.is_none() {
                return Ok(Written::Missing);
            }
            let (primary, secondary) = secrets(&new.proof);
            connection
                .prepare_cached(
                    "INSERT INTO device (device, module, generation, etag, enabled, reason, proof, primary_secret, secondary_secret,
                     created_ms, changed_ms) VALUES (?,?,?,1,?,?,?,?,?,?9,?9)",
                )?
                .execute((
                    new.identity.device.as_str(),
                    module(&new.identity),
                    &new.generation,
                    new.enabled,
                    &new.reason,
                    new.proof.word(),
                    primary,
                    secondary,
                    new.now.0,
                ))?;
            connection
                .prepare_cached("INSERT INTO twin VALUES (?, 1, '{}', '{}', 1, '{}', '{}', 1, '{}')")?
                .execute([connection.last_insert_rowid()])?;
            written(connection, &new.identity)
        })
        .await
    }

    /// One entry.
    pub async fn device(&self, identity: Identity) -> Result<Option<Device>, StateError> {
        self.run(move |connection| Ok(find(connection, &identity)?.map(|(_, device)| device))).await
    }

    /// Entries after this one, by device and module id, at most so many.
    pub async fn devices(&self, after: Option<Identity>, most: usize) -> Result<Vec<Device>, StateError> {
        self.run(move |connection| {
            let after = after.as_ref().map_or(("", ""), |after| (after.device.as_str(), module(after)));
            let sql = format!("SELECT {COLUMNS} FROM device WHERE (device, module) > (?, ?) ORDER BY device, module LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query((after.0, after.1, i64::try_from(most).unwrap_or(i64::MAX)))?;
            let mut devices = Vec::new();
            while let Some(row) = rows.next()? {
                devices.push(read(row)?.1);
            }
            Ok(devices)
        })
        .await
    }

    /// How many entries there are, modules included.
    pub async fn count_devices(&self) -> Result<u64, StateError> {
        self.run(|connection| Ok(connection.query_row("SELECT count(*) FROM device", [], |row| row.get::<_, i64>(0))?.unsigned_abs())).await
    }

    /// Replaces proof, status and reason of an entry, if it still has this etag (`None`: whatever it has). Its generation stays.
    pub async fn change_device(&self, new: NewDevice, etag: Option<u64>) -> Result<Written, StateError> {
        self.run(move |connection| {
            let NewDevice { identity, proof, enabled, reason, now, .. } = new;
            let id = match unchanged(connection, &identity, etag)? {
                Ok(id) => id,
                Err(why) => return Ok(why),
            };
            let (primary, secondary) = secrets(&proof);
            connection
                .prepare_cached(
                    "UPDATE device SET etag=etag+1, enabled=?, reason=?, proof=?, primary_secret=?, secondary_secret=?, changed_ms=? WHERE id=?",
                )?
                .execute((enabled, reason, proof.word(), primary, secondary, now.0, id))?;
            written(connection, &identity)
        })
        .await
    }

    /// Takes an entry away with its twin, its queue and its feedback; a device with its modules. Returns what it was.
    pub async fn delete_device(&self, identity: Identity, etag: Option<u64>) -> Result<Written, StateError> {
        self.run(move |connection| {
            if let Err(why) = unchanged(connection, &identity, etag)? {
                return Ok(why);
            }
            let was = written(connection, &identity)?;
            match &identity.module {
                Some(module) => connection
                    .prepare_cached("DELETE FROM device WHERE device=? AND module=?")?
                    .execute([identity.device.as_str(), module.as_str()])?,
                None => connection.prepare_cached("DELETE FROM device WHERE device=?")?.execute([identity.device.as_str()])?,
            };
            Ok(was)
        })
        .await
    }
}

fn module(identity: &Identity) -> &str {
    identity.module.as_ref().map_or("", HubDeviceId::as_str)
}

/// The row of an identity, by which the other tables know it.
pub(super) fn row_of(connection: &Connection, identity: &Identity) -> Result<Option<i64>, StateError> {
    let mut statement = connection.prepare_cached("SELECT id FROM device WHERE device=? AND module=?")?;
    Ok(statement.query_row([identity.device.as_str(), module(identity)], |row| row.get(0)).optional()?)
}

/// The entry and its row.
fn find(connection: &Connection, identity: &Identity) -> Result<Option<(i64, Device)>, StateError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE device=? AND module=?"))?;
    let mut rows = statement.query([identity.device.as_str(), module(identity)])?;
    rows.next()?.map(read).transpose()
}

fn unchanged(connection: &Connection, identity: &Identity, etag: Option<u64>) -> Result<Result<i64, Written>, StateError> {
    Ok(match find(connection, identity)? {
        None => Err(Written::Missing),
        Some((_, device)) if etag.is_some_and(|etag| etag != device.etag) => Err(Written::Changed),
        Some((id, _)) => Ok(id),
    })
}

fn written(connection: &Connection, identity: &Identity) -> Result<Written, StateError> {
    Ok(find(connection, identity)?.map_or(Written::Missing, |(_, device)| Written::Done(device)))
}

fn secrets(proof: &Proof) -> (String, String) {
    let text = |key: &Key| key.to_base64().expose_secret().to_owned();
    match proof {
        Proof::Keys { primary, secondary } => (text(primary), text(secondary)),
        Proof::Thumbprints { primary, secondary } => {
            (primary.as_str().to_owned(), secondary.as_ref().map_or_else(String::new, |print| print.as_str().to_owned()))
        }
        Proof::Authority => (String::new(), String::new()),
        Proof::Password(hash) => (hash.0.clone(), String::new()),
    }
}

fn read(row: &Row<'_>) -> Result<(i64, Device), StateError> {
    let (device, module): (String, String) = (row.get(1)?, row.get(2)?);
    decode(row, &device, &module)?.ok_or_else(|| StateError::Row(format!("the registry entry of {device}/{module}")))
}

fn decode(row: &Row<'_>, device: &str, module: &str) -> Result<Option<(i64, Device)>, StateError> {
    let (proof, primary, secondary): (String, String, String) = (row.get(7)?, row.get(8)?, row.get(9)?);
    let proof = match proof.as_str() {
        "sas" => match (Key::from_base64(&primary), Key::from_base64(&secondary)) {
            (Ok(primary), Ok(secondary)) => Proof::Keys { primary, secondary },
            _ => return Ok(None),
        },
        "selfSigned" => match Thumbprint::new(&primary) {
            Ok(primary) => Proof::Thumbprints { primary, secondary: Thumbprint::new(&secondary).ok() },
            Err(_) => return Ok(None),
        },
        "certificateAuthority" => Proof::Authority,
        "password" => Proof::Password(PasswordHash(primary)),
        _ => return Ok(None),
    };
    let module = if module.is_empty() { None } else { Some(HubDeviceId::new(module)) };
    let (Ok(device), Ok(module)) = (HubDeviceId::new(device), module.transpose()) else { return Ok(None) };
    let device = Device {
        identity: Identity { device, module },
        generation: row.get(3)?,
        etag: row.get::<_, i64>(4)?.unsigned_abs(),
        enabled: row.get(5)?,
        reason: row.get(6)?,
        proof,
        created: Timestamp(row.get(10)?),
        changed: Timestamp(row.get(11)?),
    };
    Ok(Some((row.get(0)?, device)))
}
