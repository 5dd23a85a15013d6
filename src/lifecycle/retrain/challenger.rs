//! Fits, packs, registers and stages the challenger.

use super::super::turn::Turn;
use super::material::Material;
use super::{RETRAIN, Retraining};
use crate::artifact::{ModelArtifact, TrainingRecord};
use crate::drift::ProfileOptions;
use crate::ledger::{ReferenceDataset, RetrainingRun};
use crate::model::{Progress, out_of_fold_scores};
use crate::promote::Evaluation;
use crate::record::Dataset;
use crate::registry::{Alias, ArtifactFiles, ModelName, VersionId};
use crate::{Error, ErrorKind};

/// The challenger as it stands in the registry.
pub(super) struct Challenger {
    pub(super) version: VersionId,
    pub(super) artifact: ModelArtifact,
    /// of rows it was not trained on: the holdout, or for a first model the training rows
    pub(super) scores: Vec<f64>,
}

impl Retraining {
    /// The version that this run has made already, or makes now; `None` if it has made one of
    /// other rows than `material`, which could have been trained on what would judge it.
    pub(super) async fn challenger(
        &self,
        run: &RetrainingRun,
        material: &Material,
        turn: &mut Turn,
        progress: &dyn Progress,
    ) -> Result<Option<Challenger>, Error> {
        let registry = &self.promotion.registry;
        let run_id = run.id.to_string();
        let made = registry.versions(&run.model).await?;
        if let Some(made) = made.into_iter().find(|version| version.run_id == run_id) {
            let files = registry.fetch_artifact(&run.model, made.version).await?;
            let artifact = ModelArtifact::open(&files, &self.formats)?;
            if artifact.training().data != run.data {
                return Ok(None);
            }
            let scores = if material.holdout.rows() > 0 {
                artifact.model().score_batch(&material.holdout.columns().batch())
            } else {
                self.out_of_fold(&material.training, progress)?
            };
            return Ok(Some(Challenger { version: made.version, artifact, scores }));
        }
        let (files, scores) = self.train(run, material, progress)?;
        // What nobody could load is not registered.
        let artifact = ModelArtifact::open(&files, &self.formats)?;
        turn.renew().await?;
        let version = registry.register(&run.model, &run_id, &files).await?.version;
        Ok(Some(Challenger { version, artifact, scores }))
    }

    fn out_of_fold(&self, data: &Dataset, progress: &dyn Progress) -> Result<Vec<f64>, Error> {
        let folds = self.settings.folds_by_entity()?;
        out_of_fold_scores(&*self.trainer, data, folds, progress)
    }

    fn train(
        &self,
        run: &RetrainingRun,
        material: &Material,
        progress: &dyn Progress,
    ) -> Result<(ArtifactFiles, Vec<f64>), Error> {
        let Material { training, holdout, trained_on, report } = material;
        let trained = self.trainer.fit(training, progress)?;
        let (learned, target) = (trained.model.task().target(), training.target());
        if learned != target {
            let trainer = self.trainer.name();
            let context = format!("{trainer} predicts {learned}, the labels are {target}");
            return Err(Error::new(ErrorKind::InvalidInput, RETRAIN, context));
        }
        // The profile is of the rows on which the challenger is accepted, not of its training
        // mixture: else the very traffic that promotes it would count as drift.
        let (judged, scores, how) = if holdout.rows() > 0 {
            let scores = trained.model.score_batch(&holdout.columns().batch());
            (holdout, scores, self.settings.holdout.to_string())
        } else {
            let how = format!("{} folds by entity", self.settings.folds);
            (training, self.out_of_fold(training, progress)?, how)
        };
        let batch = judged.columns().batch();
        let metrics = Evaluation::of(trained.model.task(), &scores, judged.labels())
            .map_err(not_evaluated)?;
        let profile = ProfileOptions::new().scores(&scores).fit(&batch).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, RETRAIN, "the profile cannot be fitted")
                .with_source(e)
        })?;
        let record = TrainingRecord {
            trainer: self.trainer.name().to_owned(),
            params: trained.params.clone(),
            data: run.data,
            rows: training.rows() as u64,
            holdout_rows: holdout.rows() as u64,
            holdout: how,
            logged: trained_on.clone(),
            metrics: metrics
                .metrics()
                .iter()
                .filter_map(|metric| Some((metric.name().to_owned(), metrics.get(*metric)?)))
                .collect(),
        };
        let mut artifact = ModelArtifact::pack(&trained, profile, &batch)?.with_training(record);
        if self.settings.validate_data {
            artifact = artifact.with_validation(report.clone());
        }
        Ok((artifact.to_files()?, scores))
    }

    /// Points `staging` at the challenger while it is compared, and records its reference.
    pub(super) async fn stage(
        &self,
        model: &ModelName,
        challenger: &Challenger,
    ) -> Result<(), Error> {
        let registry = &self.promotion.registry;
        let (alias, version) = (Alias::staging(), challenger.version);
        // Where `staging` is what is served, nothing may move it before it is compared.
        if alias != self.promotion.alias {
            let before = registry.resolve(model, &alias).await?;
            registry.set_alias(model, &alias, version, before).await?;
        }
        let profile = challenger.artifact.profile();
        let reference = ReferenceDataset {
            name: format!("{model}-v{version}"),
            model: model.clone(),
            version,
            rows: profile.rows(),
            features: profile.features().len() as u64,
            profile: profile.fingerprint(),
            data: challenger.artifact.training().data,
            created_at: self.promotion.log.now().await?,
        };
        self.promotion.ledger.record_reference(&reference).await
    }
}

pub(super) fn not_evaluated(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidInput, RETRAIN, "the models cannot be judged").with_source(error)
}
