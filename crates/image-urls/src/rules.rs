//! Rules for allowed hosts.

use reqwest::Url;

use crate::Error;

/// An allowed host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    host: Host,
    /// The port, if it is not the scheme's default.
    port: Option<u16>,
    /// Whether unencrypted connections are allowed too.
    plain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Exactly(String),
    /// All names that end with a dot and this name.
    Below(String),
}

impl Rule {
    /// Parses `example.org`, `*.example.org` or `*`, with an optional `http://` before it for unencrypted connections and an optional
    /// `:PORT` after it.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error(format!("the rule {text:?} {what}: write example.org, *.example.org or *"));
        let (plain, rest) = match text.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some(("https", rest)) => (false, rest),
            Some(_) => return Err(wrong("has another scheme than http and https")),
            None => (false, text),
        };
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => {
                (name, Some(port.parse().map_err(|_| wrong("has no number behind the colon"))?))
            }
            Some(_) => return Err(wrong("names an IPv6 address, which is not supported")),
            None => (rest, None),
        };
        // Normalises names like the URL parser: lower case, international names encoded.
        let normal = |name: &str| {
            let is_name = !name.is_empty() && !name.contains(['/', '*', '?', '#', '@', ' ', '%', '\\']);
            let url = is_name.then(|| Url::parse(&format!("https://{name}/")).ok()).flatten();
            url.and_then(|url| url.host_str().map(str::to_owned)).ok_or_else(|| wrong("names no host"))
        };
        let host = match name.strip_prefix("*.") {
            _ if name == "*" => Host::Any,
            Some(name) => Host::Below(normal(name)?),
            None => Host::Exactly(normal(name)?),
        };
        Ok(Self { host, port, plain })
    }

    fn allows(&self, url: &Url) -> bool {
        let name = url.host_str().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        let host = match &self.host {
            Host::Any => true,
            Host::Exactly(host) => name == host,
            Host::Below(host) => {
                name.strip_suffix(host.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        };
        // `port()` is `None` for the scheme's default port.
        host && url.port() == self.port.filter(|port| Some(*port) != default_port(url))
            && (self.plain || url.scheme() == "https")
    }
}

fn default_port(url: &Url) -> Option<u16> {
    match url.scheme() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Parses an address and checks that a rule allows it.
///
/// # Errors
/// When the text is not an address, or when no rule allows it.
pub(crate) fn allowed(text: &str, rules: &[Rule]) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| Error(format!("the image's address cannot be read: {error}")))?;
    check(&url, rules)?;
    Ok(url)
}

/// Checks that a rule allows an address.
///
/// # Errors
/// When no rule allows it.
pub(crate) fn check(url: &Url, rules: &[Rule]) -> Result<(), Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error(format!("images are not fetched by {}://", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error("an image's address must not hold a user or a password".into()));
    }
    if !rules.iter().any(|rule| rule.allows(url)) {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        return Err(Error(format!("images are not fetched from {}://{host}{port}", url.scheme())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(rule: &str, url: &str) -> bool {
        allowed(url, &[Rule::parse(rule).unwrap()]).is_ok()
    }

    #[test]
    fn rules_name_hosts() {
        assert!(is_allowed("example.org", "https://example.org/a.png?b#c"));
        assert!(is_allowed("example.org", "https://EXAMPLE.org.:443/a.png"));
        assert!(is_allowed("Example.org", "https://example.org/a.png"));
        assert!(is_allowed("bücher.example", "https://xn--bcher-kva.example/"));
        assert!(is_allowed("*.example.org", "https://a.b.example.org/"));
        assert!(is_allowed("*", "https://anything.example/"));
        assert!(
            is_allowed("http://example.org", "http://example.org/") && is_allowed("http://*", "https://a.example/")
        );
        assert!(is_allowed("example.org:8443", "https://example.org:8443/"));
        assert!(is_allowed("example.org:443", "https://example.org/"));
        for (rule, url) in [
            ("example.org", "https://sub.example.org/"),
            ("example.org", "https://notexample.org/"),
            ("example.org", "https://example.org.evil.example/"),
            ("example.org", "https://example.org:8443/"),
            ("example.org", "http://example.org/"),
            ("example.org", "https://user@example.org/"),
            ("example.org", "https://example.org@evil.example/"),
            ("example.org", "https://evil.example\\@example.org/"),
            ("*.example.org", "https://example.org/"),
            ("*.example.org", "https://.example.org/"),
            ("*.example.org", "https://notexample.org/"),
            ("example.org:8443", "https://example.org/"),
            ("*", "https://example.org:22/"),
            ("*", "http://example.org/"),
            ("http://*", "file:///etc/passwd"),
            ("http://*", "ftp://example.org/"),
        ] {
            assert!(!is_allowed(rule, url), "{rule} {url}");
        }
    }

    #[test]
    fn what_is_no_rule_is_one_sentence() {
        for (rule, sentence) in [
            ("", "names no host"),
            ("*.", "names no host"),
            ("a.*.org", "names no host"),
            ("example.org/pictures", "names no host"),
            ("ftp://example.org", "has another scheme"),
            ("example.org:x", "has no number"),
            ("[::1]:80", "names an IPv6 address"),
        ] {
            let error = Rule::parse(rule).unwrap_err().to_string();
            assert!(error.contains(sentence), "{rule}: {error}");
        }
    }
}
