//! The models that are known. A new one is a file in `adapters/templates`, a line here, and a case with its frames.

use tidegate_core::catalogue::Template;

/// By name.
pub(super) const ALL: &[Template] = &[
    Template { name: "eastron-sdm120", text: include_str!("../../templates/eastron-sdm120.toml") },
    Template { name: "eastron-sdm630", text: include_str!("../../templates/eastron-sdm630.toml") },
    Template { name: "pzem-004t", text: include_str!("../../templates/pzem-004t.toml") },
    Template { name: "waveshare-relay-8", text: include_str!("../../templates/waveshare-relay-8.toml") },
    Template { name: "xy-md02", text: include_str!("../../templates/xy-md02.toml") },
];
