//! HdrHistogram V2 interval logs (`.hlog`), one line a second, readable by every HdrHistogram tool.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag};

/// An open log file, before and after its lines are written.
pub struct HlogFile {
    writer: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

/// The lines of an open log.
pub struct Hlog<'a> {
    lines: IntervalLogWriter<'a, 'a, BufWriter<File>, V2DeflateSerializer>,
}

impl HlogFile {
    /// Creates or replaces the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            writer: BufWriter::new(File::create(path)?),
            serializer: V2DeflateSerializer::new(),
        })
    }

    /// Writes the head: comments, the time that lines count from, and that values are nanoseconds with the
    /// readable maximum in milliseconds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(&mut self, comments: &[String], begin: SystemTime) -> io::Result<Hlog<'_>> {
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .with_start_time(begin)
            .with_base_time(begin)
            .with_max_value_divisor(1e6);
        for comment in comments {
            builder.add_comment(comment);
        }
        let lines = builder.begin_log_with(&mut self.writer, &mut self.serializer)?;
        Ok(Hlog { lines })
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Hlog<'_> {
    /// Adds the histogram of one interval that began `since_begin` after the log's begin. A tag, without commas or
    /// blanks, tells several series in one file apart.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &mut self,
        histogram: &Histogram<u64>,
        since_begin: Duration,
        length: Duration,
        tag: Option<&str>,
    ) -> io::Result<()> {
        let tag = tag.and_then(Tag::new);
        self.lines
            .write_histogram(histogram, since_begin, length, tag)
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn a_reader_of_the_format_finds_every_interval() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.hlog");
        let mut file = HlogFile::create(&path).unwrap();
        let mut log = file
            .begin(&["tier single".to_owned()], SystemTime::UNIX_EPOCH)
            .unwrap();
        for second in 0..3_u64 {
            let mut histogram = crate::load::recorder::empty_histogram();
            (0..=second).for_each(|n| histogram.record((n + 1) * 1_000_000).unwrap());
            log.write(
                &histogram,
                Duration::from_secs(second),
                Duration::from_secs(1),
                Some("commit"),
            )
            .unwrap();
        }
        file.finish().unwrap();

        let text = std::fs::read(&path).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&text)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval),
                LogEntry::StartTime(_) | LogEntry::BaseTime(_) => None,
            })
            .collect();
        assert_eq!(intervals.len(), 3);
        assert_eq!(intervals[2].start_timestamp(), Duration::from_secs(2));
        assert!(
            (intervals[2].max() - 3.0).abs() < 0.01,
            "the readable maximum is in milliseconds"
        );
        let bytes = base64_decode(intervals[2].encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(histogram.len(), 3);
    }

    /// RFC 4648 §4, for this test only.
    fn base64_decode(text: &str) -> Vec<u8> {
        let value = |letter: u8| match letter {
            b'A'..=b'Z' => u32::from(letter - b'A'),
            b'a'..=b'z' => u32::from(letter - b'a') + 26,
            b'0'..=b'9' => u32::from(letter - b'0') + 52,
            b'+' => 62,
            _ => 63,
        };
        let letters: Vec<u8> = text.bytes().filter(|&letter| letter != b'=').collect();
        letters
            .chunks(4)
            .flat_map(|group| {
                let bits = group.iter().fold(0, |bits, &letter| bits << 6 | value(letter))
                    << (6 * (4 - group.len()));
                bits.to_be_bytes()[1..group.len()].to_vec()
            })
            .collect()
    }
}
