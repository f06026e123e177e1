//! Keys and TLS: raw Ed25519 public keys at both ends, one key-exchange group, nothing to negotiate down to.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};

use crate::ALPN;

/// `SubjectPublicKeyInfo` of an Ed25519 key (RFC 8410 §4) up to the 32 bytes of the key.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// PKCS #8 of an Ed25519 private key (RFC 8410 §7) up to the 32 bytes of the seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why the TLS part of a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `SSLKEYLOGFILE` is set: some tool wants to write session secrets to a file.
    #[error("SSLKEYLOGFILE is set to {path:?}; unset it: session secrets must not be written anywhere")]
    KeyLog {
        /// Its value.
        path: OsString,
    },
    /// The TLS library refused the key or the configuration.
    #[error("TLS configuration refused")]
    Config(#[from] Error),
}

/// Refuses any value of `SSLKEYLOGFILE`. The value is the caller's to read: this crate reads no environment.
pub(crate) fn refuse_key_log(path: Option<&OsString>) -> Result<(), TlsError> {
    path.map_or(Ok(()), |path| Err(TlsError::KeyLog { path: path.clone() }))
}

/// The Ed25519 public key that belongs to a secret seed: what clients pin (RFC 8032 §5.1.5).
///
/// # Errors
/// A configuration error when the library refuses the seed, which it does for no 32 bytes that we know of.
pub fn public_key_of(seed: &[u8; 32]) -> Result<[u8; 32], TlsError> {
    let pair =
        Ed25519KeyPair::from_seed_unchecked(seed).map_err(|refused| Error::General(refused.to_string()))?;
    let key = <[u8; 32]>::try_from(pair.public_key().as_ref())
        .map_err(|_| Error::General("an Ed25519 public key that is not 32 bytes".into()))?;
    Ok(key)
}

/// The server's side: shows the key of `seed`, asks for a client key and does not insist on one.
pub(crate) fn server_config(seed: &[u8; 32]) -> Result<QuicServerConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(AnyClientKey {
        provider: Arc::clone(&provider),
    });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(seed)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A ticket would let a session resume without its keys being checked again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    quic(QuicServerConfig::try_from(config))
}

/// The client's side: accepts exactly the pinned server key, shows its own if it has one.
pub(crate) fn client_config(
    pinned: Arc<PinnedServerKey>,
    client_seed: Option<&[u8; 32]>,
) -> Result<QuicClientConfig, TlsError> {
    let resolver: Arc<dyn ResolvesClientCert> = match client_seed {
        Some(seed) => Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(seed)?)),
        None => Arc::new(Anonymous),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    quic(QuicClientConfig::try_from(config))
}

/// The Ed25519 key that the other end proved in the handshake, from what quinn calls its identity.
pub(crate) fn peer_key_of(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    key_of_spki(chain.first()?)
}

/// AWS-LC with X25519MLKEM768 as the only group. "Prefer" is not a policy: with a second group in the list a
/// peer that offers it first gets it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    })
}

pub(crate) fn quic<T>(config: Result<T, quinn::crypto::rustls::NoInitialCipherSuite>) -> Result<T, TlsError> {
    config.map_err(|missing| TlsError::Config(Error::General(missing.to_string())))
}

pub(crate) fn certified(seed: &[u8; 32]) -> Result<Arc<CertifiedKey>, TlsError> {
    let pkcs8 = PrivatePkcs8KeyDer::from([PKCS8_PREFIX.as_slice(), seed].concat());
    let key = provider::sign::any_eddsa_type(&pkcs8)?;
    let spki = spki_of(&public_key_of(seed)?);
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key)))
}

fn spki_of(key: &[u8; 32]) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key].concat()
}

pub(crate) fn key_of_spki(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

/// Accepts a server by its key, one of few. Remembers another one that was shown, so that the caller can say so.
#[derive(Debug)]
pub(crate) struct PinnedServerKey {
    pinned: Vec<[u8; 32]>,
    shown: Mutex<Option<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedServerKey {
    pub(crate) fn new(pinned: [u8; 32]) -> Self {
        Self::among(vec![pinned])
    }

    /// Any of these.
    pub(crate) fn among(pinned: Vec<[u8; 32]>) -> Self {
        Self {
            pinned,
            shown: Mutex::new(None),
            provider: provider(),
        }
    }

    /// The key that was shown instead of a pinned one, if one was.
    pub(crate) fn wrong_key(&self) -> Option<[u8; 32]> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for PinnedServerKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match key_of_spki(end_entity) {
            Some(key) if self.pinned.contains(&key) => Ok(ServerCertVerified::assertion()),
            other => {
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = other;
                Err(Error::InvalidCertificate(
                    CertificateError::ApplicationVerificationFailure,
                ))
            }
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

/// Accepts any Ed25519 key that a client proves to hold: it is an identity to count against, not a permission.
#[derive(Debug)]
struct AnyClientKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClientKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match key_of_spki(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
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

/// A client without a key. It still says that raw keys are what it speaks: the server speaks nothing else.
#[derive(Debug)]
pub(crate) struct Anonymous;

impl ResolvesClientCert for Anonymous {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

pub(crate) fn verify_raw(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, dss, &provider.signature_verification_algorithms)
}

pub(crate) fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn derives_the_public_key_of_rfc_8032() {
        // RFC 8032 §7.1, test 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
            0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        assert_eq!(public_key_of(&seed).unwrap(), public);
        assert_eq!(key_of_spki(&spki_of(&public)), Some(public));
        assert_eq!(key_of_spki(&spki_of(&public)[..43]), None);
    }

    #[test]
    fn offers_the_hybrid_group_and_no_other() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [rustls::NamedGroup::X25519MLKEM768]);
    }

    #[test]
    fn refuses_a_key_log_of_any_name() {
        assert!(refuse_key_log(None).is_ok());
        for path in ["", "keys.txt"] {
            let refused = refuse_key_log(Some(&OsString::from(path)));
            assert!(matches!(refused, Err(TlsError::KeyLog { .. })));
        }
    }
}
