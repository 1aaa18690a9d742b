//! Numbers that the processor does not know: 16-bit floats, binary coded decimals, and 32-bit floats as people read them.

/// 2 to the power of -24: the smallest half above zero.
const HALF_STEP: f64 = 1.0 / 16_777_216.0;
/// Halves end here: from this on they would round to infinity.
const HALF_END: f64 = 65_520.0;

/// A 16-bit float.
pub(super) fn half_from(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * HALF_STEP,
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// The nearest 16-bit float; `None` when it is too large for one.
pub(super) fn half_into(number: f64) -> Option<u16> {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let size = number.abs();
    if number.is_nan() {
        return Some(0x7e00);
    }
    if size.is_infinite() {
        return Some(sign | 0x7c00);
    }
    if size >= HALF_END {
        return None;
    }
    // The smallest normal half is 2 to the power of -14; below it the step stays the same.
    let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(-15);
    let bits = match exponent {
        -15 => (size / HALF_STEP).round_ties_even(),
        // Rounding up to the next power of two carries into the exponent, which is just right.
        _ => f64::from(exponent + 15) * 1024.0 + ((size / 2_f64.powi(exponent) - 1.0) * 1024.0).round_ties_even(),
    };
    Some(sign | bits as u16)
}

/// A 32-bit float as the shortest decimal that means it: 0.1, and not 0.10000000149011612.
pub(super) fn plain(short: f32) -> f64 {
    let exact = f64::from(short);
    if !short.is_finite() || short.fract() == 0.0 {
        return exact;
    }
    short.to_string().parse().unwrap_or(exact)
}

/// Four decimal digits to a word; `None` for a digit above 9.
pub(super) fn bcd_from(bits: u64, words: u8) -> Option<i64> {
    (0..4 * u32::from(words)).rev().try_fold(0_i64, |number, digit| {
        let value = bits.checked_shr(4 * digit).unwrap_or(0) & 0xf;
        (value <= 9).then(|| number * 10 + value as i64)
    })
}

/// `None` when it has more digits than the words have room for.
pub(super) fn bcd_into(mut number: u64, words: u8) -> Option<u64> {
    let mut bits = 0;
    for digit in 0..4 * u32::from(words) {
        bits |= (number % 10).checked_shl(4 * digit)?;
        number /= 10;
    }
    (number == 0).then_some(bits)
}
