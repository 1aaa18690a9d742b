//! Partitions: messages of one device are in one of them, in the order in which they came, each with the next number.
//!
//! The number is given in the transaction that adds the message and stays with its row: what is missing between two numbers was given
//! up. How many partitions there are is fixed, because it is in the rows.

/// How many there are: the default of IoT Hub's built-in endpoint.
pub const PARTITIONS: usize = 4;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The partition of a device's messages: CRC-32 (ISO-HDLC) of its id, modulo [`PARTITIONS`].
pub fn partition(device: &str) -> usize {
    CRC.checksum(device.as_bytes()) as usize % PARTITIONS
}

/// A number within a partition, as a row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered(pub(crate) i64);

impl Numbered {
    pub(crate) fn new(partition: usize, number: u64) -> Self {
        Self((number * PARTITIONS as u64) as i64 + partition as i64)
    }

    pub(crate) fn partition(self) -> usize {
        self.0.unsigned_abs() as usize % PARTITIONS
    }

    pub(crate) fn number(self) -> u64 {
        self.0.unsigned_abs() / PARTITIONS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_holds_both_and_devices_spread() {
        for (partition, number) in [(0, 0), (3, 0), (1, 7), (2, 1 << 40)] {
            let numbered = Numbered::new(partition, number);
            assert_eq!((numbered.partition(), numbered.number()), (partition, number));
        }
        let mut counts = [0; PARTITIONS];
        (0..1_000).for_each(|n| counts[partition(&format!("leaf-{n}"))] += 1);
        assert!(counts.iter().all(|count| *count > 150), "{counts:?}");
        // Never to be changed: numbers on disk rest on it.
        assert_eq!(["leaf-01", "boiler", ""].map(partition), [partition("leaf-01"), partition("boiler"), 0]);
    }
}
