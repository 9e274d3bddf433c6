//! Convolution, pooling, padding.

use super::super::constant::{Constant, axis};
use super::super::node::{OnnxNode, short, size, sizes};
use super::super::translate::{OnnxTranslator, OnnxValue};
use crate::formats::import::global_pool;
use crate::network::{Conv2d, LayerId, LayerKind, Padding, Pool2d};

/// Windows over a feature map.
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
}

impl OnnxTranslator<'_> {
    pub(super) fn conv(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let (x, [in_channels, height, width]) = self.map(node, 0)?;
        let weight = self.needed(node, 1)?.clone();
        let &[out_channels, seen, kh, kw] = weight.shape() else {
            return Err(
                node.error(format!("has a weight of the shape {}; 2-dimensional convolutions are read", short(weight.shape())))
            );
        };
        if node.sizes_or("kernel_shape", [kh, kw])? != [kh, kw] {
            return Err(node.error(format!("has another kernel_shape than its weight, which is {}", short(weight.shape()))));
        }
        let Windows { kernel, stride, dilation, padding } = windows(node, [height, width], [kh, kw])?;
        let groups = size(node.int_or("group", 1)).unwrap_or(0);
        if seen.checked_mul(groups) != Some(in_channels) {
            let shape = short(weight.shape());
            return Err(node.error(format!("has a weight of the shape {shape} for {in_channels} channels in {groups} groups")));
        }
        let mut bias = self.constant(node, 2)?.cloned();
        if let Some(bias) = bias.as_ref().filter(|bias| bias.shape() != [out_channels]) {
            return Err(node.error(format!("adds the shape {} to {out_channels} channels", short(bias.shape()))));
        }
        // Exporters write zeros for an absent bias; a module's own bias has its name.
        let own = node.input(2).is_some_and(|name| name.ends_with(".bias"));
        let zeros = |bias: &Constant| bias.numbers().is_ok_and(|values| values.iter().all(|&v| v == 0.0));
        bias = bias.filter(|bias| own || !zeros(bias));
        let kind =
            |bias| LayerKind::Conv2d(Conv2d { in_channels, out_channels, kernel, stride, padding, dilation, groups, bias });
        let output = OnnxValue::map(x.id, [out_channels, 0, 0], false);
        if bias.is_none()
            && let Some(values) = self.bias_after(index, &output)
        {
            bias = Some(Constant::list(values.into_iter().map(f64::from)));
        }
        let name = self.name(index);
        let id = self.net.layer(&name, kind(bias.is_some()), &[x.id]);
        self.stored(id, "weight", &weight, weight.shape().to_vec());
        if let Some(bias) = bias {
            self.stored(id, "bias", &bias, bias.shape().to_vec());
        }
        Ok(self.seen(id, false))
    }

    /// The feature map of a layer, its channels first or last.
    pub fn seen(&self, id: LayerId, last: bool) -> OnnxValue {
        let [h, w] = self.net.spatial(id).unwrap_or([1, 1]);
        OnnxValue::map(id, [self.net.channels(id), h, w], last)
    }

    pub(super) fn pool(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let (x, [_, height, width]) = self.map(node, 0)?;
        if !node.has("kernel_shape") {
            return Err(node.error("has no kernel_shape"));
        }
        let kernel = node.sizes_or("kernel_shape", [1; 2])?;
        let Windows { stride, padding, dilation, .. } = windows(node, [height, width], kernel)?;
        if dilation != [1; 2] {
            return Err(node.error(format!("has dilations {}; dense windows are read", short(&dilation))));
        }
        let ceil = node.int_or("ceil_mode", 0) != 0;
        let padding = match padding {
            Padding::Sides(sides) if !ceil => Padding::Sides(reached(sides, [height, width], kernel, stride)),
            other => other,
        };
        let pool = Pool2d { kernel, stride, padding, ceil };
        let kind = match node.op.as_str() {
            "MaxPool" => LayerKind::MaxPool2d(pool),
            _ => LayerKind::AvgPool2d { pool, count_include_pad: node.int_or("count_include_pad", 0) != 0 },
        };
        let name = self.name(index);
        let id = self.net.layer(&name, kind, &[x.id]);
        Ok(self.seen(id, false))
    }

    pub(super) fn global_pool(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let (x, _) = self.map(node, 0)?;
        let name = self.name(index);
        let id = self.net.layer(&name, global_pool(node.op.contains("Max")), &[x.id]);
        Ok(self.seen(id, false))
    }

    /// `Pad` with zeros around a map.
    pub(super) fn pad(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let filling = match self.constant(node, 2)? {
            Some(constant) => constant.scalar().map_err(|reason| node.error(reason))?,
            None => node.float_or("value", 0.0)?,
        };
        if node.word_or("mode", "constant") != "constant" || filling != 0.0 {
            return Err(node.error("pads with something else than zeros"));
        }
        // An input since operator set 11; the axes are one since 18.
        let numbers = |index: usize| match self.constant(node, index)? {
            Some(constant) => constant.ints().map(Some).map_err(|reason| node.error(reason)),
            None => Ok(None),
        };
        let pads = match node.ints("pads") {
            Some(pads) => pads.to_vec(),
            None => numbers(1)?.unwrap_or_default(),
        };
        let rank = x.dims.len() + 1;
        let axes = numbers(3)?.unwrap_or((0..rank as i64).collect());
        let wrong = || node.error(format!("has pads {} of the axes {}; height and width are read", short(&pads), short(&axes)));
        if pads.len() != 2 * axes.len() || x.extents().is_none() {
            return Err(wrong());
        }
        let rows = if x.last { 1 } else { 2 };
        let mut sides = [0; 4];
        for (i, &along) in axes.iter().enumerate() {
            let along = axis(along, rank).map_err(|reason| node.error(reason))?;
            for (end, &pad) in [pads[i], pads[axes.len() + i]].iter().enumerate() {
                match size(pad) {
                    Some(0) => {}
                    Some(n) if along == rows || along == rows + 1 => sides[2 * (along - rows) + end] = n,
                    _ => return Err(wrong()),
                }
            }
        }
        let name = self.name(index);
        let id = self.net.layer(&name, LayerKind::ZeroPad2d(sides), &[x.id]);
        Ok(self.seen(id, x.last))
    }

    /// `Slice` of rows and columns.
    pub(super) fn slice(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let Some([_, height, width]) = x.extents() else {
            return Err(node.error(format!("reads the shape {:?}, expects a map", x.dims)));
        };
        // Inputs since operator set 10.
        let numbers = |key: &str, index: usize| match (node.ints(key), self.constant(node, index)?) {
            (Some(list), _) => Ok(Some(list.to_vec())),
            (None, Some(constant)) => constant.ints().map(Some).map_err(|reason| node.error(reason)),
            (None, None) => Ok(None),
        };
        let [starts, ends] = [numbers("starts", 1)?.unwrap_or_default(), numbers("ends", 2)?.unwrap_or_default()];
        let axes = numbers("axes", 3)?.unwrap_or((0..starts.len() as i64).collect());
        let steps = numbers("steps", 4)?.unwrap_or(vec![1; starts.len()]);
        let wrong = || {
            node.error(format!(
                "takes {} to {} of the axes {}; height and width are read",
                short(&starts),
                short(&ends),
                short(&axes)
            ))
        };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.iter().any(|&step| step != 1) {
            return Err(wrong());
        }
        let rows = if x.last { 1 } else { 2 };
        let mut sides = [0; 4];
        for ((&start, &end), &along) in starts.iter().zip(&ends).zip(&axes) {
            let along = axis(along, 4).map_err(|reason| node.error(reason))?;
            let extent = match along.checked_sub(rows) {
                Some(0) => height,
                Some(1) => width,
                _ => return Err(wrong()),
            };
            // Negative indices count from the end, and all are clamped.
            let extent = i64::try_from(extent).unwrap_or(i64::MAX);
            let at = |n: i64| if n < 0 { n.saturating_add(extent).max(0) } else { n.min(extent) };
            let (start, end) = (at(start), at(end));
            if start >= end {
                return Err(wrong());
            }
            let cut = [start, extent - end].map(|n| usize::try_from(n).unwrap_or(0));
            sides[2 * (along - rows)..][..2].copy_from_slice(&cut);
        }
        let name = self.name(index);
        let id = self.net.layer(&name, LayerKind::Crop2d(sides), &[x.id]);
        Ok(self.seen(id, x.last))
    }

    /// `Upsample` and `Resize` by integer factors: nearest, or bilinear between pixel centres.
    pub(super) fn resize(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let Some([_, height, width]) = x.extents() else {
            return Err(node.error(format!("reads the shape {:?}, expects a map", x.dims)));
        };
        let mode = node.word_or("mode", "nearest");
        // Before operator set 11, coordinates always aligned at corners.
        let counted = if self.state.graph.opset >= 11 { "half_pixel" } else { "asymmetric" };
        let counted = node.word_or("coordinate_transformation_mode", counted);
        let linear = match (mode.as_str(), counted.as_str()) {
            ("nearest", _) => false,
            ("linear", "half_pixel" | "pytorch_half_pixel") => true,
            ("linear", _) => return Err(node.error(format!("counts {counted:?}; between pixels half_pixel is read"))),
            _ => return Err(node.error(format!("has the mode {mode:?}; nearest and linear are read"))),
        };
        let numbers = |index: usize| match self.constant(node, index)? {
            Some(constant) => constant.numbers().map(Some).map_err(|reason| node.error(reason)),
            None => Ok(None),
        };
        // Before operator set 11 `Resize` took only scales; since then a region of interest precedes them.
        let scales_at = if node.op == "Resize" && self.state.graph.opset >= 11 { 2 } else { 1 };
        let scales = match node.floats("scales") {
            Some(scales) => scales.iter().map(|&s| f64::from(s)).collect(),
            None => numbers(scales_at)?.unwrap_or_default(),
        };
        let sizes = if scales.is_empty() { numbers(3)?.unwrap_or_default() } else { Vec::new() };
        let batched = [&[1.0], x.dims.iter().map(|&n| n as f64).collect::<Vec<_>>().as_slice()].concat();
        let factors: Vec<f64> = match sizes.is_empty() {
            true => scales,
            false => sizes.iter().zip(&batched).map(|(size, extent)| size / extent).collect(),
        };
        let whole: Option<Vec<usize>> = factors.iter().map(|&f| size(f as i64).filter(|&n| n > 0 && n as f64 == f)).collect();
        let factors = match (whole.as_deref(), x.last) {
            (Some(&[1, 1, rows, columns]), false) | (Some(&[1, rows, columns, 1]), true) => [rows, columns],
            _ => return Err(node.error(format!("scales {height}x{width} by {}; whole factors are read", short(&factors)))),
        };
        let name = self.name(index);
        let kind = if linear { LayerKind::UpsampleBilinear2d(factors) } else { LayerKind::UpsampleNearest2d(factors) };
        let id = self.net.layer(&name, kind, &[x.id]);
        Ok(self.seen(id, x.last))
    }

    /// The mean or maximum over height and width.
    pub(super) fn reduce(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let Some([channels, _, _]) = x.extents() else {
            return Err(node.error(format!("reads the shape {:?}, expects a map", x.dims)));
        };
        // An input since operator set 18 (for a maximum, 13 also takes an attribute).
        let axes = match (node.ints("axes"), self.constant(node, 1)?) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(axes)) => axes.ints().map_err(|reason| node.error(reason))?,
            (None, None) => Vec::new(),
        };
        let mut reduced: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis.saturating_add(4) } else { axis }).collect();
        reduced.sort_unstable();
        if reduced != if x.last { [1, 2] } else { [2, 3] } {
            return Err(node.error(format!("works along the axes {}; height and width are read", short(&axes))));
        }
        let kind = global_pool(node.op == "ReduceMax");
        let name = self.name(index);
        if node.int_or("keepdims", 1) != 0 {
            let id = self.net.layer(&name, kind, &[x.id]);
            return Ok(OnnxValue::map(id, [channels, 1, 1], x.last));
        }
        let pixel = self.net.layer(&format!("{name}.pool"), kind, &[x.id]);
        let id = self.net.flatten(&format!("{name}.flatten"), pixel);
        Ok(OnnxValue { pixel: Some(pixel), ..OnnxValue::vector(id, channels) })
    }
}

