//! What a configuration will cost, before it runs: messages, bytes, and blocks of flash a day.
//!
//! An upper bound of what polling makes: report policies that leave values out make it less, and devices that speak when they like are
//! counted and not guessed. Blocks are what a card wears out by. Their formula is fitted to what was measured (`tests/bench/README.md`, the
//! line at 10 and at 100 messages a second): each commit writes [`COMMIT`] bytes whatever is in it, and each message [`OVER`] times its bytes.

use tidegate_core::profile::LeafProfile;

use crate::config::Config;

/// Bytes written by a commit beside its messages: a few pages, the write-ahead log's and the database's.
const COMMIT: f64 = 9_600.0;
/// Bytes written for each byte of a message: once to the write-ahead log, once to the database, with the row's own.
const OVER: f64 = 1.9;
/// What flash is written in.
pub const BLOCK: f64 = 4096.0;
/// A message beside its points: braces and `"ts":"2026-01-01T00:00:00.000Z"`.
const FRAME: usize = 35;
/// A value with its colon, comma and quotes beside the name.
const VALUE: usize = 10;
const MINUTES: f64 = 1440.0;

/// What a configuration costs at most.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Forecast {
    /// Devices.
    pub devices: usize,
    /// Of them, those that speak when they like: their messages are not counted.
    pub unasked: usize,
    /// Messages a minute.
    pub per_minute: f64,
    /// Bytes of messages a day.
    pub bytes_per_day: f64,
    /// Blocks of 4096 bytes written a day.
    pub blocks_per_day: f64,
}

/// Of this configuration.
pub fn forecast(config: &Config) -> Forecast {
    let mut all = Forecast::default();
    for adapter in &config.adapters {
        for (at, leaf) in adapter.plan.leaves.iter().enumerate() {
            all.devices += 1;
            match adapter.plan.pace.get(at).copied().flatten() {
                None => all.unasked += 1,
                Some(pace) => {
                    all.per_minute += pace;
                    all.bytes_per_day += pace * MINUTES * bytes(leaf) as f64;
                }
            }
        }
    }
    let per_second = all.per_minute / 60.0;
    let interval = config.log.commit_interval.as_secs_f64();
    // What comes within one interval shares a commit; polls that happen to be at the same time are taken for chance.
    let commits = if interval > 0.0 { (1.0 - (-per_second * interval).exp()) / interval } else { per_second };
    all.blocks_per_day = (commits * 86_400.0 * COMMIT + all.bytes_per_day * OVER) / BLOCK;
    all
}

fn bytes(leaf: &LeafProfile) -> usize {
    FRAME + leaf.points.iter().map(|point| point.name.as_str().len() + VALUE).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(devices: usize, interval: &str) -> Forecast {
        let points: String = (0..10).map(|n| format!("{{ name = \"p{n}\", register = \"holding\", address = {n} }}, ")).collect();
        let mut text = String::from(
            "config_version = 1\n[gateway]\nid = \"gw\"\n[[adapter]]\nname = \"a\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"192.0.2.1\"\n",
        );
        for unit in 1..=devices {
            text += &format!("[[adapter.device]]\nid = \"u{unit}\"\nunit = {unit}\ninterval = \"{interval}\"\npoint = [{points}]\n");
        }
        let loaded = crate::config::check_text(&text, &crate::kinds());
        forecast(&loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems)))
    }

    #[test]
    fn it_is_near_what_was_measured() {
        // Ten units once a second, and a hundred: 17.7 and 3.50 bytes written per byte of message.
        for (devices, measured) in [(10, 17.7), (100, 3.50)] {
            let forecast = of(devices, "1s");
            assert!((forecast.per_minute - 60.0 * devices as f64).abs() < 1e-6, "{forecast:?}");
            let factor = forecast.blocks_per_day * BLOCK / forecast.bytes_per_day;
            assert!((factor / measured - 1.0).abs() < 0.25, "{devices} units: {factor} for {measured}");
        }
    }

    #[test]
    fn a_slow_poll_costs_little_and_each_message_a_commit() {
        let forecast = of(1, "1h");
        assert!((forecast.per_minute * 60.0 - 1.0).abs() < 1e-6);
        assert!((24.0 * 2.3..24.0 * 2.6).contains(&forecast.blocks_per_day), "{forecast:?}");
        assert_eq!((of(0, "1s").devices, of(0, "1s").blocks_per_day), (0, 0.0));
    }
}
