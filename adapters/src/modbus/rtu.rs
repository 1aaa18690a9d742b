//! RTU frames where the codec is not at hand: the checksum, and late answers among bytes that were thrown away.

/// CRC-16/MODBUS; the low byte goes first on the wire.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0xffff, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 }))
}

/// The whole answers among some bytes: who answered, and to which function (a refusal counts as an answer).
pub(super) fn answers(mut bytes: &[u8]) -> Vec<(u8, u8)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        match answer(bytes) {
            Some((who, length)) => {
                found.push(who);
                bytes = &bytes[length..];
            }
            None => bytes = &bytes[1..],
        }
    }
    found
}

/// The answer at the beginning, and its length.
fn answer(bytes: &[u8]) -> Option<((u8, u8), usize)> {
    let [unit, function, third, ..] = *bytes else { return None };
    let length = match function {
        1..=4 => 5 + usize::from(third),
        5 | 6 | 15 | 16 => 8,
        22 => 10,
        0x81..=0x86 | 0x8f | 0x90 | 0x96 => 5,
        _ => return None,
    };
    let (frame, checksum) = bytes.get(..length)?.split_at(length - 2);
    (crc(frame).to_le_bytes() == checksum).then_some(((unit, function & 0x7f), length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        [bytes, &crc(bytes).to_le_bytes()].concat()
    }

    #[test]
    fn the_checksum_is_the_one_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0x4b37);
    }

    #[test]
    fn late_answers_are_found_among_noise() {
        let wrote = framed(&[7, 16, 0, 100, 0, 2]);
        let bytes = [&[0x55, 0xaa][..], &framed(&[7, 3, 2, 0, 1]), &[7, 3], &framed(&[9, 0x84, 2]), &wrote, &[0]].concat();
        assert_eq!(answers(&bytes), [(7, 3), (9, 4), (7, 16)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_through_without_fear(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(answers(&bytes).len() <= bytes.len() / 5);
        }
    }
}
