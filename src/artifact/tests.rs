use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::*;
use crate::drift::ProfileOptions;
use crate::lifecycle::Holdout;
use crate::record::{Columns, Value};
use crate::schema::{Feature, LevelId};
use crate::validate::SchemaValidator;

/// Scores by its one number, a feature above 1 counting double.
#[derive(Debug)]
struct Scale(Arc<FeatureSchema>, f64);

impl Model for Scale {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.0
    }

    fn task(&self) -> Task {
        Task::binary()
    }

    fn score(&self, row: &Row) -> f64 {
        match row.values()[0] {
            Value::Number(x) if x > 1.0 => 2.0 * self.1,
            Value::Missing => 0.0,
            _ => self.1,
        }
    }
}

#[derive(Debug)]
struct ScaleFormat;

impl ModelFormat for ScaleFormat {
    fn name(&self) -> &str {
        "scale.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let scale = serde_json::from_slice(document)
            .map_err(|e| corrupt("model.json holds no number".to_owned()).with_source(e))?;
        Ok(Arc::new(Scale(Arc::clone(schema), scale)))
    }
}

fn formats() -> Vec<Arc<dyn ModelFormat>> {
    vec![Arc::new(ScaleFormat)]
}

fn schema() -> Arc<FeatureSchema> {
    let charges = Feature::numeric("charges").nullable();
    let plan = Feature::categorical("plan", ["basic", "gold"]);
    Arc::new(FeatureSchema::new([charges, plan]).unwrap())
}

fn rows(schema: &Arc<FeatureSchema>) -> Columns {
    let mut rows = Columns::new(Arc::clone(schema));
    for number in 0..30_u8 {
        let mut row = Row::missing(schema);
        if number % 10 != 9 {
            let charges = f64::from(number) * 0.1;
            row.set(schema.id("charges").unwrap(), Value::Number(charges));
        }
        row.set(
            schema.id("plan").unwrap(),
            Value::Level(LevelId::new(usize::from(number % 2)).unwrap()),
        );
        rows.push(&row);
    }
    rows
}

fn scale(schema: &Arc<FeatureSchema>, scale: f64) -> TrainedModel {
    let model = Arc::new(Scale(Arc::clone(schema), scale));
    TrainedModel::new(model, "scale.v1", scale.to_string().into_bytes()).param("scale", scale)
}

fn artifact() -> ModelArtifact {
    let schema = schema();
    let rows = rows(&schema);
    let trained = scale(&schema, 0.3).companion("model.pmml", b"<PMML/>".to_vec());
    let scores = trained.model.score_batch(&rows.batch());
    let profile = ProfileOptions::new().scores(&scores).fit(&rows.batch()).unwrap();
    let validator = SchemaValidator::new(Arc::clone(&schema));
    let report = ValidationReport::of(&validator, &rows, Violations::new());
    let before = "2026-03-01T12:00:00Z".parse().unwrap();
    let training = TrainingRecord {
        trainer: "scale".to_owned(),
        rows: 30,
        data: Some(Fingerprint::of_bytes(b"rows")),
        logged: Some(TrainedOn::new(before, Holdout::default())),
        metrics: [("roc_auc".to_owned(), 0.1 + 0.2)].into(),
        ..TrainingRecord::default()
    };
    let packed = ModelArtifact::pack(&trained, profile, &rows.batch()).unwrap();
    packed.with_validation(report).with_training(training)
}

/// The files with those of `changes` replaced, added, or where `None` left out. Where `listed`, the
/// manifest is made to agree, as by somebody who forges it.
fn changed(
    files: &ArtifactFiles,
    changes: &[(&str, Option<Vec<u8>>)],
    listed: bool,
) -> ArtifactFiles {
    let mut bytes: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    let mut manifest: serde_json::Value = serde_json::from_slice(&bytes[MANIFEST]).unwrap();
    for (name, change) in changes {
        match change {
            Some(new) => {
                let sum = Fingerprint::of_bytes(new).to_string();
                manifest["files"][*name] = serde_json::json!({"bytes": new.len(), "sha256": sum});
                bytes.insert((*name).to_owned(), new.clone());
            }
            None => {
                manifest["files"].as_object_mut().unwrap().remove(*name);
                bytes.remove(*name);
            }
        }
    }
    if listed {
        bytes.insert(MANIFEST.to_owned(), serde_json::to_vec(&manifest).unwrap());
    }
    let mut all = ArtifactFiles::new();
    bytes.into_iter().for_each(|(name, bytes)| all.insert(name, bytes).unwrap());
    all
}

/// The manifest with one field changed.
fn forged(files: &ArtifactFiles, field: &str, value: serde_json::Value) -> ArtifactFiles {
    let mut manifest: serde_json::Value =
        serde_json::from_slice(files.get(MANIFEST).unwrap()).unwrap();
    manifest[field] = value;
    changed(files, &[(MANIFEST, Some(serde_json::to_vec(&manifest).unwrap()))], false)
}

