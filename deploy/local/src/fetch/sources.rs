//! Reads from the machine's apt sources where its distribution's own archive is mirrored.
//!
//! The mirror is the machine's choice (a company's, a country's, a snapshot), so it is taken from
//! there and never named in this code. Third-party sources are left out: an entry counts only when
//! its suite is the distribution's, it has the component `main`, and its key, where it names one,
//! is the distribution's own. Both formats are read: one line an entry (`*.list`), and stanzas of
//! fields (`*.sources`). What cannot be read is passed over, as it would not help.

use std::{fs, path::Path};

/// A distribution with newer suites from which a package may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    Debian,
    Ubuntu,
}

impl Distribution {
    /// The suites to try for a newer nats-server, the calmest first.
    pub(super) fn newer_suites(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &["forky", "sid"],
            // `devel` is whatever comes next.
            Self::Ubuntu => &["resolute", "devel"],
        }
    }

    /// The components to read: Ubuntu keeps nats-server among what its community looks after.
    pub(super) fn components(self) -> &'static str {
        match self {
            Self::Debian => "main",
            Self::Ubuntu => "main universe",
        }
    }

    /// The file names under which its whole keyring is installed, in either spelling.
    pub(super) fn keyring_names(self) -> [&'static str; 2] {
        match self {
            Self::Debian => ["debian-archive-keyring.pgp", "debian-archive-keyring.gpg"],
            Self::Ubuntu => ["ubuntu-archive-keyring.pgp", "ubuntu-archive-keyring.gpg"],
        }
    }

    /// How the file names of its archive keys begin.
    fn key_prefix(self) -> &'static str {
        match self {
            Self::Debian => "debian-archive-",
            Self::Ubuntu => "ubuntu-archive-",
        }
    }

    /// Names by which an entry may follow the distribution without naming a release.
    fn rolling_suites(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &["testing", "unstable", "sid"],
            Self::Ubuntu => &["devel"],
        }
    }
}

/// What `/etc/os-release` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) distribution: Distribution,
    codename: String,
}

impl Release {
    /// `None` for another system than those whose archives are known.
    pub(super) fn parse(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let lines = os_release.lines().filter_map(|line| line.split_once('='));
            let value = lines
                .filter(|(name, _)| name.trim() == key)
                .map(|(_, value)| value)
                .next_back();
            value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let distribution = match value("ID")?.as_str() {
            "debian" => Distribution::Debian,
            "ubuntu" => Distribution::Ubuntu,
            _ => return None,
        };
        Some(Self {
            distribution,
            codename: value("VERSION_CODENAME")?,
        })
    }

    fn has_suite(&self, suite: &str) -> bool {
        suite == self.codename || self.distribution.rolling_suites().contains(&suite)
    }
}

/// A mirror of the distribution's own archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) uri: String,
    /// The file with the keys that sign it, where the entry names one.
    pub(super) keyring: Option<String>,
}

/// The archives of `release` in the sources below `apt`, which is `/etc/apt`, each once.
pub(super) fn read_archives(apt: &Path, release: &Release) -> Vec<Archive> {
    let mut files = vec![apt.join("sources.list")];
    let folder = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut more: Vec<_> = folder.map(|entry| entry.path()).collect();
    more.sort_unstable();
    files.append(&mut more);

    let mut archives = Vec::new();
    for file in files {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_lines,
            Some("sources") => parse_stanzas,
            Some(_) | None => continue,
        };
        let entries = fs::read_to_string(&file)
            .map(|text| parse(&text))
            .unwrap_or_default();
        for archive in entries.iter().filter_map(|entry| entry.archive(release)) {
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    archives
}

/// One entry for binary packages, with each of its fields split into words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Vec<String>,
}

impl Entry {
    fn archive(&self, release: &Release) -> Option<Archive> {
        let fits = self.suites.iter().any(|suite| release.has_suite(suite))
            && self.components.iter().any(|component| component == "main");
        let uri = self.uris.iter().find(|uri| !uri.starts_with("cdrom:"))?;
        let keyring = self.signed_by.first().cloned();
        let is_own = keyring.as_ref().is_none_or(|keyring| {
            let name = Path::new(keyring)
                .file_name()
                .and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(release.distribution.key_prefix()))
        });
        (fits && is_own).then(|| Archive {
            uri: uri.clone(),
            keyring,
        })
    }
}

/// `deb [arch=amd64 signed-by=/path] uri suite component...`, one a line.
fn parse_lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None; // deb-src
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut fields = words(rest).into_iter();
    Some(Entry {
        uris: vec![fields.next()?],
        suites: vec![fields.next()?],
        components: fields.collect(),
        signed_by: signed_by(options),
    })
}

fn signed_by(options: &str) -> Vec<String> {
    let values = options.split_whitespace().filter_map(|option| {
        let (key, value) = option.split_once('=')?;
        key.eq_ignore_ascii_case("signed-by").then_some(value)
    });
    values.flat_map(words).collect()
}

