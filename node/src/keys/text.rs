//! The text of a key file: lines of `name = "value"`, with the seed as it is or sealed.

#[cfg(feature = "network")]
use super::Passphrase;
use super::{KeyFault, hex, unhex};
use core::fmt;
#[cfg(feature = "network")]
use selfchain_types::crypto::aead;
#[cfg(feature = "network")]
use selfchain_types::crypto::passphrase::{Cost, SALT_LEN, derive, same};
#[cfg(feature = "network")]
use selfchain_types::crypto::x_wing::KemSecret;
use selfchain_types::crypto::{PublicKey, Scheme, SigningKey};
use selfchain_types::identity::KEM_KEY_BYTES;
use selfchain_types::{Hash, KeyId, hash};
use zeroize::Zeroizing;

/// The name of keys that others seal to, in the place of a scheme's.
pub const KEM_NAME: &str = "x-wing";

const NAMES: [&str; 11] = [
    "scheme",
    "public",
    "seed",
    "kdf",
    "memory_kib",
    "passes",
    "lanes",
    "salt",
    "check",
    "sealed",
    "guard",
];
#[cfg(feature = "network")]
const KDF: &str = "argon2id";
/// Begins the last line of a sealed file.
const SUM: &str = "sum = \"";

/// A secret key that a file holds.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum SecretKey {
    /// One that signs.
    Signing(SigningKey),
    /// One that opens what others sealed to it.
    #[cfg(feature = "network")]
    Kem(KemSecret),
}

impl SecretKey {
    /// What is written of it.
    pub fn halves(&self) -> Halves<'_> {
        match self {
            Self::Signing(key) => key.into(),
            #[cfg(feature = "network")]
            Self::Kem(key) => key.into(),
        }
    }
}

/// Both halves of a key, as a file has them.
pub struct Halves<'a> {
    id: Hash,
    scheme: &'static str,
    public: &'a [u8],
    seed: Zeroizing<[u8; 32]>,
}

impl Halves<'_> {
    /// The id of the public half.
    pub fn id(&self) -> Hash {
        self.id
    }
}

impl<'a> From<&'a SigningKey> for Halves<'a> {
    fn from(key: &'a SigningKey) -> Self {
        let public = key.public();
        Self {
            id: key.id().0,
            scheme: public.scheme().name(),
            public: public.as_bytes(),
            seed: key.seed(),
        }
    }
}

#[cfg(feature = "network")]
impl<'a> From<&'a KemSecret> for Halves<'a> {
    fn from(key: &'a KemSecret) -> Self {
        Self {
            id: key.public().id(),
            scheme: KEM_NAME,
            public: key.public().as_bytes(),
            seed: key.seed().clone(),
        }
    }
}

/// A key file that was read: its public half, and its secret one as it is or sealed.
pub struct KeyFile {
    public: Public,
    secret: Secret,
    guard: Option<Vec<u8>>,
}

/// What everybody may know of a key.
enum Public {
    Signing(PublicKey),
    Kem(Vec<u8>),
}

enum Secret {
    Seed(Zeroizing<[u8; 32]>),
    #[cfg_attr(not(feature = "network"), expect(dead_code, reason = "nothing here opens it"))]
    Sealed(Sealed),
}

#[cfg_attr(not(feature = "network"), expect(dead_code, reason = "nothing here opens it"))]
struct Sealed {
    numbers: [u32; 3],
    salt: [u8; 16],
    check: [u8; 32],
    sealed: Vec<u8>,
    /// The text above, which was sealed with it.
    context: String,
}