#[track_caller]
fn refused(files: &ArtifactFiles, kind: ErrorKind, part: &str) {
    let error = ModelArtifact::open(files, &formats()).unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.chain());
    assert!(error.chain().contains(part), "{:?} does not say {part:?}", error.chain());
}

#[test]
fn what_is_packed_is_opened() {
    let packed = artifact();
    let files = packed.to_files().unwrap();
    let opened = ModelArtifact::open(&files, &formats()).unwrap();
    assert_eq!(opened.schema(), packed.schema());
    assert_eq!(opened.profile(), packed.profile());
    assert_eq!(opened.training(), packed.training());
    assert_eq!(opened.validation(), packed.validation());
    assert_eq!(opened.smoke, packed.smoke);
    assert_eq!(opened.smoke.len(), SMOKE_ROWS);
    let companions: Vec<_> = opened.companions().iter().collect();
    assert_eq!(companions, [("model.pmml", &b"<PMML/>"[..])]);
    let rows = rows(packed.schema());
    assert_eq!(
        opened.model().score_batch(&rows.batch()),
        packed.model().score_batch(&rows.batch())
    );
    // The same files again, byte for byte: the registry knows a run by them.
    assert_eq!(opened.to_files().unwrap().digest(), files.digest());
}

#[test]
fn what_is_optional_may_be_absent() {
    let schema = schema();
    let rows = rows(&schema);
    let profile = Profile::fit(&rows.batch()).unwrap();
    let files = ModelArtifact::pack(&scale(&schema, 0.3), profile, &rows.batch()).unwrap();
    let opened = ModelArtifact::open(&files.to_files().unwrap(), &formats()).unwrap();
    assert_eq!(opened.validation(), None);
    assert_eq!(opened.training().params["scale"], "0.3");
    assert_eq!(*opened.companions(), ArtifactFiles::new());
}

#[test]
fn a_companion_takes_no_name_of_another_file() {
    let schema = schema();
    let rows = rows(&schema);
    // Nobody validated here: the name is taken all the same.
    for (name, why) in [
        ("validation.json", "a companion of the model is called \"validation.json\""),
        ("Model.JSON", "a companion of the model is called \"Model.JSON\""),
        ("../model.pmml", "artifact file \"../model.pmml\" cannot be used"),
    ] {
        let trained = scale(&schema, 0.3).companion(name, Vec::new());
        let profile = Profile::fit(&rows.batch()).unwrap();
        let error = ModelArtifact::pack(&trained, profile, &rows.batch()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.chain().contains(why), "{}", error.chain());
    }
}

#[test]
fn every_change_of_a_file_is_found_and_named() {
    let files = artifact().to_files().unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "manifest.json",
            "model.json",
            "model.pmml",
            "profile.json",
            "schema.json",
            "smoke.json",
            "training.json",
            "validation.json"
        ]
    );
    for (name, bytes) in files.iter() {
        let with = |change| changed(&files, &[(name, change)], false);
        refused(&with(None), ErrorKind::Corrupt, name);
        refused(&with(Some(bytes[..bytes.len() - 1].to_vec())), ErrorKind::Corrupt, name);
        refused(&with(Some(Vec::new())), ErrorKind::Corrupt, name);
        if name == MANIFEST {
            continue;
        }
        let mut flipped = bytes.to_vec();
        flipped[bytes.len() / 2] ^= 1;
        refused(&with(Some(flipped)), ErrorKind::Corrupt, name);
        let mut longer = bytes.to_vec();
        longer.push(b' ');
        refused(&with(Some(longer)), ErrorKind::Corrupt, name);
    }
    let extra = changed(&files, &[("extra.json", Some(b"{}".to_vec()))], false);
    refused(&extra, ErrorKind::Corrupt, "extra.json is not in the manifest");
}

