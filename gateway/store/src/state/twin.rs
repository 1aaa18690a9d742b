//! Twins. A change is read, made and written within one operation, so two changes never lose each other.

use rusqlite::{Connection, OptionalExtension};
use tidegate_core::{
    clock::Timestamp,
    dialect::identity::Identity,
    twin::{Change, Changed, Object, Section, Twin},
};

use super::{State, StateError, device::row_of};

impl State {
    /// A device's twin.
    pub async fn twin(&self, identity: Identity) -> Result<Option<Twin>, StateError> {
        self.run(move |connection| match row_of(connection, &identity)? {
            Some(id) => load(connection, id).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Makes a change, all of it or nothing.
    pub async fn change_twin(&self, identity: Identity, change: Change, now: Timestamp) -> Result<Changed, StateError> {
        self.run(move |connection| {
            let Some(id) = row_of(connection, &identity)? else { return Ok(Changed::Missing) };
            let mut twin = load(connection, id)?;
            let stale = change.if_version.is_some_and(|version| version != twin.version)
                || change.if_reported.is_some_and(|version| version != twin.reported.version);
            if stale {
                return Ok(Changed::Stale);
            }
            match twin.change(&change, now) {
                Err(why) => Ok(Changed::Refused(why)),
                Ok(desired) => {
                    save(connection, id, &twin)?;
                    Ok(Changed::Done { twin: Box::new(twin), desired })
                }
            }
        })
        .await
    }
}

/// A device whose twin was lost with a damaged page has an empty one.
fn load(connection: &Connection, id: i64) -> Result<Twin, StateError> {
    let mut statement = connection.prepare_cached("SELECT * FROM twin WHERE device=?")?;
    let number = |n: i64| n.unsigned_abs();
    let row = statement.query_row([id], |row| {
        let text = |column| row.get::<_, String>(column);
        let versions = [row.get(1)?, row.get(4)?, row.get(7)?].map(number);
        Ok((versions, [text(2)?, text(3)?, text(5)?, text(6)?, text(8)?]))
    });
    let Some(([version, desired, reported], texts)) = row.optional()? else { return Ok(Twin::default()) };
    let object = |text: &str| serde_json::from_str::<Object>(text).map_err(|_| StateError::Row(format!("the twin of row {id}")));
    let section =
        |values: &str, version, stamps: &str| Ok::<_, StateError>(Section { values: object(values)?, version, stamps: object(stamps)? });
    Ok(Twin {
        version,
        tags: object(&texts[0])?,
        desired: section(&texts[1], desired, &texts[2])?,
        reported: section(&texts[3], reported, &texts[4])?,
    })
}

fn save(connection: &Connection, id: i64, twin: &Twin) -> Result<(), StateError> {
    let text = |object: &Object| serde_json::to_string(object).map_err(|error| StateError::Refused(error.to_string()));
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    connection.prepare_cached("INSERT OR REPLACE INTO twin VALUES (?,?,?,?,?,?,?,?,?)")?.execute((
        id,
        number(twin.version),
        text(&twin.tags)?,
        text(&twin.desired.values)?,
        number(twin.desired.version),
        text(&twin.desired.stamps)?,
        text(&twin.reported.values)?,
        number(twin.reported.version),
        text(&twin.reported.stamps)?,
    ))?;
    Ok(())
}
