//! A domain on this machine: an HTTPS server with a certificate of its own authority, that answers as a test says.

use crate::support::nodes::Person;
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// What the server does with a request.
#[derive(Clone)]
pub enum Says {
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Nothing,
}

/// A running server; it ends with this.
pub struct Domain {
    pub address: SocketAddr,
    /// The certificate of its authority.
    pub authority: PathBuf,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Domain {
    /// A server that proves to be `name`.
    pub fn new(folder: &Path, name: &str) -> Domain {
        let (authority, key) = authority();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, authority.pem()).unwrap();
        let own = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&own, &authority, &key).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(Says::Nothing)), Arc::new(Mutex::new(Vec::new())));
        runtime.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), says.clone(), asked.clone()));
        Domain { address, authority: file, says, asked, _runtime: runtime }
    }

    /// From now on every request gets this.
    pub fn says(&self, status: &str, body: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        self.says_bytes(format!("{head}{body}").into_bytes());
    }

    pub fn says_bytes(&self, bytes: Vec<u8>) {
        *self.says.lock().unwrap() = Says::Bytes(bytes);
    }

    pub fn says_nothing(&self) {
        *self.says.lock().unwrap() = Says::Nothing;
    }

    /// Every name is this user's.
    pub fn names(&self, user: &str) {
        self.says("200 OK", &format!("{{\"user\":\"{user}\"}}"));
    }

    /// The heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A home whose node trusts these servers, and finds each under its name; nothing runs there.
    pub fn home(folder: &Path, person: &str, domains: &[(&str, &Domain)]) -> Person {
        let home = folder.join(person);
        fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        let trust: Vec<String> = domains.iter().map(|(_, d)| format!("{:?}", d.authority)).collect();
        let at: Vec<String> = domains.iter().map(|(name, d)| format!("\"{name}={}\"", d.address)).collect();
        let text = format!("names_trust = [{}]\nnames_at = [{}]\n", trust.join(","), at.join(","));
        fs::write(home.join("config.toml"), text).unwrap();
        Person::at(folder, person)
    }
}

fn authority() -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

/// A certificate that nobody has signed.
pub fn unsigned(name: &str) -> CertifiedKey {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, says: Arc<Mutex<Says>>, asked: Arc<Mutex<Vec<String>>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, says, asked) = (tls.clone(), says.clone(), asked.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let says = says.lock().unwrap().clone();
            match says {
                Says::Bytes(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                }
                Says::Nothing => std::future::pending().await,
            }
        });
    }
}
