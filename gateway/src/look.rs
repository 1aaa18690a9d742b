//! Looks at devices that run: asked for by people, made by the adapter's own runner between two turns, so that nobody else is on the bus.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::{
    adapter::Look,
    id::{LeafId, Name},
};
use tokio::sync::{mpsc, oneshot};

/// Looks that wait for one adapter. People make them, one at a time.
const WAITING: usize = 4;

/// A look that is wanted.
#[derive(Debug)]
pub struct LookOrder {
    /// At this leaf.
    pub leaf: LeafId,
    /// Told once: what was seen, or why nothing could be.
    pub answer: oneshot::Sender<Result<Vec<Look>, String>>,
}

/// Where looks are asked for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<BTreeMap<Name, mpsc::Sender<LookOrder>>>>);

impl Looks {
    fn ends(&self) -> MutexGuard<'_, BTreeMap<Name, mpsc::Sender<LookOrder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An adapter takes looks from now on.
    pub fn add(&self, adapter: &Name) -> mpsc::Receiver<LookOrder> {
        let (asked, orders) = mpsc::channel(WAITING);
        self.ends().insert(adapter.clone(), asked);
        orders
    }

    /// It no longer runs.
    pub fn forget(&self, adapter: &Name) {
        self.ends().remove(adapter);
    }

    /// Asks, and waits for as long as it takes. `Err`: why nothing could be seen.
    pub async fn ask(&self, adapter: &Name, leaf: LeafId) -> Result<Vec<Look>, String> {
        let gone = || format!("the adapter {adapter} does not run");
        let asked = self.ends().get(adapter).cloned().ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        asked.try_send(LookOrder { leaf, answer }).map_err(|_| format!("the adapter {adapter} is busy"))?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
