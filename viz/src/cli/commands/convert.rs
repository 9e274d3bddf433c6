//! `convscope convert`: weights of any format to a safetensors file.

use crate::cli::args::{Common, ConvertArgs, SaveAs};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::raw::RawFormat;
use crate::cli::session::{self, Download, Session};
use crate::cli::terminal::{self, print};
use convscope_models::onnx;
use convscope_models::weights::{Checkpoint, HubAddress, HubOptions, KERAS_CONFIG, SaveType, TensorToSave, WeightsError, fetch};
use std::collections::BTreeMap;
use std::path::PathBuf;

impl RunCommand for ConvertArgs {
    const NAME: &'static str = "convert";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, ConvertArgs { from, to, dtype }) = (invocation.common, self);
        let dtype = match dtype {
            SaveAs::F32 => SaveType::F32,
            SaveAs::F16 => SaveType::F16,
            SaveAs::Bf16 => SaveType::BF16,
        };
        let format = RawFormat::of(to)?;
        // The network's metadata goes into the file.
        let mut metadata = BTreeMap::new();
        let architecture = common.model.as_ref().filter(|name| name.ends_with(".json"));
        // With a network: its names and shapes. Without one, or with a Keras architecture: all tensors of the file. For an ONNX
        // graph: the imported network.
        let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = if common.model.is_some() && architecture.is_none() {
            let network = session::network(common)?;
            let names: Vec<String> = network.params().into_iter().map(|p| p.name).collect();
            let common = Common { weights: Some(from.to_string()), ..common.clone() };
            let session = Session::open(&invocation.with(&common))?;
            metadata.extend(session.network().metadata());
            names.into_iter().zip(&session.model.params).map(|(n, t)| (n, t.shape().to_vec(), t.f32().to_vec())).collect()
        } else {
            let path = match from.starts_with(HubAddress::SCHEME) {
                true => fetch(&from.parse()?, &HubOptions::from_env(), &mut Download::new(common.quiet))?,
                false => PathBuf::from(from),
            };
            let mut checkpoint = Checkpoint::open(path)?;
            metadata.extend(checkpoint.metadata().clone());
            if let Some(file) = architecture {
                // Checks early that the network fits the weights.
                session::network(&Common { weights: Some(from.to_string()), ..common.clone() })?;
                let text = std::fs::read_to_string(file).map_err(|e| CliError::failure(format!("cannot read {file}: {e}")))?;
                metadata.insert(KERAS_CONFIG.to_string(), text);
            }
            if let Some(file) = onnx::read(&checkpoint)? {
                if !common.quiet {
                    file.notes(from).into_iter().for_each(terminal::note);
                }
                metadata.extend(file.network.metadata());
                checkpoint = file.checkpoint;
            }
            let floats = checkpoint.tensors().iter().filter(|t| t.dtype.is_float());
            floats.map(|t| Ok((t.name.clone(), t.shape.clone(), t.to_f32_checked()?))).collect::<Result<_, WeightsError>>()?
        };
        metadata.extend([("format", "pt"), ("source", from)].map(|(key, value)| (key.to_string(), value.to_string())));
        let list: Vec<TensorToSave> = tensors.iter().map(|(name, shape, values)| TensorToSave { name, shape, values }).collect();
        format.write(to, &list, dtype, &metadata)?;
        if !common.quiet {
            let numbers: usize = tensors.iter().map(|t| t.2.len()).sum();
            print(format!("wrote {}: {} tensors, {numbers} values", to.display(), tensors.len()))?;
        }
        Ok(())
    }
}