/// `sides` without the padding below and right of the last window: old graphs express `ceil_mode` by padding.
fn reached(sides: [usize; 4], size: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> [usize; 4] {
    let mut reached = sides;
    for axis in 0..2 {
        let [before, after] = [sides[2 * axis], sides[2 * axis + 1]];
        let padded = size[axis].saturating_add(before).saturating_add(after);
        if after >= kernel[axis] && kernel[axis] > 0 && padded >= kernel[axis] {
            let windows = (padded - kernel[axis]) / stride[axis].max(1);
            let end = windows.saturating_mul(stride[axis]).saturating_add(kernel[axis]);
            reached[2 * axis + 1] = end.saturating_sub(size[axis].saturating_add(before));
        }
    }
    reached
}

/// The windows of a node over a map of `size`.
fn windows(node: &OnnxNode, size: [usize; 2], kernel: [usize; 2]) -> Result<Windows, String> {
    let (stride, dilation) = (node.sizes_or("strides", [1; 2])?, node.sizes_or("dilations", [1; 2])?);
    let [top, left, bottom, right] = match node.ints("pads") {
        None => [0; 4],
        Some(pads) => sizes(pads).ok_or_else(|| node.error(format!("has pads {}, expects 4 from 0 on", short(pads))))?,
    };
    let padding = match node.word_or("auto_pad", "NOTSET").as_str() {
        "NOTSET" | "" => Padding::Sides([top, bottom, left, right]),
        "VALID" => Padding::NONE,
        "SAME_UPPER" => Padding::Same,
        // The odd pixel is at the top and left.
        "SAME_LOWER" => {
            let [top, bottom, left, right] = Padding::Same.sides(size, kernel, stride, dilation);
            Padding::Sides([bottom, top, right, left])
        }
        other => return Err(node.error(format!("has auto_pad {other:?}"))),
    };
    Ok(Windows { kernel, stride, dilation, padding })
}
