//! Keras's HDF5 files: the tensors by name, and the architecture beside them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use hdf5_reader::error::{Error, Result};
use hdf5_reader::group::Group;
use hdf5_reader::messages::datatype::Datatype;
use hdf5_reader::{Attribute, Dataset, Hdf5File, OpenOptions};

use super::stored::{Data, FileBytes};
use super::{StoredTensor, StoredType, WeightsError};

/// Metadata key of a Keras model's architecture, as JSON.
pub const KERAS_CONFIG: &str = "keras.model_config";

/// Metadata key of a Keras file's layer names, one a line in file order.
pub const KERAS_LAYERS: &str = "keras.layer_names";

/// Maximum tensors of a file, and minimum file bytes per name: lists may repeat a name without bound.
const MOST_TENSORS: usize = 100_000;
const LEAST_BYTES: usize = 8;
/// Maximum nesting of groups.
const DEEPEST: usize = 32;
/// Maximum compression ratio of a chunked data set: trained weights never compress further.
pub(super) const MOST_COMPRESSION: u64 = 16;

type Read = (Vec<StoredTensor>, BTreeMap<String, String>);

/// Reads HDF5 files of Keras' `model.save` or `model.save_weights`. Tensors are called `layer.variable`, such as
/// `conv2d_1.kernel`, if the file lists its layers, else by their dotted path.
pub(super) fn read(path: &Arc<Path>, bytes: FileBytes) -> std::result::Result<Read, WeightsError> {
    let length = bytes.len() as u64;
    let limit = length.saturating_mul(MOST_COMPRESSION);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let options = OpenOptions::default().with_max_read_bytes(most).with_max_chunk_bytes(most);
    let damaged = |error: Error| WeightsError::format(path, format!("damaged or truncated HDF5: {error}"));
    let root = Hdf5File::from_owner(bytes, options).and_then(|file| file.root_group()).map_err(damaged)?;
    let mut metadata = BTreeMap::new();
    if let Some(config) = attribute(&root, "model_config").map_err(damaged)? {
        metadata.insert(KERAS_CONFIG.to_string(), config.read_string().map_err(damaged)?);
    }
    let (groups, _) = root.member_names().map_err(damaged)?;
    let weights = match groups.iter().any(|name| name == "model_weights") {
        true => root.group("model_weights").map_err(damaged)?,
        false => root,
    };
    // Theano flips its convolution kernels. Keras flips them back when another backend loads the file.
    if let Some(backend) = attribute(&weights, "backend").map_err(damaged)?
        && backend.read_string().map_err(damaged)?.trim_end_matches('\0') == "theano"
    {
        let reason = "Keras on Theano wrote it, whose kernels are turned around: load and save it with Keras on TensorFlow first";
        return Err(WeightsError::format(path, reason));
    }
    let layers = strings(&weights, "layer_names").map_err(damaged)?;
    if !layers.is_empty() {
        metadata.insert(KERAS_LAYERS.to_string(), layers.join("\n"));
    }
    let most = MOST_TENSORS.min(usize::try_from(length).unwrap_or(usize::MAX) / LEAST_BYTES);
    let datasets = match layers.is_empty() {
        true => by_path(&weights, most).map_err(damaged)?,
        false => by_layer(&weights, &layers, most).map_err(damaged)?,
    };
    let mut tensors = Vec::with_capacity(datasets.len());
    let mut claimed = 0u64;
    for (name, dataset) in datasets {
        let Some(dtype) = stored_type(dataset.dtype()) else { continue };
        let shape = dataset.shape().iter().map(|&extent| usize::try_from(extent));
        let shape = shape
            .collect::<std::result::Result<Vec<usize>, _>>()
            .map_err(|_| WeightsError::tensor(path, &name, "has more values than any memory"))?;
        // A file may give many names to the same values.
        claimed = claimed.saturating_add(dataset.raw_byte_len().map_err(damaged)? as u64);
        if claimed > limit {
            return Err(WeightsError::format(path, format!("its tensors claim more than the {limit} bytes that it can hold")));
        }
        let limit = if dataset.chunks().is_some() { limit } else { length };
        let data = Data::Hdf5 { dataset: Arc::new(dataset), limit };
        tensors.push(StoredTensor { name, dtype, shape, data, path: Arc::clone(path) });
    }
    Ok((tensors, metadata))
}

/// The attribute `name`; `None` if there is none.
fn attribute(group: &Group, name: &str) -> Result<Option<Attribute>> {
    Ok(group.attributes()?.into_iter().find(|attribute| attribute.name == name))
}

