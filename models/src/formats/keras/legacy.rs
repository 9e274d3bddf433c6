//! Keras 1's names for the classes and settings of later versions.

use serde_json::{Map, Value};

/// Class and settings as Keras 2 and 3 write them.
pub(super) fn modern(class: &str, mut config: Map<String, Value>) -> (String, Map<String, Value>) {
    let class = match class {
        "Convolution2D" | "AtrousConvolution2D" => "Conv2D",
        "SeparableConvolution2D" => "SeparableConv2D",
        "MaxPool2D" => "MaxPooling2D",
        "AvgPool2D" => "AveragePooling2D",
        "GlobalMaxPool2D" => "GlobalMaxPooling2D",
        "GlobalAvgPool2D" => "GlobalAveragePooling2D",
        "Merge" => match config.remove("mode").as_ref().and_then(Value::as_str) {
            Some("sum") => "Add",
            Some("mul") => "Multiply",
            Some("ave") => "Average",
            Some("concat") => "Concatenate",
            _ => "Merge",
        },
        other => other,
    };
    for (old, new) in [
        ("nb_filter", "filters"),
        ("subsample", "strides"),
        ("border_mode", "padding"),
        ("bias", "use_bias"),
        ("atrous_rate", "dilation_rate"),
        ("output_dim", "units"),
        ("concat_axis", "axis"),
    ] {
        if let Some(value) = config.remove(old) {
            config.entry(new).or_insert(value);
        }
    }
    // The setting belongs to its Dropout and SpatialDropout2D only.
    if let Some(value) = config.remove("p") {
        config.entry("rate").or_insert(value);
    }
    if let (Some(rows), Some(columns)) = (config.remove("nb_row"), config.remove("nb_col")) {
        config.entry("kernel_size").or_insert(Value::Array(vec![rows, columns]));
    }
    if let Some(value) = config.remove("dim_ordering") {
        let order = match value.as_str() {
            Some("tf") => "channels_last".into(),
            // "th" also means another filter layout; it is refused.
            _ => value,
        };
        config.entry("data_format").or_insert(order);
    }
    (class.to_string(), config)
}
