//! The configuration file of a server on one machine.
//!
//! The values are those for a task queue: a dead client is noticed within seconds, a slow one does
//! not hold up the others, and the store is synced often enough for a machine that people restart.

use std::{fmt::Write, path::Path};

use super::{
    JetStream, ServerOptions,
    error::ServerError,
    home::{LOG_FILE, PORTS_FOLDER},
};

/// The whole text. Port 0 stands for a free one, which the server then tells in its ports file.
pub(super) fn text(
    folder: &Path,
    port: u16,
    options: &ServerOptions,
) -> Result<String, ServerError> {
    let listen = if port == 0 { -1 } else { i32::from(port) };
    let ports = quote(&folder.join(PORTS_FOLDER))?;
    let log = quote(&folder.join(LOG_FILE))?;
    let mut text = format!(
        "# Written by rota at each start; changes are lost.\n\
         listen: \"127.0.0.1:{listen}\"\n\
         ports_file_dir: {ports}\n\
         log_file: {log}\n\
         logfile_size_limit: 16MB\n\
         logfile_max_num: 3\n\
         ping_interval: \"5s\"\n\
         ping_max: 2\n\
         write_deadline: \"5s\"\n"
    );
    if let Some(bytes) = options.max_payload {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "max_payload: {bytes}");
    }
    match options.jetstream {
        JetStream::On => {
            let store = quote(folder)?;
            let max = match options.store_bytes_max {
                Some(bytes) => format!("  max_file_store: {bytes}\n"),
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "jetstream {{\n  store_dir: {store}\n{max}  sync_interval: \"10s\"\n  \
                 request_queue_limit: 2000\n  max_buffered_msgs: 100000\n  \
                 max_buffered_size: 256MB\n}}"
            );
        }
        JetStream::Off => {}
    }
    for line in &options.extra {
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

/// A path as a string of the configuration, in which a backslash escapes.
fn quote(path: &Path) -> Result<String, ServerError> {
    let text = path.to_str().ok_or_else(|| ServerError::PathNotUtf8 {
        path: path.to_owned(),
    })?;
    Ok(format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn the_server_listens_on_this_machine_only() {
        let text = |port| text(Path::new("/s"), port, &ServerOptions::default()).unwrap();
        assert!(text(0).contains("listen: \"127.0.0.1:-1\"\n"));
        assert!(text(4222).contains("listen: \"127.0.0.1:4222\"\n"));
    }

    #[test]
    fn options_become_lines() {
        let options = ServerOptions {
            max_payload: Some(4096),
            jetstream: JetStream::Off,
            store_bytes_max: Some(7),
            extra: vec!["max_connections: 9".to_owned()],
            ..ServerOptions::default()
        };
        let text = text(Path::new("/s"), 0, &options).unwrap();
        assert!(text.contains("\nmax_payload: 4096\n") && !text.contains("jetstream"));
        assert!(text.ends_with("\nmax_connections: 9\n"));
    }

    #[test]
    fn the_space_for_streams_is_the_servers_own_choice_unless_it_is_said() {
        let text = |store_bytes_max| {
            let options = ServerOptions {
                store_bytes_max,
                ..ServerOptions::default()
            };
            text(Path::new("/s"), 0, &options).unwrap()
        };
        assert!(!text(None).contains("max_file_store"));
        assert!(text(Some(4096)).contains("\n  max_file_store: 4096\n"));
    }

    #[test]
    fn a_strange_path_is_quoted_and_an_impossible_one_refused() {
        assert_eq!(quote(Path::new(r#"/a "b"\c"#)).unwrap(), r#""/a \"b\"\\c""#);
        assert!(quote(Path::new(OsStr::from_bytes(b"/\xff"))).is_err());
    }
}
