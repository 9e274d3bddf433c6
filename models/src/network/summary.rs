//! The summary of a network: shape, parameters and multiply-adds of each layer, and totals.

use serde_json::{Value, json};

use super::{Layer, LayerKind, LayerShape, Network, NetworkError, Param, ScopeKind, product};
use crate::text::thousands;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// Layer's name.
    pub name: String,
    /// Layer's type, such as `Conv2d`.
    pub kind: &'static str,
    /// Type and main hyperparameters: `Conv2d 64, 3x3, pad 1`.
    pub detail: String,
    /// Shape of the output for one image.
    pub shape: LayerShape,
    /// Trained values; 0 for a layer that shares another's.
    pub parameters: usize,
    /// Multiply-adds for one image; see [`LayerKind::multiply_adds`].
    pub multiply_adds: usize,
}

/// Numbers of layers and scopes by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All convolutions.
    pub convolutions: usize,
    /// Convolutions in shortcuts, which the number in a ResNet's name leaves out.
    pub shortcut_convolutions: usize,
    /// Dense layers.
    pub linear: usize,
    /// Stages.
    pub stages: usize,
    /// Residual blocks.
    pub blocks: usize,
    /// Residual blocks whose shortcut is not the identity (torchvision's `downsample`): they halve the resolution or change the
    /// number of channels.
    pub downsampling_blocks: usize,
}

/// The content of `convscope summary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Network's name.
    pub network: String,
    /// One row a layer, the input first.
    pub rows: Vec<SummaryRow>,
    /// Sum of the rows' parameters.
    pub parameters: usize,
    /// Keras' count of parameters (`count_params()`), which includes running statistics and the batch counter of each
    /// `Normalization`.
    pub keras_parameters: usize,
    /// Sum of the rows' multiply-adds.
    pub multiply_adds: usize,
    /// The count of [torchinfo](https://github.com/TylerYep/torchinfo), which adds biases and the parameters of batch-norms.
    pub torchinfo_multiply_adds: usize,
    /// Output values of all layers for one image, without the input.
    pub activations: usize,
    /// Layers and scopes by kind.
    pub counts: Counts,
    /// Preparation of photos, in words.
    pub photos: String,
}

impl Network {
    /// The summary for images of `height` x `width`.
    ///
    /// ```
    /// use convscope_models::families;
    ///
    /// let summary = families::build("resnet50", None)?.summary(224, 224)?;
    /// assert_eq!((summary.parameters, summary.multiply_adds), (25_557_032, 4_089_184_256));
    /// # Ok::<(), convscope_models::network::NetworkError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Network::at`].
    pub fn summary(&self, height: usize, width: usize) -> Result<Summary, NetworkError> {
        let mut rows: Vec<SummaryRow> = self
            .at(height, width)?
            .layers()
            .map(|(_, layer, shape)| SummaryRow {
                name: layer.name.clone(),
                kind: layer.kind.type_name(),
                detail: match layer.shares {
                    None => layer.kind.to_string(),
                    Some(owner) => format!("{}, weights of {}", layer.kind, self[owner].name),
                },
                parameters: 0,
                multiply_adds: layer.kind.multiply_adds(shape),
                shape: shape.clone(),
            })
            .collect();
        let params = self.params();
        for param in params.iter().filter(|param| param.kind.is_trained()) {
            rows[param.layer.0].parameters += param.len();
        }
        let adapted = |layer: &Layer| matches!(layer.kind, LayerKind::FrozenBatchNorm2d { measured: true, .. });
        let adapted = self.layers.iter().filter(|layer| adapted(layer) && layer.shares.is_none()).count();
        let stored = params.iter().filter(|param| !param.kind.is_fixed()).map(Param::len);
        let total = |number: &dyn Fn(&SummaryRow) -> usize| rows.iter().skip(1).map(number).fold(0, usize::saturating_add);
        Ok(Summary {
            network: self.name.clone(),
            parameters: total(&|row| row.parameters),
            keras_parameters: stored.fold(adapted, usize::saturating_add),
            multiply_adds: total(&|row| row.multiply_adds),
            // A layer that shares parameters has the owner's multiply-adds.
            torchinfo_multiply_adds: self.ids().skip(1).fold(0usize, |sum, (id, layer)| {
                let parameters = rows[self.owner(id).0].parameters;
                sum.saturating_add(match (&layer.kind, rows[id.0].shape.spatial()) {
                    (LayerKind::Conv2d(_), Some([height, width])) => product(&[parameters, height, width]),
                    _ => parameters,
                })
            }),
            activations: total(&|row| row.shape.len()),
            counts: self.counts(),
            photos: self.preprocess.to_string(),
            rows,
        })
    }

