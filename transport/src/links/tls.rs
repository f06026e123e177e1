//! TLS of the links: as that of the ingest, with the keys of both ends pinned to the set of peers. What this end shows
//! may change while it runs.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use selfchain_types::crypto::SigningKey;

use super::LINKS_ALPN;
use super::member::Roster;
use crate::tls::{PinnedServerKey, TlsError, certified, key_of_spki, only_tls13, provider, quic, verify_raw};

/// What this end shows: one key at a time, to those whom it dials and to those who dial it.
#[derive(Debug)]
pub(super) struct Identity(RwLock<Arc<Shown>>);

/// A key, and what TLS shows of it.
#[derive(Debug)]
pub(super) struct Shown {
    /// What hellos are proved with.
    pub(super) key: SigningKey,
    certified: Arc<CertifiedKey>,
}

impl Shown {
    fn new(key: &SigningKey) -> Result<Arc<Self>, TlsError> {
        let certified = certified(&key.classical().seed())?;
        let key = key.copy();
        Ok(Arc::new(Self { key, certified }))
    }

    /// The key that TLS proves: the whole one, or its half.
    pub(super) fn classical(&self) -> [u8; 32] {
        self.key.public().classical()
    }
}

impl Identity {
    /// This key.
    pub(super) fn new(key: &SigningKey) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(Shown::new(key)?)))
    }

    /// Another one, from the next handshake on.
    pub(super) fn set(&self, key: &SigningKey) -> Result<(), TlsError> {
        let shown = Shown::new(key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// What is shown now.
    pub(super) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown().certified))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certified))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The side that is dialled: shows `own` key, insists on a client key, and on one of the roster.
pub(super) fn server_config(own: Arc<Identity>, roster: &Arc<Roster>) -> Result<QuicServerConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(KeyOfRoster {
        roster: Arc::downgrade(roster),
        provider: Arc::clone(&provider),
    });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![LINKS_ALPN.to_vec()];
    // A ticket would let a session resume without its keys being checked again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    quic(QuicServerConfig::try_from(config))
}

/// The side that dials: shows `own` key, accepts exactly the pinned ones.
pub(super) fn client_config(
    own: Arc<dyn ResolvesClientCert>,
    pinned: Arc<PinnedServerKey>,
) -> Result<QuicClientConfig, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_client_cert_resolver(own);
    config.alpn_protocols = vec![LINKS_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    quic(QuicClientConfig::try_from(config))
}

/// Accepts the keys of the set as it stands at the moment of the handshake.
#[derive(Debug)]
struct KeyOfRoster {
    /// Weak, because the roster keeps connections and these keep their configuration.
    roster: Weak<Roster>,
    provider: Arc<CryptoProvider>,
}

impl KeyOfRoster {
    fn is_known(&self, key: &[u8; 32]) -> bool {
        self.roster
            .upgrade()
            .is_some_and(|roster| roster.has_classical(key))
    }
}

impl ClientCertVerifier for KeyOfRoster {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match key_of_spki(end_entity) {
            Some(key) if self.is_known(&key) => Ok(ClientCertVerified::assertion()),
            // On the wire: alert `access_denied`.
            Some(_) => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
            None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_raw(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
