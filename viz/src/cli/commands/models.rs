//! `convscope models`: the networks there are.

use crate::cli::args::Common;
use crate::cli::output::print;
use crate::cli::problem::Problem;
use convscope_models::families;
use convscope_models::text::thousands;
use serde_json::json;

pub fn run(common: &Common) -> Result<(), Problem> {
    let known = families::list()?;
    if common.json {
        let rows: Vec<_> = known
            .iter()
            .map(|k| {
                let weights = k.pretrained.as_ref().map(|p| json!({"file": p.file, "url": p.url, "hub": p.hub}));
                json!({"name": k.name, "about": k.about, "parameters": k.parameters, "classes": k.classes.len(), "weights": weights})
            })
            .collect();
        return print(format!("{:#}", serde_json::Value::Array(rows)));
    }
    let mut lines = vec![format!("{:18} {:>12}  about", "network", "parameters")];
    for k in &known {
        lines.push(format!("{:18} {:>12}  {}", k.name, thousands(k.parameters), k.about));
        let weights = match &k.pretrained {
            Some(p) => p.url.clone() + &p.hub.as_ref().map(|h| format!("  or -w hf:{h}")).unwrap_or_default(),
            None => "your own".to_string(),
        };
        lines.push(format!("{:32}weights: {weights}", ""));
    }
    print(lines.join("\n"))
}