impl KeyFile {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let body = match text.rfind(SUM) {
            Some(at) if at == 0 || text.as_bytes()[at - 1] == b'\n' => {
                let (body, sum) = text.split_at(at);
                let sum = sum[SUM.len()..].strip_suffix("\"\n").ok_or(KeyFault::Changed)?;
                // One way to write a sum, so that no byte of it can be changed.
                if *sum != *hash::KEY_FILE.hash(body.as_bytes()).to_hex() {
                    return Err(KeyFault::Changed);
                }
                body
            }
            _ => text,
        };
        let values = values(body)?;
        let value = |name: &'static str| {
            let at = NAMES.iter().position(|known| *known == name);
            at.and_then(|at| values[at])
        };
        let needed = |name| value(name).ok_or(KeyFault::Field { name });
        let bytes = |name| unhex(needed(name)?).ok_or(KeyFault::Value { name });
        let scheme = needed("scheme")?;
        let public = bytes("public");
        let public = if scheme == KEM_NAME {
            let bytes = public?.to_vec();
            if bytes.len() != KEM_KEY_BYTES {
                return Err(KeyFault::Public);
            }
            Public::Kem(bytes)
        } else {
            let scheme = Scheme::from_name(scheme).ok_or(KeyFault::Scheme)?;
            Public::Signing(PublicKey::new(scheme, &public?).map_err(|_| KeyFault::Public)?)
        };
        let guard = value("guard").map(|_| bytes("guard")).transpose()?;
        let is_sealed = value("sealed").is_some();
        let secret = if is_sealed {
            if body.len() == text.len() {
                return Err(KeyFault::Field { name: "sum" });
            }
            Secret::Sealed(sealed_of(body, &needed, &bytes)?)
        } else {
            let seed = Hash::from_hex(needed("seed")?).ok_or(KeyFault::Seed)?;
            Secret::Seed(Zeroizing::new(seed.0))
        };
        if is_sealed && value("seed").is_some() {
            return Err(KeyFault::Field { name: "seed" });
        }
        Ok(Self {
            public,
            secret,
            guard: guard.map(|guard| guard.to_vec()),
        })
    }

    /// Whether a passphrase seals it.
    pub fn is_sealed(&self) -> bool {
        matches!(self.secret, Secret::Sealed(_))
    }

    /// Its public key.
    ///
    /// # Errors
    /// [`KeyFault::Kem`].
    pub fn public(&self) -> Result<&PublicKey, KeyFault> {
        match &self.public {
            Public::Signing(public) => Ok(public),
            Public::Kem(_) => Err(KeyFault::Kem),
        }
    }

    /// The name of its scheme.
    pub fn scheme_name(&self) -> &'static str {
        match &self.public {
            Public::Signing(public) => public.scheme().name(),
            Public::Kem(_) => KEM_NAME,
        }
    }

    /// The bytes of its public key.
    pub fn public_bytes(&self) -> &[u8] {
        match &self.public {
            Public::Signing(public) => public.as_bytes(),
            Public::Kem(bytes) => bytes,
        }
    }

    /// The public key that others seal to, of such a file.
    pub fn kem(&self) -> Option<&[u8]> {
        match &self.public {
            Public::Kem(bytes) => Some(bytes),
            Public::Signing(_) => None,
        }
    }

    /// The id of its public key; of one that signs nothing there is none.
    pub fn id(&self) -> Option<KeyId> {
        self.public().ok().map(PublicKey::id)
    }

    /// What a validator may have signed, if the file brings it along.
    pub fn guard(&self) -> Option<&[u8]> {
        self.guard.as_deref()
    }

    /// The key of a file that no passphrase seals.
    ///
    /// # Errors
    /// [`KeyFault::Sealed`], [`KeyFault::NotBuilt`], [`KeyFault::Public`].
    pub fn secret(&self) -> Result<SecretKey, KeyFault> {
        match &self.secret {
            Secret::Seed(seed) => self.check(seed),
            Secret::Sealed(_) => Err(KeyFault::Sealed),
        }
    }

    /// As [`Self::secret`], of a key that signs.
    ///
    /// # Errors
    /// [`KeyFault::Kem`], and as [`Self::secret`].
    pub fn key(&self) -> Result<SigningKey, KeyFault> {
        signing(self.secret()?)
    }

    /// The key, with the passphrase if it is sealed.
    ///
    /// # Errors
    /// [`KeyFault::Passphrase`], [`KeyFault::Changed`], [`KeyFault::Cost`], and as [`Self::secret`].
    #[cfg(feature = "network")]
    pub fn unlock_secret(&self, passphrase: &Passphrase) -> Result<SecretKey, KeyFault> {
        let Secret::Sealed(sealed) = &self.secret else {
            return self.secret();
        };
        let [memory_kib, passes, lanes] = sealed.numbers;
        let cost = Cost {
            memory_kib,
            passes,
            lanes,
        };
        let (key, check) = keys_of(passphrase, &sealed.salt, cost)?;
        if !same(&check, &sealed.check) {
            return Err(KeyFault::Passphrase);
        }
        let seed = aead::open(&key, sealed.context.as_bytes(), &sealed.sealed);
        let seed = seed.map_err(|_| KeyFault::Changed)?;
        let seed = seed.as_slice().try_into().map_err(|_| KeyFault::Changed)?;
        self.check(&Zeroizing::new(seed))
    }

    /// As [`Self::unlock_secret`], of a key that signs.
    ///
    /// # Errors
    /// [`KeyFault::Kem`], and as [`Self::unlock_secret`].
    #[cfg(feature = "network")]
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<SigningKey, KeyFault> {
        signing(self.unlock_secret(passphrase)?)
    }

    fn check(&self, seed: &[u8; 32]) -> Result<SecretKey, KeyFault> {
        let key = match &self.public {
            Public::Signing(public) => SigningKey::of_scheme(public.scheme(), seed)
                .map(SecretKey::Signing)
                .map_err(|_| KeyFault::NotBuilt)?,
            #[cfg(feature = "network")]
            Public::Kem(_) => SecretKey::Kem(KemSecret::from_seed(seed)),
            #[cfg(not(feature = "network"))]
            Public::Kem(_) => return Err(KeyFault::NotBuilt),
        };
        let is_its = key.halves().public == self.public_bytes();
        is_its.then_some(key).ok_or(KeyFault::Public)
    }
}