/// A list of names in an attribute. Keras splits a long list into `name0`, `name1`, ...
fn strings(group: &Group, name: &str) -> Result<Vec<String>> {
    let attributes = group.attributes()?;
    let list = |name: &str| attributes.iter().find(|attribute| attribute.name == name);
    // Keras writes the empty list of a layer without weights as numbers.
    let read = |attribute: &Attribute| match attribute.num_elements()? {
        0 => Ok(Vec::new()),
        _ => attribute.read_strings(),
    };
    if let Some(whole) = list(name) {
        return read(whole);
    }
    let mut all = Vec::new();
    for part in (0..).map_while(|index| list(&format!("{name}{index}"))) {
        all.extend(read(part)?);
    }
    Ok(all)
}

/// The weights that each layer's group lists.
fn by_layer(weights: &Group, layers: &[String], most: usize) -> Result<Vec<(String, Dataset)>> {
    let mut found = Vec::new();
    for layer in layers {
        // A name with a slash, as DenseNet's `conv1/conv`, is a group in a group.
        let group =
            layer.split('/').filter(|step| !step.is_empty()).try_fold(weights.clone(), |group, step| group.group(step))?;
        let paths = strings(&group, "weight_names")?;
        // A nested model has a variable of the same name for each of its layers.
        let mut variables = HashSet::new();
        let unambiguous = paths.iter().all(|path| variables.insert(variable(layer, path)));
        for path in paths {
            let mut parent = group.clone();
            let mut steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
            let Some(last) = steps.pop() else { continue };
            for step in steps {
                parent = parent.group(step)?;
            }
            let within = path.strip_suffix(last).map_or_else(String::new, |folder| folder.replace('/', "."));
            let name = match unambiguous {
                true => format!("{layer}.{}", variable(layer, &path)),
                false => format!("{layer}.{within}{}", variable(layer, &path)),
            };
            found.push((name, parent.dataset(last)?));
            within_most(found.len(), most)?;
        }
    }
    Ok(found)
}

/// The variable's own name: the part after the layer's name in `conv/kernel:0`, and in Keras 1's `conv_W` and `conv_W_1:0`.
fn variable<'a>(layer: &str, path: &'a str) -> &'a str {
    let last = path.rsplit('/').next().unwrap_or(path);
    let last = last.split(':').next().unwrap_or(last);
    let Some(own) = last.strip_prefix(layer).and_then(|rest| rest.strip_prefix('_')) else { return last };
    match own.rsplit_once('_') {
        Some((name, count)) if count.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => own,
    }
}

/// Every data set below `root`. Links may be circular: each group is visited once.
fn by_path(root: &Group, most: usize) -> Result<Vec<(String, Dataset)>> {
    let mut found = Vec::new();
    let mut visited = HashSet::new();
    let mut waiting = vec![(String::new(), root.clone(), 0)];
    while let Some((prefix, group, depth)) = waiting.pop() {
        if !visited.insert(group.address()) {
            continue;
        }
        let (groups, datasets) = group.members()?;
        within_most(visited.len() + found.len() + datasets.len(), most)?;
        found.extend(datasets.into_iter().map(|dataset| (format!("{prefix}{}", dataset.name()), dataset)));
        if depth < DEEPEST {
            waiting.extend(groups.into_iter().map(|inner| (format!("{prefix}{}.", inner.name()), inner, depth + 1)));
        }
    }
    Ok(found)
}

fn within_most(tensors: usize, most: usize) -> Result<()> {
    match tensors > most {
        true => Err(Error::InvalidData(format!("it names more than {most} tensors"))),
        false => Ok(()),
    }
}

/// `None` for strings and other types without numeric values.
fn stored_type(dtype: &Datatype) -> Option<StoredType> {
    Some(match dtype {
        Datatype::FloatingPoint { size: 8, .. } => StoredType::F64,
        Datatype::FloatingPoint { size: 4, .. } => StoredType::F32,
        Datatype::FloatingPoint { size: 2, .. } => StoredType::F16,
        Datatype::FixedPoint { size: 8, signed: true, .. } => StoredType::I64,
        Datatype::FixedPoint { size: 4, signed: true, .. } => StoredType::I32,
        Datatype::FixedPoint { size: 2, signed: true, .. } => StoredType::I16,
        Datatype::FixedPoint { size: 1, signed: true, .. } => StoredType::I8,
        Datatype::FixedPoint { size: 8, .. } => StoredType::U64,
        Datatype::FixedPoint { size: 4, .. } => StoredType::U32,
        Datatype::FixedPoint { size: 2, .. } => StoredType::U16,
        Datatype::FixedPoint { size: 1, .. } => StoredType::U8,
        _ => return None,
    })
}
