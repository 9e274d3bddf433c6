//! Files of a run, written after each epoch.
//!
//! Every file is replaced atomically, the state last. A run that is cut off before repeats the epoch and ends at the same bits.

use super::TrainError;
use super::recipe::Recipe;
use super::trainer::{Epoch, Trainer};
use crate::files::Pending;
use crate::load::LoadError;
use crate::model::Model;
use crate::network::{LayerId, Network};
use crate::weights::{Checkpoint, SaveType, TensorToSave, write_safetensors};
use convscope_engine::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The model of the best epoch so far, by top-1.
pub const BEST: &str = "best.safetensors";
/// The model of the last epoch.
pub const LAST: &str = "last.safetensors";
/// The state of a run, for resuming.
pub const STATE: &str = "training.safetensors";
/// One row per epoch.
const LOG_CSV: &str = "log.csv";
/// The recipe and all epochs.
const LOG_JSON: &str = "log.json";
/// Key of [`RunMetadata`] in the file's metadata.
const METADATA: &str = "convscope.training";

/// The state of a run that is not tensors.
#[derive(Debug, Serialize, Deserialize)]
struct RunMetadata {
    recipe: Recipe,
    /// Name of the last frozen layer.
    frozen: String,
    /// Steps of the optimiser so far.
    steps: u32,
    history: Vec<Epoch>,
}

impl Trainer {
    /// Writes into `folder` the model as [`LAST`] and, after the best epoch, as [`BEST`], the log, and the state as [`STATE`].
    ///
    /// # Errors
    /// [`TrainError`] if a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let run = RunMetadata {
            recipe: self.recipe.clone(),
            frozen: self.model.network[self.frozen].name.clone(),
            steps: self.groups[0].1.state().0,
            history: self.history.clone(),
        };
        let mut metadata = self.model.network.metadata();
        let text = |value: &RunMetadata| serde_json::to_string(value).unwrap_or_default();
        metadata.insert(METADATA.to_string(), text(&run));
        let params = self.model.network.params();
        let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();

        let model = self.averaged()?;
        let tensors: Vec<_> = names.iter().zip(&model.params).map(|(name, t)| tensor(name, t)).collect();
        write_safetensors(folder.join(LAST), &tensors, SaveType::F32, &metadata)?;
        if self.is_best() {
            write_safetensors(folder.join(BEST), &tensors, SaveType::F32, &metadata)?;
        }
        self.write_log(folder, &run)?;

        let named = |part: &str, i: usize| format!("{part}.{}", names[i]);
        let mut all: Vec<(String, &Tensor)> = Vec::new();
        all.extend(self.model.params.iter().enumerate().map(|(i, t)| (named("weights", i), t)));
        all.extend(self.average.iter().enumerate().map(|(i, t)| (named("average", i), t)));
        for (group, optimizer) in &self.groups {
            for (i, states) in group.iter().zip(optimizer.state().1) {
                all.extend(states.iter().enumerate().map(|(k, t)| (named(&format!("optimizer{k}"), *i), t)));
            }
        }
        let tensors: Vec<_> = all.iter().map(|(name, t)| tensor(name, t)).collect();
        Ok(write_safetensors(folder.join(STATE), &tensors, SaveType::F32, &metadata)?)
    }

    fn write_log(&self, folder: &Path, run: &RunMetadata) -> Result<(), TrainError> {
        let mut csv = "epoch,size,lr,train_loss,train_top1,val_loss,val_top1,val_top5,seconds\n".to_string();
        for e in &self.history {
            csv += &format!(
                "{},{},{:.6},{:.4},{:.4},{:.4},{:.4},{:.4},{:.1}\n",
                e.epoch, e.size, e.lr, e.train_loss, e.train_top1, e.val_loss, e.val_top1, e.val_top5, e.seconds
            );
        }
        let json = serde_json::to_string_pretty(run).unwrap_or_default() + "\n";
        for (name, text) in [(LOG_CSV, csv), (LOG_JSON, json)] {
            let path = folder.join(name);
            let written = Pending::write(&path, |out| out.write_all(text.as_bytes())).and_then(Pending::publish);
            written.map_err(|source| TrainError::Write { path, source })?;
        }
        Ok(())
    }
}

fn tensor<'a>(name: &'a str, t: &'a Tensor) -> TensorToSave<'a> {
    TensorToSave { name, shape: t.shape(), values: t.f32() }
}

/// A resumed run.
#[derive(Debug)]
pub struct Resumed(pub Trainer);

impl Resumed {
    /// Reads [`STATE`] from `folder`.
    ///
    /// # Errors
    /// [`TrainError`] if it is missing or damaged.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(STATE);
        let wrong = |reason: String| TrainError::Resume { path: path.clone(), reason };
        let file = Checkpoint::open(&path)?;
        let run = file.metadata().get(METADATA).ok_or_else(|| wrong("it was not written by training".into()))?;
        let run: RunMetadata = serde_json::from_str(run).map_err(|e| wrong(crate::text::one_line(e)))?;
        let network = Network::from_metadata(file.metadata()).map_err(LoadError::from)?;
        let network = network.ok_or_else(|| wrong("it does not say of which network".into()))?;
        let frozen = network.find(&run.frozen).unwrap_or(LayerId::INPUT);
        let params = network.params();
        let read = |part: &str, i: usize| {
            let name = format!("{part}.{}", params[i].name);
            let stored = file.get(&name).filter(|t| t.shape == params[i].shape);
            let stored = stored.ok_or_else(|| wrong(format!("it has no {name} of this network's shape")))?;
            Ok::<_, TrainError>(Tensor::from_slice(params[i].shape.clone(), &stored.to_f32_checked()?)?)
        };
        let all = |part: &str| (0..params.len()).map(|i| read(part, i)).collect::<Result<Vec<_>, _>>();
        let weights = all("weights")?;
        let average = if run.recipe.ema > 0.0 { all("average")? } else { Vec::new() };
        let mut trainer = Trainer::new(Model::new(network, weights)?, run.recipe, frozen);
        (trainer.history, trainer.average) = (run.history, average);
        // An optimiser has no state before its first step.
        for (group, optimizer) in trainer.groups.iter_mut().filter(|_| run.steps > 0) {
            let states = |i: &usize| (0..optimizer.states()).map(|k| read(&format!("optimizer{k}"), *i)).collect();
            let state = group.iter().map(states).collect::<Result<Vec<_>, TrainError>>()?;
            optimizer.load_state(run.steps, state);
        }
        Ok(Resumed(trainer))
    }
}
