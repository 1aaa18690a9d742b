//! What bytes look like: whether a speed is the right one, and how frames may be told apart.

use serde_json::Value as Json;

use super::super::tally::hex;

/// Characters of the sample that are shown.
const MOST_SAMPLE: usize = 120;
/// Text in so many bytes without one that is none is no accident.
const SURE: usize = 24;

/// What was heard at one speed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) count: usize,
    /// 0 to 1: the share of bytes that text is made of.
    pub(super) score: f64,
    pub(super) looks_like: &'static str,
    /// The last whole line, or the first bytes in hexadecimal.
    pub(super) sample: String,
}

pub(super) fn judge(bytes: &[u8]) -> Heard {
    let is_text = |byte: &&u8| matches!(byte, 0x20..=0x7e | b'\r' | b'\n' | b'\t' | 2 | 3);
    let score = if bytes.is_empty() { 0.0 } else { bytes.iter().filter(is_text).count() as f64 / bytes.len() as f64 };
    // The first line may have begun before we listened, and the last may not be over.
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).skip(1).filter(|line| !line.is_empty());
    let whole = lines.next().filter(|_| lines.next().is_some() || bytes.ends_with(b"\n") || bytes.ends_with(b"\r"));
    let line = String::from_utf8_lossy(whole.unwrap_or_default()).chars().filter(|c| !c.is_control()).take(MOST_SAMPLE).collect::<String>();
    let looks_like = match line.as_bytes() {
        _ if bytes.is_empty() => "silence",
        _ if score < 0.9 => "bytes that are no text: another speed, or a binary protocol",
        [b'$', b'G' | b'B', ..] => "NMEA 0183",
        [b'{', .., b'}'] => "JSON",
        [b'/', ..] => "IEC 62056-21",
        [] => "text without line ends",
        line if line.contains(&b'=') => "names with values",
        line if line.iter().filter(|byte| **byte == b',' || **byte == b';').count() > 1 => "values between separators",
        _ => "lines of text",
    };
    let sample = if score < 0.9 || line.is_empty() { hex(bytes.get(..48).unwrap_or(bytes)) } else { line };
    Heard { count: bytes.len(), score, looks_like, sample }
}

impl Heard {
    pub(super) fn is_sure(&self) -> bool {
        self.count >= SURE && self.score == 1.0
    }

    pub(super) fn facts(&self) -> Vec<(String, Json)> {
        vec![
            ("bytes".to_owned(), self.count.into()),
            ("text".to_owned(), format!("{:.0} %", self.score * 100.0).into()),
            ("looks like".to_owned(), self.looks_like.into()),
            ("sample".to_owned(), self.sample.as_str().into()),
        ]
    }

    pub(super) fn section(&self, path: &str, baud: u32) -> String {
        let frame = match self.looks_like {
            "NMEA 0183" => "frame = { type = \"enclosed\", start = '$', end = '\\r\\n', checksum = { type = \"nmea\", after = 2 } }",
            _ if self.score < 0.9 => "frame = { type = \"idle\" }",
            _ => "frame = { type = \"line\" }",
        };
        let parser = match self.looks_like {
            "NMEA 0183" => "nmea",
            "JSON" => "json",
            "names with values" => "pairs",
            "values between separators" => "csv",
            _ if self.score < 0.9 => "layout",
            _ => "regex",
        };
        format!(
            "[[adapter]]\nname = \"line\"\nkind = \"serial\"\nport = \"{path}\"\nbaud = {baud}\n{frame}\n\n[[adapter.device]]\nid = \"device\"\n\n\
             [[adapter.device.message]]\nparser = \"{parser}\""
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_judged_by_how_much_of_it_is_text() {
        let nmea = judge(b"0,M,,*76\r\n$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n$GP");
        assert_eq!((nmea.looks_like, nmea.is_sure()), ("NMEA 0183", true));
        assert_eq!(judge(b"5}\r\n{\"t\":21.5}\r\n{\"t\"").looks_like, "JSON");
        assert_eq!(judge(b"1\nt=4,h=5\nt=4").looks_like, "names with values");
        assert_eq!(judge(&[]).looks_like, "silence");
        let wrong = judge(&[0xf8, 0x80, 0x1e, 0x00, 0xfe, 0xe0, 0x98, 0x00]);
        assert!(wrong.score < 0.5 && !wrong.is_sure() && wrong.sample.starts_with("f8 80"));
    }
}
