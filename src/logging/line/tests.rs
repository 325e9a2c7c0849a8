//! That a line survives being written and read, and that nothing else is taken for one.

use super::*;
use crate::reconcile::plain::is_active;
use proptest::prelude::*;

fn texts() -> impl Strategy<Value = String> {
    let words =
        prop::sample::select(vec!["a", "visited", "x=1", "{", "}", "pass{", "\"", " ", "  ", "12", "true", "1e3", "-0", "\u{1b}[31m", "\n", "é", "=", "\\"]);
    prop_oneof![prop::collection::vec(words, 0..5).prop_map(|words| words.concat()), "\\PC{0,12}", any::<String>()]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![texts().prop_map(Value::String), any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), any::<bool>().prop_map(Value::Bool)]
}

fn fields() -> impl Strategy<Value = Fields> {
    prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", values(), 0..4)
        .prop_map(|fields| Fields(fields.into_iter().filter(|(name, _)| name != TARGET).collect()))
}

fn lines() -> impl Strategy<Value = Line> {
    let span = ("[a-z]{1,9}", fields()).prop_map(|(name, fields)| Span { name, fields });
    let place = (prop::sample::select(Level::ALL.to_vec()), prop::collection::vec(span, 0..3), prop::option::of("[a-z:]{1,9}"));
    (0..4_000_000_000_000_i64, -14..=14_i32, place, texts(), fields()).prop_map(|(millis, hours, (level, spans, target), message, fields)| {
        let zone = FixedOffset::east_opt(hours * 3600 + 1800 * (hours % 2)).unwrap();
        let time = DateTime::from_timestamp_millis(millis).unwrap().with_timezone(&zone);
        Line { spans, fields, target, ..Line::new(time, level, &message) }
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_from_either_form(line in lines()) {
        for format in [LogFormat::Text, LogFormat::Json] {
            let written = line.written(format);
            prop_assert!(!written.chars().any(is_active), "{}", written);
            prop_assert_eq!(Line::parse(&written), Some(line.clone()), "{}", written);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in texts(), line in lines(), cut in 0..200_usize) {
        let _ = Line::parse(&text);
        let torn: String = line.to_string().chars().take(cut).collect();
        let _ = Line::parse(&torn);
    }
}

#[test]
fn a_line_reads_as_a_sentence_with_its_place() {
    let text = "2026-03-04T05:06:07.123+01:00 WARN  pass{id=7f3a9c12} codespace{name=fluffy-1} visit failed reason=\"no sshd there\" bytes_in=0 target=\"12\"";
    let line = Line::parse(text).unwrap();
    assert_eq!((line.message.as_str(), line.span("pass", "id"), line.span("codespace", "name")), ("visit failed", Some("7f3a9c12"), Some("fluffy-1")));
    assert_eq!((line.fields.get("bytes_in"), line.target.as_deref()), (Some(&Value::from(0)), Some("12")));
    assert_eq!(line.to_string(), text);
    assert!(
        line.written(LogFormat::Json)
            .starts_with(r#"{"version":1,"time":"2026-03-04T05:06:07.123+01:00","level":"warn","spans":[{"name":"pass","fields":{"id":"7f3a9c12"}}"#)
    );
}

#[test]
fn what_is_almost_a_line_is_none() {
    let good = "2026-03-04T05:06:07.123Z INFO  pass ended visited=1";
    assert!(Line::parse(good).is_some());
    for bad in
        ["", "x", &good[..30], &good[1..], "{}", &good.replace("INFO ", "NOTE "), &format!("{good} "), &format!("{good} x"), &good.replace("ended", "end\ted")]
    {
        assert_eq!(Line::parse(bad), None, "{bad}");
    }
    let json = Line::parse(good).unwrap().written(LogFormat::Json);
    assert!(Line::parse(&json).is_some());
    assert_eq!(Line::parse(&json.replace("\"version\":1", "\"version\":2")), None, "another version is not guessed");
    assert_eq!(Line::parse(&json.replace("\"visited\":1", "\"visited\":[1]")), None);
}