/// Stanzas of `Field: value`, parted by empty lines; a line that starts blank goes on with a value.
fn parse_stanzas(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(parse_stanza(&std::mem::take(&mut stanza)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn parse_stanza(fields: &[(String, String)]) -> Option<Entry> {
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| words(value)).unwrap_or_default()
    };
    let disabled = field("enabled").first().is_some_and(|value| {
        ["no", "false", "off", "without", "disable", "0"].contains(&value.as_str())
    });
    let is_binary = field("types").iter().any(|kind| kind == "deb");
    (is_binary && !disabled).then(|| Entry {
        uris: field("uris"),
        suites: field("suites"),
        components: field("components"),
        signed_by: field("signed-by"),
    })
}

fn words(text: &str) -> Vec<String> {
    let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    fn bookworm() -> Release {
        Release {
            distribution: Distribution::Debian,
            codename: "bookworm".to_owned(),
        }
    }

    fn archives(entries: &[Entry]) -> Vec<Archive> {
        entries
            .iter()
            .filter_map(|entry| entry.archive(&bookworm()))
            .collect()
    }

    fn archive(uri: &str, keyring: Option<&str>) -> Archive {
        Archive {
            uri: uri.to_owned(),
            keyring: keyring.map(str::to_owned),
        }
    }

    #[test]
    fn the_release_is_read_with_and_without_quotes() {
        let debian = "PRETTY_NAME=\"D\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(Release::parse(debian), Some(bookworm()));
        let ubuntu = Release::parse("ID=\"ubuntu\"\nVERSION_CODENAME='noble'\n").unwrap();
        assert_eq!(ubuntu.distribution, Distribution::Ubuntu);
        assert_eq!(ubuntu.codename, "noble");
        assert_eq!(Release::parse("ID=fedora\nVERSION_CODENAME=\n"), None);
        assert_eq!(Release::parse("ID=debian\n"), None);
    }

    #[test]
    fn entries_of_one_line_are_read_with_their_options() {
        let text = format!(
            "# deb http://commented.test/debian bookworm main\n\
             deb [arch=amd64 signed-by={KEYRING}] http://mirror.test/debian bookworm main more # x\n\
             deb-src http://source.test/debian bookworm main\n\
             deb\thttp://plain.test/debian/ bookworm main\n\
             deb [ trusted=yes Signed-By={KEYRING},other ] http://spaced.test bookworm main\n\
             deb http://security.test/debian-security bookworm-security main\n\
             deb http://nothing.test\n"
        );
        let expected = vec![
            archive("http://mirror.test/debian", Some(KEYRING)),
            archive("http://plain.test/debian/", None),
            archive("http://spaced.test", Some(KEYRING)),
        ];
        assert_eq!(archives(&parse_lines(&text)), expected);
    }

    #[test]
    fn stanzas_are_read_with_comments_and_values_over_several_lines() {
        let text = format!(
            "Types: deb deb-src\n# URIs: http://commented.test\nURIs: http://mirror.test/debian\n\
             suites: bookworm\n bookworm-updates\nComponents:\n main\n contrib\n\
             Signed-By: {KEYRING}\n\n\n\
             Types: deb-src\nURIs: http://source.test\nSuites: bookworm\nComponents: main\n\n\
             Types: deb\nURIs: http://off.test\nSuites: bookworm\nComponents: main\nEnabled: no\n\n\
             Types: deb\nURIs: http://security.test\nSuites: bookworm-security\nComponents: main"
        );
        let found = archives(&parse_stanzas(&text));
        assert_eq!(
            found,
            vec![archive("http://mirror.test/debian", Some(KEYRING))]
        );
    }

    #[test]
    fn third_parties_are_left_out() {
        let lines = "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://v.test bookworm main\n\
                     deb http://browser.test/deb stable main\n\
                     deb http://containers.test/linux/debian bookworm stable\n\
                     deb http://database.test/apt bookworm-pgdg main\n\
                     deb cdrom:[Debian]/ bookworm main\n";
        assert_eq!(archives(&parse_lines(lines)), vec![]);
        let inline = "Types: deb\nURIs: http://v.test\nSuites: bookworm\nComponents: main\n\
                      Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n";
        assert_eq!(archives(&parse_stanzas(inline)), vec![]);
    }

    #[test]
    fn only_files_that_apt_would_read_are_read_and_each_archive_comes_once() {
        let apt = tempfile::tempdir().unwrap();
        let folder = apt.path().join("sources.list.d");
        fs::create_dir(&folder).unwrap();
        let line = |host: &str| format!("deb http://{host}.test/debian bookworm main\n");
        fs::write(apt.path().join("sources.list"), line("one") + &line("two")).unwrap();
        fs::write(folder.join("b.list"), line("two") + &line("three")).unwrap();
        fs::write(folder.join("a.list.disabled"), line("four")).unwrap();
        let found = read_archives(apt.path(), &bookworm());
        let expected = ["one", "two", "three"].map(|host| format!("http://{host}.test/debian"));
        assert_eq!(
            found
                .into_iter()
                .map(|archive| archive.uri)
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(read_archives(&folder, &bookworm()), vec![]);
    }
}
