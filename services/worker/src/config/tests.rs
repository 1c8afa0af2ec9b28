//! What a handlers file may say, and what is said about one that is wrong.

use std::io::Write;
use std::time::Duration;

use super::*;
use crate::handler::registry::HandlerKind;

fn read_file(text: &str) -> Result<Registry, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(file.path())
}

/// Without a look at what is on this machine.
fn read(text: &str) -> Result<Registry, Vec<String>> {
    let (registry, faults) = registry(text.parse().unwrap(), Path::new("/etc/rota"));
    if faults.is_empty() {
        Ok(registry)
    } else {
        Err(faults.iter().map(Fault::to_string).collect())
    }
}

fn faults(text: &str) -> Vec<String> {
    read(text).expect_err("faults were expected")
}

fn command(text: &str) -> CommandHandler {
    let registry = read(text).unwrap();
    let entry = registry.get("a").unwrap();
    match &entry.handler {
        HandlerKind::Command(command) => command.clone(),
        HandlerKind::Function(_) => panic!("a command"),
    }
}

#[test]
fn paths_count_from_the_folder_of_the_file() {
    for (said, meant) in [
        ("convert", "convert"),
        ("./convert", "/etc/rota/./convert"),
        ("bin/convert", "/etc/rota/bin/convert"),
        ("/opt/convert", "/opt/convert"),
    ] {
        let read = command(&format!("[handlers.a]\ncommand = ['{said}', 'in/put']"));
        assert_eq!((&*read.program, read.working_dir), (meant, None));
        assert_eq!(
            read.args,
            ["in/put"],
            "what the program makes of it is its own"
        );
    }
    let text = "[handlers.a]\ncommand = ['true']\nworking_dir = 'photos'";
    let photos = Path::new("/etc/rota/photos");
    assert_eq!(command(text).working_dir.as_deref(), Some(photos));
}

#[test]
fn what_cannot_be_started_is_a_fault_along_with_all_others() {
    let error = read_file(
        "[handlers.a]\ncommand = ['no-such-program']\n\
         [handlers.b]\ncommand = ['./no/such/program']\nworking_dir = 'no/such/folder'\n\
         [handlers.c]\ncommand = ['true']\ntimeout = 'soon'\n\
         [handlers.d]\ncommand = []\n",
    );
    let told = error.unwrap_err().to_string();
    for part in [
        "has 5 fault(s)",
        "handlers.a.command = \"no-such-program\": is not found in PATH (",
        "/no/such/program\": is not there",
        "handlers.b.working_dir = \"",
        "/no/such/folder\": is not there",
        "handlers.c.timeout",
        "handlers.d.command",
    ] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
}

#[test]
fn a_full_handler_is_read_with_all_its_settings() {
    let registry = read(
        r#"
        [handlers.thumbnail]
        command = ["convert", "-", "png:-"]
        concurrency = 4
        timeout = "30s"
        grace = "200ms"
        output_max = "4MiB"
        working_dir = "/srv/photos"
        env = { THREADS = "1" }
        "#,
    )
    .unwrap();
    let entry = registry.get("thumbnail").unwrap();
    let HandlerKind::Command(command) = &entry.handler else {
        panic!("a command")
    };
    assert_eq!(
        *command,
        CommandHandler {
            program: "convert".into(),
            args: vec!["-".into(), "png:-".into()],
            env: [("THREADS".into(), "1".into())].into(),
            working_dir: Some("/srv/photos".into()),
        }
    );
    assert_eq!(entry.concurrency, Some(4));
    assert_eq!(
        entry.limits,
        Limits {
            timeout: Some(Duration::from_secs(30)),
            grace: Duration::from_millis(200),
            output_bytes_max: 4 * 1024 * 1024,
        }
    );
}

#[test]
fn a_command_is_all_that_a_handler_needs() {
    let registry = read("[handlers.a]\ncommand = ['true']\n[handlers.b]\ncommand = ['b']").unwrap();
    assert_eq!(registry.iter().count(), 2);
    let entry = registry.get("a").unwrap();
    assert_eq!(entry.concurrency, None);
    assert_eq!(entry.limits, Limits::default());
}

#[test]
fn a_file_without_handlers_is_an_empty_registry() {
    assert!(read("").unwrap().is_empty());
}

#[test]
fn all_faults_are_reported_at_once_with_key_value_and_rule() {
    let faults = faults(
        r#"
        handler = 1
        [handlers.thumbnail]
        timeout = "soon"
        concurrency = 0
        retries = 3
        output_max = "lots"
        [handlers.Report]
        command = []
        grace = 5
        env = { ROTA_TASK_ID = "1", "A=B" = "x", OK = "fine" }
        [handlers]
        mail = "sendmail"
        "#,
    );
    let begins = [
        "handler = 1: unknown key; known here: handlers",
        "handlers.Report.command = []: must be a list of texts, first the program",
        r#"handlers.Report.env.A=B = "x": must be a text without NUL"#,
        r#"handlers.Report.env.ROTA_TASK_ID = "1": must be a text without NUL"#,
        "handlers.Report.grace = 5: must be a span above zero",
        r#"handlers.Report: kind "Report" must be 1 to 64 of a-z 0-9 _ -"#,
        r#"handlers.mail = "sendmail": must be a table with a command"#,
        "handlers.thumbnail.command: is missing; must be a list of texts",
        "handlers.thumbnail.concurrency = 0: must be a whole number from 1 to 1024",
        r#"handlers.thumbnail.timeout = "soon": must be a span above zero"#,
        r#"handlers.thumbnail.output_max = "lots": must be a size from 1B to 64MiB"#,
        "handlers.thumbnail.retries = 3: unknown key; known here: command, working_dir, env",
    ];
    for (fault, begin) in faults.iter().zip(begins) {
        assert!(fault.starts_with(begin), "{fault}\n{begin}");
    }
    assert_eq!(faults.len(), begins.len(), "{faults:#?}");
}

#[test]
fn sizes_out_of_bounds_are_refused() {
    for size in ["0B", "65MiB", "-1MiB", ""] {
        let text = format!("[handlers.a]\ncommand = ['true']\noutput_max = {size:?}");
        assert_eq!(faults(&text).len(), 1, "{size:?}");
    }
}

#[test]
fn broken_toml_and_a_missing_file_are_told_apart() {
    assert!(matches!(
        read_file("[handlers"),
        Err(ConfigError::Syntax { .. })
    ));
    assert!(matches!(
        load("no/such/file.toml"),
        Err(ConfigError::Read { .. })
    ));
}

#[test]
fn the_error_names_the_file_and_lists_the_faults() {
    let error = read_file("a = 1\nb = 2").unwrap_err().to_string();
    assert!(
        error.starts_with("handlers file ") && error.contains("has 2 fault(s)"),
        "{error}"
    );
    assert!(
        error.contains("\n  a = 1: ") && error.contains("\n  b = 2: "),
        "{error}"
    );
}
