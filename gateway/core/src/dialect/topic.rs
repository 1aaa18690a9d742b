//! Topics of the dialect, both directions, and the filters by which a device subscribes to them.
//!
//! Device and module ids stand in topics unencoded, exactly as they are. Bags are handed through as they stand: [`super::bag`] reads
//! them. Whether a client may use a topic is for the endpoint to decide; [`Topic::comes_from_device`] tells the direction.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use super::encode;

/// What a topic of the dialect says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic<'a> {
    /// A device-to-cloud message.
    Event {
        /// Whose.
        device: &'a str,
        /// From its module.
        module: Option<&'a str>,
        /// Its properties.
        bag: &'a str,
    },
    /// A cloud-to-device message.
    CloudToDevice {
        /// For whom.
        device: &'a str,
        /// Its properties.
        bag: &'a str,
    },
    /// A message for a module's input.
    ModuleInput {
        /// For whom.
        device: &'a str,
        /// For which module.
        module: &'a str,
        /// Which input.
        input: &'a str,
        /// Its properties.
        bag: &'a str,
    },
    /// A direct method call.
    MethodRequest {
        /// Its name, decoded.
        method: Cow<'a, str>,
        /// To be copied into the answer, character by character.
        request: &'a str,
    },
    /// The answer to one.
    MethodResponse {
        /// The device's own status.
        status: i32,
        /// As in the call.
        request: &'a str,
    },
    /// A device asks for its twin.
    TwinGet {
        /// Comes again in the answer.
        request: &'a str,
    },
    /// A device changes its reported properties.
    ReportedPatch {
        /// Comes again in the answer.
        request: &'a str,
        /// Only if this is still the version.
        version: Option<u64>,
    },
    /// The hub answers about the twin.
    TwinResponse {
        /// As in HTTP.
        status: u16,
        /// As in the question.
        request: &'a str,
        /// The version after a change.
        version: Option<u64>,
    },
    /// The desired properties have changed.
    DesiredPatch {
        /// To this version.
        version: u64,
    },
}

impl<'a> Topic<'a> {
    /// What the topic says; `None` if it is none of the dialect's.
    pub fn parse(topic: &'a str) -> Option<Self> {
        match topic.strip_prefix("$iothub/") {
            Some(rest) => hub_topic(rest),
            None => device_topic(topic.strip_prefix("devices/")?),
        }
    }

    /// Whether devices publish to it; otherwise the hub does.
    pub fn comes_from_device(&self) -> bool {
        match self {
            Topic::Event { .. } | Topic::MethodResponse { .. } | Topic::TwinGet { .. } | Topic::ReportedPatch { .. } => true,
            Topic::CloudToDevice { .. }
            | Topic::ModuleInput { .. }
            | Topic::MethodRequest { .. }
            | Topic::TwinResponse { .. }
            | Topic::DesiredPatch { .. } => false,
        }
    }
}

fn device_topic(rest: &str) -> Option<Topic<'_>> {
    let (device, rest) = level(rest)?;
    match rest.strip_prefix("modules/") {
        Some(rest) => {
            let (module, rest) = level(rest)?;
            if let Some(bag) = below(rest, "messages/events") {
                return Some(Topic::Event { device, module: Some(module), bag });
            }
            let (input, bag) = level(rest.strip_prefix("inputs/")?)?;
            Some(Topic::ModuleInput { device, module, input, bag })
        }
        None => match below(rest, "messages/events") {
            Some(bag) => Some(Topic::Event { device, module: None, bag }),
            None => below(rest, "messages/devicebound").map(|bag| Topic::CloudToDevice { device, bag }),
        },
    }
}

