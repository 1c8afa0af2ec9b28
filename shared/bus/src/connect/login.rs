//! Addresses as people write them, taken apart into where to connect and whom to log in as.
//!
//! The NATS client connects to an address and ignores the user in it, so we read it ourselves. What must
//! hold: what is shown of an address never holds a password.

use percent_encoding::percent_decode_str;

/// Servers and the login for all of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Servers {
    /// Each with its scheme, none with a user.
    pub(super) addresses: Vec<String>,
    /// Of the first address that has one: servers of one cluster share their users.
    pub(super) login: Login,
}

/// What stands before the `@` of an address.
#[derive(PartialEq, Eq)]
pub(super) enum Login {
    Nobody,
    User { name: String, password: String },
    Token(String),
}

impl Servers {
    /// Reads addresses that are separated by commas.
    pub(super) fn parse(text: &str) -> Self {
        let mut servers = Self {
            addresses: Vec::new(),
            login: Login::Nobody,
        };
        for address in text.split(',').map(str::trim) {
            let (scheme, rest) = address.split_once("://").unwrap_or(("nats", address));
            // At the last one: a password may hold an `@` that nobody escaped.
            let (login, host) = match rest.rsplit_once('@') {
                Some((user, host)) => (Login::parse(user), host),
                None => (Login::Nobody, rest),
            };
            servers.addresses.push(format!("{scheme}://{host}"));
            if servers.login == Login::Nobody {
                servers.login = login;
            }
        }
        servers
    }
}

impl Login {
    fn parse(text: &str) -> Self {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        match text.split_once(':') {
            Some((name, password)) => Self::User {
                name: decoded(name),
                password: decoded(password),
            },
            None if text.is_empty() => Self::Nobody,
            None => Self::Token(decoded(text)),
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::User { .. } => "User",
            Self::Token(_) => "Token",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Login {
        Login::User {
            name: name.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn a_user_is_read_and_not_shown() {
        let servers = Servers::parse("nats://me:se@cret@a:4222, b:4222");
        assert_eq!(servers.login, user("me", "se@cret"));
        assert_eq!(servers.addresses, ["nats://a:4222", "nats://b:4222"]);
        assert!(!format!("{servers:?}").contains("cret"));
    }

    #[test]
    fn a_user_may_be_escaped_and_without_a_password_it_is_a_token() {
        let login = |address| Servers::parse(address).login;
        assert_eq!(login("tls://m%40e:%3a@a"), user("m@e", ":"));
        assert_eq!(login("tok%2Fen@a"), Login::Token("tok/en".to_owned()));
        assert_eq!(login("nats://a"), Login::Nobody);
        assert_eq!(login("nats://@a"), Login::Nobody);
    }

    #[test]
    fn the_first_address_with_a_user_tells_it_for_all() {
        let servers = Servers::parse("a,you:x@b,me:y@c");
        assert_eq!(servers.login, user("you", "x"));
        assert_eq!(servers.addresses, ["nats://a", "nats://b", "nats://c"]);
    }
}
