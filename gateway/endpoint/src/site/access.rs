//! Who may use which topics of the site bus. What is not allowed is not possible.

use tidegate_core::dialect::identity::Identity;

use super::filter::{covers, matches};

/// Stands for the device's own id in a filter.
pub const DEVICE: &str = "{device}";
/// Stands for every device.
pub const ANYBODY: &str = "*";

/// What some devices may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A device's id, or [`ANYBODY`].
    pub device: String,
    /// Filters of topics that it may publish to; [`DEVICE`] is its id.
    pub publish: Vec<String>,
    /// Filters that it may subscribe to, or to narrower ones.
    pub subscribe: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rights(pub(crate) Vec<Access>);

impl Rights {
    /// Modules have none: they are programs within a device.
    fn of<'a>(&'a self, who: &'a Identity) -> impl Iterator<Item = &'a Access> {
        let is_device = who.module.is_none();
        self.0.iter().filter(move |access| is_device && (access.device == ANYBODY || access.device == who.device.as_str()))
    }

    pub(crate) fn may_publish(&self, who: &Identity, topic: &str) -> bool {
        self.of(who).flat_map(|access| &access.publish).any(|filter| matches(&filter.replace(DEVICE, who.device.as_str()), topic))
    }

    pub(crate) fn may_subscribe(&self, who: &Identity, filter: &str) -> bool {
        self.of(who).flat_map(|access| &access.subscribe).any(|wide| covers(&wide.replace(DEVICE, who.device.as_str()), filter))
    }

    /// Whether it may use anything at all.
    pub(crate) fn has(&self, who: &Identity) -> bool {
        self.of(who).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_what_is_written_for_it_and_nothing_else() {
        let access = |device: &str, publish: &[&str], subscribe: &[&str]| Access {
            device: device.to_owned(),
            publish: publish.iter().map(|text| (*text).to_owned()).collect(),
            subscribe: subscribe.iter().map(|text| (*text).to_owned()).collect(),
        };
        let rights = Rights(vec![access("*", &["tele/{device}/#"], &["cmnd/{device}/+"]), access("red", &[], &["#"])]);
        let id = |text: &str| Identity::from_client_id(text).expect("valid");
        assert!(rights.may_publish(&id("lamp"), "tele/lamp/STATE"));
        for topic in ["tele/lamp2/STATE", "tele", "cmnd/lamp/POWER", "$SYS/x"] {
            assert!(!rights.may_publish(&id("lamp"), topic), "{topic}");
        }
        assert!(rights.may_subscribe(&id("lamp"), "cmnd/lamp/POWER") && rights.may_subscribe(&id("lamp"), "cmnd/lamp/+"));
        for filter in ["cmnd/lamp/#", "cmnd/+/POWER", "#", "cmnd/lamp2/+"] {
            assert!(!rights.may_subscribe(&id("lamp"), filter), "{filter}");
            assert!(rights.may_subscribe(&id("red"), filter), "{filter}");
        }
        assert!(!rights.may_publish(&id("lamp/module"), "tele/lamp/STATE") && !rights.has(&id("lamp/module")));
    }
}