fn hub_topic(rest: &str) -> Option<Topic<'_>> {
    // Nothing before the question mark needs one, and nothing after it is a level.
    let (path, query) = rest.split_once("/?")?;
    let request = || parameter(query, "$rid").filter(|request| !request.is_empty());
    // A version that is none makes the topic none of ours: a patch that was meant for one version must not become one for any.
    let version = match parameter(query, "$version") {
        Some(version) => Some(version.parse().ok()?),
        None => None,
    };
    if let Some(method) = path.strip_prefix("methods/POST/") {
        let method = percent_decode_str(method).decode_utf8().ok().filter(|method| !method.is_empty())?;
        return Some(Topic::MethodRequest { method, request: request()? });
    }
    if let Some(status) = path.strip_prefix("methods/res/") {
        return Some(Topic::MethodResponse { status: status.parse().ok()?, request: request()? });
    }
    if let Some(status) = path.strip_prefix("twin/res/") {
        return Some(Topic::TwinResponse { status: status.parse().ok()?, request: request()?, version });
    }
    match path {
        "twin/GET" => Some(Topic::TwinGet { request: request()? }),
        "twin/PATCH/properties/reported" => Some(Topic::ReportedPatch { request: request()?, version }),
        "twin/PATCH/properties/desired" => Some(Topic::DesiredPatch { version: version? }),
        _ => None,
    }
}

/// One level that is not empty, and what follows its slash.
fn level(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(level, _)| !level.is_empty())
}

/// What stands below a path, with or without the slash.
fn below<'a>(text: &'a str, path: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(path)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// The topic itself.
impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Event { device, module: None, bag } => write!(f, "devices/{device}/messages/events/{bag}"),
            Topic::Event { device, module: Some(module), bag } => write!(f, "devices/{device}/modules/{module}/messages/events/{bag}"),
            Topic::CloudToDevice { device, bag } => write!(f, "devices/{device}/messages/devicebound/{bag}"),
            Topic::ModuleInput { device, module, input, bag } => write!(f, "devices/{device}/modules/{module}/inputs/{input}/{bag}"),
            Topic::MethodRequest { method, request } => write!(f, "$iothub/methods/POST/{}/?$rid={request}", encode(method)),
            Topic::MethodResponse { status, request } => write!(f, "$iothub/methods/res/{status}/?$rid={request}"),
            Topic::TwinGet { request } => write!(f, "$iothub/twin/GET/?$rid={request}"),
            Topic::ReportedPatch { request, version } => {
                write!(f, "$iothub/twin/PATCH/properties/reported/?$rid={request}")?;
                version.map_or(Ok(()), |version| write!(f, "&$version={version}"))
            }
            Topic::TwinResponse { status, request, version } => {
                write!(f, "$iothub/twin/res/{status}/?$rid={request}")?;
                version.map_or(Ok(()), |version| write!(f, "&$version={version}"))
            }
            Topic::DesiredPatch { version } => write!(f, "$iothub/twin/PATCH/properties/desired/?$version={version}"),
        }
    }
}

/// What a device can subscribe to. A hub closes the connection for any other filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter<'a> {
    /// Its C2D messages.
    CloudToDevice {
        /// Whose.
        device: &'a str,
    },
    /// All inputs of a module.
    ModuleInputs {
        /// Whose.
        device: &'a str,
        /// Which module's.
        module: &'a str,
    },
    /// Calls.
    Methods,
    /// Answers about the twin.
    TwinResponses,
    /// Changes of the desired properties.
    DesiredPatches,
}

const METHODS: &str = "$iothub/methods/POST/#";
const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED_PATCHES: &str = "$iothub/twin/PATCH/properties/desired/#";

impl<'a> Filter<'a> {
    /// What the filter asks for; `None` if it is none of the dialect's.
    pub fn parse(filter: &'a str) -> Option<Self> {
        match filter {
            METHODS => return Some(Filter::Methods),
            TWIN_RESPONSES => return Some(Filter::TwinResponses),
            DESIRED_PATCHES => return Some(Filter::DesiredPatches),
            _ => {}
        }
        let (device, rest) = level(filter.strip_prefix("devices/")?)?;
        if rest == "messages/devicebound/#" {
            return Some(Filter::CloudToDevice { device });
        }
        let (module, rest) = level(rest.strip_prefix("modules/")?)?;
        (rest == "inputs/#" || rest == "#").then_some(Filter::ModuleInputs { device, module })
    }
}

/// The filter itself.
impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::CloudToDevice { device } => write!(f, "devices/{device}/messages/devicebound/#"),
            Filter::ModuleInputs { device, module } => write!(f, "devices/{device}/modules/{module}/inputs/#"),
            Filter::Methods => f.write_str(METHODS),
            Filter::TwinResponses => f.write_str(TWIN_RESPONSES),
            Filter::DesiredPatches => f.write_str(DESIRED_PATCHES),
        }
    }
}
