//! What the site bus keeps: retained messages of QoS 1, and which leaves its rules have found. Their number is bounded by those who ask.

use bytes::Bytes;

use super::{State, StateError};

impl State {
    /// Keeps the retained message of a topic; `None` takes it away.
    pub async fn keep_retained(&self, topic: String, payload: Option<Bytes>) -> Result<(), StateError> {
        self.run(move |connection| {
            match payload {
                Some(payload) => connection
                    .prepare_cached("INSERT INTO retained VALUES (?1,?2) ON CONFLICT DO UPDATE SET payload=?2")?
                    .execute((topic, &payload[..]))?,
                None => connection.prepare_cached("DELETE FROM retained WHERE topic=?")?.execute([topic])?,
            };
            Ok(())
        })
        .await
    }

    /// All retained messages.
    pub async fn retained(&self) -> Result<Vec<(String, Bytes)>, StateError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT topic, payload FROM retained ORDER BY topic")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A rule has found a leaf, for which this device speaks.
    pub async fn keep_site_leaf(&self, leaf: String, rule: String, speaker: String) -> Result<(), StateError> {
        self.run(move |connection| {
            let sql = "INSERT INTO site_leaf VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET rule=?2, speaker=?3";
            connection.prepare_cached(sql)?.execute((leaf, rule, speaker))?;
            Ok(())
        })
        .await
    }

    /// Leaves that rules have found, each with its rule's name and the device that speaks for it.
    pub async fn site_leaves(&self) -> Result<Vec<(String, String, String)>, StateError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT leaf, rule, speaker FROM site_leaf ORDER BY leaf")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
