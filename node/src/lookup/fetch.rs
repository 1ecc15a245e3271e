//! One HTTPS request, to an address that was looked at before it is asked: what is resolved is what is connected to.

use super::public::is_public;
use super::{LookupError, LookupSetupError};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::at_name::AtName;
use tidings_protocol::limits::AT_NAME_ANSWER_LEN_MAX;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_util::task::AbortOnDropHandle;

/// Fetches what a domain says of a name.
pub(super) struct Fetcher {
    tls: TlsConnector,
    /// Where the user of this node said that a domain is, instead of asking the DNS.
    at: BTreeMap<String, SocketAddr>,
}

impl Fetcher {
    /// Trusts the certificate authorities that browsers do, and those in these files.
    pub(super) fn new(at: BTreeMap<String, SocketAddr>, trust: &[String]) -> Result<Self, LookupSetupError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in trust {
            let wrong = |why: String| LookupSetupError::Trust { path: path.clone(), why };
            let before = roots.len();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
                let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
            }
            if roots.len() == before {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
        }
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| LookupSetupError::Tls(e.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Fetcher { tls: TlsConnector::from(Arc::new(config)), at })
    }

    /// The body of the answer.
    pub(super) async fn fetch(&self, name: &AtName) -> Result<Bytes, LookupError> {
        let late = || LookupError::Late { domain: name.domain().to_owned() };
        tokio::time::timeout(TIME_MAX, self.ask(name)).await.map_err(|_| late())?
    }

    async fn ask(&self, name: &AtName) -> Result<Bytes, LookupError> {
        let domain = name.domain();
        let stream = self.connect(domain).await?;
        let unreachable = |why: String| LookupError::Unreachable { domain: domain.to_owned(), why };
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD_LEN_MAX).max_headers(HEADERS_MAX);
        let (mut sender, connection) =
            client.handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(e.to_string()))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::builder()
            .method(Method::GET)
            .uri(name.path())
            .header(header::HOST, domain)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "tidings")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| unreachable(e.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|e| unreachable(e.to_string()))?;
        body(domain, answer).await
    }

    async fn connect(&self, domain: &str) -> Result<TlsStream<TcpStream>, LookupError> {
        let unreachable = |why: String| LookupError::Unreachable { domain: domain.to_owned(), why };
        let server = ServerName::try_from(domain.to_owned()).map_err(|e| unreachable(e.to_string()))?;
        let mut last = String::new();
        for address in self.addresses(domain).await? {
            let stream = match tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    last = format!("{address}: {error}");
                    continue;
                }
                Err(_) => {
                    last = format!("{address} does not answer");
                    continue;
                }
            };
            // Whoever answers there proves to be the domain, or is not asked.
            return self.tls.connect(server, stream).await.map_err(|e| unreachable(e.to_string()));
        }
        Err(unreachable(last))
    }

    /// Where to connect: what the user of this node said, or the public ones of the addresses that the DNS gives.
    async fn addresses(&self, domain: &str) -> Result<Vec<SocketAddr>, LookupError> {
        if let Some(address) = self.at.get(domain) {
            return Ok(vec![*address]);
        }
        let nowhere = |why: String| LookupError::NoAddress { domain: domain.to_owned(), why };
        let found = tokio::net::lookup_host((domain, HTTPS)).await.map_err(|e| nowhere(e.to_string()))?;
        let (public, not): (Vec<_>, Vec<_>) = found.partition(|address| is_public(address.ip()));
        match (public.is_empty(), not.first()) {
            (true, Some(address)) => Err(LookupError::NotPublic { domain: domain.to_owned(), address: address.ip() }),
            (true, None) => Err(nowhere("it has no address".to_owned())),
            _ => Ok(public.into_iter().take(ADDRESSES_MAX).collect()),
        }
    }
}

async fn body(domain: &str, answer: Response<Incoming>) -> Result<Bytes, LookupError> {
    let domain = domain.to_owned();
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get(header::LOCATION).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let to: String = to.unwrap_or_default().chars().take(128).collect();
        return Err(LookupError::Redirect { domain, to });
    }
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Err(LookupError::Unknown { domain });
    }
    if status != StatusCode::OK {
        return Err(LookupError::Answer { domain, why: format!("its answer is HTTP {}", status.as_u16()) });
    }
    match Limited::new(answer.into_body(), AT_NAME_ANSWER_LEN_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(LookupError::Answer { domain, why: format!("its answer has more than {AT_NAME_ANSWER_LEN_MAX} bytes") })
        }
        Err(error) => Err(LookupError::Unreachable { domain, why: error.to_string() }),
    }
}

const HTTPS: u16 = 443;
/// For everything: somebody waits in front of a screen.
pub(super) const TIME_MAX: Duration = Duration::from_secs(10);
/// For one address, so that there is time for the next.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Addresses of a domain that are tried.
const ADDRESSES_MAX: usize = 3;
/// The head of an answer; the least that the library takes is 8 KiB.
const HEAD_LEN_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_dns_gives_is_asked_only_when_it_is_public() {
        let fetcher = Fetcher::new(BTreeMap::new(), &[]).unwrap();
        // Addresses stand for domains that resolve to them; a name of the hosts file for one that really does.
        for private in ["localhost", "127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"] {
            let refused = fetcher.addresses(private).await;
            assert!(matches!(refused, Err(LookupError::NotPublic { .. })), "{private}: {refused:?}");
        }
        let public = fetcher.addresses("192.0.32.8").await.unwrap();
        assert_eq!(public, ["192.0.32.8:443".parse().unwrap()]);
        // Said by the user of this node, an address may be any.
        let at = BTreeMap::from([("example.org".to_owned(), "127.0.0.1:8443".parse().unwrap())]);
        let fetcher = Fetcher::new(at, &[]).unwrap();
        assert_eq!(fetcher.addresses("example.org").await.unwrap(), ["127.0.0.1:8443".parse().unwrap()]);
        assert!(matches!(fetcher.addresses("localhost").await, Err(LookupError::NotPublic { .. })));
    }
}
