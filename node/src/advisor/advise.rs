//! Asks for a paragraph: from the cache, else at the limit's pace from the endpoint, then cleaned and kept.

use super::answer::{AnswerError, paragraph};
use super::cache::Kept;
use super::prompt::{PROMPT_BYTES_MAX, PROMPT_VERSION, SYSTEM};
use super::{Cache, CacheError, Endpoint, EndpointError, Facts, Limit, LimitError};
use crate::config::AdvisorConfig;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Why there is no paragraph.
#[derive(Debug, Error)]
pub enum AdvisorError {
    /// The folder cannot be made.
    #[error("cannot make the folder {path}: {source}; name a data directory of yours with --data")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The facts cannot be written down.
    #[error("the facts make no prompt: {0}")]
    Facts(#[source] serde_json::Error),
    /// The facts are more than any hold has.
    #[error("the prompt has {len} bytes, and may have {len_max}")]
    Prompt {
        /// What it has.
        len: usize,
        /// What it may have.
        len_max: usize,
    },
    /// The limit does not let it through.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The endpoint gave no answer.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The answer holds no paragraph.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// A paragraph and how it was come by.
#[derive(Debug)]
pub struct Advice {
    /// The paragraph, who wrote it and when.
    pub kept: Kept,
    /// Whether it was written for an earlier question.
    pub is_from_cache: bool,
    /// What was wrong with the cache.
    pub warnings: Vec<CacheError>,
}

/// A model that can be asked.
#[derive(Debug)]
pub struct Advisor {
    endpoint: Endpoint,
    model: String,
    folder: PathBuf,
    per_minute: u64,
    /// The longest that a request waits for its turn; the endpoint has as long again for its answer.
    patience: Duration,
}

impl Advisor {
    /// The advisor that is configured; `None` where there is none. Its files go into `folder`.
    ///
    /// # Errors
    /// [`EndpointError`] when the configuration would not work, or would give a key away.
    pub fn new(config: &AdvisorConfig, folder: &Path) -> Result<Option<Self>, EndpointError> {
        let Some(url) = &config.url else {
            return Ok(None);
        };
        let patience = Duration::from_millis(config.timeout_ms);
        Ok(Some(Self {
            endpoint: Endpoint::new(url.as_str(), config.key_file.as_deref(), patience)?,
            model: config.model.clone(),
            folder: folder.into(),
            per_minute: config.per_minute,
            patience,
        }))
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A paragraph about these facts, from the cache if it is there.
    ///
    /// # Errors
    /// [`AdvisorError`].
    pub fn advise(&self, facts: &Facts) -> Result<Advice, AdvisorError> {
        self.make_folder()?;
        let (warnings, found) = match Cache::new(&self.folder).get(facts, &self.model) {
            Ok(found) => (Vec::new(), found),
            Err(error) => (vec![error], None),
        };
        match found {
            Some(kept) => Ok(Advice {
                kept,
                is_from_cache: true,
                warnings,
            }),
            None => self.ask(facts, warnings),
        }
    }

    /// A new paragraph about these facts, in the place of one in the cache.
    ///
    /// # Errors
    /// [`AdvisorError`].
    pub fn advise_anew(&self, facts: &Facts) -> Result<Advice, AdvisorError> {
        self.make_folder()?;
        self.ask(facts, Vec::new())
    }

    fn ask(&self, facts: &Facts, mut warnings: Vec<CacheError>) -> Result<Advice, AdvisorError> {
        let user = facts.user_message().map_err(AdvisorError::Facts)?;
        let len = SYSTEM.len() + user.len();
        if len > PROMPT_BYTES_MAX {
            let len_max = PROMPT_BYTES_MAX;
            return Err(AdvisorError::Prompt { len, len_max });
        }
        let limit = Limit::new(&self.folder, self.per_minute);
        limit.take(self.patience)?;
        // A second request counts as one; where none is left, the first one's failure is told.
        let may_retry = || limit.take(Duration::ZERO).is_ok();
        let answer = self.endpoint.ask(&self.model, SYSTEM, &user, may_retry)?;
        let kept = Kept {
            hold: facts.hold.id.get().to_string(),
            model: self.model.clone(),
            prompt_version: PROMPT_VERSION,
            written_s: now_s(),
            paragraph: paragraph(&answer)?,
        };
        warnings.extend(Cache::new(&self.folder).put(facts, &kept).err());
        Ok(Advice {
            kept,
            is_from_cache: false,
            warnings,
        })
    }

    /// Only its owner may look into the folder: paragraphs name accounts and amounts.
    fn make_folder(&self) -> Result<(), AdvisorError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| AdvisorError::Folder {
            path: self.folder.clone(),
            source,
        })
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::advisor::stub::{Reply, Stub, says};
    use crate::config::Setting;
    use selfchain_types::message::HoldRecord;
    use zerocopy::FromZeros;

    fn facts(id: u128) -> Facts {
        let mut hold = HoldRecord::new_zeroed();
        hold.id = id.into();
        hold.score = 200;
        Facts {
            hold,
            scale: 2,
            sender: None,
            receiver: None,
        }
    }

    fn advisor(url: &str, per_minute: u64, folder: &Path) -> Advisor {
        let config = AdvisorConfig {
            url: Setting::parse(url).unwrap(),
            model: "m".into(),
            per_minute,
            timeout_ms: 20_000,
            ..AdvisorConfig::default()
        };
        Advisor::new(&config, folder).unwrap().unwrap()
    }

    #[test]
    fn without_an_address_there_is_no_advisor() {
        let none = Advisor::new(&AdvisorConfig::default(), Path::new("nowhere")).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn a_hold_is_asked_about_once_and_again_only_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::start(vec![says("First.\u{1b}[31m"), says("Second."), says("Third.")]);
        let advisor = advisor(&stub.url(), 60, &folder.path().join("new/folder"));
        let first = advisor.advise(&facts(1)).unwrap();
        assert_eq!(
            (first.kept.paragraph.as_str(), first.is_from_cache),
            ("First.", false)
        );
        let cached = advisor.advise(&facts(1)).unwrap();
        assert_eq!((&cached.kept, cached.is_from_cache), (&first.kept, true));
        assert_eq!(stub.requests.len(), 1);
        assert_eq!(advisor.advise_anew(&facts(1)).unwrap().kept.paragraph, "Second.");
        assert_eq!(advisor.advise(&facts(1)).unwrap().kept.paragraph, "Second.");
        assert_eq!(advisor.advise(&facts(2)).unwrap().kept.paragraph, "Third.");
        assert_eq!(stub.requests.len(), 3);
    }

    #[test]
    fn the_model_is_told_the_systems_words_and_the_facts() {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::start(vec![says("It.")]);
        advisor(&stub.url(), 60, folder.path()).advise(&facts(1)).unwrap();
        let body: serde_json::Value = serde_json::from_str(&stub.requests.recv().unwrap().body).unwrap();
        assert_eq!(body["messages"].as_array().unwrap().len(), 2);
        assert_eq!(body["messages"][0]["content"], SYSTEM);
        assert_eq!(body["messages"][1]["content"], facts(1).user_message().unwrap());
    }

    #[test]
    fn above_the_limit_nothing_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::start(vec![says("It."), says("Never.")]);
        let advisor = advisor(&stub.url(), 1, folder.path());
        advisor.advise(&facts(1)).unwrap();
        let refused = advisor.advise(&facts(2)).unwrap_err();
        assert!(
            matches!(
                refused,
                AdvisorError::Limit(LimitError::Reached { per_minute: 1, .. })
            ),
            "{refused}"
        );
        assert!(advisor.advise(&facts(1)).unwrap().is_from_cache);
        assert_eq!(stub.requests.len(), 1);
    }

    #[test]
    fn a_retry_counts_as_a_request() {
        let folder = tempfile::tempdir().unwrap();
        let fails = || Reply::Text("503 Loading", "", String::new());
        let stub = Stub::start(vec![fails(), says("Never.")]);
        let refused = advisor(&stub.url(), 1, folder.path())
            .advise(&facts(1))
            .unwrap_err();
        assert!(
            matches!(
                refused,
                AdvisorError::Endpoint(EndpointError::Status { status: 503, .. })
            ),
            "{refused}"
        );
        assert_eq!(stub.requests.len(), 1);
    }

    #[test]
    fn garbage_is_refused_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = || Reply::Text("200 OK", "", "<html>not JSON".into());
        let stub = Stub::start(vec![garbage(), says("It.")]);
        let advisor = advisor(&stub.url(), 60, folder.path());
        let refused = advisor.advise(&facts(1)).unwrap_err();
        assert!(
            matches!(refused, AdvisorError::Answer(AnswerError::Shape(_))),
            "{refused}"
        );
        assert_eq!(advisor.advise(&facts(1)).unwrap().kept.paragraph, "It.");
    }

    #[test]
    fn a_damaged_cache_costs_a_request_and_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::start(vec![says("It."), says("It again.")]);
        let advisor = advisor(&stub.url(), 60, folder.path());
        advisor.advise(&facts(1)).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::write(entry.unwrap().path(), "damaged").unwrap();
        }
        let advice = advisor.advise(&facts(1)).unwrap();
        assert_eq!(advice.kept.paragraph, "It again.");
        assert!(matches!(advice.warnings[..], [CacheError::Damaged { .. }]));
        assert!(advisor.advise(&facts(1)).unwrap().is_from_cache);
    }
}
