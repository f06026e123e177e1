//! What this machine could do at best, measured in the same run: signature checks, synced appends, QUIC.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
    PqdsaVerificationAlgorithm, UnparsedPublicKey,
};
use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes, batch};
use hdrhistogram::Histogram;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

use crate::load::recorder::empty_histogram;
use crate::rate::{count, float, milliseconds, nanoseconds, per_second, ratio};

/// This machine's limits. All are upper bounds for a node on it; a figure of 0 was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ceiling {
    /// Ed25519 signatures checked a second: batches of [`VERIFY_BATCH`], distinct keys, from bytes, on all cores. Where
    /// the load's signatures are hybrids with ML-DSA, each with the other half, checked by AWS-LC.
    pub verify_per_s: f64,
    /// The same checked one at a time on all cores.
    pub verify_single_per_s: f64,
    /// Operations of [`OPERATION_BYTES`] appended and synced a second, in blocks of `block_bytes`.
    pub append_per_s: f64,
    /// Bytes of each synced block.
    pub block_bytes: u64,
    /// One synced append on the quiet machine, median, milliseconds.
    pub sync_ms_p50: f64,
    /// The same, 99th percentile.
    pub sync_ms_p99: f64,
    /// One synced append while every core checks signatures, median, milliseconds.
    pub sync_busy_ms_p50: f64,
    /// The same, 99th percentile: the yardstick of commit latency under load.
    pub sync_busy_ms_p99: f64,
    /// Messages of 256 bytes a second over QUIC on loopback, client and server on this machine.
    pub quic_per_s: f64,
}

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub struct CeilingPlan {
    /// Folder on the disk that takes the writes.
    pub folder: PathBuf,
    /// Length of each of the measurements, which are up to five.
    pub each: Duration,
    /// Bytes of a synced block; the node's own block size under the load that is compared.
    pub block_bytes: usize,
    /// Bytes signed in each message.
    pub message_bytes: usize,
    /// What stands beside each Ed25519 signature.
    pub beside: Option<MlDsa>,
    /// Measures messages of 256 bytes a second over QUIC for the given time; the transport brings it.
    pub quic: Option<QuicProbe>,
}

/// The half of a hybrid that is not Ed25519 (FIPS 204).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MlDsa {
    /// ML-DSA-44.
    Of44,
    /// ML-DSA-65.
    Of65,
}

static VERIFY_44: PqdsaVerificationAlgorithm = ML_DSA_44;
static VERIFY_65: PqdsaVerificationAlgorithm = ML_DSA_65;
static SIGN_44: PqdsaSigningAlgorithm = ML_DSA_44_SIGNING;
static SIGN_65: PqdsaSigningAlgorithm = ML_DSA_65_SIGNING;

/// A measurement of QUIC: messages a second over about the given time.
pub type QuicProbe = fn(Duration) -> Result<f64, Box<dyn Error + Send + Sync>>;

/// Why a limit could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CeilingError {
    /// The disk refused.
    #[error("cannot measure synced appends in {folder}")]
    Append {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The transport's own measurement failed.
    #[error("cannot measure QUIC")]
    Quic(#[source] Box<dyn Error + Send + Sync>),
}

/// Signatures in one batch.
pub const VERIFY_BATCH: usize = 256;
/// Bytes of one operation.
pub const OPERATION_BYTES: usize = 128;

impl Default for CeilingPlan {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("."),
            each: Duration::from_secs(2),
            block_bytes: 8_190 * OPERATION_BYTES,
            message_bytes: 256,
            beside: None,
            quic: None,
        }
    }
}

