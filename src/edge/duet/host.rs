//! Where a printer is.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use crate::Error;

/// Where a printer is: `http://HOST` or `http://HOST:PORT`.
///
/// Nothing else fits, and no error repeats the text: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    name: String,
    port: u16,
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let wrong =
            |problem: &str| Error::Input(format!("`host`: {problem}; give http://HOST or http://HOST:PORT"));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("this is no URL"));
        };
        if scheme.eq_ignore_ascii_case("https") {
            return Err(wrong("RepRapFirmware serves plain HTTP only, so https cannot reach it"));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong("the scheme is not http"));
        }
        if rest.contains('@') {
            return Err(wrong(
                "a URL must not hold a user or a password (the password is read from the environment: `password-env`)",
            ));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(wrong("the URL must end behind the host"));
        }
        let (name, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or_else(|| wrong("a bracket is open"))?;
                if !matches!(name.parse(), Ok(IpAddr::V6(_))) {
                    return Err(wrong("there is no IPv6 address in the brackets"));
                }
                (name, port)
            }
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 80,
            Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("the port must be 1 to 65535")),
            },
            _ => return Err(wrong("the port is no number")),
        };
        let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(known) {
            return Err(wrong("there is no name or address of a host"));
        }
        Ok(Self { name: name.to_owned(), port })
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl Host {
    /// As in a `Host` header.
    pub(super) fn authority(&self) -> String {
        let name = if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        if self.port == 80 { name } else { format!("{name}:{}", self.port) }
    }

    /// Its addresses, IPv4 first: RepRapFirmware speaks nothing else.
    pub(super) fn addresses(&self, deadline: Duration) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        // The system's resolver has no deadline. A thread that it keeps ends with the process.
        let (sender, receiver) = mpsc::channel();
        let (name, port) = (self.name.clone(), self.port);
        std::thread::spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            // Nobody waits for it any more.
            let _ = sender.send(found);
        });
        let mut found = match receiver.recv_timeout(deadline) {
            Ok(Ok(found)) if !found.is_empty() => found,
            Ok(_) => return Err("no such host is known; check the name, or give its address".into()),
            Err(_) => return Err(format!("its name was not resolved within {} ms", deadline.as_millis())),
        };
        found.sort_by_key(SocketAddr::is_ipv6);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_url_is_a_host() {
        for (text, shown) in [
            ("http://192.168.1.5", "http://192.168.1.5"),
            ("http://duet.local/", "http://duet.local"),
            ("HTTP://duet_2:8080", "http://duet_2:8080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown);
        }
        for (text, word) in [
            ("duet.local", "no URL"),
            ("https://duet", "plain HTTP"),
            ("ftp://duet", "not http"),
            ("http://user:hunter2@duet", "`password-env`"),
            ("http://duet/rr_connect?password=hunter2", "end behind the host"),
            ("http://duet?password=hunter2", "end behind the host"),
            ("http://duet#hunter2", "end behind the host"),
            ("http://", "no name"),
            ("http://:80", "no name"),
            ("http://du et", "no name"),
            ("http://duet\r\nX: y", "no number"),
            ("http://duet\r\nX", "no name"),
            ("http://duet:", "1 to 65535"),
            ("http://duet:0", "1 to 65535"),
            ("http://duet:65536", "1 to 65535"),
            ("http://duet:+80", "no number"),
            ("http://1::2", "no number"),
            ("http://[::1", "bracket"),
            ("http://[duet]", "IPv6"),
            ("http://[::1]80", "no number"),
        ] {
            let error = text.parse::<Host>().unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