    /// Layers and scopes by kind.
    pub fn counts(&self) -> Counts {
        let scopes = |kind: ScopeKind| self.scopes.iter().filter(|scope| scope.kind == kind).count();
        let mut counts = Counts {
            stages: scopes(ScopeKind::Stage),
            blocks: scopes(ScopeKind::Block),
            downsampling_blocks: scopes(ScopeKind::Shortcut),
            ..Counts::default()
        };
        for (id, layer) in self.ids() {
            match layer.kind {
                LayerKind::Conv2d(_) => {
                    counts.convolutions += 1;
                    counts.shortcut_convolutions += usize::from(self.in_shortcut(id));
                }
                LayerKind::Linear { .. } => counts.linear += 1,
                _ => {}
            }
        }
        counts
    }
}

impl Summary {
    /// The table as text: aligned columns, then totals and counts. No trailing newline.
    pub fn to_text(&self) -> String {
        let mut table = vec![["#", "layer", "type", "output", "parameters", "multiply-adds"].map(str::to_owned)];
        let some = |number: usize| {
            if number == 0 { "-".into() } else { thousands(number) }
        };
        for (index, row) in self.rows.iter().enumerate() {
            table.push([
                index.to_string(),
                row.name.clone(),
                row.detail.clone(),
                row.shape.to_string(),
                some(row.parameters),
                some(row.multiply_adds),
            ]);
        }
        let total = [&thousands(self.parameters), &thousands(self.multiply_adds)].map(String::clone);
        let [parameters, multiply_adds] = total;
        table.push([String::new(), "total".into(), String::new(), String::new(), parameters, multiply_adds]);
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
        let mut lines: Vec<String> = table
            .iter()
            .map(|[index, name, detail, shape, params, macs]| {
                let [i, n, d, s, p, m] = widths;
                format!("{index:>i$}  {name:<n$}  {detail:<d$}  {shape:>s$}  {params:>p$}  {macs:>m$}")
            })
            .collect();
        lines.insert(1, rule.clone());
        lines.insert(lines.len() - 1, rule);
        lines.push(self.counts.to_text());
        if self.keras_parameters > self.parameters {
            let [rest, all] = [self.keras_parameters - self.parameters, self.keras_parameters].map(thousands);
            lines.push(format!("{rest} values that training measures: {all} parameters as Keras counts them"));
        }
        lines.push(format!("photos: {}", self.photos));
        lines.join("\n")
    }

    /// The table as JSON with stable keys: `network`, `input` (`[c, h, w]`), `layers` (`index`,
    /// `name`, `type`, `shape` without the batch, `parameters`, `multiply_adds`) and `totals`; `photos` in words.
    pub fn to_json(&self) -> Value {
        let layers: Vec<Value> = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                json!({
                    "index": index,
                    "name": row.name,
                    "type": row.kind,
                    "shape": row.shape.dims(),
                    "parameters": row.parameters,
                    "multiply_adds": row.multiply_adds,
                })
            })
            .collect();
        let counts = &self.counts;
        json!({
            "network": self.network,
            "photos": self.photos,
            "input": self.rows.first().map(|row| row.shape.dims()),
            "layers": layers,
            "totals": {
                "layers": self.rows.len(),
                "parameters": self.parameters,
                "keras_parameters": self.keras_parameters,
                "multiply_adds": self.multiply_adds,
                "torchinfo_multiply_adds": self.torchinfo_multiply_adds,
                "activations": self.activations,
                "convolutions": counts.convolutions,
                "convolutions_in_shortcuts": counts.shortcut_convolutions,
                "linear": counts.linear,
                "stages": counts.stages,
                "residual_blocks": counts.blocks,
                "downsampling_blocks": counts.downsampling_blocks,
            },
        })
    }
}

impl Counts {
    /// `53 convolutions (49 and 4 in shortcuts), 1 dense layer, 4 stages, 16 residual blocks (4
    /// down-sampling)`.
    pub fn to_text(&self) -> String {
        let some = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        let mut parts = vec![some(self.convolutions, "convolution", "convolutions")];
        if self.shortcut_convolutions > 0 {
            let main = self.convolutions - self.shortcut_convolutions;
            parts[0] += &format!(" ({main} and {} in shortcuts)", self.shortcut_convolutions);
        }
        parts.push(some(self.linear, "dense layer", "dense layers"));
        if self.stages > 0 {
            parts.push(some(self.stages, "stage", "stages"));
        }
        if self.blocks > 0 {
            let blocks = some(self.blocks, "residual block", "residual blocks");
            parts.push(format!("{blocks} ({} down-sampling)", self.downsampling_blocks));
        }
        parts.join(", ")
    }
}
