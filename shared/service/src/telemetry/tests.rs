//! Log lines as they leave the process, captured in a buffer.

use std::sync::Mutex;

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use tracing::{debug, field, info, info_span, warn};

use super::*;

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn noon() -> Timestamp {
    Timestamp::from_millisecond(1_795_435_200_045).expect("a time within jiff's range")
}

fn options(log_format: LogFormat, filter: &str) -> LogOptions {
    LogOptions {
        log_format,
        log_level: filter.parse().unwrap(),
    }
}

fn logged(options: &LogOptions, colour: Colour, events: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let style = Style {
        service: "scheduler",
        colour,
        now: noon,
    };
    let dispatch = dispatch(options, style, Arc::default(), move || writer.clone());
    tracing::dispatcher::with_default(&dispatch, events);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn pretty(events: impl FnOnce()) -> String {
    logged(&options(LogFormat::Pretty, "debug"), Colour::Off, events)
}

fn json_line(events: impl FnOnce()) -> Value {
    let line = logged(&options(LogFormat::Json, "debug"), Colour::Off, events);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    serde_json::from_str(&line).unwrap()
}

fn filtered(filter: &str, events: impl FnOnce()) -> String {
    logged(&options(LogFormat::Pretty, filter), Colour::Off, events)
}

#[test]
fn a_pretty_line_is_time_level_message_and_fields() {
    let line = pretty(|| info!(task = 17, attempt = 2, worker = "w1", "redelivered"));
    assert_eq!(
        line,
        "12:00:00.045 INFO  redelivered task=17 attempt=2 worker=w1\n"
    );
}

#[test]
fn a_pretty_value_is_quoted_only_where_its_end_would_be_in_doubt() {
    let values = || debug!(a = "x y", b = "", c = "k=v", d = %"say \"no\"", e = ?"x y", f = ?Some(1), g = 'ä'.to_string(), "values");
    let expected = r#"a="x y" b="" c="k=v" d="say \"no\"" e="x y" f=Some(1) g=ä"#;
    assert_eq!(
        pretty(values),
        format!("12:00:00.045 DEBUG values {expected}\n")
    );
}

#[test]
fn no_value_can_start_a_line_or_reach_the_terminal() {
    let line = pretty(
        || warn!(kind = "a\n12:00 INFO  forged", raw = %"\"\x1b[2J\"", "bad\r\x1b[2Jmessage"),
    );
    assert_eq!(
        line,
        "12:00:00.045 WARN  bad\\r\\u{1b}[2Jmessage kind=\"a\\n12:00 INFO  forged\" raw=\"\\u{1b}[2J\"\n"
    );
}

#[test]
fn a_value_that_only_looks_quoted_is_quoted_again() {
    let line = pretty(|| info!(a = "\"x\" b=\"y\"", b = "\"", c = "\"\\\"", "values"));
    assert!(
        line.contains(r#"a="\"x\" b=\"y\"" b="\"" c="\"\\\"""#),
        "{line}"
    );
}

#[test]
fn the_fields_of_spans_follow_those_of_the_event_from_the_outermost_in() {
    let line = pretty(|| {
        let outer = info_span!("lane", lane = "mail.5", seq = field::Empty).entered();
        outer.record("seq", 9);
        let _inner = info_span!("attempt", attempt = 1).entered();
        info!(elapsed_ms = 3, "done");
    });
    assert_eq!(
        line,
        "12:00:00.045 INFO  done elapsed_ms=3 lane=mail.5 seq=9 attempt=1\n"
    );
}

#[test]
fn colour_marks_the_level_and_dims_the_rest() {
    let event = || info!(task = 17, "done");
    let line = logged(&options(LogFormat::Pretty, "info"), Colour::On, event);
    assert_eq!(
        line,
        "\x1b[2m12:00:00.045\x1b[0m \x1b[32mINFO \x1b[0m done \x1b[2mtask=\x1b[0m17\n"
    );
}

#[test]
fn a_json_line_is_one_flat_object_that_names_the_service() {
    let line =
        json_line(|| info!(target: "rota", task = 17, ok = true, worker = "w1", "redelivered"));
    assert_eq!(
        line,
        json!({
            "timestamp": "2026-11-23T12:00:00.045Z", "level": "INFO", "target": "rota",
            "service": "scheduler", "message": "redelivered", "task": 17, "ok": true, "worker": "w1",
        })
    );
}

#[test]
fn the_keys_of_a_json_line_begin_in_a_fixed_order() {
    let event = || info!(target: "rota", a = 1, "done");
    let line = logged(&options(LogFormat::Json, "info"), Colour::On, event);
    let head =
        r#"{"timestamp":"2026-11-23T12:00:00.045Z","level":"INFO","target":"rota","service":"#;
    assert_eq!(
        line,
        format!("{head}\"scheduler\",\"message\":\"done\",\"a\":1}}\n")
    );
}

#[test]
fn the_innermost_value_of_a_json_key_wins() {
    let line = json_line(|| {
        let outer = info_span!("outer", lane = "a", seq = field::Empty, worker = "w1").entered();
        outer.record("seq", 9);
        let _inner = info_span!("inner", lane = "b").entered();
        info!(worker = "w2", "done");
    });
    assert_eq!(
        (&line["lane"], &line["seq"], &line["worker"]),
        (&json!("b"), &json!(9), &json!("w2"))
    );
}

#[test]
fn a_field_does_not_hide_what_every_json_line_has() {
    let line = json_line(|| info!(level = 3, service = "other", "done"));
    assert_eq!(
        (&line["level"], &line["level_"]),
        (&json!("INFO"), &json!(3))
    );
    assert_eq!(
        (&line["service"], &line["service_"]),
        (&json!("scheduler"), &json!("other"))
    );
}

#[test]
fn an_error_is_logged_with_its_sources() {
    let error = crate::ConfigError::Read {
        path: "a.toml".into(),
        source: io::Error::other("gone"),
    };
    let line = json_line(|| info!(error = &error as &dyn std::error::Error, "failed"));
    assert_eq!(line["error"], "cannot read the configuration a.toml: gone");
}

#[test]
fn the_client_is_kept_at_warn_until_the_filter_names_it() {
    let events = || {
        info!(target: "async_nats", "client info");
        warn!(target: "async_nats", "client warning");
        debug!(target: "rota_bus", "bus debug");
    };
    assert!(!filtered("debug", events).contains("client info"));
    assert!(filtered("debug", events).contains("client warning"));
    assert!(filtered("debug,async_nats=info", events).contains("client info"));
    assert!(!filtered("info", events).contains("bus debug"));
    assert!(filtered("info,rota_bus=debug", events).contains("bus debug"));
}

#[test]
fn a_misspelt_level_is_refused_instead_of_silencing_the_service() {
    let error = "inof".parse::<LogFilter>().unwrap_err();
    assert!(
        error.to_string().starts_with("`inof` is not a level"),
        "{error}"
    );
    assert!("info,rota_bus".parse::<LogFilter>().is_err());
    assert!("rota_bus=loud".parse::<LogFilter>().is_err());
    assert!("off".parse::<LogFilter>().is_ok());
    assert!(
        "info,rota[lane{a=1}]=debug,[attempt]"
            .parse::<LogFilter>()
            .is_ok()
    );
}

#[test]
fn flags_choose_format_and_filter() {
    let parse = |flags: &[&str]| {
        Args::parse_from(std::iter::once("rota-test").chain(flags.iter().copied())).log
    };
    assert_eq!(parse(&[]), LogOptions::default());
    assert_eq!(
        parse(&["--log-format", "json", "--log-filter", "off"]),
        options(LogFormat::Json, "off")
    );
}

#[test]
fn help_names_the_defaults() {
    let help = Args::command().render_long_help().to_string();
    for text in [
        "[default: pretty]",
        "[default: info]",
        "[env: ROTA_LOG=",
        "[env: ROTA_LOG_FORMAT=",
    ] {
        assert!(help.contains(text), "{text} is missing in {help}");
    }
}

#[test]
fn a_thousand_failures_are_ten_lines_and_what_only_counts_on_is_one() {
    let flood = || (0..1_000).for_each(|n| warn!(task = %format!("t{n}"), "look-up failed"));
    assert_eq!(pretty(flood).matches("look-up failed").count(), 10);
    let same = || (0..1_000).for_each(|elapsed_ms| warn!(elapsed_ms, "still nothing"));
    assert_eq!(pretty(same).matches("still nothing").count(), 1);
}

#[test]
fn workers_that_join_one_after_the_other_are_all_told() {
    let joining = || (0..40).for_each(|n| info!(worker = %format!("w{n}"), "worker joined"));
    assert_eq!(pretty(joining).matches("worker joined").count(), 40);
}

#[test]
fn what_somebody_asked_for_in_detail_and_what_a_handler_says_is_never_left_out() {
    let asked = || (0..1_000).for_each(|_| debug!("detail"));
    assert_eq!(pretty(asked).matches("detail").count(), 1_000);
    let handler = || (0..1_000).for_each(|_| warn!(target: "a_handler", "odd input"));
    assert_eq!(pretty(handler).matches("odd input").count(), 1_000);
}
