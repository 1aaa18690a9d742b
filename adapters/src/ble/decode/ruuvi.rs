//! Ruuvi data formats 3, 5, 6 and E1 (docs.ruuvi.com): manufacturer data of company 0x0499, by the crate
//! `ruuvi-sensor-protocol`. Values that a sensor marks as not available are left out.

use ruuvi_sensor_protocol::{
    Acceleration, BatteryPotential, CarbonDioxide, Humidity, Luminosity, MeasurementSequenceNumber, MovementCounter, ParseError,
    ParticulateMatter, Pressure, SensorValues, Temperature, TransmitterPower,
};

use super::{Fields, Refusal, over};

/// Ruuvi Innovations Ltd.
pub(super) const COMPANY: u16 = 0x0499;

pub(super) fn decode(data: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    let values = SensorValues::from_manufacturer_specific_data(COMPANY, data).map_err(|error| match error {
        ParseError::UnsupportedFormatVersion(_) => Refusal::Unknown,
        _ => Refusal::Malformed,
    })?;
    let mut put = |name: &str, value: Option<i64>, by: i64| {
        if let Some(value) = value {
            fields.put(name, over(value, by));
        }
    };
    put("temperature", values.temperature_as_millicelsius().map(i64::from), 1000);
    put("humidity", values.humidity_as_ppm().map(i64::from), 10_000);
    put("pressure", values.pressure_as_pascals().map(i64::from), 100);
    put("voltage", values.battery_potential_as_millivolts().map(i64::from), 1000);
    put("tx_power", values.tx_power_as_dbm().map(i64::from), 1);
    put("movements", values.movement_counter().map(i64::from), 1);
    if let Some(vector) = values.acceleration_vector_as_milli_g() {
        put("acceleration_x", Some(i64::from(vector.0)), 1000);
        put("acceleration_y", Some(i64::from(vector.1)), 1000);
        put("acceleration_z", Some(i64::from(vector.2)), 1000);
    }
    put("co2", values.carbon_dioxide_as_ppm().map(i64::from), 1);
    put("pm1", values.pm1_0_as_nanograms_per_cubic_meter().map(i64::from), 1000);
    put("pm2_5", values.pm2_5_as_nanograms_per_cubic_meter().map(i64::from), 1000);
    put("pm4", values.pm4_0_as_nanograms_per_cubic_meter().map(i64::from), 1000);
    put("pm10", values.pm10_0_as_nanograms_per_cubic_meter().map(i64::from), 1000);
    let (voc, nox) = indices(data);
    put("voc_index", voc, 1);
    put("nox_index", nox, 1);
    put("illuminance", values.luminosity_as_millilux().map(i64::from), 1000);
    put("packet_id", values.measurement_sequence_number().map(i64::from), 1);
    Ok(())
}

/// The two air quality indices, which the crate puts together the wrong way round: the byte holds the eight upper bits, and a bit
/// of the flags the lowest one (the specification's greatest values are FA and 500). 511 stands for not available.
fn indices(data: &[u8]) -> (Option<i64>, Option<i64>) {
    let at = match data.first() {
        Some(0x06) => [11, 12, 16],
        Some(0xe1) => [17, 18, 28],
        _ => return (None, None),
    };
    let [Some(voc), Some(nox), Some(flags)] = at.map(|at| data.get(at).copied().map(i64::from)) else { return (None, None) };
    let known = |index: i64| (index != 0x1ff).then_some(index);
    (known(voc << 1 | flags >> 6 & 1), known(nox << 1 | flags >> 7 & 1))
}
