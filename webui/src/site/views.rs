//! What is going on now.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Problem,
    shape::{CheckSeen, ConditionView, DeviceBrief, DeviceView, HealthView, LatestView, Overview},
};

/// What anybody may know before they log in.
#[derive(Debug, Clone)]
pub struct About {
    /// The gateway's id.
    pub gateway: String,
    /// The program's version.
    pub version: String,
}

/// Latest values: device, point, value.
pub type Values = BTreeMap<String, BTreeMap<String, LatestView>>;

/// Which devices somebody looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// All of them.
    pub all: bool,
    /// These.
    pub devices: Vec<String>,
}

/// What is going on now.
#[async_trait]
pub trait Views: Send + Sync + fmt::Debug + 'static {
    /// Who this is.
    fn about(&self) -> About;
    /// The tide, devices by state, storage, health. Cheap enough for once a second.
    async fn overview(&self) -> Result<Overview, Problem>;
    /// What is not right.
    fn health(&self) -> Vec<HealthView>;
    /// Changes whenever that does.
    fn health_changes(&self) -> watch::Receiver<u64>;
    /// Everything that can be wrong.
    fn conditions(&self) -> Vec<ConditionView>;
    /// Tells each read of a device among the events, for ten minutes, or ends that; `None` when there is no such device.
    fn watch(&self, id: &str, closely: bool) -> Result<Option<DeviceView>, Problem>;
    /// Looks the machine over. Opens no device and no connection.
    async fn checks(&self) -> Result<Vec<CheckSeen>, Problem>;
    /// Devices by id, those after this one.
    fn devices(&self, after: Option<&str>, most: usize) -> Vec<DeviceBrief>;
    /// One of them.
    fn device(&self, id: &str) -> Option<DeviceView>;
    /// Rises whenever a value is renewed. Reading it costs nothing.
    fn version(&self) -> u64;
    /// The latest values of these devices that are newer than this version.
    fn values(&self, watch: &Watch, newer_than: u64) -> Values;
    /// In the demo: cuts or restores the link to the hub. `false` elsewhere.
    fn switch_link(&self, up: bool) -> bool;
}
