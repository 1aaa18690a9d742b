//! The hub for the devices below, as programs and people above see it.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{
        C2dRequest, C2dView, FeedbackView, HubAbout, HubDevice, HubDeviceChange, HubEvent, HubKeys, MethodRequest, MethodView,
        NewHubDevice, TwinChange, TwinView,
    },
};

/// The service side of the hub. What is answered with `Ok` is on disk, except method calls, which are not kept.
#[async_trait]
pub trait HubDesk: Send + Sync + fmt::Debug + 'static {
    /// The hub as a whole.
    fn hub(&self) -> HubAbout;
    /// The certificate that devices must trust, in PEM; `None` while there is none, or the operator brought one.
    fn authority(&self) -> Option<String>;
    /// Devices and modules after this one, by id.
    async fn hub_devices(&self, after: Option<&str>, most: usize) -> Result<Vec<HubDevice>, Problem>;
    /// One of them.
    async fn hub_device(&self, id: &str) -> Result<HubDevice, Problem>;
    /// Registers one.
    async fn add_hub_device(&self, new: NewHubDevice) -> Result<HubDevice, Problem>;
    /// Changes one, if it is still as this etag says.
    async fn change_hub_device(&self, id: &str, etag: Option<u64>, change: HubDeviceChange) -> Result<HubDevice, Problem>;
    /// Takes one away with all that belongs to it.
    async fn remove_hub_device(&self, id: &str, etag: Option<u64>) -> Result<(), Problem>;
    /// What it needs to connect.
    async fn hub_keys(&self, id: &str, host: Option<&str>) -> Result<HubKeys, Problem>;
    /// Puts a message into its queue.
    async fn send_c2d(&self, id: &str, request: C2dRequest) -> Result<C2dView, Problem>;
    /// Takes away what waits for it.
    async fn purge_c2d(&self, id: &str) -> Result<u64, Problem>;
    /// What became of messages, oldest first.
    async fn feedback(&self) -> Result<Vec<FeedbackView>, Problem>;
    /// Up to here it has been read.
    async fn take_feedback(&self, up_to: i64) -> Result<(), Problem>;
    /// Calls a method and waits for the answer.
    async fn call_method(&self, id: &str, request: MethodRequest) -> Result<MethodView, Problem>;
    /// A twin, and its version.
    async fn twin(&self, id: &str) -> Result<(TwinView, u64), Problem>;
    /// Changes tags and desired properties, all of it or nothing.
    async fn change_twin(&self, id: &str, version: Option<u64>, change: TwinChange, replace: bool) -> Result<(TwinView, u64), Problem>;
    /// What happened after this number; waits for the first one.
    async fn hub_events(&self, after: u64, most: usize, wait: Duration) -> Vec<HubEvent>;
}
