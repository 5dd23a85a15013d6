//! What the registry knows: versions, aliases, files.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::address::Place;
use super::http::{Failure, Repeat};
use super::listing::{FILES, LISTING, Listing, MAX_LISTING_BYTES};
use super::mlmodel::{MAX_MLMODEL_BYTES, MLMODEL, flavor_names};
use super::{COMPONENT, MlflowRegistry, RULES, wire};
use crate::registry::{Alias, AliasStep, ArtifactFiles, ModelName, ModelVersion, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

/// Tag of a version: the run that made it. No key of ours that a caller could set has a slash.
pub(super) const RUN_TAG: &str = "pmmds/run_id";

/// Tag of a version: the digest of its files.
pub(super) const DIGEST_TAG: &str = "pmmds/digest";

/// Versions on one page, and most pages that are turned.
const PAGE: &str = "100";
const MAX_PAGES: usize = 1_000;

/// MLflow numbers versions with 32 bits, and fails with an error of its database above them.
const LARGEST_VERSION: u64 = i32::MAX as u64;

fn corrupt(context: String) -> Error {
    Error::new(ErrorKind::Corrupt, COMPONENT, context)
}

impl MlflowRegistry {
    /// The model with its aliases; `None` when MLflow says that there is none.
    async fn registered(&self, model: &ModelName) -> Result<Option<wire::RegisteredModel>, Error> {
        let query = [("name", model.as_str())];
        match self.http().ask::<wire::OneModel>("registered-models/get", &query).await {
            Ok(found) if found.registered_model.name == model.as_str() => {
                Ok(Some(found.registered_model))
            }
            Ok(found) => Err(corrupt(format!(
                "asked for the model {model}, MLflow answered with {:?}",
                shortened(&found.registered_model.name)
            ))),
            Err(failure) if failure.is_absence() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A version as MLflow has it, whoever made it.
    async fn raw(&self, model: &ModelName, version: VersionId) -> Result<wire::Version, Error> {
        let absent = || RULES.no_version(model, version);
        if version.number() > LARGEST_VERSION {
            // It is absent, if there is anybody to say so.
            self.registered(model).await?;
            return Err(absent());
        }
        let number = version.to_string();
        let query = [("name", model.as_str()), ("version", number.as_str())];
        match self.http().ask::<wire::OneVersion>("model-versions/get", &query).await {
            Ok(found) => {
                let found = found.model_version;
                if found.name != model.as_str() || found.version != number {
                    return Err(corrupt(format!(
                        "asked for version {version} of {model}, MLflow answered with {:?} of {:?}",
                        shortened(&found.version),
                        shortened(&found.name)
                    )));
                }
                Ok(found)
            }
            Err(failure) if failure.is_absence() => Err(absent()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn version(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ModelVersion, Error> {
        let found = self.raw(model, version).await?;
        match describe(model, found)? {
            Some(known) => Ok(known),
            None => Err(self.foreign(model, version).await),
        }
    }

    pub(super) async fn all_versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, Error> {
        let Some(registered) = self.registered(model).await? else { return Ok(Vec::new()) };
        let filter = format!("name='{model}'");
        let mut all = BTreeMap::new();
        for found in self.found(&filter).await? {
            let number = found.version.clone();
            match describe(model, found)? {
                Some(known) => drop(all.insert(known.version, known)),
                None => tracing::warn!(
                    %model,
                    version = %shortened(&number),
                    "a version that pmmds has not registered is left out"
                ),
            }
        }
        for at in registered.aliases {
            let (Ok(alias), Ok(version)) = (at.alias.parse(), at.version.parse::<VersionId>())
            else {
                continue;
            };
            if let Some(version) = all.get_mut(&version) {
                version.aliases.push(alias);
            }
        }
        for version in all.values_mut() {
            version.aliases.sort();
            // A server may say them in the list as well.
            version.aliases.dedup();
        }
        Ok(all.into_values().collect())
    }

    /// The versions that a filter finds, without their aliases.
    async fn found(&self, filter: &str) -> Result<Vec<wire::Version>, Error> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let query = [
                ("filter", filter),
                ("order_by", "version_number ASC"),
                ("max_results", PAGE),
                ("page_token", token.as_str()),
            ];
            // No empty token: it would be one.
            let query = if token.is_empty() { &query[..3] } else { &query[..] };
            let page: wire::Versions = self.http().ask("model-versions/search", query).await?;
            all.extend(page.model_versions);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            if page.next_page_token == token {
                return Err(corrupt("model-versions/search goes round in circles".to_owned()));
            }
            token = page.next_page_token;
        }
        Err(corrupt(format!("model-versions/search has more than {MAX_PAGES} pages")))
    }

    /// The version that `run_id` has made: the first, should there be several.
    pub(super) async fn made_by(
        &self,
        model: &ModelName,
        run_id: &str,
    ) -> Result<Option<ModelVersion>, Error> {
        // Both are plain names: nothing in them ends the quotes.
        let filter = format!("name='{model}' AND tags.`{RUN_TAG}` = '{run_id}'");
        let mut first: Option<ModelVersion> = None;
        for found in self.found(&filter).await? {
            let Some(known) = describe(model, found)? else { continue };
            // The database may compare without letter case.
            if known.run_id == run_id && first.as_ref().is_none_or(|f| known.version < f.version) {
                first = Some(known);
            }
        }
        Ok(first)
    }

    pub(super) async fn pointed_at(
        &self,
        model: &ModelName,
        alias: &Alias,
    ) -> Result<Option<VersionId>, Error> {
        let query = [("name", model.as_str()), ("alias", alias.as_str())];
        let answer = self.http().ask::<wire::OneVersion>("registered-models/alias", &query).await;
        match answer {
            Ok(found) if found.model_version.name == model.as_str() => {
                number(&found.model_version.version).map(Some)
            }
            Ok(found) => Err(corrupt(format!(
                "asked for the alias {alias} of {model}, MLflow answered with a version of {:?}",
                shortened(&found.model_version.name)
            ))),
            // An unknown alias and a bad question look alike: the list of aliases is the truth.
            Err(failure) if failure.is_absence() || failure.is_bad_parameter() => {
                let registered = self.registered(model).await?;
                let aliases = registered.map(|model| model.aliases).unwrap_or_default();
                let found = aliases.into_iter().find(|at| at.alias == alias.as_str());
                found.map(|at| number(&at.version)).transpose()
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn point(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<(), Error> {
        let _turn = self.aliasing().lock().await;
        self.raw(model, version).await?;
        let found = self.pointed_at(model, alias).await?;
        if RULES.alias(model, alias, found, version, expected)? == AliasStep::Keep {
            return Ok(());
        }
        let body = json!({
            "name": model.as_str(), "alias": alias.as_str(), "version": version.to_string(),
        });
        let done = self
            .http()
            .change::<wire::Anything>(Method::POST, "registered-models/alias", &body, Repeat::Never)
            .await;
        // Whether it was answered or not, this is where the alias points.
        match (self.pointed_at(model, alias).await, done) {
            (Ok(Some(now)), _) if now == version => Ok(()),
            (Ok(now), Ok(_)) => RULES.alias(model, alias, now, version, Some(version)).map(drop),
            (_, Err(failure)) if failure.is_absence() => Err(RULES.no_version(model, version)),
            (_, Err(failure)) => Err(failure.into()),
            (Err(error), Ok(_)) => Err(error),
        }
    }

    pub(super) async fn set_tag(
        &self,
        model: &ModelName,
        version: VersionId,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        RULES.tag(key, value)?;
        if version.number() > LARGEST_VERSION {
            return self.raw(model, version).await.map(drop);
        }
        let body = json!({
            "name": model.as_str(), "version": version.to_string(), "key": key, "value": value,
        });
        let path = "model-versions/set-tag";
        let done =
            self.http().change::<wire::Anything>(Method::POST, path, &body, Repeat::Harmless).await;
        match done {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_absence() => Err(RULES.no_version(model, version)),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The path of a version's files behind the server.
    pub(super) async fn root(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<Vec<String>, Error> {
        let number = version.to_string();
        let query = [("name", model.as_str()), ("version", number.as_str())];
        let found: wire::DownloadUri =
            self.http().ask("model-versions/get-download-uri", &query).await?;
        let base = &self.http().base;
        // An older server leaves the rest of the way to the client.
        let (uri, below) = match Place::read(&found.artifact_uri, base)? {
            Place::Here(path) => return Ok(path),
            Place::Run { run, path } => {
                let query = [("run_id", run.as_str())];
                let found: wire::OneRun = self.http().ask("runs/get", &query).await?;
                (found.run.info.artifact_uri, path)
            }
            Place::Model(id) => {
                let path = format!("logged-models/{id}");
                let found: wire::OneLoggedModel = self.http().ask(&path, &[]).await?;
                (found.model.info.artifact_uri, Vec::new())
            }
        };
        match Place::read(&uri, base)? {
            Place::Here(path) => Ok([path, below].concat()),
            _ => Err(corrupt(format!(
                "the artifacts of version {version} of {model} lead in circles"
            ))),
        }
    }

    pub(super) async fn fetch(
        &self,
        model: &ModelName,
        version: VersionId,
    ) -> Result<ArtifactFiles, Error> {
        let known = self.version(model, version).await?;
        let root = self.root(model, version).await?;
        let bytes = self.file(&root, LISTING, MAX_LISTING_BYTES).await?;
        let listing = Listing::read(&bytes)?;
        let other = |digest: Fingerprint| {
            corrupt(format!(
                "the files of version {version} of {model} have the digest {}, not {}",
                digest.short(),
                known.digest.short()
            ))
        };
        if listing.digest != known.digest {
            return Err(other(listing.digest));
        }
        let mut files = ArtifactFiles::new();
        for entry in &listing.files {
            let bytes = self.file(&root, &format!("{FILES}/{}", entry.name), entry.bytes).await?;
            entry.check(&bytes)?;
            files
                .insert(entry.name.as_str(), bytes)
                .map_err(|e| corrupt(format!("{} cannot be taken", entry.name)).with_source(e))?;
        }
        if files.digest() != known.digest {
            return Err(other(files.digest()));
        }
        Ok(files)
    }

    /// One file below `root`; one that is missing or too large is damage.
    async fn file(&self, root: &[String], name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let path: Vec<String> =
            root.iter().cloned().chain(name.split('/').map(str::to_owned)).collect();
        let shown = name.strip_prefix("files/").unwrap_or(name);
        match self.http().get_file(&path, limit).await {
            Ok(bytes) => Ok(bytes),
            Err(failure) if failure.is_absence() => Err(corrupt(format!("{shown} is missing"))),
            Err(Failure::Failed(error)) if error.kind() == ErrorKind::Corrupt => {
                Err(corrupt(format!("{shown} has more than {limit} bytes")).with_source(error))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Why a version without our tags cannot be used: what it is, if that can be found out.
    async fn foreign(&self, model: &ModelName, version: VersionId) -> Error {
        let named = async {
            let root = self.root(model, version).await.ok()?;
            let bytes = self.file(&root, MLMODEL, MAX_MLMODEL_BYTES).await.ok()?;
            Some(flavor_names(&bytes)).filter(|names| !names.is_empty())
        };
        let holds = named.await.map_or_else(
            || "it has no MLmodel that can be read".to_owned(),
            |names| format!("its {MLMODEL} has the flavors {}", names.join(", ")),
        );
        let context = format!(
            "version {version} of {model} was not registered by pmmds, which loads nothing else: \
             {holds}"
        );
        Error::new(ErrorKind::NotSupported, COMPONENT, context)
    }
}

/// What pmmds says of a version; `None` if pmmds has not made it.
pub(super) fn describe(
    model: &ModelName,
    found: wire::Version,
) -> Result<Option<ModelVersion>, Error> {
    let version = number(&found.version)?;
    let mut tags: BTreeMap<String, String> =
        found.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let (Some(run_id), Some(digest)) = (tags.remove(RUN_TAG), tags.remove(DIGEST_TAG)) else {
        return Ok(None);
    };
    let impossible =
        |what: &str| corrupt(format!("version {version} of {model} has an impossible {what}"));
    if found.name != model.as_str() {
        return Err(impossible("name"));
    }
    RULES.run_id(&run_id).map_err(|e| impossible("run").with_source(e))?;
    let digest: Fingerprint = digest.parse().map_err(|e| impossible("digest").with_source(e))?;
    let created_at = moment(found.creation_timestamp).ok_or_else(|| impossible("time"))?;
    let mut known = ModelVersion::new(model.clone(), version, run_id, created_at, digest);
    // Others may give names that cannot be given here.
    known.aliases = found.aliases.iter().filter_map(|alias| alias.parse().ok()).collect();
    known.aliases.sort();
    known.tags = tags;
    Ok(Some(known))
}

/// A moment in milliseconds.
pub(super) fn moment(millis: i64) -> Option<Timestamp> {
    Timestamp::from_micros(millis.checked_mul(1_000)?).ok()
}

fn number(text: &str) -> Result<VersionId, Error> {
    text.parse().map_err(|e| {
        corrupt("MLflow answered with an impossible version".to_owned()).with_source(e)
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The result of `work`, if it comes within `timeout`.
pub(super) async fn within<T>(
    timeout: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        let context = format!("{what} took longer than {timeout:?}");
        Err(Error::new(ErrorKind::Unavailable, COMPONENT, context))
    })
}
