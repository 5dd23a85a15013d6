//! Summaries and rejections as stores keep them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::drift::{Counts, Profile, Rejected, TrafficSummary};
use crate::schema::Fingerprint;

#[derive(Serialize)]
struct Document<'c> {
    summarised: u64,
    summaries: Vec<Map<String, Value>>,
    rejected_requests: u64,
    rejected: &'c [Rejected],
}

/// The fields of a summary as JSON.
fn fields(summary: &TrafficSummary) -> serde_json::Result<Map<String, Value>> {
    match serde_json::to_value(summary)? {
        Value::Object(fields) => Ok(fields),
        other => Ok(Map::from_iter([("summary".to_owned(), other)])),
    }
}

/// What a store keeps of the counts of a batch beside the codes of its rows: summaries and
/// rejections, as a JSON document, and the sum of such documents.
///
/// A document holds what differs from "nothing", since most batches of a quiet service hold a row
/// or two: about 300 bytes for 19 features where the whole counts would take 3,000.
///
/// ```
/// use pmmds::drift::{Counts, Profile};
/// use pmmds::log::Summaries;
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// # let profile = Profile::fit(&batch)?;
/// let document = Summaries::document(&Counts::of(&profile, &batch, None)?)?;
/// let mut sum = Summaries::new(&profile)?;
/// sum.add(&document)?;
/// sum.add(&document)?;
///
/// let mut window = Counts::empty(&profile);
/// window.merge_summaries(sum.total())?;
/// assert_eq!((window.rows(), window.summarised()), (0, 4));
/// assert!(sum.add("{}").is_err());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Summaries {
    // no rows
    total: Counts,
    // the stored form of counts without rows, up to where a document goes on
    head: String,
    buffer: String,
}

impl Summaries {
    /// The sum of no documents of `profile`.
    ///
    /// # Errors
    ///
    /// When nothing cannot be written down; it can.
    pub fn new(profile: &Profile) -> serde_json::Result<Self> {
        let total = Counts::empty(profile);
        let mut head = serde_json::to_value(&total)?;
        if let Value::Object(fields) = &mut head {
            for name in ["summarised", "summaries", "rejected_requests", "rejected"] {
                fields.remove(name);
            }
        }
        let mut head = head.to_string();
        head.pop();
        head.push(',');
        Ok(Self { total, head, buffer: String::new() })
    }

    /// The document of `counts`, as JSON.
    ///
    /// # Errors
    ///
    /// When a number cannot be written.
    pub fn document(counts: &Counts) -> serde_json::Result<String> {
        let nothing = fields(&TrafficSummary::default())?;
        let summaries = counts.summaries().iter().map(|summary| {
            let mut fields = fields(summary)?;
            fields.retain(|name, value| nothing.get(name) != Some(value));
            Ok(fields)
        });
        serde_json::to_string(&Document {
            summarised: counts.summarised(),
            summaries: summaries.collect::<serde_json::Result<_>>()?,
            rejected_requests: counts.rejected_requests(),
            rejected: counts.rejected(),
        })
    }

    /// One document in place of several of one profile; `None` for none.
    ///
    /// ```
    /// # use pmmds::drift::{Counts, Profile};
    /// use pmmds::log::Summaries;
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// # let profile = Profile::fit(&batch)?;
    /// let document = Summaries::document(&Counts::of(&profile, &batch, None)?)?;
    /// let both = Summaries::join([&*document, &*document])?.expect("there are two");
    /// let mut sum = Summaries::new(&profile)?;
    /// sum.add(&both)?;
    /// assert_eq!(sum.total().summarised(), 4);
    /// assert_eq!(Summaries::join([])?, None);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn join<'d>(
        documents: impl IntoIterator<Item = &'d str>,
    ) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
        // The profile is in no document: any stands for it.
        let any = serde_json::to_string(&Fingerprint::of_bytes(b""))?;
        let head = format!(r#"{{"profile":{any},"rows":0,"slots":[],"#);
        let (mut sum, mut buffer) = (None::<Counts>, String::new());
        for document in documents {
            let counts = parse(&head, &mut buffer, document)?;
            match &mut sum {
                Some(sum) => sum.merge(&counts)?,
                None => sum = Some(counts),
            }
        }
        Ok(sum.as_ref().map(Self::document).transpose()?)
    }

    /// Adds `document`. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// When it is no such document, of another profile, or the sum is beyond `u64`.
    pub fn add(&mut self, document: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let counts = parse(&self.head, &mut self.buffer, document)?;
        Ok(self.total.merge(&counts)?)
    }

    /// The sum: summaries and rejections, and no rows.
    #[must_use]
    pub fn total(&self) -> &Counts {
        &self.total
    }
}

/// The counts in `document`, whose other fields are in `head`.
fn parse(
    head: &str,
    buffer: &mut String,
    document: &str,
) -> Result<Counts, Box<dyn std::error::Error + Send + Sync>> {
    let fields = document.strip_prefix('{').ok_or("the document is no JSON object")?;
    buffer.clear();
    buffer.push_str(head);
    buffer.push_str(fields);
    let counts: Counts = serde_json::from_str(buffer)?;
    if counts.rows() > 0 {
        return Err("the document holds rows".into());
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;
    use crate::schema::{Feature, FeatureSchema};

    fn profile_and_counts() -> (Profile, Counts) {
        let features = (0..19).map(|n| Feature::numeric(format!("x{n}")));
        let schema = FeatureSchema::new(features).unwrap();
        let rows = ndarray::Array2::from_shape_fn((40, 19), |(row, column)| {
            if column < 3 { f64::from(u8::try_from(row * 3 % 17).unwrap()) / 7.0 } else { f64::NAN }
        });
        let profile = Profile::fit(&Batch::from_array(&schema, rows.view()).unwrap()).unwrap();
        let mut counts = Counts::empty(&profile);
        let row = Batch::from_array(&schema, rows.view()).unwrap().row(3);
        counts.observe(&profile, &row, &profile.encode(&row, f64::NAN));
        (profile, counts)
    }

    #[test]
    fn a_document_is_small_and_adds_up() {
        let (profile, counts) = profile_and_counts();
        let document = Summaries::document(&counts).unwrap();
        assert!(document.len() < 400, "{} bytes: {document}", document.len());
        let mut sum = Summaries::new(&profile).unwrap();
        sum.add(&document).unwrap();
        assert_eq!(sum.total().summaries(), counts.summaries());
        sum.add(&document).unwrap();
        assert_eq!((sum.total().rows(), sum.total().summarised()), (0, 2));
    }

    #[test]
    fn damage_is_refused_and_changes_nothing() {
        let (profile, counts) = profile_and_counts();
        let document = Summaries::document(&counts).unwrap();
        let mut sum = Summaries::new(&profile).unwrap();
        for bad in ["", "{", "[]", "{}", "null", r#"{"rows":3,"summarised":1}"#] {
            assert!(sum.add(bad).is_err(), "{bad}");
        }
        let huge = document.replace("\"summarised\":1", &format!("\"summarised\":{}", u64::MAX));
        sum.add(&huge).unwrap();
        assert!(sum.add(&huge).is_err(), "beyond u64");
        // Whatever is flipped, it is read or refused.
        for position in 0..document.len() {
            for flip in [1, 2, 8, 16, 64, 128] {
                let mut bytes = document.clone().into_bytes();
                bytes[position] ^= flip;
                if let Ok(text) = String::from_utf8(bytes) {
                    let _ = sum.add(&text);
                }
            }
        }
    }
}