#[cfg_attr(
    not(feature = "network"),
    expect(clippy::unnecessary_wraps, reason = "without the network all keys sign")
)]
fn signing(key: SecretKey) -> Result<SigningKey, KeyFault> {
    match key {
        SecretKey::Signing(key) => Ok(key),
        #[cfg(feature = "network")]
        SecretKey::Kem(_) => Err(KeyFault::Kem),
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({})", self.scheme_name())
    }
}

/// The values of known names, in their order.
fn values(text: &str) -> Result<[Option<&str>; NAMES.len()], KeyFault> {
    let mut values = [None; NAMES.len()];
    let lines = (1..)
        .zip(text.lines())
        .map(|(line, content)| (line, content.trim()));
    for (line, content) in lines {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(KeyFault::Line { line })?;
        let value = value
            .trim()
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let value = value.ok_or(KeyFault::Line { line })?;
        let at = NAMES.iter().position(|known| *known == name.trim());
        let at = at.ok_or(KeyFault::Line { line })?;
        if values[at].replace(value).is_some() {
            return Err(KeyFault::Field { name: NAMES[at] });
        }
    }
    Ok(values)
}

fn sealed_of<'a>(
    body: &str,
    needed: &impl Fn(&'static str) -> Result<&'a str, KeyFault>,
    bytes: &impl Fn(&'static str) -> Result<Zeroizing<Vec<u8>>, KeyFault>,
) -> Result<Sealed, KeyFault> {
    let number = |name| needed(name)?.parse().map_err(|_| KeyFault::Value { name });
    let wrong = |name| move |_| KeyFault::Value { name };
    let at = body
        .find("\nsealed =")
        .ok_or(KeyFault::Field { name: "sealed" })?;
    if needed("kdf")? != "argon2id" {
        return Err(KeyFault::Value { name: "kdf" });
    }
    Ok(Sealed {
        numbers: [number("memory_kib")?, number("passes")?, number("lanes")?],
        salt: bytes("salt")?.as_slice().try_into().map_err(wrong("salt"))?,
        check: bytes("check")?.as_slice().try_into().map_err(wrong("check"))?,
        sealed: bytes("sealed")?.to_vec(),
        context: body[..=at].to_owned(),
    })
}

/// The key that seals, and what tells that the passphrase is the right one.
#[cfg(feature = "network")]
fn keys_of(
    passphrase: &Passphrase,
    salt: &[u8; SALT_LEN],
    cost: Cost,
) -> Result<(Zeroizing<[u8; 32]>, [u8; 32]), KeyFault> {
    let derived = derive(passphrase.as_bytes(), salt, cost)?;
    let (key, rest) = derived.split_first_chunk::<32>().expect("32 of 64 bytes");
    Ok((Zeroizing::new(*key), hash::KEY_FILE.hash(rest).0))
}

fn guard_line(guard: Option<&[u8]>) -> String {
    guard.map_or_else(String::new, |guard| {
        format!("guard = \"{}\"\n", hex(guard).as_str())
    })
}

/// The text of a file that no passphrase seals.
pub(super) fn plain(key: &Halves<'_>, guard: Option<&[u8]>) -> Zeroizing<String> {
    let what = match key.scheme {
        KEM_NAME => "open what was sealed to it",
        _ => "sign with it",
    };
    Zeroizing::new(format!(
        "# A secret key of Selfchain. Whoever reads this file can {what}.\n{}seed = \"{}\"\n",
        public_lines(key, guard),
        hex(key.seed.as_slice()).as_str(),
    ))
}

/// The lines that everybody may know.
fn public_lines(key: &Halves<'_>, guard: Option<&[u8]>) -> String {
    format!(
        "# Key id: {}\nscheme = \"{}\"\npublic = \"{}\"\n{}",
        key.id,
        key.scheme,
        hex(key.public).as_str(),
        guard_line(guard),
    )
}

/// The text of a file that a passphrase seals.
#[cfg(feature = "network")]
pub(super) fn sealed(
    key: &Halves<'_>,
    passphrase: &Passphrase,
    cost: Cost,
    guard: Option<&[u8]>,
) -> Result<String, KeyFault> {
    let mut salt = [0; SALT_LEN];
    selfchain_types::crypto::fill_random(&mut salt).map_err(|_| KeyFault::Random)?;
    let (secret, check) = keys_of(passphrase, &salt, cost)?;
    let mut text = format!(
        "# A secret key of Selfchain, sealed under a passphrase.\n{}\
         kdf = \"{KDF}\"\nmemory_kib = \"{}\"\npasses = \"{}\"\nlanes = \"{}\"\nsalt = \"{}\"\ncheck = \"{}\"\n",
        public_lines(key, guard),
        cost.memory_kib,
        cost.passes,
        cost.lanes,
        hex(&salt).as_str(),
        hex(&check).as_str(),
    );
    let sealed = aead::seal(&secret, text.as_bytes(), key.seed.as_slice()).map_err(|_| KeyFault::Random)?;
    text += &format!("sealed = \"{}\"\n", hex(&sealed).as_str());
    let sum = hash::KEY_FILE.hash(text.as_bytes());
    text += &format!("{SUM}{sum}\"\n");
    Ok(text)
}
