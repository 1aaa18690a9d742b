//! What the endpoint needs, made of the store: its records are `state.db`, its line up is the log.

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    adapter::Receipt,
    c2d::{C2d, Enqueued, Feedback, NewC2d, Settled, Settlement},
    clock::Timestamp,
    device::{Device, NewDevice, Written},
    dialect::identity::Identity,
    message::Message,
    twin::{Change, Changed, Twin},
};
use tidegate_endpoint::{Kept, Outlet, Records, RecordsError};
use tidegate_store::{Log, State, StateError, Urgency};

/// Devices, twins and queues in `state.db`.
#[derive(Debug, Clone)]
pub struct StateRecords(pub State);

fn kept<T>(answer: Result<T, StateError>) -> Kept<T> {
    answer.map_err(|error| RecordsError(error.to_string()))
}

#[async_trait]
impl Records for StateRecords {
    async fn create_device(&self, new: NewDevice) -> Kept<Written> {
        kept(self.0.create_device(new).await)
    }

    async fn device(&self, identity: &Identity) -> Kept<Option<Device>> {
        kept(self.0.device(identity.clone()).await)
    }

    async fn devices(&self, after: Option<&Identity>, most: usize) -> Kept<Vec<Device>> {
        kept(self.0.devices(after.cloned(), most).await)
    }

    async fn change_device(&self, new: NewDevice, etag: Option<u64>) -> Kept<Written> {
        kept(self.0.change_device(new, etag).await)
    }

    async fn delete_device(&self, identity: &Identity, etag: Option<u64>) -> Kept<Written> {
        kept(self.0.delete_device(identity.clone(), etag).await)
    }

    async fn twin(&self, identity: &Identity) -> Kept<Option<Twin>> {
        kept(self.0.twin(identity.clone()).await)
    }

    async fn change_twin(&self, identity: &Identity, change: Change, now: Timestamp) -> Kept<Changed> {
        kept(self.0.change_twin(identity.clone(), change, now).await)
    }

    async fn open_session(&self, identity: &Identity, keep: bool) -> Kept<(bool, Option<u8>)> {
        kept(self.0.open_session(identity.clone(), keep).await)
    }

    async fn subscribe_session(&self, identity: &Identity, c2d: Option<u8>) -> Kept<()> {
        kept(self.0.subscribe_session(identity.clone(), c2d).await)
    }

    async fn enqueue_c2d(&self, identity: &Identity, new: NewC2d, expires: Timestamp, now: Timestamp) -> Kept<Enqueued> {
        kept(self.0.enqueue_c2d(identity.clone(), new, expires, now).await)
    }

    async fn c2d_after(&self, identity: &Identity, after: i64, most: usize) -> Kept<Vec<C2d>> {
        kept(self.0.c2d_after(identity.clone(), after, most).await)
    }

    async fn c2d_depth(&self, identity: &Identity) -> Kept<u64> {
        kept(self.0.c2d_depth(identity.clone()).await)
    }

    async fn settle_c2d(&self, identity: &Identity, ids: Vec<i64>, what: Settlement, most: u32, now: Timestamp) -> Kept<Vec<Settled>> {
        kept(self.0.settle_c2d(identity.clone(), ids, what, most, now).await)
    }

    async fn purge_c2d(&self, identity: &Identity, now: Timestamp) -> Kept<Option<u64>> {
        kept(self.0.purge_c2d(identity.clone(), now).await)
    }

    async fn expire_c2d(&self, now: Timestamp, feedback_before: Timestamp) -> Kept<(u64, Option<Timestamp>)> {
        kept(self.0.expire_c2d(now, feedback_before).await)
    }

    async fn feedback(&self, most: usize) -> Kept<Vec<Feedback>> {
        kept(self.0.feedback(most).await)
    }

    async fn take_feedback(&self, up_to: i64) -> Kept<u64> {
        kept(self.0.take_feedback(up_to).await)
    }

    async fn keep_retained(&self, topic: &str, payload: Option<Bytes>) -> Kept<()> {
        kept(self.0.keep_retained(topic.to_owned(), payload).await)
    }

    async fn retained(&self) -> Kept<Vec<(String, Bytes)>> {
        kept(self.0.retained().await)
    }
}

/// The log as the endpoint's line up.
#[derive(Debug, Clone)]
pub struct LogOutlet(pub Log);

#[async_trait]
impl Outlet for LogOutlet {
    async fn append(&self, messages: Vec<Message>, receipt: Option<Receipt>) -> Result<(), RecordsError> {
        let slot = self.0.reserve().await.map_err(|error| RecordsError(error.to_string()))?;
        // Whoever waits for a PUBACK waits for a commit; a message without one rides along with the next.
        let urgency = if receipt.is_some() { Urgency::Now } else { Urgency::Lazy };
        slot.append(messages, urgency, receipt);
        Ok(())
    }
}