impl Ceiling {
    /// Measures every limit, one after the other; `progress` is told what begins.
    ///
    /// # Errors
    /// When the disk or the transport refuses.
    pub fn measure(plan: &CeilingPlan, progress: &mut dyn FnMut(&'static str)) -> Result<Self, CeilingError> {
        progress("signing the signatures to check");
        let corpus = Corpus::new(CORPUS_SIGNATURES, plan.message_bytes, plan.beside);
        progress("checking signatures in batches");
        let verify_per_s = corpus.verify_batches(plan.each);
        progress("checking signatures one by one");
        let verify_single_per_s = corpus.verify_singles(plan.each);
        progress("synced appends, quiet");
        let quiet = append(&plan.folder, plan.block_bytes, plan.each)?;
        progress("synced appends, all cores busy");
        let busy = corpus.keep_all_cores_busy(|| append(&plan.folder, plan.block_bytes, plan.each))?;
        let quic_per_s = match plan.quic {
            Some(probe) => {
                progress("QUIC");
                probe(plan.each).map_err(CeilingError::Quic)?
            }
            None => 0.0,
        };
        Ok(Self {
            verify_per_s,
            verify_single_per_s,
            append_per_s: quiet.bytes_per_s / float(count(OPERATION_BYTES)),
            block_bytes: count(plan.block_bytes),
            sync_ms_p50: quiet.sync_ms(0.5),
            sync_ms_p99: quiet.sync_ms(0.99),
            sync_busy_ms_p50: busy.sync_ms(0.5),
            sync_busy_ms_p99: busy.sync_ms(0.99),
            quic_per_s,
        })
    }
}

impl Ceiling {
    /// The middle of two measurements, such as one before and one after what they are compared with.
    #[must_use]
    pub fn mean(a: &Self, b: &Self) -> Self {
        let mean = |of: fn(&Self) -> f64| f64::midpoint(of(a), of(b));
        Self {
            verify_per_s: mean(|ceiling| ceiling.verify_per_s),
            verify_single_per_s: mean(|ceiling| ceiling.verify_single_per_s),
            append_per_s: mean(|ceiling| ceiling.append_per_s),
            block_bytes: a.block_bytes,
            sync_ms_p50: mean(|ceiling| ceiling.sync_ms_p50),
            sync_ms_p99: mean(|ceiling| ceiling.sync_ms_p99),
            sync_busy_ms_p50: mean(|ceiling| ceiling.sync_busy_ms_p50),
            sync_busy_ms_p99: mean(|ceiling| ceiling.sync_busy_ms_p99),
            quic_per_s: mean(|ceiling| ceiling.quic_per_s),
        }
    }
}

/// Signed messages to check, each under its own key.
#[derive(Debug)]
pub struct Corpus {
    signed: Vec<Signed>,
}

#[derive(Debug)]
struct Signed {
    key: VerificationKeyBytes,
    signature: Signature,
    message: Vec<u8>,
    second: Option<Second>,
}

/// The other half: public key and signature of the same message.
#[derive(Debug)]
struct Second {
    algorithm: &'static PqdsaVerificationAlgorithm,
    key: Vec<u8>,
    signature: Vec<u8>,
}

impl Second {
    fn sign(scheme: MlDsa, message: &[u8]) -> Self {
        let (sign, algorithm) = match scheme {
            MlDsa::Of44 => (&SIGN_44, &VERIFY_44),
            MlDsa::Of65 => (&SIGN_65, &VERIFY_65),
        };
        let pair = PqdsaKeyPair::generate(sign).expect("making a key fails only without random numbers");
        let mut signature = vec![0; sign.signature_len()];
        let len = pair.sign(message, &mut signature);
        len.expect("signing fails only without random numbers");
        Self {
            algorithm,
            key: pair.public_key().as_ref().to_vec(),
            signature,
        }
    }

    fn verify(&self, message: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(self.algorithm, &self.key);
        key.verify(message, &self.signature).is_ok()
    }
}

impl Corpus {
    /// Signs `signatures` messages of `message_bytes` with as many keys, and `beside` them with as many others, on all
    /// cores.
    #[must_use]
    pub fn new(signatures: usize, message_bytes: usize, beside: Option<MlDsa>) -> Self {
        let sign = |number: usize| {
            let mut rng = ChaCha20Rng::seed_from_u64(count(number));
            let key = SigningKey::new(&mut rng);
            let mut message = vec![0; message_bytes];
            rng.fill_bytes(&mut message);
            Signed {
                key: VerificationKeyBytes::from(&key),
                signature: key.sign(&message),
                second: beside.map(|scheme| Second::sign(scheme, &message)),
                message,
            }
        };
        Self {
            signed: (0..signatures).into_par_iter().map(sign).collect(),
        }
    }

    /// Checks the first `len` signatures as one batch, from bytes; whether all are good.
    #[must_use]
    pub fn verify_batch(&self, len: usize) -> bool {
        verify_batch(&self.signed[..len.min(self.signed.len())])
    }

