//! Names at a domain: `alice@example.org`, and where its domain says whose they are. What the domain says is a hint that
//! is believed once: from then on the key counts.

use crate::limits::{AT_NAME_LOCAL_LEN_MAX, DOMAIN_LABEL_LEN_MAX, DOMAIN_LEN_MAX};
use thiserror::Error;

/// A name at a domain, in its one form: lower case, ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AtName {
    local: String,
    domain: String,
}

/// Why text is no name at a domain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AtNameError {
    /// Not one `@` with something on each side.
    #[error("a name at a domain is written alice@example.org")]
    Form,
    /// What stands before the `@`.
    #[error(
        "\"{0}\" cannot stand before the @: use 1 to {AT_NAME_LOCAL_LEN_MAX} letters a to z, digits, '-', '_' and '.', \
         with a letter or digit at both ends and no two dots together"
    )]
    Local(String),
    /// What stands behind it.
    #[error(
        "\"{0}\" is no domain: letters a to z, digits, '-' and dots, as in example.org; no address, no port. Domains in \
         other scripts are written xn--..."
    )]
    Domain(String),
}

impl AtName {
    /// The domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path at which the domain says whose the name is.
    pub fn path(&self) -> String {
        format!("/.well-known/tidings/{}", self.local)
    }

    /// Whether text means to be such a name.
    pub fn is_meant(text: &str) -> bool {
        text.contains('@')
    }
}

impl std::fmt::Display for AtName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl std::str::FromStr for AtName {
    type Err = AtNameError;
    fn from_str(text: &str) -> Result<Self, AtNameError> {
        let (local, domain) = text.trim().split_once('@').ok_or(AtNameError::Form)?;
        let (local, domain) = (local.to_ascii_lowercase(), domain.to_ascii_lowercase());
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(AtNameError::Form);
        }
        if !is_local(&local) {
            return Err(AtNameError::Local(local));
        }
        if !is_domain(&domain) {
            return Err(AtNameError::Domain(domain));
        }
        Ok(AtName { local, domain })
    }
}

fn is_local(text: &str) -> bool {
    let is_plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    text.len() <= AT_NAME_LOCAL_LEN_MAX
        && bytes.iter().all(|b| is_plain(b) || b"-_.".contains(b))
        && bytes.first().is_some_and(is_plain)
        && bytes.last().is_some_and(is_plain)
        && !text.contains("..")
}

/// Two labels at least, and a last one that is not all digits: what is an address is no domain.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=DOMAIN_LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= DOMAIN_LEN_MAX
        && text.contains('.')
        && text.split('.').all(is_label)
        && last.bytes().any(|b| b.is_ascii_lowercase())
        && !last.starts_with("0x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for (text, form) in [
            ("alice@example.org", "alice@example.org"),
            (" Alice@Example.ORG\n", "alice@example.org"),
            ("a.b-c_9@mail.example.co.uk", "a.b-c_9@mail.example.co.uk"),
            ("1@xn--bcher-kva.example", "1@xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<AtName>().map(|n| n.to_string()), Ok(form.to_owned()));
        }
        let name: AtName = "alice@example.org".parse().unwrap();
        assert_eq!((name.domain(), name.path().as_str()), ("example.org", "/.well-known/tidings/alice"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = "a".repeat(65);
        let label = format!("{}.org", "a".repeat(64));
        let domain = format!("{}org", "a.".repeat(126));
        let form = ["", "@", "alice", "alice@", "@example.org", "a@b.org@c.org"];
        let locals = [
            "../x",
            ".x",
            "x.",
            "x..y",
            "a/b",
            "a b",
            "a%2fb",
            "a?b",
            "a#b",
            "\u{430}lice",
            "a\u{0}b",
            "-a",
            "a:b",
            &long,
        ];
        let domains = [
            "localhost",
            "127.0.0.1",
            "0x7f.1",
            "127.1",
            "1.0x7f",
            "[::1]",
            "::1",
            "example.org:8443",
            "example.org/",
            "example.org.",
            ".example.org",
            "a..org",
            "-a.org",
            "a-.org",
            "ex_ample.org",
            "user:pass.org",
            "exam ple.org",
            "example.org\\x.org",
            "b\u{fc}cher.example",
            "example.org#.org",
            &label,
            &domain,
        ];
        for bad in form {
            assert_eq!(bad.parse::<AtName>(), Err(AtNameError::Form), "{bad}");
        }
        for bad in locals {
            assert!(matches!(format!("{bad}@example.org").parse::<AtName>(), Err(AtNameError::Local(_))), "{bad}");
        }
        for bad in domains {
            assert!(matches!(format!("a@{bad}").parse::<AtName>(), Err(AtNameError::Domain(_))), "{bad}");
        }
    }
}
