//! Topics and filters of the site bus (MQTT 3.1.1 §4.7): which are possible, and which have to do with each other.

/// Longest topic or filter, in bytes.
pub const MAX_TOPIC: usize = 1024;
/// Most levels of one.
pub const MAX_LEVELS: usize = 32;

fn fits(text: &str) -> bool {
    (1..=MAX_TOPIC).contains(&text.len()) && !text.contains('\0') && text.split('/').count() <= MAX_LEVELS
}

/// Whether something can be published there. Topics that begin with `$` are not the site's.
pub fn is_topic(text: &str) -> bool {
    fits(text) && !text.starts_with('$') && !text.contains(['+', '#'])
}

/// Whether it can be listened to.
pub fn is_filter(text: &str) -> bool {
    let last = text.split('/').count() - 1;
    let level = |(at, level): (usize, &str)| match level {
        "#" => at == last,
        "+" => true,
        other => !other.contains(['+', '#']),
    };
    fits(text) && !text.starts_with('$') && text.split('/').enumerate().all(level)
}

/// Whether a filter takes a topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    !topic.starts_with('$') && covers(filter, topic)
}

/// Whether a filter takes everything that another one takes.
pub fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) | (Some(_), Some("#")) => return false,
            (Some(a), Some(b)) if a != "+" && a != b => return false,
            _ => {}
        }
    }
}

/// Whether there is a topic that both filters take.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_filters_are_told_apart() {
        for good in ["a", "a/b", "/", "a//b", "tele/lamp 1/STATE", "ä/ö"] {
            assert!(is_topic(good) && is_filter(good), "{good}");
        }
        for only_filter in ["#", "+", "a/#", "+/b/+", "a/+/#"] {
            assert!(is_filter(only_filter) && !is_topic(only_filter), "{only_filter}");
        }
        for neither in ["", "$SYS/x", "$share/g/x", "a\0b", "a/#/b", "a#", "a+/b", &"x".repeat(1025), &"/".repeat(40)] {
            assert!(!is_topic(neither) && !is_filter(neither), "{neither:.20}");
        }
    }

    #[test]
    fn filters_take_what_the_standard_says() {
        for (filter, topic, takes) in [
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+", "a/b/c", false),
            ("+/+", "/b", true),
            ("+", "/b", false),
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("#", "$SYS/a", false),
        ] {
            assert_eq!(matches(filter, topic), takes, "{filter} {topic}");
        }
    }

    #[test]
    fn one_filter_covers_another_when_it_takes_all_of_it() {
        for (wide, narrow, covered) in [
            ("#", "a/#", true),
            ("a/#", "#", false),
            ("a/#", "a/+/c", true),
            ("a/+", "a/#", false),
            ("a/+/c", "a/b/c", true),
            ("a/b/c", "a/+/c", false),
            ("a/+", "a/+", true),
            ("a/#", "a/#", true),
            ("a/#", "a", true),
            ("+/#", "#", false),
        ] {
            assert_eq!(covers(wide, narrow), covered, "{wide} {narrow}");
        }
        for (one, other, both) in
            [("a/+", "a/b", true), ("a/+", "+/b", true), ("a/b", "a/c", false), ("a/#", "a", true), ("a", "a/b", false)]
        {
            assert_eq!((overlap(one, other), overlap(other, one)), (both, both), "{one} {other}");
        }
    }
}