    /// Checks the first signature alone, from bytes; whether it is good.
    #[must_use]
    pub fn verify_first(&self) -> bool {
        self.signed.first().is_some_and(verify_single)
    }

    /// Signatures a second on all cores in batches of [`VERIFY_BATCH`], over about `time`.
    #[must_use]
    pub fn verify_batches(&self, time: Duration) -> f64 {
        self.repeat(time, || self.signed.par_chunks(VERIFY_BATCH).all(verify_batch))
    }

    /// Signatures a second on all cores one at a time, over about `time`.
    #[must_use]
    pub fn verify_singles(&self, time: Duration) -> f64 {
        self.repeat(time, || {
            self.signed
                .par_chunks(VERIFY_BATCH)
                .all(|part| part.iter().all(verify_single))
        })
    }

    /// The middle rate of passes over the whole corpus: one pass that shared the machine with something else, or
    /// found it idle for once, does not move it.
    fn repeat(&self, time: Duration, pass: impl Fn() -> bool) -> f64 {
        let begin = Instant::now();
        let mut passes = Vec::new();
        while begin.elapsed() < time || passes.is_empty() {
            let pass_begin = Instant::now();
            assert!(pass(), "the corpus was signed by its own keys");
            passes.push(pass_begin.elapsed());
        }
        passes.sort_unstable();
        per_second(count(self.signed.len()), passes[passes.len() / 2])
    }

    /// Runs `work` while every core checks signatures, as it does under load.
    pub fn keep_all_cores_busy<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert!(
                            self.verify_batch(VERIFY_BATCH),
                            "the corpus was signed by its own keys"
                        );
                    }
                });
            }
            let result = work();
            done.store(true, Ordering::Relaxed);
            result
        })
    }
}

fn verify_batch(part: &[Signed]) -> bool {
    let mut verifier = batch::Verifier::new();
    for Signed {
        key,
        signature,
        message,
        second,
    } in part
    {
        verifier.queue((*key, *signature, message));
        if second.as_ref().is_some_and(|second| !second.verify(message)) {
            return false;
        }
    }
    // Any coefficients do for measuring; a node must draw them where an attacker cannot guess them.
    verifier.verify(ChaCha20Rng::seed_from_u64(0)).is_ok()
}

fn verify_single(signed: &Signed) -> bool {
    let first = VerificationKey::try_from(signed.key)
        .and_then(|key| key.verify(&signed.signature, &signed.message))
        .is_ok();
    let second = signed.second.as_ref();
    first && second.is_none_or(|second| second.verify(&signed.message))
}

/// Synced appends to one growing file.
#[derive(Clone, Debug)]
pub struct AppendResult {
    /// Bytes written and synced a second.
    pub bytes_per_s: f64,
    /// Time of each write with its sync, nanoseconds.
    pub latency: Histogram<u64>,
}

impl AppendResult {
    fn sync_ms(&self, quantile: f64) -> f64 {
        milliseconds(self.latency.value_at_quantile(quantile))
    }
}

/// Appends blocks of `block_bytes` to an unnamed file in `folder`, an fdatasync after each, for about `time` or until
/// [`APPEND_FILE_BYTES_MAX`] are written, whichever ends first.
///
/// # Errors
/// When the file cannot be made, written or synced.
pub fn append(folder: &Path, block_bytes: usize, time: Duration) -> Result<AppendResult, CeilingError> {
    append_until(folder, block_bytes, time).map_err(|source| CeilingError::Append {
        folder: folder.to_path_buf(),
        source,
    })
}

fn append_until(folder: &Path, block_bytes: usize, time: Duration) -> io::Result<AppendResult> {
    let mut block = vec![0; block_bytes.max(1)];
    // Not zeros: a file system or a disk that squeezes them would flatter itself.
    ChaCha20Rng::seed_from_u64(0).fill_bytes(&mut block);
    let mut file = tempfile::tempfile_in(folder)?;
    let mut latency = empty_histogram();
    let mut written = 0;
    let begin = Instant::now();
    let mut elapsed = Duration::ZERO;
    while (elapsed < time && written < APPEND_FILE_BYTES_MAX) || latency.len() < APPENDS_MIN {
        let block_begin = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latency.saturating_record(nanoseconds(block_begin.elapsed()));
        written += count(block.len());
        elapsed = begin.elapsed();
    }
    // Given back before the next measurement begins, not in the middle of it.
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.sync_all()?;
    Ok(AppendResult {
        bytes_per_s: ratio(float(written), elapsed.as_secs_f64()),
        latency,
    })
}