#[test]
fn no_flipped_bit_of_the_manifest_is_taken_for_another_model() {
    let artifact = artifact();
    let files = artifact.to_files().unwrap();
    let manifest = files.get(MANIFEST).unwrap();
    for at in 0..manifest.len() {
        let mut flipped = manifest.to_vec();
        flipped[at] ^= 1;
        // White space may change; nothing else may without being noticed.
        if let Ok(opened) =
            ModelArtifact::open(&changed(&files, &[(MANIFEST, Some(flipped))], false), &formats())
        {
            assert_eq!(opened.to_files().unwrap(), files, "byte {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // Sums show damage; who forges a file forges its sums and fingerprints as well.
    #[test]
    fn a_forged_file_is_opened_or_refused(
        which in any::<Index>(),
        edits in vec((any::<Index>(), 0_usize..6, prop_oneof![
            select(vec![&b"\""[..], b"{", b"}", b"[", b"]", b",", b"-", b"0", b"1e308", b"null", b"NaN"])
                .prop_map(<[u8]>::to_vec),
            vec(any::<u8>(), 0..3),
        ]), 1..4),
    ) {
        let files = artifact().to_files().unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
        let name = names[which.index(names.len())];
        let mut bytes = files.get(name).unwrap().to_vec();
        for (at, cut, insert) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        let mut files = changed(&files, &[(name, Some(bytes.clone()))], name != MANIFEST);
        let of_schema = serde_json::from_slice(&bytes).map(|schema: FeatureSchema| schema.fingerprint());
        let of_profile = serde_json::from_slice(&bytes).map(|profile: Profile| profile.fingerprint());
        match (name, of_schema, of_profile) {
            ("schema.json", Ok(found), _) => files = forged(&files, "schema", json!(found)),
            ("profile.json", _, Ok(found)) => files = forged(&files, "profile", json!(found)),
            _ => {}
        }
        match ModelArtifact::open(&files, &formats()) {
            Ok(opened) => drop(opened.to_files().unwrap()),
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotSupported),
                "{}", error.chain()
            ),
        }
    }
}

#[test]
fn required_files_are_required_also_where_the_manifest_agrees() {
    let files = artifact().to_files().unwrap();
    for name in ["model.json", "profile.json", "schema.json", "smoke.json", "training.json"] {
        refused(&changed(&files, &[(name, None)], true), ErrorKind::Corrupt, name);
        let garbage = changed(&files, &[(name, Some(b"[{\"a\": 1}]".to_vec()))], true);
        refused(&garbage, ErrorKind::Corrupt, name);
    }
}

#[test]
fn parts_of_different_artifacts_do_not_go_together() {
    let files = artifact().to_files().unwrap();
    let other = {
        let feature = Feature::numeric("other");
        let schema = Arc::new(FeatureSchema::new([feature]).unwrap());
        let mut rows = Columns::new(Arc::clone(&schema));
        rows.push(&Row::missing(&schema));
        let profile = Profile::fit(&rows.batch()).unwrap();
        ModelArtifact::pack(&scale(&schema, 0.3), profile, &rows.batch())
            .unwrap()
            .to_files()
            .unwrap()
    };
    let part = |name| Some(other.get(name).unwrap().to_vec());
    for name in ["schema.json", "profile.json"] {
        let mixed = changed(&files, &[(name, part(name))], true);
        refused(&mixed, ErrorKind::Corrupt, &format!("{name} is "));
    }
    // A profile of another schema, although the manifest says so too.
    let mixed = changed(&files, &[("profile.json", part("profile.json"))], true);
    let profile: Profile = serde_json::from_slice(other.get("profile.json").unwrap()).unwrap();
    let mixed = forged(&mixed, "profile", profile.fingerprint().to_string().into());
    refused(&mixed, ErrorKind::Corrupt, "profile.json: ");
}

#[test]
fn an_unknown_format_is_named() {
    let files = artifact().to_files().unwrap();
    let pickle = forged(&files, "model_format", "python.pickle".into());
    refused(
        &pickle,
        ErrorKind::NotSupported,
        "model format \"python.pickle\" cannot be read, expected one of: scale.v1",
    );
}

#[test]
fn a_newer_artifact_is_not_corrupt() {
    let files = artifact().to_files().unwrap();
    let newer = forged(&files, "artifact_version", 2.into());
    // What that release has added is none of our business.
    let newer = forged(&newer, "signature", "of a later release".into());
    refused(&newer, ErrorKind::NotSupported, "artifact_version 2 cannot be read, expected 1");
    let odd = forged(&files, "signature", "of nobody".into());
    refused(&odd, ErrorKind::Corrupt, MANIFEST);
}

#[test]
fn a_model_that_scores_otherwise_than_it_did_is_refused() {
    let files = artifact().to_files().unwrap();
    let other = changed(&files, &[("model.json", Some(b"0.31".to_vec()))], true);
    refused(&other, ErrorKind::Corrupt, "smoke.json, row 0: scores 0.31, on record is 0.3");
    let near = changed(&files, &[("model.json", Some(b"0.3000000000001".to_vec()))], true);
    assert!(ModelArtifact::open(&near, &formats()).is_ok(), "within the tolerance");
    // Also one whose record agrees with it, if that is no probability.
    let rows: Vec<SmokePrediction> =
        serde_json::from_slice(files.get("smoke.json").unwrap()).unwrap();
    let rows: Vec<_> = rows.into_iter().map(|row| SmokePrediction { score: 7.0, ..row }).collect();
    let smoke = serde_json::to_vec(&rows[..1]).unwrap();
    let changes = [("model.json", Some(b"7".to_vec())), ("smoke.json", Some(smoke))];
    refused(&changed(&files, &changes, true), ErrorKind::Corrupt, "the model answered 7");
    let smoke = br#"[{"row": "{\"charges\": 1, \"plan\": \"platinum\"}", "score": 0.3}]"#;
    let strange = changed(&files, &[("smoke.json", Some(smoke.to_vec()))], true);
    refused(&strange, ErrorKind::Corrupt, "smoke.json, row 0: ");
}

#[test]
fn a_task_that_is_not_the_models_is_refused() {
    let files = artifact().to_files().unwrap();
    let task = serde_json::json!({"kind": "binary_classification", "threshold": 0.9});
    refused(&forged(&files, "task", task), ErrorKind::Corrupt, "model.json is a model for ");
}

#[test]
fn a_model_that_answers_no_number_is_not_packed() {
    let schema = schema();
    let rows = rows(&schema);
    for (bad, says) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (0.7, "1.4")] {
        let profile = Profile::fit(&rows.batch()).unwrap();
        let error = ModelArtifact::pack(&scale(&schema, bad), profile, &rows.batch()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn model_profile_and_sample_are_of_one_schema() {
    let (schema, rows) = (schema(), rows(&schema()));
    let other = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
    let mut others = Columns::new(Arc::clone(&other));
    others.push(&Row::missing(&other));
    let (ours, theirs) =
        (Profile::fit(&rows.batch()).unwrap(), Profile::fit(&others.batch()).unwrap());
    let model = scale(&schema, 0.3);
    for (profile, sample) in [(theirs, &rows), (ours, &others)] {
        let error = ModelArtifact::pack(&model, profile, &sample.batch()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn rows_that_nobody_could_send_are_no_smoke_predictions() {
    let schema = schema();
    let mut rows = Columns::new(Arc::clone(&schema));
    for plan in
        [Value::Invalid, Value::Level(LevelId::OTHER), Value::Level(LevelId::new(0).unwrap())]
    {
        let mut row = Row::missing(&schema);
        row.set(schema.id("plan").unwrap(), plan);
        rows.push(&row);
    }
    let profile = Profile::fit(&rows.batch()).unwrap();
    let packed = ModelArtifact::pack(&scale(&schema, 0.3), profile, &rows.batch()).unwrap();
    assert_eq!(packed.smoke.len(), 1);
    assert!(ModelArtifact::open(&packed.to_files().unwrap(), &formats()).is_ok());
}

/// Predicts its one number.
#[derive(Debug)]
struct Amount(Arc<FeatureSchema>, f64);

impl Model for Amount {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.0
    }

    fn task(&self) -> Task {
        Task::Regression
    }

    fn score(&self, _: &Row) -> f64 {
        self.1
    }
}

#[derive(Debug)]
struct AmountFormat;

impl ModelFormat for AmountFormat {
    fn name(&self) -> &str {
        "amount.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let amount = serde_json::from_slice(document)
            .map_err(|e| corrupt("model.json holds no number".to_owned()).with_source(e))?;
        Ok(Arc::new(Amount(Arc::clone(schema), amount)))
    }
}

#[test]
fn a_predicted_number_may_differ_by_a_share_of_itself() {
    let (schema, formats) = (schema(), [Arc::new(AmountFormat) as Arc<dyn ModelFormat>]);
    let rows = rows(&schema);
    for (packed, loaded, accepted) in [
        (1e9, 1e9 + 0.5, true),
        (1e9, 1e9 + 2.0, false),
        (-1e9, -1e9 - 0.5, true),
        (0.25, 0.25 + 5e-10, true),
        (0.25, 0.25 + 2e-9, false),
        (f64::MAX, -f64::MAX, false),
    ] {
        let model = Arc::new(Amount(Arc::clone(&schema), packed));
        let document = packed.to_string().into_bytes();
        let trained = TrainedModel::new(model, "amount.v1", document);
        let profile = Profile::fit(&rows.batch()).unwrap();
        let files = ModelArtifact::pack(&trained, profile, &rows.batch()).unwrap();
        let files = files.to_files().unwrap();
        let opened = ModelArtifact::open(&files, &formats).unwrap();
        assert_eq!(opened.model().task(), Task::Regression);
        let document = loaded.to_string().into_bytes();
        let other = changed(&files, &[("model.json", Some(document))], true);
        let found = ModelArtifact::open(&other, &formats);
        assert_eq!(found.is_ok(), accepted, "{loaded} for {packed}: {found:?}");
        let task = serde_json::json!({"kind": "binary_classification", "threshold": 0.5});
        let error = ModelArtifact::open(&forged(&files, "task", task), &formats).unwrap_err();
        assert!(error.to_string().contains("model.json is a model for Regression"), "{error}");
    }
}