impl Display for Ceiling {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "ceiling    {:.0} signatures/s in batches, {:.0}/s one by one (all cores)",
            self.verify_per_s, self.verify_single_per_s
        )?;
        writeln!(
            out,
            "           {:.0} operations/s appended and synced in blocks of {} bytes",
            self.append_per_s, self.block_bytes
        )?;
        writeln!(
            out,
            "           sync p50 {:.2} ms, p99 {:.2} quiet; p50 {:.2}, p99 {:.2} with all cores busy",
            self.sync_ms_p50, self.sync_ms_p99, self.sync_busy_ms_p50, self.sync_busy_ms_p99
        )?;
        writeln!(out, "           {:.0} QUIC messages/s", self.quic_per_s)
    }
}

/// Enough that keys and messages do not stay in a core's first cache, and that both cores finish together.
const CORPUS_SIGNATURES: usize = 8_192;
/// Most bytes of one append measurement: a fast disk must not be filled by measuring it.
pub const APPEND_FILE_BYTES_MAX: u64 = 4 << 30;
/// A slow disk still gives a percentile.
const APPENDS_MIN: u64 = 20;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_good_one_by_one_and_in_batches() {
        let corpus = Corpus::new(300, 100, None);
        assert!(corpus.verify_first() && corpus.verify_batch(256) && corpus.verify_batch(usize::MAX));
        assert!(corpus.verify_batches(Duration::ZERO) > 0.0);
        assert!(corpus.verify_singles(Duration::ZERO) > 0.0);
    }

    #[test]
    fn a_forged_signature_is_noticed_in_both() {
        for beside in [None, Some(MlDsa::Of44), Some(MlDsa::Of65)] {
            let mut corpus = Corpus::new(8, 100, beside);
            assert!(corpus.verify_batch(8) && corpus.verify_first());
            corpus.signed[0].message[0] ^= 1;
            assert!(!corpus.verify_batch(8) && !corpus.verify_first());
        }
    }

    #[test]
    fn either_half_alone_is_not_enough() {
        let mut corpus = Corpus::new(8, 100, Some(MlDsa::Of44));
        corpus.signed[0].second.as_mut().unwrap().signature[9] ^= 1;
        assert!(!corpus.verify_batch(8) && !corpus.verify_first());
    }

    #[test]
    fn every_key_is_its_own() {
        let corpus = Corpus::new(64, 10, None);
        let keys: std::collections::BTreeSet<[u8; 32]> =
            corpus.signed.iter().map(|signed| signed.key.into()).collect();
        assert_eq!(keys.len(), 64);
    }

    #[test]
    fn appends_are_counted_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let result = append(folder.path(), 4_096, Duration::ZERO).unwrap();
        assert_eq!(result.latency.len(), APPENDS_MIN);
        assert!(result.bytes_per_s > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("missing");
        assert!(matches!(
            append(&nowhere, 1, Duration::ZERO),
            Err(CeilingError::Append { .. })
        ));
    }

    #[test]
    fn a_whole_measurement_fills_every_figure() {
        let folder = tempfile::tempdir().unwrap();
        let plan = CeilingPlan {
            folder: folder.path().to_path_buf(),
            each: Duration::ZERO,
            block_bytes: 4_096,
            quic: Some(|_| Ok(5.0)),
            ..CeilingPlan::default()
        };
        let mut steps = Vec::new();
        let ceiling = Ceiling::measure(&plan, &mut |step| steps.push(step)).unwrap();
        assert_eq!(steps.len(), 6);
        assert_eq!(ceiling.quic_per_s, 5.0);
        assert!(ceiling.verify_per_s > 0.0 && ceiling.append_per_s > 0.0);
        assert!(ceiling.sync_ms_p99 >= ceiling.sync_ms_p50 && ceiling.sync_busy_ms_p99 > 0.0);
        let broken = CeilingPlan {
            quic: Some(|_| Err("no socket".into())),
            ..plan
        };
        assert!(matches!(
            Ceiling::measure(&broken, &mut |_| {}),
            Err(CeilingError::Quic(_))
        ));
    }
}
